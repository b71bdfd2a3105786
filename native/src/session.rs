//! Sessions, and their encoding (i2d_SSL_SESSION(3)).

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::clear_queue;
use crate::sys;

/// One reference to a session.
pub struct Session(*mut sys::SSL_SESSION);

// SAFETY: a session that nobody changes may move between threads.
unsafe impl Send for Session {}
// SAFETY: as above: what may change one gets a copy.
unsafe impl Sync for Session {}

/// A client's session, decoded once for any number of connections.
#[pyclass(frozen, name = "Session", module = "aiotls._native")]
pub struct SessionClass(pub Session);

#[pymethods]
impl SessionClass {
    #[staticmethod]
    #[pyo3(signature = (der, /))]
    fn decode(der: &[u8]) -> Option<Self> {
        Session::decode(der).map(SessionClass)
    }

    fn ticket<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.ticket().map(|ticket| PyBytes::new(py, &ticket))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { sys::SSL_SESSION_free(self.0) };
    }
}

impl Session {
    /// None for what is no encoding of a session.
    pub fn decode(der: &[u8]) -> Option<Session> {
        let mut data = der.as_ptr();
        // SAFETY: the bytes are readable for their length.
        let session = unsafe { sys::d2i_SSL_SESSION(std::ptr::null_mut(), &mut data, der.len() as _) };
        clear_queue();
        (!session.is_null()).then_some(Session(session))
    }

    /// The session in use; None before there is one.
    ///
    /// # Safety
    /// `ssl` must be live.
    pub unsafe fn current(ssl: *mut sys::SSL) -> Option<Session> {
        // SAFETY: the caller's.
        let session = unsafe { sys::SSL_get1_session(ssl) };
        (!session.is_null()).then_some(Session(session))
    }

    /// Another one with the same content: a connection of TLS 1.3 marks the session that it has used.
    pub fn copy(&self) -> Option<Session> {
        // SAFETY: the session is live; the copy is ours.
        let copy = unsafe { sys::SSL_SESSION_dup(self.0) };
        (!copy.is_null()).then_some(Session(copy))
    }

    pub fn as_ptr(&self) -> *mut sys::SSL_SESSION {
        self.0
    }

    /// Gives the reference away.
    pub fn into_ptr(self) -> *mut sys::SSL_SESSION {
        std::mem::ManuallyDrop::new(self).0
    }

    pub fn encoded(&self) -> Vec<u8> {
        // SAFETY: the session is live.
        unsafe { encode(self.0) }
    }

    pub fn id(&self) -> &[u8] {
        // SAFETY: the session is live.
        unsafe { id(self.0) }
    }

    /// Whether it can be resumed: a session of TLS 1.3 cannot before its ticket has come.
    pub fn is_resumable(&self) -> bool {
        // SAFETY: the session is live.
        unsafe { sys::SSL_SESSION_is_resumable(self.0) == 1 }
    }

    pub fn ticket(&self) -> Option<Vec<u8>> {
        let (mut data, mut length) = (std::ptr::null(), 0);
        // SAFETY: the session is live; the ticket is its own and copied.
        unsafe {
            sys::SSL_SESSION_get0_ticket(self.0, &mut data, &mut length);
            (!data.is_null()).then(|| std::slice::from_raw_parts(data, length).to_vec())
        }
    }
}

/// # Safety
/// `session` must be live.
pub unsafe fn encode(session: *mut sys::SSL_SESSION) -> Vec<u8> {
    // SAFETY: the caller's; the second call writes as many bytes as the first one said.
    unsafe {
        let length = sys::i2d_SSL_SESSION(session, std::ptr::null_mut());
        let mut der = vec![0; length.max(0) as usize];
        sys::i2d_SSL_SESSION(session, &mut der.as_mut_ptr());
        der
    }
}

/// # Safety
/// `session` must be live, and outlive the answer.
pub unsafe fn id<'a>(session: *const sys::SSL_SESSION) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: the caller's.
    unsafe {
        let data = sys::SSL_SESSION_get_id(session, &mut length);
        if length == 0 {
            return &[];
        }
        std::slice::from_raw_parts(data, length as usize)
    }
}
