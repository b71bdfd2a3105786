//! One connection of a reactor: an engine, a descriptor, and what is waiting between them.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::buffer::Buffer;
use crate::descriptors::Descriptor;
use crate::engine::{Engine, Status};
use crate::error::Failure;
use crate::fd::{self, Transfer};

/// Plaintext is encrypted and sent in batches of about this size: large enough to cost few calls, small enough to stay in
/// the processor's cache and to leave little behind when the descriptor is full.
const BATCH: usize = 128 * 1024;
/// OpenSSL's largest record.
pub const RECORD: usize = 16 * 1024;
/// The most that one connection encrypts and sends before others have their turn; see `SHARE` of the reactor.
const SHARE: usize = 128 * 1024;
/// Ciphertext that has not left, far more than a batch: a peer for whom so much waits does not read.
const UNREAD: usize = 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Handshake,
    Open,
    /// Nothing more will come from the peer.
    Ended,
    Failed,
    /// Python has let go: what is left in the outgoing buffer is sent, what comes is thrown away, then it closes.
    Lingering,
}

pub struct Connection {
    pub engine: Arc<Mutex<Engine>>,
    fd: Descriptor,
    /// The token of the listener that accepted it, 0 when it was attached.
    pub listener: u64,
    pub stage: Stage,
    /// What the descriptor can do, as far as its edge-triggered events and our own calls have told.
    pub readable: bool,
    pub writable: bool,
    /// The peer has closed or reset: a short read is not the end of what there is.
    pub hung_up: bool,
    /// The descriptor has an error, such as a reset by the peer.
    pub broken: bool,
    /// There is something to do that no event will tell of.
    pub kicked: bool,
    /// A question was told and its answer has not come.
    pub asking: bool,
    pub queued: bool,
    pub corked: bool,
    pub paused: bool,
    pub want_drain: bool,
    /// `end` was called: close_notify and FIN follow what is waiting.
    pub ending: bool,
    pub finished: bool,
    /// When a handshake, or lingering, has taken too long.
    pub deadline: Option<f64>,
    pub handshake_timeout: f64,
    /// The error of a send, told once everything readable has been read.
    pub send_error: Option<i32>,
    /// Plaintext that is not encrypted yet.
    waiting: Buffer,
    /// How much plaintext the outgoing ciphertext stands for.
    encrypted: usize,
}

impl Connection {
    pub fn new(engine: Arc<Mutex<Engine>>, fd: Descriptor, listener: u64, handshake_timeout: f64) -> Self {
        Connection {
            engine,
            fd,
            listener,
            stage: Stage::Handshake,
            readable: false,
            writable: true,
            hung_up: false,
            broken: false,
            kicked: false,
            asking: false,
            queued: false,
            corked: false,
            paused: false,
            want_drain: false,
            ending: false,
            finished: false,
            deadline: Some(fd::monotonic() + handshake_timeout),
            handshake_timeout,
            send_error: None,
            waiting: Buffer::default(),
            encrypted: 0,
        }
    }

    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Application bytes that have not left yet.
    pub fn pending(&self) -> usize {
        self.waiting.len() + self.encrypted
    }

    /// Plaintext, or our close_notify, waits for its turn.
    pub fn waits_to_write(&self) -> bool {
        !self.waiting.is_empty() || (self.ending && !self.finished)
    }

    /// Takes all of `data`; what can leave now does, the last batch only when the connection is not `corked`.
    pub fn write(&mut self, engine: &mut Engine, data: &[u8], cork: bool) {
        if matches!(self.stage, Stage::Failed | Stage::Lingering) || self.send_error.is_some() {
            return;
        }
        if !self.may_write(engine) || !self.waiting.is_empty() {
            self.waiting.extend(data);
            return;
        }
        let taken = self.encrypt(engine, data);
        self.waiting.extend(&data[taken..]);
        if !cork {
            self.push(engine);
        }
    }

    /// Encrypts and sends `data` batch by batch until the descriptor is full; answers how much it took.
    fn encrypt(&mut self, engine: &mut Engine, data: &[u8]) -> usize {
        let mut rest = &data[..data.len().min(SHARE)];
        let mut taken = 0;
        while !rest.is_empty() {
            if engine.outgoing().len() >= BATCH {
                self.send(engine);
                if engine.outgoing().len() >= BATCH {
                    break;
                }
            }
            let count = rest.len().min(RECORD);
            if engine.state().outgoing.is_empty() && rest.len() > RECORD {
                engine.state_mut().outgoing.reserve(rest.len().min(BATCH) + 2 * 1024);
            }
            if engine.write(&rest[..count]) != Status::Done {
                // The next step tells of the failure; nothing more will leave.
                self.kicked = true;
                return data.len();
            }
            self.encrypted += count;
            taken += count;
            rest = &rest[count..];
        }
        taken
    }

    /// Sends what can leave: ciphertext, waiting plaintext, and at last close_notify and FIN. Answers how much plaintext it
    /// encrypted.
    pub fn push(&mut self, engine: &mut Engine) -> usize {
        let mut share = SHARE;
        loop {
            let ends = self.ending && !self.finished && self.waiting.is_empty() && self.may_write(engine);
            if ends {
                // It leaves together with what is before it.
                engine.shutdown();
            }
            self.send_all(engine, ends);
            if !engine.outgoing().is_empty() || self.send_error.is_some() {
                return SHARE - share;
            }
            if ends {
                fd::shutdown_write(self.fd());
                self.finished = true;
            }
            if self.waiting.is_empty() || !self.may_write(engine) {
                return SHARE - share;
            }
            if share == 0 {
                self.kicked = true;
                return SHARE;
            }
            let mut waiting = std::mem::take(&mut self.waiting);
            let taken = self.encrypt(engine, &waiting.as_slice()[..waiting.len().min(share)]);
            share -= taken;
            waiting.consume(taken);
            self.waiting = waiting;
        }
    }

    /// Whether more may be taken from the peer: one that makes us answer and reads nothing must not fill our memory.
    pub fn may_pull(&self, engine: &Engine) -> bool {
        self.readable && engine.state().outgoing.len() < UNREAD
    }

    fn may_write(&self, engine: &Engine) -> bool {
        matches!(self.stage, Stage::Open | Stage::Ended) && !engine.is_busy()
    }

    fn send(&mut self, engine: &mut Engine) {
        self.send_all(engine, false);
    }

    /// Sends ciphertext until there is none or the descriptor is full; with `last`, FIN follows what is sent.
    fn send_all(&mut self, engine: &mut Engine, last: bool) {
        while self.writable && self.send_error.is_none() && !engine.outgoing().is_empty() {
            let outgoing = engine.outgoing();
            match fd::send(self.fd(), outgoing, last) {
                Transfer::Moved(count) => {
                    self.writable = count == outgoing.len();
                    engine.sent(count);
                }
                Transfer::WouldBlock => self.writable = false,
                Transfer::Failed(errno) => self.send_error = Some(errno),
            }
        }
        // Ciphertext is longer than what it stands for.
        self.encrypted = self.encrypted.min(engine.outgoing().len());
    }

    /// One `recv` of as many records as there are, but at most so many bytes, into memory that all connections share.
    pub fn pull(&mut self, engine: &mut Engine, most: usize) {
        let buffer = engine.state_mut().incoming.tail();
        let space = most.min(buffer.capacity() - buffer.len());
        if space == 0 {
            // There is more, but asking for no bytes would look like the end.
            return;
        }
        match fd::receive(self.fd(), buffer, space) {
            Transfer::Moved(0) => {
                self.readable = false;
                engine.feed_eof();
            }
            // A short read means that there is no more, unless the end is behind it.
            Transfer::Moved(count) => self.readable = count == space || self.hung_up,
            Transfer::WouldBlock => self.readable = false,
            Transfer::Failed(errno) => {
                self.readable = false;
                engine.fail(Failure::system(errno));
            }
        }
    }

    /// Python lets go. Answers whether the connection must linger to get rid of what it has to say.
    pub fn release(&mut self, engine: &mut Engine, reset: bool) -> bool {
        if reset {
            // What only waits for the end of a tick counts as sent.
            self.send(engine);
            fd::reset_on_close(self.fd());
            return false;
        }
        self.waiting = Buffer::default();
        engine.shutdown();
        self.stage = Stage::Lingering;
        self.ending = false;
        self.send(engine);
        let unsent = !engine.outgoing().is_empty() && self.send_error.is_none();
        // Closing with unread bytes sends RST, which can destroy the alert on its way.
        let alert = engine.failure().is_some_and(|failure| failure.alert_sent.is_some());
        (unsent || alert) && !engine.eof() && self.send_error.is_none()
    }

    /// Answers whether a lingering connection is done.
    pub fn linger(&mut self, engine: &mut Engine, scratch: &mut Vec<u8>) -> bool {
        self.send(engine);
        if self.send_error.is_some() {
            return true;
        }
        if engine.outgoing().is_empty() && !self.finished {
            fd::shutdown_write(self.fd());
            self.finished = true;
        }
        if self.readable {
            match fd::receive(self.fd(), scratch, scratch.capacity()) {
                Transfer::Moved(0) | Transfer::Failed(_) => return true,
                // A peer that goes on sending has its turn like everybody else.
                Transfer::Moved(_) => self.kicked = true,
                Transfer::WouldBlock => self.readable = false,
            }
            scratch.clear();
        }
        false
    }
}

/// The engine of a connection; a reactor's connections are driven by its own thread alone.
pub fn engine(engine: &Arc<Mutex<Engine>>) -> MutexGuard<'_, Engine> {
    engine.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
