//! One tick: a look at the descriptor set, then a turn for every connection that can do something.

use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::Events;

use super::{Notice, Reactor, ACCEPTS, ARENA, BULK, HANDSHAKES, PULLS, SCRATCH, SENDING, SHARE};
use crate::connection::{engine, Connection, Stage, RECORD};
use crate::engine::{Engine, Status};
use crate::error::{clear_queue, Failure};
use crate::fd;
use crate::listener::Accepted;
use crate::slots::Entry;

impl Reactor {
    pub fn tick(&mut self) -> Vec<(u64, Notice)> {
        self.in_tick = true;
        self.used = 0;
        self.pushed = 0;
        self.arena.resize(ARENA, 0);
        let mut handshakes = 0;
        loop {
            self.before = self.used;
            self.look();
            self.round(&mut handshakes);
            // While much was read more has come, and looking again costs less than coming back.
            if self.used - self.before < BULK || self.used + RECORD > SHARE {
                return std::mem::take(&mut self.notices);
            }
        }
    }

    /// A turn for everybody in the queue.
    fn round(&mut self, handshakes: &mut usize) {
        let mut deferred = Vec::new();
        for _ in 0..self.queue.len() {
            let Some(token) = self.queue.pop_front() else { break };
            if let Some(listener) = self.listener(token) {
                listener.queued = false;
                self.accept(token);
                continue;
            }
            let Some(mut connection) = self.slots.take(token) else { continue };
            let handshake = connection.stage == Stage::Handshake;
            *handshakes += usize::from(handshake);
            let full = self.used + SHARE / 4 > ARENA || self.pushed >= SENDING;
            if full || (handshake && *handshakes > HANDSHAKES) {
                self.slots.put(token, connection);
                deferred.push(token);
                continue;
            }
            connection.queued = false;
            self.turn(token, connection);
        }
        // Those that had no turn come before those that want another one.
        deferred.into_iter().rev().for_each(|token| self.queue.push_front(token));
    }

    /// Sends what was written during the tick; answers what followed, and whether there is work that no descriptor will tell
    /// of. Without `everything`, the last flight to a peer that has ended already waits for our close_notify.
    pub fn flush(&mut self, everything: bool) -> (Vec<(u64, Notice)>, bool) {
        self.in_tick = false;
        for token in std::mem::take(&mut self.begun) {
            if let Some(connection) = self.slots.take(token) {
                self.turn(token, connection);
            }
        }
        for token in std::mem::take(&mut self.corked) {
            let Some(mut connection) = self.slots.take(token) else { continue };
            if !everything && connection.stage == Stage::Ended && connection.pending() == 0 && !connection.ending {
                self.corked.push(token);
                self.slots.put(token, connection);
                continue;
            }
            connection.corked = false;
            if self.pushed < SENDING {
                let shared = connection.engine.clone();
                let mut engine = engine(&shared);
                self.pushed += connection.push(&mut engine);
                self.settle(token, &mut connection, &mut engine);
            } else {
                connection.kicked = true;
            }
            let again = connection.kicked;
            self.slots.put(token, connection);
            if again {
                self.enqueue(token);
            }
        }
        (std::mem::take(&mut self.notices), !self.queue.is_empty())
    }

    /// Asks the set what the descriptors can do.
    fn look(&mut self) {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        // Interrupted: the events are still there for the next tick, which the set's own descriptor will ask for.
        if self.poll.poll(&mut events, Some(Duration::ZERO)).is_ok() {
            for event in &events {
                let token = event.token().0 as u64;
                match self.slots.get(token) {
                    Some(Entry::Connection(connection)) => {
                        let closed = event.is_read_closed() || event.is_error();
                        connection.hung_up |= closed;
                        connection.broken |= event.is_error();
                        connection.readable |= event.is_readable() || closed;
                        connection.writable |= event.is_writable() || event.is_error();
                    }
                    Some(Entry::Listener(listener)) => listener.acceptable = true,
                    Some(Entry::Dial(dial)) => {
                        dial.readable |= event.is_readable();
                        dial.hung_up |= event.is_read_closed() || event.is_error();
                        dial.broken |= event.is_error();
                        if (event.is_writable() || event.is_error()) && !std::mem::replace(&mut dial.told, true) {
                            self.notices.push((token, Notice::Connected(fd::take_error(dial.fd.as_raw_fd()))));
                        }
                        continue;
                    }
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
                Accepted::Surplus(fd) => self.notices.push((token, Notice::Dropped(fd))),
                Accepted::Lost => {}
                Accepted::Nothing => return,
                Accepted::Failed(errno) => return self.notices.push((token, Notice::AcceptFailed(errno))),
            }
        }
        self.enqueue(token);
    }

    fn turn(&mut self, token: u64, mut connection: Box<Connection>) {
        let gone = self.step(token, &mut connection);
        let again = connection.kicked;
        self.slots.put(token, connection);
        if gone {
            self.slots.remove(token);
        } else if again {
            self.enqueue(token);
        }
    }

    /// A connection does what it can. Answers whether it is gone.
    fn step(&mut self, token: u64, connection: &mut Connection) -> bool {
        let shared = connection.engine.clone();
        let mut engine = engine(&shared);
        if connection.stage == Stage::Lingering {
            return connection.linger(&mut engine, &mut self.scratch);
        }
        let kicked = std::mem::take(&mut connection.kicked);
        if connection.asking && connection.hung_up && connection.may_pull(&engine) {
            // Whether the peer is gone; what it has said before waits with the question.
            engine.state_mut().incoming.borrow(&mut self.scratch);
            connection.pull(&mut engine, SCRATCH);
            engine.state_mut().incoming.give_back(&mut self.scratch);
        }
        self.pushed += connection.push(&mut engine);
        // What is paused is the application's data: a handshake goes on.
        let wanted = !connection.paused || connection.stage == Stage::Handshake;
        if (connection.readable || kicked) && wanted && !connection.asking {
            engine.state_mut().incoming.borrow(&mut self.scratch);
            if connection.stage == Stage::Handshake {
                self.handshake(token, connection, &mut engine);
            }
            if connection.stage == Stage::Open && !connection.paused {
                self.read(token, connection, &mut engine);
            }
            engine.state_mut().incoming.give_back(&mut self.scratch);
        }
        self.settle(token, connection, &mut engine);
        false
    }

    fn handshake(&mut self, token: u64, connection: &mut Connection, engine: &mut Engine) {
        let mut pulls = 0;
        loop {
            let status = engine.handshake();
            self.tell_news(token, engine);
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
                Status::WantInput if connection.may_pull(engine) && pulls < PULLS => {
                    pulls += 1;
                    connection.push(engine);
                    connection.pull(engine, SCRATCH);
                }
                Status::WantInput => {
                    connection.kicked |= connection.may_pull(engine);
                    connection.push(engine);
                    return;
                }
                Status::Asking => {
                    connection.push(engine);
                    return self.ask(token, connection);
                }
                Status::Ended | Status::Failed => return self.fail(token, connection, engine),
            }
        }
    }

    fn read(&mut self, token: u64, connection: &mut Connection, engine: &mut Engine) {
        let mut start = self.used;
        // What the rounds before have read may have been its own.
        let limit = ARENA.min(start + SHARE - self.before);
        let mut pulls = 0;
        clear_queue();
        let status = loop {
            if self.used == limit {
                connection.kicked = true;
                break Status::Done;
            }
            let (status, count) = engine.read(&mut self.arena[self.used..limit]);
            if !engine.state().news.is_empty() {
                // What came before the news is told before.
                self.tell_data(token, start);
                start = self.used;
                self.tell_news(token, engine);
            }
            self.used += count;
            match status {
                Status::Done => {}
                // What is taken from the kernel and finds no room would be copied away and back.
                Status::WantInput if connection.may_pull(engine) && pulls < PULLS && limit - self.used >= RECORD => {
                    pulls += 1;
                    connection.pull(engine, limit - self.used);
                }
                other => break other,
            }
        };
        self.tell_data(token, start);
        self.time_renegotiation(connection, engine);
        let answers = !engine.outgoing().is_empty() || !engine.is_busy() && connection.waits_to_write();
        if answers && !connection.kicked {
            // An answer of the protocol itself, or what waited for it. Who has sent his share goes on in the next tick.
            self.cork(token, connection);
        }
        match status {
            Status::Done | Status::WantInput => {}
            Status::Asking => self.ask(token, connection),
            Status::Ended if engine.truncated() && connection.send_error.is_some() => {
                // A send took the error of the descriptor, which then looks like one that has ended.
                engine.fail(Failure::system(connection.send_error.unwrap_or_default()));
                self.fail(token, connection, engine);
            }
            Status::Ended => {
                connection.stage = Stage::Ended;
                self.notices.push((token, Notice::Ended(engine.truncated())));
            }
            Status::Failed => self.fail(token, connection, engine),
        }
    }

    /// Says that there is data from `start` on, together with what was said last where that is possible.
    fn tell_data(&mut self, token: u64, start: usize) {
        match self.notices.last_mut() {
            _ if self.used == start => {}
            Some((last, Notice::Data(range))) if *last == token && range.end == start => range.end = self.used,
            _ => self.notices.push((token, Notice::Data(start..self.used))),
        }
    }

    /// A renegotiation may take as long as a handshake.
    fn time_renegotiation(&mut self, connection: &mut Connection, engine: &Engine) {
        if !engine.is_busy() {
            connection.deadline = None;
        } else if connection.deadline.is_none() {
            let deadline = fd::monotonic() + connection.handshake_timeout;
            connection.deadline = Some(deadline);
            self.note_deadline(deadline);
        }
    }

    /// Says that there are key log lines, sessions and the like to collect.
    fn tell_news(&mut self, token: u64, engine: &Engine) {
        if !engine.state().news.is_empty() {
            self.notices.push((token, Notice::News));
        }
    }

    /// Tells what followed from sending.
    pub(super) fn settle(&mut self, token: u64, connection: &mut Connection, engine: &mut Engine) {
        if connection.stage == Stage::Lingering {
            // Python has let go: there is nobody to tell.
            return;
        }
        if engine.failure().is_some() && connection.stage != Stage::Failed {
            return self.fail(token, connection, engine);
        }
        let idle = connection.pending() == 0 && connection.send_error.is_none() && !connection.ending;
        if connection.broken && connection.stage == Stage::Ended && idle && !connection.finished {
            // The peer had said all that it had to say, and now it is gone altogether.
            connection.finished = true;
            self.notices.push((token, Notice::Finished));
        }
        if let Some(errno) = connection.send_error {
            // What the peer said before it went away is read first, where somebody reads.
            let may_read = connection.readable && !connection.paused && connection.stage != Stage::Ended;
            if connection.stage == Stage::Ended && connection.pending() == 0 {
                // The peer is gone, and nothing but our close_notify is lost with it.
                connection.finished = true;
            } else if !may_read && connection.stage != Stage::Failed {
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
        if !connection.paused && !connection.asking && connection.may_pull(engine) && connection.stage == Stage::Open {
            connection.kicked = true;
        }
    }

    pub(super) fn fail(&mut self, token: u64, connection: &mut Connection, engine: &mut Engine) {
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

    pub(super) fn cork(&mut self, token: u64, connection: &mut Connection) {
        if !std::mem::replace(&mut connection.corked, true) {
            self.corked.push(token);
        }
    }
}
