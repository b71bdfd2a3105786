//! The Python class `Reactor`.

use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard};

use mio::net::TcpStream;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use pyo3::IntoPyObjectExt;

use crate::descriptors::{Descriptor, Descriptors};
use crate::engine_class::{lock, with_bytes, EngineClass};
use crate::fd;
use crate::listener::Listener;
use crate::reactor::{Notice, Reactor};
use crate::settings::PySettings;

/// `None` once closed.
#[pyclass(frozen, name = "Reactor", module = "aiotls._native")]
pub struct ReactorClass(Mutex<Option<Reactor>>, Arc<Descriptors>);

impl ReactorClass {
    fn lock(&self) -> PyResult<MutexGuard<'_, Option<Reactor>>> {
        lock(&self.0)
    }

    /// Asks something of an open reactor.
    fn with<R>(&self, closed: R, work: impl FnOnce(&mut Reactor) -> R) -> PyResult<R> {
        Ok(self.lock()?.as_mut().map_or(closed, work))
    }
}

const ASKING: u8 = 1;
const SECURE: u8 = 2;
const DATA: u8 = 3;
const DRAIN: u8 = 4;
const ENDED: u8 = 5;
const FINISHED: u8 = 6;
const FAILED: u8 = 7;
const NEWS: u8 = 8;
const ACCEPTED: u8 = 9;
const ACCEPT_FAILED: u8 = 10;
const DROPPED: u8 = 11;
const CONNECTED: u8 = 12;

pub fn add_notices(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for (name, value) in [
        ("NOTICE_ASKING", ASKING),
        ("NOTICE_SECURE", SECURE),
        ("NOTICE_DATA", DATA),
        ("NOTICE_DRAIN", DRAIN),
        ("NOTICE_ENDED", ENDED),
        ("NOTICE_FINISHED", FINISHED),
        ("NOTICE_FAILED", FAILED),
        ("NOTICE_NEWS", NEWS),
        ("NOTICE_ACCEPTED", ACCEPTED),
        ("NOTICE_ACCEPT_FAILED", ACCEPT_FAILED),
        ("NOTICE_DROPPED", DROPPED),
        ("NOTICE_CONNECTED", CONNECTED),
    ] {
        module.add(name, value)?;
    }
    Ok(())
}

fn closed_descriptor() -> PyErr {
    PyOSError::new_err((libc::EBADF, "the descriptor is closed"))
}

fn closed() -> PyErr {
    PyOSError::new_err((libc::EBADF, "the reactor is closed"))
}

#[pymethods]
impl ReactorClass {
    #[new]
    fn new() -> PyResult<Self> {
        let reactor = Reactor::new().map_err(os_error)?;
        let descriptors = reactor.descriptors.clone();
        Ok(ReactorClass(Mutex::new(Some(reactor)), descriptors))
    }

    fn fileno(&self) -> PyResult<RawFd> {
        self.with(-1, |reactor| reactor.fd())
    }

    /// Closes everything at once, without a word to the peers.
    fn close(&self) -> PyResult<()> {
        *self.lock()? = None;
        Ok(())
    }

    fn abandon(slf: &Bound<'_, Self>) {
        let reactor = slf.get();
        if let Ok(mut unused) = reactor.0.try_lock() {
            *unused = None;
            return;
        }
        reactor.1.close();
        // The thread that was using it is not in this process, so nobody will ever let go of it.
        mem::forget(slf.clone().unbind());
    }

    #[pyo3(signature = (fd, settings, /, *, handshake_timeout, no_delay, announce = false, most = usize::MAX))]
    fn listen(
        &self,
        fd: RawFd,
        settings: &Bound<'_, PySettings>,
        handshake_timeout: f64,
        no_delay: bool,
        announce: bool,
        most: usize,
    ) -> PyResult<u64> {
        if fd < 0 {
            return Err(closed_descriptor());
        }
        // SAFETY: the contract of `listen`: the caller gives up an open descriptor, also when this fails.
        let fd = unsafe { fd::adopt(fd) };
        if no_delay {
            // Accepted connections inherit it.
            fd::set_no_delay(fd.as_raw_fd());
        }
        let mut reactor = self.lock()?;
        let listener = Listener {
            fd: Some(Descriptor::new(fd, self.1.clone())),
            settings: settings.get().0.clone(),
            handshake_timeout,
            announce,
            most,
            paused: false,
            acceptable: false,
            queued: false,
            connections: 0,
            handshakes: 0,
        };
        reactor.as_mut().ok_or_else(closed)?.listen(listener).map_err(os_error)
    }

    #[pyo3(signature = (listener, /))]
    fn unlisten(&self, listener: u64) -> PyResult<()> {
        self.with((), |reactor| reactor.unlisten(listener))
    }

    #[pyo3(signature = (listener, settings, announce, most = usize::MAX, /))]
    fn update_listener(
        &self,
        listener: u64,
        settings: &Bound<'_, PySettings>,
        announce: bool,
        most: usize,
    ) -> PyResult<()> {
        self.with((), |reactor| {
            if let Some(listener) = reactor.listener(listener) {
                listener.settings = settings.get().0.clone();
                listener.announce = announce;
                listener.most = most;
            }
        })
    }

    #[pyo3(signature = (listener, paused, /))]
    fn pause_listener(&self, listener: u64, paused: bool) -> PyResult<()> {
        self.with((), |reactor| reactor.pause_listener(listener, paused))
    }

    #[pyo3(signature = (fd, /))]
    fn dial(&self, fd: RawFd) -> PyResult<u64> {
        if fd < 0 {
            return Err(closed_descriptor());
        }
        // SAFETY: the contract of `dial`: the caller gives up an open descriptor, also when this fails.
        let fd = unsafe { fd::adopt(fd) };
        self.lock()?.as_mut().ok_or_else(closed)?.dial(fd).map_err(os_error)
    }

    #[pyo3(signature = (address, port, no_delay, /))]
    fn connect(&self, address: &str, port: u16, no_delay: bool) -> PyResult<u64> {
        let address: IpAddr = address.parse()?;
        let stream = TcpStream::connect(SocketAddr::new(address, port)).map_err(os_error)?;
        if no_delay {
            fd::set_no_delay(stream.as_raw_fd());
        }
        self.lock()?.as_mut().ok_or_else(closed)?.dial(stream.into()).map_err(os_error)
    }

    #[pyo3(signature = (engine, token, /, *, handshake_timeout))]
    fn begin(&self, engine: &Bound<'_, EngineClass>, token: u64, handshake_timeout: f64) -> PyResult<()> {
        self.with((), |reactor| reactor.begin(engine.get().0.clone(), handshake_timeout, token))
    }

    #[pyo3(signature = (token, /))]
    fn hang_up(&self, token: u64) -> PyResult<()> {
        self.with((), |reactor| reactor.hang_up(token))
    }

    #[pyo3(signature = (engine, fd, /, *, handshake_timeout))]
    fn attach(&self, engine: &Bound<'_, EngineClass>, fd: RawFd, handshake_timeout: f64) -> PyResult<u64> {
        if fd < 0 {
            return Err(closed_descriptor());
        }
        // SAFETY: the contract of `attach`: the caller gives up an open descriptor, also when this fails.
        let fd = unsafe { fd::adopt(fd) };
        let mut reactor = self.lock()?;
        let reactor = reactor.as_mut().ok_or_else(closed)?;
        reactor.attach(engine.get().0.clone(), fd, 0, handshake_timeout).map_err(os_error)
    }

    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let (notices, arena) = py.detach(|| {
            let mut reactor = self.lock()?;
            PyResult::Ok(
                reactor
                    .as_mut()
                    .map_or_else(Default::default, |reactor| (reactor.tick(), mem::take(&mut reactor.arena))),
            )
        })?;
        // Making objects can run finalisers, which may use the reactor: it is not locked meanwhile.
        let list = notice_list(py, notices, &arena)?;
        if let Ok(Some(reactor)) = self.lock().as_deref_mut() {
            reactor.arena = arena;
        }
        Ok(list)
    }

    #[pyo3(signature = (everything = true, /))]
    fn flush<'py>(&self, py: Python<'py>, everything: bool) -> PyResult<(Bound<'py, PyList>, bool, Option<f64>)> {
        let ((notices, more), deadline) = py.detach(|| {
            let mut reactor = self.lock()?;
            PyResult::Ok(
                reactor
                    .as_mut()
                    .map_or_else(Default::default, |reactor| (reactor.flush(everything), reactor.deadline())),
            )
        })?;
        // Nothing is read in it.
        Ok((notice_list(py, notices, &[])?, more, deadline))
    }

    fn deadline(&self) -> PyResult<Option<f64>> {
        self.with(None, |reactor| reactor.deadline())
    }

    fn expire(&self) -> PyResult<()> {
        self.with((), Reactor::expire)
    }

    #[pyo3(signature = (token, /))]
    fn engine(&self, token: u64) -> PyResult<Option<EngineClass>> {
        self.with(None, |reactor| reactor.connection(token).map(|found| EngineClass(Arc::clone(&found.engine))))
    }

    #[pyo3(signature = (token, /))]
    fn listener(&self, token: u64) -> PyResult<u64> {
        self.with(0, |reactor| reactor.connection(token).map_or(0, |found| found.listener))
    }

    #[pyo3(signature = (token, /))]
    fn fd(&self, token: u64) -> PyResult<RawFd> {
        self.with(-1, |reactor| reactor.connection(token).map_or(-1, |found| found.fd()))
    }

    #[pyo3(signature = (token, data, /))]
    fn write(&self, token: u64, data: &Bound<'_, PyAny>) -> PyResult<isize> {
        let py = data.py();
        with_bytes(data, |bytes| {
            let write = || {
                self.with(0, |reactor| {
                    let pending = reactor.write(token, bytes);
                    if reactor.has_news() {
                        -1
                    } else {
                        pending as isize
                    }
                })
            };
            // Letting others run costs more than encrypting a little.
            const LITTLE: usize = 4096;
            if bytes.len() <= LITTLE {
                return write();
            }
            py.detach(write)
        })?
    }

    #[pyo3(signature = (token, /))]
    fn pending(&self, token: u64) -> PyResult<usize> {
        self.with(0, |reactor| reactor.connection(token).map_or(0, |found| found.pending()))
    }

    #[pyo3(signature = (token, /))]
    fn want_drain(&self, token: u64) -> PyResult<()> {
        self.with((), |reactor| reactor.want_drain(token))
    }

    #[pyo3(signature = (token, /))]
    fn end(&self, token: u64) -> PyResult<()> {
        self.with((), |reactor| reactor.end(token))
    }

    #[pyo3(signature = (token, /))]
    fn pause(&self, token: u64) -> PyResult<()> {
        self.with((), |reactor| {
            if let Some(connection) = reactor.connection(token) {
                connection.paused = true;
            }
        })
    }

    #[pyo3(signature = (token, /))]
    fn resume(&self, token: u64) -> PyResult<()> {
        self.with((), |reactor| reactor.resume(token))
    }

    #[pyo3(signature = (token, /))]
    fn push(&self, token: u64) -> PyResult<()> {
        self.with((), |reactor| reactor.push(token))
    }

    #[pyo3(signature = (token, /))]
    fn answered(&self, token: u64) -> PyResult<()> {
        self.with((), |reactor| reactor.answered(token))
    }

    #[pyo3(signature = (token, /, *, reset = false))]
    fn close_connection(&self, token: u64, reset: bool) -> PyResult<bool> {
        self.with(false, |reactor| reactor.close_connection(token, reset))
    }

    #[pyo3(signature = (listener, /))]
    fn close_connections(&self, listener: u64) -> PyResult<()> {
        self.with((), |reactor| reactor.close_connections(listener))
    }

    #[pyo3(signature = (listener, /))]
    fn counts(&self, listener: u64) -> PyResult<(usize, usize)> {
        self.with((0, 0), |reactor| {
            reactor.listener(listener).map_or((0, 0), |found| (found.connections, found.handshakes))
        })
    }
}

/// ``(token, notice, payload)`` for each; data is a range of `arena`.
fn notice_list<'py>(py: Python<'py>, notices: Vec<(u64, Notice)>, arena: &[u8]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for (token, notice) in notices {
        let none = || py.None().into_bound(py);
        let (kind, payload) = match notice {
            Notice::Asking => (ASKING, none()),
            Notice::Secure => (SECURE, none()),
            Notice::Data(range) => (DATA, PyBytes::new(py, &arena[range]).into_any()),
            Notice::Drain => (DRAIN, none()),
            Notice::Ended(truncated) => (ENDED, truncated.into_bound_py_any(py)?),
            Notice::Finished => (FINISHED, none()),
            Notice::Failed(failure) => (FAILED, (*failure).into_bound_py_any(py)?),
            Notice::News => (NEWS, none()),
            Notice::Connected(errno) => (CONNECTED, errno.into_bound_py_any(py)?),
            Notice::Accepted => (ACCEPTED, none()),
            Notice::AcceptFailed(errno) => (ACCEPT_FAILED, errno.into_bound_py_any(py)?),
            Notice::Dropped(fd) => (DROPPED, fd.into_raw_fd().into_bound_py_any(py)?),
        };
        list.append((token, kind, payload))?;
    }
    Ok(list)
}

/// As Python makes them, with the number.
fn os_error(error: std::io::Error) -> PyErr {
    PyOSError::new_err((error.raw_os_error(), error.to_string()))
}
