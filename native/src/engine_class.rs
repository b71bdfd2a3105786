//! The Python class `Engine`: an engine behind its lock.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PyTuple};

use crate::context::Context;
use crate::engine::{Engine, Status};
use crate::error::{clear_queue, Failure};
use crate::psk::Psk;
use crate::session::{Session, SessionClass};
use crate::settings::PySettings;
use crate::state::News;

/// How much plaintext one `read` may return.
const LARGEST_READ: usize = 1 << 20;

#[pyclass(frozen, name = "Engine", module = "aiotls._native")]
pub struct EngineClass(pub Arc<Mutex<Engine>>);

impl EngineClass {
    fn lock(&self) -> PyResult<MutexGuard<'_, Engine>> {
        lock(&self.0)
    }
}

/// Never waits: one connection is driven by one thread, and not from inside its own handshake.
pub fn lock<T>(mutex: &Mutex<T>) -> PyResult<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Ok(guard),
        Err(TryLockError::Poisoned(error)) => Ok(error.into_inner()),
        Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(
            "this connection is in use: by another thread, or by the handshake that is calling",
        )),
    }
}

/// The bytes of any object with the buffer protocol, copied only where they are not `bytes`.
pub fn with_bytes<R>(data: &Bound<'_, PyAny>, use_bytes: impl FnOnce(&[u8]) -> R) -> PyResult<R> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(use_bytes(bytes.as_bytes()));
    }
    // A buffer of whatever elements, as bytes.
    let copied = PyMemoryView::from(data)?.call_method0("tobytes")?.cast_into::<PyBytes>()?;
    Ok(use_bytes(copied.as_bytes()))
}

#[pymethods]
impl EngineClass {
    #[new]
    #[pyo3(signature = (settings, /, servername = None, expected = None))]
    fn new(settings: &Bound<'_, PySettings>, servername: Option<&str>, expected: Option<&str>) -> PyResult<Self> {
        let engine = Engine::new(settings.get().0.clone(), servername, expected)?;
        Ok(EngineClass(Arc::new(Mutex::new(engine))))
    }

    #[pyo3(signature = (data, /))]
    fn feed(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut engine = self.lock()?;
        with_bytes(data, |bytes| engine.state_mut().incoming.extend(bytes))
    }

    fn feed_eof(&self) -> PyResult<()> {
        self.lock()?.feed_eof();
        Ok(())
    }

    #[pyo3(signature = (limit = usize::MAX, /))]
    fn drain<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyBytes>> {
        let mut engine = self.lock()?;
        let outgoing = engine.outgoing();
        let bytes = PyBytes::new(py, &outgoing[..limit.min(outgoing.len())]);
        engine.sent(bytes.as_bytes().len());
        Ok(bytes)
    }

    // The lock is never held while this waits for the interpreter.
    fn handshake(&self, py: Python<'_>) -> PyResult<u8> {
        py.detach(|| {
            let mut engine = self.lock()?;
            let status = engine.handshake();
            engine.compact();
            Ok(status as u8)
        })
    }

    #[pyo3(signature = (limit, /))]
    fn read<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyAny>> {
        let (status, out) = py.detach(|| -> PyResult<_> {
            let mut engine = self.lock()?;
            let mut out = vec![0; limit.min(LARGEST_READ)];
            let mut filled = 0;
            let mut status = Status::Done;
            clear_queue();
            while filled < out.len() && status == Status::Done {
                let (now, count) = engine.read(&mut out[filled..]);
                (status, filled) = (now, filled + count);
            }
            engine.compact();
            out.truncate(filled);
            Ok((status, out))
        })?;
        if !out.is_empty() {
            return Ok(PyBytes::new(py, &out).into_any());
        }
        Ok((status as u8).into_pyobject(py)?.into_any())
    }

    #[pyo3(signature = (data, /))]
    fn write(&self, data: &Bound<'_, PyAny>) -> PyResult<u8> {
        let mut engine = self.lock()?;
        with_bytes(data, |bytes| engine.write(bytes) as u8)
    }

    fn shutdown(&self) -> PyResult<u8> {
        Ok(self.lock()?.shutdown() as u8)
    }

    fn news<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let news = self.lock()?.take_news();
        news.into_iter()
            .map(|each| {
                let (event, payload) = match &each {
                    News::KeyLog(line) => ("keylog", &line[..]),
                    News::Session(session) => ("session", &session[..]),
                    News::Secure => ("secure", &[][..]),
                };
                (event, PyBytes::new(py, payload)).into_pyobject(py)
            })
            .collect()
    }

    #[getter]
    fn question(&self) -> PyResult<u32> {
        Ok(self.lock()?.state().question)
    }

    #[pyo3(signature = (accept, /))]
    fn answer(&self, accept: bool) -> PyResult<()> {
        self.lock()?.answer(accept);
        Ok(())
    }

    fn hello<'py>(&self, py: Python<'py>) -> PyResult<Option<Hello<'py>>> {
        let engine = self.lock()?;
        Ok(engine.state().hello.as_ref().map(|hello| {
            (PyBytes::new(py, &hello.protocols), hello.session_id.as_ref().map(|id| PyBytes::new(py, id)))
        }))
    }

    #[pyo3(signature = (context, request_cert, reject_unauthorized, name, /))]
    fn use_context(
        &self,
        context: &Bound<'_, Context>,
        request_cert: bool,
        reject_unauthorized: bool,
        name: Vec<u8>,
    ) -> PyResult<()> {
        Ok(self.lock()?.use_context(context.get().share(), request_cert, reject_unauthorized, name)?)
    }

    #[pyo3(signature = (context, /))]
    fn use_identity(&self, context: &Bound<'_, Context>) -> PyResult<()> {
        Ok(self.lock()?.use_identity(&context.get().share())?)
    }

    #[pyo3(signature = (protocol, /))]
    fn choose_protocol(&self, protocol: Option<&[u8]>) -> PyResult<()> {
        self.lock()?.choose_protocol(protocol);
        Ok(())
    }

    #[pyo3(signature = (session, /))]
    fn set_session(&self, session: &[u8]) -> PyResult<bool> {
        let mut engine = self.lock()?;
        engine.state_mut().resumed = Session::decode(session);
        Ok(engine.state().resumed.is_some())
    }

    #[pyo3(signature = (session, authorized, /))]
    fn offer_session(&self, session: &Bound<'_, SessionClass>, authorized: bool) -> PyResult<()> {
        self.lock()?.offer_session(&session.get().0, authorized);
        Ok(())
    }

    #[pyo3(signature = (certificate, response, /))]
    fn staple(&self, certificate: Vec<u8>, response: Vec<u8>) -> PyResult<()> {
        self.lock()?.state_mut().staples.push((certificate, response));
        Ok(())
    }

    fn identities<'py>(&self, py: Python<'py>) -> PyResult<Vec<Identity<'py>>> {
        let identities = self.lock()?.identities();
        Ok(identities.into_iter().map(|(leaf, issuer)| (PyBytes::new(py, &leaf), bytes(py, issuer))).collect())
    }

    fn stapled<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(bytes(py, self.lock()?.state().stapled.clone()))
    }

    fn sessions<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>> {
        let engine = self.lock()?;
        let sessions = engine.state().sessions.iter();
        Ok(sessions.map(|(id, session)| (PyBytes::new(py, id), PyBytes::new(py, session))).collect())
    }

    fn session<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(bytes(py, self.lock()?.session().map(|session| session.encoded())))
    }

    #[pyo3(signature = (ask, hint, /))]
    fn set_psk(&self, ask: Py<PyAny>, hint: Option<&str>) -> PyResult<()> {
        Ok(self.lock()?.set_psk(Psk::new(ask), hint)?)
    }

    #[pyo3(signature = (request_cert, reject_unauthorized, /))]
    fn renegotiate(&self, request_cert: bool, reject_unauthorized: bool) -> PyResult<()> {
        Ok(self.lock()?.renegotiate(request_cert, reject_unauthorized)?)
    }

    fn disable_renegotiation(&self) -> PyResult<()> {
        self.lock()?.disable_renegotiation();
        Ok(())
    }

    #[getter]
    fn busy(&self) -> PyResult<bool> {
        Ok(self.lock()?.is_busy())
    }

    #[pyo3(signature = (asks, /))]
    fn watch(&self, asks: u32) -> PyResult<()> {
        self.lock()?.watch(asks);
        Ok(())
    }

    #[pyo3(signature = (size, /))]
    fn set_max_send_fragment(&self, size: u32) -> PyResult<bool> {
        Ok(self.lock()?.set_max_send_fragment(size))
    }

    fn shared_sigalgs(&self) -> PyResult<Vec<String>> {
        Ok(self.lock()?.shared_sigalgs())
    }

    fn authenticated_by_key(&self) -> PyResult<bool> {
        Ok(self.lock()?.authenticated_by_key())
    }

    #[getter]
    fn failure(&self) -> PyResult<Option<Failure>> {
        Ok(self.lock()?.failure().cloned())
    }

    #[getter]
    fn truncated(&self) -> PyResult<bool> {
        Ok(self.lock()?.truncated())
    }

    #[getter]
    fn incoming(&self) -> PyResult<usize> {
        Ok(self.lock()?.state().incoming.len())
    }

    #[getter]
    fn outgoing(&self) -> PyResult<usize> {
        Ok(self.lock()?.outgoing().len())
    }

    fn protocol(&self) -> PyResult<Option<String>> {
        Ok(self.lock()?.protocol())
    }

    fn cipher(&self) -> PyResult<Option<(String, String, String)>> {
        Ok(self.lock()?.cipher())
    }

    fn group(&self) -> PyResult<Option<String>> {
        Ok(self.lock()?.group())
    }

    fn ephemeral_dh(&self) -> PyResult<Option<i32>> {
        Ok(self.lock()?.ephemeral_dh())
    }

    fn alpn<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(bytes(py, self.lock()?.alpn()))
    }

    fn servername(&self) -> PyResult<Option<String>> {
        Ok(self.lock()?.servername())
    }

    fn session_reused(&self) -> PyResult<bool> {
        Ok(self.lock()?.session_reused())
    }

    fn verify_result(&self) -> PyResult<i64> {
        Ok(self.lock()?.verify_result())
    }

    fn certificate<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(bytes(py, self.lock()?.certificate()))
    }

    fn peer_certificate<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(bytes(py, self.lock()?.peer_certificate()))
    }

    fn peer_chain<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let chain = self.lock()?.peer_chain();
        Ok(chain.iter().map(|der| PyBytes::new(py, der)).collect())
    }

    fn peer_names<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let Some((dns, addresses, common_names)) = self.lock()?.peer_names() else { return Ok(None) };
        let dns = PyTuple::new(py, dns.iter().map(|name| PyBytes::new(py, name)))?;
        let addresses = PyTuple::new(py, addresses.iter().map(|address| PyBytes::new(py, address)))?;
        Ok(Some((dns, addresses, PyTuple::new(py, common_names)?).into_pyobject(py)?))
    }

    fn finished<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(bytes(py, self.lock()?.finished(false)))
    }

    fn peer_finished<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(bytes(py, self.lock()?.finished(true)))
    }

    #[pyo3(signature = (length, label, context, /))]
    fn export_keying_material<'py>(
        &self,
        py: Python<'py>,
        length: usize,
        label: &str,
        context: Option<&[u8]>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        if length > LARGEST_READ {
            return Err(PyValueError::new_err("too many bytes of keying material"));
        }
        Ok(PyBytes::new(py, &self.lock()?.export_keying_material(length, label, context)?))
    }
}

/// The protocols offered, and the session named.
type Hello<'py> = (Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>);

/// A certificate and its issuer.
type Identity<'py> = (Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>);

fn bytes(py: Python<'_>, value: Option<Vec<u8>>) -> Option<Bound<'_, PyBytes>> {
    value.map(|value| PyBytes::new(py, &value))
}
