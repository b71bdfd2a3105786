//! Which descriptors a reactor owns.
//!
//! A forked child has copies of them and must close these, although a thread that it does not have may hold the reactor's
//! lock. So the set needs none.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

const BITS: usize = 64;
const WORDS: usize = 1024;
const PAGES: usize = 64;

/// One bit for each number; pages are made when they are first needed. Numbers beyond the last page are not kept.
pub struct Descriptors([OnceLock<Box<[AtomicU64]>>; PAGES]);

impl Descriptors {
    pub fn new() -> Self {
        Descriptors(std::array::from_fn(|_| OnceLock::new()))
    }

    pub fn insert(&self, fd: RawFd) {
        if let Some(page) = self.0.get(fd as usize / (WORDS * BITS)) {
            let page = page.get_or_init(|| (0..WORDS).map(|_| AtomicU64::new(0)).collect());
            page[word(fd)].fetch_or(bit(fd), Ordering::Relaxed);
        }
    }

    fn remove(&self, fd: RawFd) {
        if let Some(page) = self.0.get(fd as usize / (WORDS * BITS)).and_then(OnceLock::get) {
            page[word(fd)].fetch_and(!bit(fd), Ordering::Relaxed);
        }
    }

    /// Closes them all, behind the back of whoever owns them: for a child that was just forked.
    pub fn close(&self) {
        for (index, page) in self.0.iter().enumerate() {
            for (position, bits) in page.get().into_iter().flatten().enumerate() {
                let bits = bits.swap(0, Ordering::Relaxed);
                for position in (0..BITS).filter(|shift| bits >> shift & 1 == 1).map(|shift| position * BITS + shift) {
                    // SAFETY: a system call on a number of ours.
                    unsafe { libc::close((index * WORDS * BITS + position) as RawFd) };
                }
            }
        }
    }
}

fn word(fd: RawFd) -> usize {
    fd as usize / BITS % WORDS
}

fn bit(fd: RawFd) -> u64 {
    1 << (fd as usize % BITS)
}

/// A descriptor that stands in the set as long as it is open.
pub struct Descriptor {
    fd: OwnedFd,
    set: Arc<Descriptors>,
}

impl Descriptor {
    pub fn new(fd: OwnedFd, set: Arc<Descriptors>) -> Self {
        set.insert(fd.as_raw_fd());
        Descriptor { fd, set }
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // Before its number can be somebody else's.
        self.set.remove(self.fd.as_raw_fd());
    }
}
