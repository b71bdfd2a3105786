//! Many connections over one descriptor set of their own, nested in an event loop by its one descriptor.
//!
//! A tick looks at the set once, lets every connection that can do something do it, and returns what Python must know.
//! The set is edge-triggered: what a descriptor can do is remembered on its connection until a call says otherwise.
//! Connections with more to do than their share of a tick wait in a queue for the next one.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::connection::{engine, Connection, Stage};
use crate::engine::{Engine, Status};
use crate::error::{Failure, Kind};
use crate::fd;
use crate::listener::{Accepted, Listener};

/// Ciphertext taken from the kernel in one call.
const SCRATCH: usize = 128 * 1024;
/// Plaintext of one connection in one tick, and of all of them.
const SHARE: usize = 256 * 1024;
const ARENA: usize = 1024 * 1024;
/// Handshakes worked on in one tick: each costs about as much as a tick of anything else.
const HANDSHAKES: usize = 16;
const ACCEPTS: usize = 64;
/// How long a closed connection may take to get rid of its last words, in seconds.
const LINGER: f64 = 0.5;

pub enum Notice {
    Asking,
    Secure,
    /// A range of `Reactor::arena`, until the next tick.
    Data(Range<usize>),
    Drain,
    Ended(bool),
    Finished,
    Failed(Box<Failure>),
    News,
    Accepted,
    AcceptFailed(i32),
}

enum Entry {
    Free,
    /// Taken out while it is worked on.
    Busy,
    Listener(Box<Listener>),
    Connection(Box<Connection>),
}

struct Slot {
    generation: u32,
    entry: Entry,
}

pub struct Reactor {
    poll: Poll,
    events: Events,
    slots: Vec<Slot>,
    free: Vec<usize>,
    queue: VecDeque<u64>,
    corked: Vec<u64>,
    notices: Vec<(u64, Notice)>,
    pub arena: Vec<u8>,
    used: usize,
    scratch: Vec<u8>,
    deadline: Option<f64>,
    in_tick: bool,
}

impl Reactor {
    pub fn new() -> io::Result<Reactor> {
        Ok(Reactor {
            poll: Poll::new()?,
            events: Events::with_capacity(256),
            slots: Vec::new(),
            free: Vec::new(),
            queue: VecDeque::new(),
            corked: Vec::new(),
            notices: Vec::new(),
            arena: vec![0; ARENA],
            used: 0,
            scratch: Vec::with_capacity(SCRATCH),
            deadline: None,
            in_tick: false,
        })
    }

    pub fn fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    // ---- slots

    fn insert(&mut self, entry: Entry) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, entry: Entry::Free });
            self.slots.len() - 1
        });
        let slot = &mut self.slots[index];
        slot.generation = slot.generation.wrapping_add(1);
        slot.entry = entry;
        self.token(index)
    }

    fn token(&self, index: usize) -> u64 {
        u64::from(self.slots[index].generation) << 32 | (index as u64 + 1)
    }

    fn slot(&mut self, token: u64) -> Option<&mut Slot> {
        let index = (token & 0xffff_ffff).checked_sub(1)? as usize;
        self.slots.get_mut(index).filter(|slot| u64::from(slot.generation) == token >> 32)
    }

    /// Takes a connection out, to be given back with `put`.
    fn take(&mut self, token: u64) -> Option<Box<Connection>> {
        let slot = self.slot(token)?;
        match std::mem::replace(&mut slot.entry, Entry::Busy) {
            Entry::Connection(connection) => Some(connection),
            other => {
                slot.entry = other;
                None
            }
        }
    }

    fn put(&mut self, token: u64, connection: Box<Connection>) {
        if let Some(slot) = self.slot(token) {
            slot.entry = Entry::Connection(connection);
        }
    }

    fn remove(&mut self, token: u64) {
        if let Some(slot) = self.slot(token) {
            slot.entry = Entry::Free;
            self.free.push((token & 0xffff_ffff) as usize - 1);
        }
    }

    pub fn connection(&mut self, token: u64) -> Option<&mut Connection> {
        match &mut self.slot(token)?.entry {
            // To Python a lingering connection is gone.
            Entry::Connection(connection) if connection.stage != Stage::Lingering => Some(connection),
            _ => None,
        }
    }

    pub fn listener(&mut self, token: u64) -> Option<&mut Listener> {
        match &mut self.slot(token)?.entry {
            Entry::Listener(listener) => Some(listener),
            _ => None,
        }
    }

    /// Lets a connection or a listener have a turn in the next tick.
    fn enqueue(&mut self, token: u64) {
        let queued = match self.slot(token).map(|slot| &mut slot.entry) {
            Some(Entry::Connection(connection)) => &mut connection.queued,
            Some(Entry::Listener(listener)) => &mut listener.queued,
            _ => return,
        };
        if !std::mem::replace(queued, true) {
            self.queue.push_back(token);
        }
    }

    fn watch(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&fd), Token(token as usize), interest)
    }

    // ---- what comes and goes

    pub fn listen(&mut self, listener: Listener) -> io::Result<u64> {
        let fd = listener.fd;
        let token = self.insert(Entry::Listener(Box::new(listener)));
        self.watch(fd, token, Interest::READABLE).inspect_err(|_| self.remove(token))?;
        Ok(token)
    }

    pub fn unlisten(&mut self, token: u64) {
        if let Some(fd) = self.listener(token).map(|listener| listener.fd) {
            // The descriptor stays the caller's and may be closed already; then the set has forgotten it by itself.
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
            if let Some(listener) = self.listener(token) {
                listener.closed = true;
            }
            self.forget_listener(token);
        }
    }

    /// A closed listener goes with the last of its connections.
    fn forget_listener(&mut self, token: u64) {
        if self.listener(token).is_some_and(|listener| listener.closed && listener.connections == 0) {
            self.remove(token);
        }
    }

    pub fn pause_listener(&mut self, token: u64, paused: bool) {
        if let Some(listener) = self.listener(token) {
            listener.paused = paused;
            if !paused {
                listener.acceptable = true;
                self.enqueue(token);
            }
        }
    }

    pub fn attach(&mut self, engine: Arc<Mutex<Engine>>, fd: OwnedFd, listener: u64, timeout: f64) -> io::Result<u64> {
        let raw = fd.as_raw_fd();
        let deadline = fd::monotonic() + timeout;
        let mut connection = Connection::new(engine, fd, listener, Some(deadline));
        // A client speaks first; what a server may already have been sent is found by looking.
        connection.kicked = listener == 0;
        connection.readable = listener == 0;
        let token = self.insert(Entry::Connection(Box::new(connection)));
        self.watch(raw, token, Interest::READABLE | Interest::WRITABLE).inspect_err(|_| self.remove(token))?;
        if listener == 0 {
            self.enqueue(token);
        }
        self.note_deadline(deadline);
        Ok(token)
    }

    /// Python lets go of a connection: it says its last words and closes.
    pub fn close_connection(&mut self, token: u64, reset: bool) {
        let Some(mut connection) = self.take(token) else { return };
        if connection.stage == Stage::Lingering {
            return self.put(token, connection);
        }
        if let Some(listener) = self.listener(connection.listener) {
            listener.connections -= 1;
            listener.handshakes -= usize::from(connection.stage == Stage::Handshake);
        }
        self.forget_listener(connection.listener);
        let shared = connection.engine.clone();
        let lingers = connection.release(&mut engine(&shared), reset);
        if !lingers {
            return self.remove(token);
        }
        let deadline = fd::monotonic() + LINGER;
        connection.deadline = Some(deadline);
        self.put(token, connection);
        self.enqueue(token);
        self.note_deadline(deadline);
    }

    /// Lets go of every connection that a listener accepted.
    pub fn close_connections(&mut self, listener: u64) {
        for index in 0..self.slots.len() {
            let token = self.token(index);
            if self.connection(token).is_some_and(|connection| connection.listener == listener) {
                self.close_connection(token, false);
            }
        }
    }

    // ---- time

    pub fn deadline(&self) -> Option<f64> {
        self.deadline
    }

    fn note_deadline(&mut self, deadline: f64) {
        self.deadline = Some(self.deadline.map_or(deadline, |known| known.min(deadline)));
    }

    /// Ends what has taken too long, and finds the next deadline.
    pub fn expire(&mut self) {
        let now = fd::monotonic();
        self.deadline = None;
        for index in 0..self.slots.len() {
            let token = self.token(index);
            let Some(mut connection) = self.take(token) else { continue };
            match connection.deadline {
                Some(deadline) if deadline > now => self.note_deadline(deadline),
                Some(_) if connection.stage == Stage::Lingering => {
                    self.remove(token);
                    continue;
                }
                Some(_) => {
                    let shared = connection.engine.clone();
                    let mut engine = engine(&shared);
                    engine.fail(Failure::of_kind(Kind::Timeout));
                    self.fail(token, &mut connection, &mut engine);
                }
                None => {}
            }
            self.put(token, connection);
        }
    }

    // ---- one tick

    pub fn tick(&mut self) -> Vec<(u64, Notice)> {
        self.in_tick = true;
        self.used = 0;
        self.look();
        let mut handshakes = 0;
        for _ in 0..self.queue.len() {
            let Some(token) = self.queue.pop_front() else { break };
            if let Some(listener) = self.listener(token) {
                listener.queued = false;
                self.accept(token);
                continue;
            }
            let Some(mut connection) = self.take(token) else { continue };
            connection.queued = false;
            let handshake = connection.stage == Stage::Handshake;
            handshakes += usize::from(handshake);
            let gone = if (handshake && handshakes > HANDSHAKES) || self.used + SHARE / 4 > ARENA {
                connection.kicked |= !connection.paused;
                self.put(token, connection);
                self.enqueue(token);
                continue;
            } else {
                self.step(token, &mut connection)
            };
            let again = connection.kicked;
            self.put(token, connection);
            if gone {
                self.remove(token);
            } else if again {
                self.enqueue(token);
            }
        }
        std::mem::take(&mut self.notices)
    }

    /// Sends what was written during the tick; answers whether there is work that no descriptor will tell of.
    pub fn flush(&mut self) -> bool {
        self.in_tick = false;
        for token in std::mem::take(&mut self.corked) {
            let Some(mut connection) = self.take(token) else { continue };
            connection.corked = false;
            let shared = connection.engine.clone();
            let mut engine = engine(&shared);
            connection.push(&mut engine);
            self.settle(token, &mut connection, &mut engine);
            self.put(token, connection);
        }
        !self.notices.is_empty() || !self.queue.is_empty()
    }

    /// Asks the set what the descriptors can do.
    fn look(&mut self) {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        // Interrupted: the events are still there for the next tick, which the set's own descriptor will ask for.
        if self.poll.poll(&mut events, Some(Duration::ZERO)).is_ok() {
            for event in &events {
                let token = event.token().0 as u64;
                match self.slot(token).map(|slot| &mut slot.entry) {
                    Some(Entry::Connection(connection)) => {
                        let closed = event.is_read_closed() || event.is_error();
                        connection.hung_up |= closed;
                        connection.readable |= event.is_readable() || closed;
                        connection.writable |= event.is_writable() || event.is_error();
                    }
                    Some(Entry::Listener(listener)) => listener.acceptable = true,
                    _ => continue,
                }
                self.enqueue(token);
            }
        }
        self.events = events;
    }

    fn accept(&mut self, token: u64) {
        for _ in 0..ACCEPTS {
            let Some(listener) = self.listener(token) else { return };
            let (timeout, announce) = (listener.handshake_timeout, listener.announce);
            match listener.accept() {
                Accepted::Connection(engine, fd) => {
                    if let Ok(connection) = self.attach(engine, fd, token, timeout) {
                        if let Some(listener) = self.listener(token) {
                            listener.connections += 1;
                            listener.handshakes += 1;
                        }
                        if announce {
                            self.notices.push((connection, Notice::Accepted));
                        }
                    }
                }
                Accepted::Nothing => return,
                Accepted::Failed(errno) => return self.notices.push((token, Notice::AcceptFailed(errno))),
            }
        }
        self.enqueue(token);
    }

    /// A connection's turn. Answers whether it is gone.
    fn step(&mut self, token: u64, connection: &mut Connection) -> bool {
        let shared = connection.engine.clone();
        let mut engine = engine(&shared);
        if connection.stage == Stage::Lingering {
            return connection.linger(&mut engine, &mut self.scratch);
        }
        let kicked = std::mem::take(&mut connection.kicked);
        connection.push(&mut engine);
        if (connection.readable || kicked) && !connection.paused && !connection.asking {
            engine.state_mut().incoming.borrow(&mut self.scratch);
            if connection.stage == Stage::Handshake {
                self.handshake(token, connection, &mut engine);
            }
            if connection.stage == Stage::Open {
                self.read(token, connection, &mut engine);
            }
            engine.state_mut().incoming.give_back(&mut self.scratch);
        }
        self.settle(token, connection, &mut engine);
        false
    }

    fn handshake(&mut self, token: u64, connection: &mut Connection, engine: &mut Engine) {
        loop {
            let status = engine.handshake();
            if !engine.state().news.is_empty() {
                self.notices.push((token, Notice::News));
            }
            match status {
                Status::Done => {
                    connection.stage = Stage::Open;
                    connection.deadline = None;
                    if let Some(listener) = self.listener(connection.listener) {
                        listener.handshakes -= 1;
                    }
                    self.notices.push((token, Notice::Secure));
                    // The last flight leaves together with what Python answers at once.
                    return self.cork(token, connection);
                }
                Status::WantInput if connection.readable => {
                    connection.push(engine);
                    connection.pull(engine);
                }
                Status::WantInput => return connection.push(engine),
                Status::Asking => {
                    connection.push(engine);
                    return self.ask(token, connection);
                }
                Status::Ended | Status::Failed => return self.fail(token, connection, engine),
            }
        }
    }

    fn read(&mut self, token: u64, connection: &mut Connection, engine: &mut Engine) {
        let start = self.used;
        let limit = ARENA.min(start + SHARE);
        let status = loop {
            if self.used == limit {
                connection.kicked = true;
                break Status::Done;
            }
            let (status, count) = engine.read(&mut self.arena[self.used..limit]);
            self.used += count;
            match status {
                Status::Done => {}
                Status::WantInput if connection.readable => connection.pull(engine),
                other => break other,
            }
        };
        if self.used > start {
            self.notices.push((token, Notice::Data(start..self.used)));
        }
        match status {
            Status::Done | Status::WantInput => {}
            Status::Asking => self.ask(token, connection),
            Status::Ended => {
                connection.stage = Stage::Ended;
                self.notices.push((token, Notice::Ended(engine.truncated())));
            }
            Status::Failed => self.fail(token, connection, engine),
        }
    }

    /// Tells what followed from sending.
    fn settle(&mut self, token: u64, connection: &mut Connection, engine: &mut Engine) {
        if let Some(errno) = connection.send_error {
            if connection.stage == Stage::Ended && connection.pending() == 0 {
                // The peer is gone, and nothing but our close_notify is lost with it.
                connection.finished = true;
            } else if !connection.readable && connection.stage != Stage::Failed {
                engine.fail(Failure::system(errno));
                return self.fail(token, connection, engine);
            }
        }
        if connection.want_drain && connection.pending() == 0 {
            connection.want_drain = false;
            self.notices.push((token, Notice::Drain));
        }
        if connection.finished && connection.ending {
            connection.ending = false;
            self.notices.push((token, Notice::Finished));
        }
        // More records may wait in memory although the descriptor has nothing more to tell.
        if !connection.paused && !connection.asking && connection.readable && connection.stage == Stage::Open {
            connection.kicked = true;
        }
    }

    fn fail(&mut self, token: u64, connection: &mut Connection, engine: &mut Engine) {
        if connection.stage == Stage::Handshake {
            if let Some(listener) = self.listener(connection.listener) {
                listener.handshakes -= 1;
            }
        }
        connection.stage = Stage::Failed;
        connection.deadline = None;
        connection.push(engine);
        let failure = engine.failure().cloned().unwrap_or_default();
        self.notices.push((token, Notice::Failed(Box::new(failure))));
    }

    /// Tells of a question; the connection waits until `answered`.
    fn ask(&mut self, token: u64, connection: &mut Connection) {
        connection.asking = true;
        self.notices.push((token, Notice::Asking));
    }

    fn cork(&mut self, token: u64, connection: &mut Connection) {
        if !std::mem::replace(&mut connection.corked, true) {
            self.corked.push(token);
        }
    }

    // ---- what Python asks of a connection

    /// Works on a connection, then tells what followed.
    fn with(&mut self, token: u64, work: impl FnOnce(&mut Connection, &mut Engine)) {
        let Some(mut connection) = self.take(token) else { return };
        if connection.stage != Stage::Lingering {
            let shared = connection.engine.clone();
            let mut engine = engine(&shared);
            work(&mut connection, &mut engine);
            if self.in_tick {
                self.cork(token, &mut connection);
            } else {
                self.settle(token, &mut connection, &mut engine);
            }
        }
        let kicked = connection.kicked;
        self.put(token, connection);
        if kicked {
            self.enqueue(token);
        }
    }

    /// Whether something is to be told that came up outside a tick.
    pub fn has_news(&self) -> bool {
        !self.in_tick && !self.notices.is_empty()
    }

    pub fn write(&mut self, token: u64, data: &[u8]) -> usize {
        let mut pending = 0;
        let cork = self.in_tick;
        self.with(token, |connection, engine| {
            connection.write(engine, data, cork);
            pending = connection.pending();
        });
        pending
    }

    pub fn want_drain(&mut self, token: u64) {
        self.with(token, |connection, _| connection.want_drain = true);
    }

    pub fn end(&mut self, token: u64) {
        let cork = self.in_tick;
        self.with(token, |connection, engine| {
            connection.ending = true;
            if !cork {
                connection.push(engine);
            }
        });
    }

    pub fn resume(&mut self, token: u64) {
        self.with(token, |connection, _| {
            connection.paused = false;
            connection.kicked = true;
        });
    }

    pub fn answered(&mut self, token: u64) {
        self.with(token, |connection, _| {
            connection.asking = false;
            connection.kicked = true;
        });
    }
}
