//! Reading and writing descriptors without blocking.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A broken pipe is an error and no signal; where there is no such flag, Python ignores the signal anyway.
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: i32 = 0;

#[cfg(any(target_os = "linux", target_os = "android"))]
const MORE: i32 = libc::MSG_MORE;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const MORE: i32 = 0;

/// What a system call on a descriptor came to.
pub enum Transfer {
    Moved(usize),
    WouldBlock,
    Failed(i32),
}

pub fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Repeats a call that a signal interrupted.
fn outcome(mut call: impl FnMut() -> isize) -> Transfer {
    loop {
        let result = call();
        if result >= 0 {
            return Transfer::Moved(result as usize);
        }
        match last_errno() {
            libc::EINTR => continue,
            libc::EAGAIN => return Transfer::WouldBlock,
            errno => return Transfer::Failed(errno),
        }
    }
}

/// Adds at most `most` bytes, which must not be none, to what `buffer` has room for. `Moved(0)` is the end of the stream.
pub fn receive(fd: RawFd, buffer: &mut Vec<u8>, most: usize) -> Transfer {
    let spare = buffer.spare_capacity_mut();
    let (start, length) = (spare.as_mut_ptr(), spare.len().min(most));
    // SAFETY: `spare` is writable for its length.
    let transfer = outcome(|| unsafe { libc::recv(fd, start.cast(), length, 0) });
    if let Transfer::Moved(count) = transfer {
        // SAFETY: the kernel has filled that many bytes.
        unsafe { buffer.set_len(buffer.len() + count) };
    }
    transfer
}

/// With `last`, the data waits for the FIN that must follow at once, so that both leave in one segment.
pub fn send(fd: RawFd, data: &[u8], last: bool) -> Transfer {
    let flags = if last { NO_SIGNAL | MORE } else { NO_SIGNAL };
    // SAFETY: `data` is readable for its length.
    outcome(|| unsafe { libc::send(fd, data.as_ptr().cast(), data.len(), flags) })
}

/// Sends FIN.
pub fn shutdown_write(fd: RawFd) {
    // SAFETY: plain system call; a descriptor that is not connected any more gives an error that changes nothing.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

/// Makes the next `close` send RST.
pub fn reset_on_close(fd: RawFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
}

pub fn set_no_delay(fd: RawFd) {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1i32);
}

/// The error that waits on a descriptor, such as that of `connect`; 0 for none.
pub fn take_error(fd: RawFd) -> i32 {
    let mut error = 0i32;
    let mut size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `error` is writable for its size.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, std::ptr::from_mut(&mut error).cast(), &mut size)
    };
    if result < 0 {
        last_errno()
    } else {
        error
    }
}

fn set_option<T>(fd: RawFd, level: i32, name: i32, value: &T) {
    // SAFETY: `value` is readable for its size. Options of TCP fail harmlessly on Unix sockets.
    unsafe { libc::setsockopt(fd, level, name, std::ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t) };
}

/// One connection from a listening descriptor, non-blocking and closed on exec.
pub fn accept(listener: RawFd) -> Result<OwnedFd, i32> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    // SAFETY: null addresses are allowed; a descriptor that is not negative is ours.
    unsafe {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let fd = libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags);
        if fd < 0 {
            return Err(last_errno());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    // SAFETY: as above; the flags are set before anybody else sees the descriptor.
    unsafe {
        let fd = libc::accept(listener, std::ptr::null_mut(), std::ptr::null_mut());
        if fd < 0 {
            return Err(last_errno());
        }
        libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        libc::fcntl(fd, libc::F_SETFL, libc::fcntl(fd, libc::F_GETFL) | libc::O_NONBLOCK);
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Seconds on the clock of Python's `time.monotonic`.
pub fn monotonic() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// A descriptor that Python handed over.
///
/// # Safety
/// `fd` must be open and owned by nobody else.
pub unsafe fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: plain system calls on an open descriptor.
    unsafe {
        let flags = libc::fcntl(fd.as_raw_fd(), libc::F_GETFL);
        libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK);
    }
    fd
}
