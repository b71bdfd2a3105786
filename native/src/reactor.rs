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

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::connection::{engine, Connection, Stage};
use crate::descriptors::{Descriptor, Descriptors};
use crate::engine::Engine;
use crate::error::{Failure, Kind};
use crate::fd;
use crate::listener::Listener;
use crate::slots::{Dial, Entry, Slots};

/// Ciphertext taken from the kernel in one call.
const SCRATCH: usize = 128 * 1024;
/// Plaintext of one connection in one tick, and of all of them: so little that it is still in the processor's cache when
/// it is copied, and that the kernel's buffers of the other connections do not fill up meanwhile.
const SHARE: usize = 128 * 1024;
const ARENA: usize = 256 * 1024;
/// So much plaintext in one round of a tick makes another round worth while.
const BULK: usize = 16 * 1024;
/// Plaintext that waited and is sent in one tick, of all connections, before the others wait for the next one.
const SENDING: usize = 256 * 1024;
/// Ciphertext is taken so often in one turn at most: records need not hold any plaintext.
const PULLS: usize = 4;
/// Handshakes worked on in one tick: each costs about as much as a tick of anything else.
const HANDSHAKES: usize = 16;
const ACCEPTS: usize = 64;
/// How long a closed connection may take to get rid of its last words, in seconds.
const LINGER: f64 = 0.5;

// A token with its generation is what the descriptor set keeps.
const _: () = assert!(usize::BITS == 64);

mod tick;

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
    /// What was dialled is connected; or the error why not.
    Connected(i32),
    Accepted,
    AcceptFailed(i32),
    /// A connection more than there may be.
    Dropped(OwnedFd),
}

pub struct Reactor {
    pub descriptors: Arc<Descriptors>,
    poll: Poll,
    events: Events,
    slots: Slots,
    queue: VecDeque<u64>,
    corked: Vec<u64>,
    /// Clients whose connections began in this tick.
    begun: Vec<u64>,
    notices: Vec<(u64, Notice)>,
    pub arena: Vec<u8>,
    used: usize,
    /// How much of it was used before this round of the tick.
    before: usize,
    /// How much of what waited was encrypted in this tick.
    pushed: usize,
    scratch: Vec<u8>,
    deadline: Option<f64>,
    /// From the beginning of a tick until `flush`, what is written waits.
    in_tick: bool,
}

impl Reactor {
    pub fn new() -> io::Result<Reactor> {
        let poll = Poll::new()?;
        let descriptors = Arc::new(Descriptors::new());
        descriptors.insert(poll.as_raw_fd());
        Ok(Reactor {
            descriptors,
            poll,
            events: Events::with_capacity(256),
            slots: Slots::default(),
            queue: VecDeque::new(),
            corked: Vec::new(),
            begun: Vec::new(),
            notices: Vec::new(),
            arena: vec![0; ARENA],
            used: 0,
            before: 0,
            pushed: 0,
            scratch: Vec::with_capacity(SCRATCH),
            deadline: None,
            in_tick: false,
        })
    }

    pub fn fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    pub fn connection(&mut self, token: u64) -> Option<&mut Connection> {
        self.slots.connection(token)
    }

    pub fn listener(&mut self, token: u64) -> Option<&mut Listener> {
        self.slots.listener(token)
    }

    /// Lets a connection or a listener have a turn in the next tick.
    fn enqueue(&mut self, token: u64) {
        let queued = match self.slots.get(token) {
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
        let fd = listener.fd.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        let token = self.slots.insert(Entry::Listener(Box::new(listener)));
        self.watch(fd, token, Interest::READABLE).inspect_err(|_| self.slots.remove(token))?;
        Ok(token)
    }

    pub fn unlisten(&mut self, token: u64) {
        // Closing a descriptor takes it out of the set, unless a forked child has a copy.
        if let Some(fd) = self.listener(token).and_then(|listener| listener.fd.take()) {
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()));
        }
        self.forget_listener(token);
    }

    /// A closed listener goes with the last of its connections.
    fn forget_listener(&mut self, token: u64) {
        if self.listener(token).is_some_and(|listener| listener.fd.is_none() && listener.connections == 0) {
            self.slots.remove(token);
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

    /// Watches a descriptor that is being connected, until `begin` or `hang_up`.
    pub fn dial(&mut self, fd: OwnedFd) -> io::Result<u64> {
        let raw = fd.as_raw_fd();
        let fd = Descriptor::new(fd, self.descriptors.clone());
        let dial = Dial { fd, told: false, readable: false, hung_up: false, broken: false };
        let token = self.slots.insert(Entry::Dial(dial));
        self.watch(raw, token, Interest::READABLE | Interest::WRITABLE).inspect_err(|_| self.slots.remove(token))?;
        Ok(token)
    }

    /// Closes a descriptor that was dialled and on which nothing has begun.
    pub fn hang_up(&mut self, token: u64) {
        if let Some(dial) = self.slots.take_dial(token) {
            // As in `unlisten`.
            let _ = self.poll.registry().deregister(&mut SourceFd(&dial.fd.as_raw_fd()));
            self.slots.remove(token);
        }
    }

    /// Starts a client's connection over a descriptor that was dialled.
    pub fn begin(&mut self, shared: Arc<Mutex<Engine>>, timeout: f64, token: u64) {
        let Some(dial) = self.slots.take_dial(token) else { return };
        let mut connection = Connection::new(shared, dial.fd, 0, timeout);
        (connection.readable, connection.hung_up, connection.broken) = (dial.readable, dial.hung_up, dial.broken);
        connection.kicked = true;
        // Who speaks first has nothing to read; so the first flight can leave at the end of this very tick. A function for
        // pre-shared keys is called in the midst of a tick only.
        let keyed = engine(&connection.engine).state().psk.is_some();
        let at_once = self.in_tick && !keyed && !connection.readable && self.begun.len() < HANDSHAKES;
        connection.deadline.into_iter().for_each(|deadline| self.note_deadline(deadline));
        self.slots.put(token, Box::new(connection));
        if at_once {
            self.begun.push(token);
        } else {
            self.enqueue(token);
        }
    }

    /// Starts a connection over a descriptor.
    pub fn attach(&mut self, engine: Arc<Mutex<Engine>>, fd: OwnedFd, listener: u64, timeout: f64) -> io::Result<u64> {
        let raw = fd.as_raw_fd();
        let fd = Descriptor::new(fd, self.descriptors.clone());
        let mut connection = Connection::new(engine, fd, listener, timeout);
        let deadline = connection.deadline;
        // A client speaks first; what a server may already have been sent is found by looking.
        connection.kicked = listener == 0;
        connection.readable = listener == 0;
        let token = self.slots.insert(Entry::Connection(Box::new(connection)));
        self.watch(raw, token, Interest::READABLE | Interest::WRITABLE).inspect_err(|_| self.slots.remove(token))?;
        if listener == 0 {
            self.enqueue(token);
        }
        deadline.into_iter().for_each(|deadline| self.note_deadline(deadline));
        Ok(token)
    }

    /// Python lets go of a connection: it says its last words and closes. Answers whether it lingers.
    pub fn close_connection(&mut self, token: u64, reset: bool) -> bool {
        let Some(mut connection) = self.slots.take(token) else { return false };
        if connection.stage == Stage::Lingering {
            self.slots.put(token, connection);
            return false;
        }
        if let Some(listener) = self.listener(connection.listener) {
            listener.connections -= 1;
            listener.handshakes -= usize::from(connection.stage == Stage::Handshake);
        }
        self.forget_listener(connection.listener);
        let shared = connection.engine.clone();
        let lingers = connection.release(&mut engine(&shared), reset);
        if !lingers {
            self.slots.remove(token);
            return false;
        }
        let deadline = fd::monotonic() + LINGER;
        connection.deadline = Some(deadline);
        self.slots.put(token, connection);
        self.enqueue(token);
        self.note_deadline(deadline);
        true
    }

    /// Lets go of every connection that a listener accepted.
    pub fn close_connections(&mut self, listener: u64) {
        for token in self.slots.tokens() {
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
        for token in self.slots.tokens() {
            let Some(mut connection) = self.slots.take(token) else { continue };
            match connection.deadline {
                Some(deadline) if deadline > now => self.note_deadline(deadline),
                Some(_) if connection.stage == Stage::Lingering => {
                    self.slots.remove(token);
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
            self.slots.put(token, connection);
        }
    }

    // ---- what Python asks of a connection

    /// Works on a connection, then tells what followed.
    fn with(&mut self, token: u64, work: impl FnOnce(&mut Connection, &mut Engine)) {
        let Some(mut connection) = self.slots.take(token) else { return };
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
        self.slots.put(token, connection);
        if kicked {
            self.enqueue(token);
        }
    }

    /// Whether something came up outside a tick that no descriptor will tell of.
    pub fn has_news(&self) -> bool {
        !self.in_tick && (!self.notices.is_empty() || !self.queue.is_empty())
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

    /// Sends what the engine has produced outside a tick.
    pub fn push(&mut self, token: u64) {
        self.with(token, |connection, engine| {
            connection.push(engine);
        });
    }

    pub fn answered(&mut self, token: u64) {
        self.with(token, |connection, _| {
            connection.asking = false;
            connection.kicked = true;
        });
    }
}
