//! The table of a reactor: its connections and listeners by token.

use crate::connection::{Connection, Stage};
use crate::descriptors::Descriptor;
use crate::listener::Listener;

pub enum Entry {
    Free,
    /// Taken out while it is worked on.
    Busy,
    Listener(Box<Listener>),
    Dial(Dial),
    Connection(Box<Connection>),
}

/// A descriptor that is being connected.
pub struct Dial {
    pub fd: Descriptor,
    /// The outcome was told.
    pub told: bool,
    /// As those of a connection.
    pub readable: bool,
    pub hung_up: bool,
    pub broken: bool,
}

struct Slot {
    /// Counts the users of the slot, so that the token of an earlier one means nothing to a later one.
    generation: u32,
    entry: Entry,
}

/// A token is the generation of a slot and, in its lower half, the number of the slot; 0 is never one.
#[derive(Default)]
pub struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

impl Slots {
    pub fn insert(&mut self, entry: Entry) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, entry: Entry::Free });
            self.slots.len() - 1
        });
        let slot = &mut self.slots[index];
        slot.generation = slot.generation.wrapping_add(1);
        slot.entry = entry;
        self.token(index)
    }

    pub fn get(&mut self, token: u64) -> Option<&mut Entry> {
        let index = index(token)?;
        let slot = self.slots.get_mut(index)?;
        (u64::from(slot.generation) == token >> 32).then_some(&mut slot.entry)
    }

    /// Takes a connection out, to be given back with `put`.
    pub fn take(&mut self, token: u64) -> Option<Box<Connection>> {
        let entry = self.get(token)?;
        match std::mem::replace(entry, Entry::Busy) {
            Entry::Connection(connection) => Some(connection),
            other => {
                *entry = other;
                None
            }
        }
    }

    /// Puts a connection back, or in the place of what was dialled for it.
    pub fn put(&mut self, token: u64, connection: Box<Connection>) {
        if let Some(entry) = self.get(token) {
            *entry = Entry::Connection(connection);
        }
    }

    pub fn remove(&mut self, token: u64) {
        if let (Some(entry), Some(index)) = (self.get(token), index(token)) {
            *entry = Entry::Free;
            self.free.push(index);
        }
    }

    /// A connection that Python knows: to Python a lingering one is gone.
    pub fn connection(&mut self, token: u64) -> Option<&mut Connection> {
        match self.get(token)? {
            Entry::Connection(connection) if connection.stage != Stage::Lingering => Some(connection),
            _ => None,
        }
    }

    /// Takes out what was dialled: a connection, or nothing, comes in its place.
    pub fn take_dial(&mut self, token: u64) -> Option<Dial> {
        let entry = self.get(token)?;
        match std::mem::replace(entry, Entry::Busy) {
            Entry::Dial(dial) => Some(dial),
            other => {
                *entry = other;
                None
            }
        }
    }

    pub fn listener(&mut self, token: u64) -> Option<&mut Listener> {
        match self.get(token)? {
            Entry::Listener(listener) => Some(listener),
            _ => None,
        }
    }

    /// The tokens of all slots in use.
    pub fn tokens(&self) -> Vec<u64> {
        let used = |index: &usize| !matches!(self.slots[*index].entry, Entry::Free);
        (0..self.slots.len()).filter(used).map(|index| self.token(index)).collect()
    }

    fn token(&self, index: usize) -> u64 {
        u64::from(self.slots[index].generation) << 32 | (index as u64 + 1)
    }
}

fn index(token: u64) -> Option<usize> {
    (token & 0xffff_ffff).checked_sub(1).map(|index| index as usize)
}
