//! A listening descriptor, and how the connections accepted from it begin.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use crate::descriptors::Descriptor;
use crate::engine::Engine;
use crate::fd;
use crate::settings::Settings;

pub struct Listener {
    /// None once closed; the entry stays for the sake of what was accepted.
    pub fd: Option<Descriptor>,
    pub settings: Arc<Settings>,
    pub handshake_timeout: f64,
    pub announce: bool,
    /// So many connections may be open; those that come besides are handed over unserved.
    pub most: usize,
    pub paused: bool,
    pub acceptable: bool,
    pub queued: bool,
    /// Connections that are open to Python, and those of them still in their handshake.
    pub connections: usize,
    pub handshakes: usize,
}

pub enum Accepted {
    Connection(Arc<Mutex<Engine>>, OwnedFd),
    Nothing,
    Surplus(OwnedFd),
    /// One peer was lost before it was ours.
    Lost,
    /// The process or the system is out of something, or forbids it; the listener has paused.
    Failed(i32),
}

impl Listener {
    /// One attempt.
    pub fn accept(&mut self) -> Accepted {
        let Some(listening) = self.fd.as_ref().filter(|_| self.acceptable && !self.paused) else {
            return Accepted::Nothing;
        };
        let fd = match fd::accept(listening.as_raw_fd()) {
            Ok(fd) => fd,
            Err(libc::EAGAIN) => {
                self.acceptable = false;
                return Accepted::Nothing;
            }
            Err(errno) if concerns_one_peer(errno) => return Accepted::Lost,
            Err(errno) => {
                self.paused = true;
                return Accepted::Failed(errno);
            }
        };
        if self.connections >= self.most {
            return Accepted::Surplus(fd);
        }
        match Engine::new(self.settings.clone(), None, None) {
            Ok(engine) => Accepted::Connection(Arc::new(Mutex::new(engine)), fd),
            // Without memory for an engine the connection is dropped, as if the peer had never come.
            Err(_) => Accepted::Lost,
        }
    }
}

/// What went wrong with one peer concerns no other: a reset, and the errors of its network that accept(2) passes on.
fn concerns_one_peer(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNABORTED
            | libc::EINTR
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
    )
}
