//! A listening descriptor, and how the connections accepted from it begin.

use std::os::fd::{OwnedFd, RawFd};
use std::sync::{Arc, Mutex};

use crate::engine::Engine;
use crate::fd;
use crate::settings::Settings;

pub struct Listener {
    /// The caller's; it outlives the listener.
    pub fd: RawFd,
    pub settings: Arc<Settings>,
    pub handshake_timeout: f64,
    pub no_delay: bool,
    pub announce: bool,
    pub paused: bool,
    /// No more is accepted; the entry stays for the sake of what was.
    pub closed: bool,
    pub acceptable: bool,
    pub queued: bool,
    /// Connections that are open to Python, and those of them still in their handshake.
    pub connections: usize,
    pub handshakes: usize,
}

pub enum Accepted {
    Connection(Arc<Mutex<Engine>>, OwnedFd),
    Nothing,
    /// The process or the system is out of something; the listener has paused.
    Failed(i32),
}

impl Listener {
    pub fn accept(&mut self) -> Accepted {
        while self.acceptable && !self.paused && !self.closed {
            match fd::accept(self.fd) {
                Ok(fd) => {
                    if self.no_delay {
                        fd::set_no_delay(std::os::fd::AsRawFd::as_raw_fd(&fd));
                    }
                    // Without memory for an engine the connection is dropped, as if the peer had never come.
                    if let Ok(engine) = Engine::new(self.settings.clone(), None) {
                        return Accepted::Connection(Arc::new(Mutex::new(engine)), fd);
                    }
                }
                Err(libc::EAGAIN) => self.acceptable = false,
                Err(errno @ (libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)) => {
                    self.paused = true;
                    return Accepted::Failed(errno);
                }
                Err(libc::EBADF | libc::EINVAL | libc::ENOTSOCK) => self.acceptable = false,
                // What went wrong with one peer (ECONNABORTED, EPROTO, a network error) concerns no other.
                Err(_) => {}
            }
        }
        Accepted::Nothing
    }
}
