//! Pre-shared keys. The only hooks that call Python, because OpenSSL cannot wait for their answer.

use std::ffi::{c_char, c_int, c_uchar, c_uint, CStr, CString};

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes};

use crate::callbacks::state;
use crate::error::clear_queue;
use crate::sys;

/// Makes OpenSSL fail with the alert internal_error: no key is that long.
const FAIL: c_uint = c_uint::MAX;
/// OpenSSL has room for as many bytes of a key.
const LONGEST_KEY: usize = 512;
/// As many as SHA-256 gives: what stands for the key of an identity that nobody knows.
const STAND_IN: usize = 32;

/// A hello may name so many identities that somebody is asked about.
const MOST_IDENTITIES: u32 = 4;

pub struct Psk {
    /// Of a server: `(identity) -> key | None | False`; of a client: `(hint | None) -> (identity, key) | None | False`.
    /// False says that a function of the user has failed.
    ask: Py<PyAny>,
    /// A server's client named an identity whose key is known, or one that is not.
    found: bool,
    asked: u32,
    pub unknown: bool,
    /// The key itself was used in this handshake, not a session.
    pub external: bool,
    /// The peer is who it is by its key alone, at this time or when the session was made that is now resumed.
    pub authenticates: bool,
}

enum Asked<T> {
    Found(T),
    Nothing,
    Failed,
}

impl Psk {
    pub fn new(ask: Py<PyAny>) -> Self {
        Psk { ask, found: false, asked: 0, unknown: false, external: false, authenticates: false }
    }

    /// A hello is read: nothing that another one said counts.
    pub fn begin(&mut self) {
        self.found = false;
        self.unknown = false;
    }

    /// Notes what the handshake used, once it is done; `required` says that no session was made without a certificate but
    /// with a key, or by a server that was verified.
    ///
    /// # Safety
    /// `ssl` must be live.
    pub unsafe fn note(&mut self, ssl: *mut sys::SSL, server: bool, certificate: bool, required: bool) {
        // SAFETY: the caller's; the suite is static, the session the connection's own.
        let (tls13, resumed, by_key, has_ticket) = unsafe {
            let suite = sys::SSL_get_current_cipher(ssl);
            let session = sys::SSL_get_session(ssl);
            (
                sys::SSL_version(ssl) >= sys::TLS1_3_VERSION,
                sys::SSL_session_reused(ssl) == 1,
                !suite.is_null() && sys::SSL_CIPHER_get_auth_nid(suite) == sys::NID_AUTH_PSK,
                !session.is_null() && sys::SSL_SESSION_has_ticket(session) == 1,
            )
        };
        // OpenSSL counts an external key of TLS 1.3 as a session, one without a ticket.
        self.external = match (tls13, server) {
            (true, true) => resumed && self.found,
            (true, false) => resumed && !has_ticket,
            (false, _) => by_key && !resumed,
        };
        self.authenticates = self.external || (required && resumed && !certificate);
    }
}

/// Lets a connection use pre-shared keys.
///
/// # Safety
/// `ssl` must be live and have a state with a `Psk`.
pub unsafe fn install(ssl: *mut sys::SSL, server: bool) {
    // SAFETY: the caller's; the hooks have the signatures that OpenSSL documents.
    unsafe {
        if server {
            sys::SSL_set_psk_server_callback(ssl, Some(server_key));
            sys::SSL_set_psk_find_session_callback(ssl, Some(find_session));
        } else {
            sys::SSL_set_psk_client_callback(ssl, Some(client_key));
        }
    }
}

/// Puts the suites of TLS 1.3 that an external key can be used with before the others, because OpenSSL chooses the suite
/// before it looks for keys.
///
/// # Safety
/// `ssl` must be a live server.
pub unsafe fn prefer_sha256(ssl: *mut sys::SSL) {
    // SAFETY: the caller's; the list belongs to the connection, names are static, the string is NUL-terminated.
    unsafe {
        let suites = sys::SSL_get_ciphers(ssl);
        let mut names: Vec<String> = (0..sys::OPENSSL_sk_num(suites.cast()))
            .map(|index| sys::OPENSSL_sk_value(suites.cast(), index).cast())
            .map(|suite| CStr::from_ptr(sys::SSL_CIPHER_get_name(suite)).to_string_lossy().into_owned())
            .filter(|name| name.starts_with("TLS_"))
            .collect();
        names.sort_by_key(|name| !name.ends_with("SHA256"));
        if let Ok(list) = CString::new(names.join(":")) {
            sys::SSL_set_ciphersuites(ssl, list.as_ptr());
        }
    }
}

/// Asks Python. No reference to the state is held meanwhile.
unsafe fn ask<T>(
    ssl: *mut sys::SSL,
    arguments: impl FnOnce(Python<'_>) -> PyResult<Py<PyAny>>,
    extract: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T>,
) -> Asked<T> {
    let asked = Python::attach(|py| -> PyResult<Asked<T>> {
        // SAFETY: the caller's connection is live; the reference ends before the function runs.
        let function = match unsafe { state(ssl) }.and_then(|state| state.psk.as_ref()) {
            Some(psk) => psk.ask.clone_ref(py),
            None => return Ok(Asked::Nothing),
        };
        let answer = function.call1(py, (arguments(py)?,))?.into_bound(py);
        if answer.is_none() {
            return Ok(Asked::Nothing);
        }
        if answer.is_instance_of::<PyBool>() {
            return Ok(Asked::Failed);
        }
        Ok(Asked::Found(extract(&answer)?))
    })
    .unwrap_or(Asked::Failed);
    // The user's function may have used OpenSSL.
    clear_queue();
    if matches!(asked, Asked::Failed) {
        // SAFETY: as above.
        if let Some(state) = unsafe { state(ssl) } {
            state.refused = true;
        }
    }
    asked
}

unsafe fn key_of(ssl: *mut sys::SSL, identity: &[u8]) -> Asked<Vec<u8>> {
    // SAFETY: the caller's.
    let asked = unsafe { ask(ssl, |py| Ok(PyBytes::new(py, identity).into_any().unbind()), |answer| answer.extract()) };
    match asked {
        Asked::Found(key) if (1..=LONGEST_KEY).contains(&Vec::len(&key)) => Asked::Found(key),
        Asked::Found(_) => Asked::Nothing,
        other => other,
    }
}

/// Up to TLS 1.2. An identity that nobody knows gets a key that nobody knows, so that it fails where a wrong key does.
unsafe extern "C" fn server_key(
    ssl: *mut sys::SSL,
    identity: *const c_char,
    out: *mut c_uchar,
    room: c_uint,
) -> c_uint {
    const TLS_1_3: c_int = 0x0304;
    // SAFETY: OpenSSL calls with a live connection, a NUL-terminated identity and room for a key.
    unsafe {
        if sys::SSL_version(ssl) >= TLS_1_3 || identity.is_null() {
            return 0;
        }
        let key = match key_of(ssl, CStr::from_ptr(identity).to_bytes()) {
            Asked::Failed => return FAIL,
            asked => accept(ssl, asked),
        };
        let Some(key) = key.filter(|key| key.len() <= room as usize) else { return 0 };
        std::ptr::copy_nonoverlapping(key.as_ptr(), out, key.len());
        key.len() as c_uint
    }
}

/// Notes whether the key is known, and finds one for those that are not.
unsafe fn accept(ssl: *mut sys::SSL, asked: Asked<Vec<u8>>) -> Option<Vec<u8>> {
    // SAFETY: the caller's connection is live.
    let psk = unsafe { state(ssl) }?.psk.as_mut()?;
    if let Asked::Found(key) = asked {
        psk.found = true;
        return Some(key);
    }
    psk.unknown = true;
    let mut key = vec![0; STAND_IN];
    openssl::rand::rand_bytes(&mut key).ok()?;
    Some(key)
}

/// TLS 1.3: every identity that the client offers, its tickets among them.
unsafe extern "C" fn find_session(
    ssl: *mut sys::SSL,
    identity: *const c_uchar,
    length: usize,
    out: *mut *mut sys::SSL_SESSION,
) -> c_int {
    // SAFETY: OpenSSL calls with a live connection, an identity of `length` bytes and room for the answer.
    unsafe {
        *out = std::ptr::null_mut();
        let identity = std::slice::from_raw_parts(identity, length);
        let Some(known) = state(ssl) else { return 0 };
        let Some(psk) = &mut known.psk else { return 1 };
        // OpenSSL asks on when it does not take what was found for an earlier one.
        psk.begin();
        if known.settings.tickets.know(identity) || psk.asked >= MOST_IDENTITIES {
            return 1;
        }
        psk.asked += 1;
        // What is no text is a ticket of somebody else, or of keys that are gone.
        let asked = match std::str::from_utf8(identity) {
            Ok(_) => key_of(ssl, identity),
            Err(_) => return 1,
        };
        let found = matches!(asked, Asked::Found(_));
        // A server with a certificate can do without the key: the handshake goes on with that.
        if matches!(asked, Asked::Failed) {
            return 0;
        }
        if !found && !sys::SSL_get_certificate(ssl).is_null() {
            return 1;
        }
        let Some(key) = accept(ssl, asked) else { return 0 };
        *out = session_with(ssl, &key);
        c_int::from(!(*out).is_null())
    }
}

/// A session that holds nothing but an external key, for the hash SHA-256 (RFC 8446, section 4.2.11).
unsafe fn session_with(ssl: *mut sys::SSL, key: &[u8]) -> *mut sys::SSL_SESSION {
    const AES_128_GCM_SHA256: [u8; 2] = [0x13, 0x01];
    const TLS_1_3: c_int = 0x0304;
    // SAFETY: the caller's connection is live; OpenSSL copies the key.
    unsafe {
        let session = sys::SSL_SESSION_new();
        let cipher = sys::SSL_CIPHER_find(ssl, AES_128_GCM_SHA256.as_ptr());
        // Tickets inherit it.
        sys::SSL_SESSION_set_timeout(session, sys::SSL_CTX_get_timeout(sys::SSL_get_SSL_CTX(ssl)));
        if sys::SSL_SESSION_set1_master_key(session, key.as_ptr(), key.len()) == 1
            && sys::SSL_SESSION_set_cipher(session, cipher) == 1
            && sys::SSL_SESSION_set_protocol_version(session, TLS_1_3) == 1
        {
            return session;
        }
        sys::SSL_SESSION_free(session);
        std::ptr::null_mut()
    }
}

unsafe extern "C" fn client_key(
    ssl: *mut sys::SSL,
    hint: *const c_char,
    identity: *mut c_char,
    identity_room: c_uint,
    key: *mut c_uchar,
    key_room: c_uint,
) -> c_uint {
    // SAFETY: OpenSSL calls with a live connection, a NUL-terminated hint or null, and room for both answers.
    unsafe {
        let hint = (!hint.is_null()).then(|| CStr::from_ptr(hint).to_bytes());
        let arguments = |py: Python<'_>| match hint {
            Some(hint) => Ok(PyBytes::new(py, hint).into_any().unbind()),
            None => Ok(py.None()),
        };
        let (name, secret) = match ask(ssl, arguments, |answer| answer.extract::<(Vec<u8>, Vec<u8>)>()) {
            Asked::Found(found) => found,
            Asked::Nothing => return 0,
            Asked::Failed => return FAIL,
        };
        if name.len() > identity_room as usize || secret.len() > key_room as usize || name.contains(&0) {
            return 0;
        }
        std::ptr::copy_nonoverlapping(name.as_ptr(), identity.cast(), name.len());
        *identity.add(name.len()) = 0;
        std::ptr::copy_nonoverlapping(secret.as_ptr(), key, secret.len());
        secret.len() as c_uint
    }
}
