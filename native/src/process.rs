//! What holds for every connection of the process: a file for the key log, and the trace.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use pyo3::prelude::*;

/// The descriptor, and which file it was for when it was given.
static KEY_LOG: AtomicI32 = AtomicI32::new(-1);
static DEVICE: AtomicU64 = AtomicU64::new(0);
static FILE: AtomicU64 = AtomicU64::new(0);
static TRACE: AtomicBool = AtomicBool::new(false);

/// From now on the key log lines of every connection are written to `fd`, which was opened for appending; -1 for none.
#[pyfunction]
#[pyo3(signature = (fd, /))]
pub fn set_keylog_fd(fd: c_int) {
    if let Some((device, file)) = identity(fd) {
        DEVICE.store(device, Ordering::Relaxed);
        FILE.store(file, Ordering::Relaxed);
    }
    KEY_LOG.store(fd, Ordering::Release);
}

/// Which file a descriptor is for.
#[allow(clippy::unnecessary_cast)] // the types differ between systems
fn identity(fd: c_int) -> Option<(u64, u64)> {
    let mut status = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the status is written before it is read.
    unsafe { (libc::fstat(fd, status.as_mut_ptr()) == 0).then(|| status.assume_init()) }
        .map(|status| (status.st_dev as u64, status.st_ino as u64))
}

/// From now on new connections print their trace on the error stream.
#[pyfunction]
pub fn trace_everything() {
    TRACE.store(true, Ordering::Release);
}

pub fn traces() -> bool {
    TRACE.load(Ordering::Acquire)
}

/// Writes a line of the key log, with its newline in it, at once, so that lines of several processes do not mix.
pub fn log_key(line: &[u8]) {
    let fd = KEY_LOG.load(Ordering::Acquire);
    // Daemons close what they do not know, and the number may then be a peer's.
    if fd >= 0 && identity(fd) == Some((DEVICE.load(Ordering::Relaxed), FILE.load(Ordering::Relaxed))) {
        // SAFETY: the line is readable for its length. A log that cannot be written is no reason to end a connection.
        unsafe { libc::write(fd, line.as_ptr().cast(), line.len()) };
    }
}

pub fn logs_keys() -> bool {
    KEY_LOG.load(Ordering::Acquire) >= 0
}
