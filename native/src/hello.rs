//! What a ClientHello says, as far as questions are about it (RFC 8446, section 4.1.2).

use std::ffi::c_long;

use crate::sys;

const SERVER_NAME: u32 = 0;
const ALPN: u32 = 16;
const SESSION_TICKET: u32 = 35;
const PRE_SHARED_KEY: u32 = 41;
const SUPPORTED_VERSIONS: u32 = 43;
const TLS_1_3: u16 = 0x0304;
/// A TLS 1.3 ticket of this length may be the identifier of a session that the server stores.
const SESSION_ID: usize = 32;

pub struct Hello {
    /// The protocols offered, in wire form.
    pub protocols: Vec<u8>,
    /// The session that the client wants to resume, where the server is to look it up.
    pub session_id: Option<Vec<u8>>,
}

impl Hello {
    /// # Safety
    /// `ssl` must be inside its client-hello callback.
    pub unsafe fn of(ssl: *mut sys::SSL) -> Hello {
        // SAFETY: the caller's.
        unsafe {
            Hello {
                protocols: extension(ssl, ALPN).and_then(|data| prefixed16(&mut &*data)).unwrap_or_default().to_vec(),
                session_id: session_id(ssl),
            }
        }
    }
}

/// The host name that the client asks for, as it stands there; None for none, and for one that is no text.
///
/// # Safety
/// `ssl` must be inside its client-hello callback.
pub unsafe fn servername(ssl: *mut sys::SSL) -> Option<Box<str>> {
    const HOST_NAME: u8 = 0;
    // SAFETY: the caller's.
    let mut data = unsafe { extension(ssl, SERVER_NAME) }?;
    let mut list = prefixed16(&mut data)?;
    let (kind, rest) = list.split_first()?;
    list = rest;
    let name = prefixed16(&mut list).filter(|name| *kind == HOST_NAME && !name.is_empty())?;
    std::str::from_utf8(name).ok().filter(|name| name.is_ascii() && !name.contains('\0')).map(Into::into)
}

/// Whether the client offers, for TLS 1.3, an identity that is no ticket: those that `is_ticket` does not know, and text.
///
/// # Safety
/// `ssl` must be inside its client-hello callback.
pub unsafe fn offers_external_key(ssl: *mut sys::SSL, is_ticket: impl Fn(&[u8]) -> bool) -> bool {
    const AGE: usize = 4;
    // SAFETY: the caller's.
    let Some(mut data) = (unsafe { extension(ssl, PRE_SHARED_KEY) }) else { return false };
    let mut identities = prefixed16(&mut data).unwrap_or_default();
    while let Some(identity) = prefixed16(&mut identities) {
        if !is_ticket(identity) && std::str::from_utf8(identity).is_ok() {
            return true;
        }
        identities = identities.get(AGE..).unwrap_or_default();
    }
    false
}

/// The identifier under which OpenSSL will look for a session, if it will.
///
/// # Safety
/// `ssl` must be inside its client-hello callback.
unsafe fn session_id(ssl: *mut sys::SSL) -> Option<Vec<u8>> {
    // SAFETY: the caller's; the identifier points into the hello and is copied.
    unsafe {
        let tickets = sys::SSL_get_options(ssl) & u64::from(sys::SSL_OP_NO_TICKET as u32) == 0;
        if speaks_tls13(ssl) {
            // With tickets in use, nothing is stored that could be found.
            let identities = extension(ssl, PRE_SHARED_KEY).filter(|_| !tickets)?;
            let identity = prefixed16(&mut prefixed16(&mut &*identities)?)?;
            return (identity.len() == SESSION_ID).then(|| identity.to_vec());
        }
        if tickets && extension(ssl, SESSION_TICKET).is_some_and(|ticket| !ticket.is_empty()) {
            return None;
        }
        let mut data = std::ptr::null();
        let length = sys::SSL_client_hello_get0_session_id(ssl, &mut data);
        (length > 0).then(|| std::slice::from_raw_parts(data, length).to_vec())
    }
}

/// Whether this handshake will be one of TLS 1.3.
///
/// # Safety
/// `ssl` must be inside its client-hello callback.
unsafe fn speaks_tls13(ssl: *mut sys::SSL) -> bool {
    // SAFETY: the caller's.
    unsafe {
        let highest = sys::max_version(ssl);
        let ours = (highest == 0 || highest >= c_long::from(TLS_1_3))
            && sys::SSL_get_options(ssl) & u64::from(sys::SSL_OP_NO_TLSv1_3 as u32) == 0;
        let versions = extension(ssl, SUPPORTED_VERSIONS).and_then(|data| data.get(1..)).unwrap_or_default();
        ours && versions.chunks_exact(2).any(|version| version == TLS_1_3.to_be_bytes())
    }
}

/// # Safety
/// `ssl` must be inside its client-hello callback, which the answer must not outlive.
unsafe fn extension<'a>(ssl: *mut sys::SSL, kind: u32) -> Option<&'a [u8]> {
    let (mut data, mut length) = (std::ptr::null(), 0);
    // SAFETY: the caller's.
    unsafe {
        if sys::SSL_client_hello_get0_ext(ssl, kind, &mut data, &mut length) != 1 {
            return None;
        }
        // The pointer of an empty extension may be null.
        Some(if length == 0 { &[] } else { std::slice::from_raw_parts(data, length) })
    }
}

/// Takes a field with its length in two bytes before it.
fn prefixed16<'a>(data: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    let (field, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *data = rest;
    Some(field)
}
