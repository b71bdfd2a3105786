//! The keys of session tickets (SSL_CTX_set_tlsext_ticket_key_evp_cb(3)).

use std::ffi::{c_int, c_uchar};
use std::sync::{Arc, OnceLock};

use foreign_types::ForeignTypeRef;
use openssl::cipher::Cipher;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::error::Failure;
use crate::sys;

pub const LENGTH: usize = 48;
const PART: usize = 16;

/// A name, a key for HMAC-SHA256 and one for AES-128-CBC, of 16 bytes each.
#[derive(Clone)]
pub struct Key([u8; LENGTH]);

impl Key {
    fn name(&self) -> &[u8] {
        &self.0[..PART]
    }

    fn hmac(&self) -> &[u8] {
        &self.0[PART..2 * PART]
    }

    fn aes(&self) -> &[u8] {
        &self.0[2 * PART..]
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the bytes are ours.
        unsafe { sys::OPENSSL_cleanse(self.0.as_mut_ptr().cast(), LENGTH) };
    }
}

/// The first key makes new tickets; the others only read, and what they read is renewed.
pub struct Keys(Vec<Key>);

#[pyclass(frozen, module = "aiotls._native")]
pub struct TicketKeys(pub Arc<Keys>);

#[pymethods]
impl TicketKeys {
    #[new]
    #[pyo3(signature = (keys = Vec::new(), /))]
    fn new(keys: Vec<Vec<u8>>) -> PyResult<Self> {
        let keys: Result<Vec<_>, _> = keys.into_iter().map(|key| <[u8; LENGTH]>::try_from(key).map(Key)).collect();
        let keys = keys.map_err(|_| PyValueError::new_err("ticket keys have 48 bytes"))?;
        Ok(TicketKeys(Arc::new(if keys.is_empty() { Keys::random()? } else { Keys(keys) })))
    }

    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.0 .0.iter().map(|key| PyBytes::new(py, &key.0)))
    }
}

/// AES-128-CBC, fetched once: OpenSSL looks its own constant up each time.
fn aes() -> *const sys::EVP_CIPHER {
    static CIPHER: OnceLock<Option<Cipher>> = OnceLock::new();
    let cipher = CIPHER.get_or_init(|| Cipher::fetch(None, "AES-128-CBC", None).ok());
    cipher.as_ref().map_or(std::ptr::null(), |cipher| cipher.as_ptr())
}

const FAILED: c_int = -1;
const UNKNOWN: c_int = 0;
const DONE: c_int = 1;
const DONE_RENEW: c_int = 2;

impl Keys {
    pub fn random() -> Result<Keys, Failure> {
        let mut key = [0; LENGTH];
        openssl::rand::rand_bytes(&mut key)?;
        Ok(Keys(vec![Key(key)]))
    }

    /// Whether a ticket, or what else a client names, begins with the name of one of the keys.
    pub fn know(&self, identity: &[u8]) -> bool {
        identity.get(..PART).is_some_and(|name| self.0.iter().any(|key| openssl::memcmp::eq(key.name(), name)))
    }

    /// Prepares OpenSSL's contexts for a new ticket; writes the name of its key and an initialisation vector.
    ///
    /// # Safety
    /// Arguments as SSL_CTX_set_tlsext_ticket_key_evp_cb(3) describes them.
    pub unsafe fn seal(
        &self,
        name: *mut c_uchar,
        iv: *mut c_uchar,
        cipher: *mut sys::EVP_CIPHER_CTX,
        mac: *mut sys::EVP_MAC_CTX,
    ) -> c_int {
        let Some(key) = self.0.first() else { return FAILED };
        // SAFETY: the caller's: the name has 16 bytes, the vector at least 16.
        unsafe {
            std::ptr::copy_nonoverlapping(key.name().as_ptr(), name, PART);
            if sys::RAND_bytes(iv, PART as c_int) == 1
                && sys::EVP_EncryptInit_ex(cipher, aes(), std::ptr::null_mut(), key.aes().as_ptr(), iv) == 1
                && sys::set_hmac_sha256(mac, key.hmac())
            {
                return DONE;
            }
        }
        FAILED
    }

    /// Prepares OpenSSL's contexts for a ticket that came back. With `once`, the client gets a new one in any case, because
    /// it should use a ticket of TLS 1.3 once (RFC 8446, C.4).
    ///
    /// # Safety
    /// As for `seal`.
    pub unsafe fn open(
        &self,
        name: *const c_uchar,
        iv: *const c_uchar,
        cipher: *mut sys::EVP_CIPHER_CTX,
        mac: *mut sys::EVP_MAC_CTX,
        once: bool,
    ) -> c_int {
        // SAFETY: as in `seal`.
        unsafe {
            let name = std::slice::from_raw_parts(name, PART);
            let Some(position) = self.0.iter().position(|key| openssl::memcmp::eq(key.name(), name)) else {
                return UNKNOWN;
            };
            let key = &self.0[position];
            let ready = sys::set_hmac_sha256(mac, key.hmac())
                && sys::EVP_DecryptInit_ex(cipher, aes(), std::ptr::null_mut(), key.aes().as_ptr(), iv) == 1;
            match (ready, position) {
                (false, _) => FAILED,
                (true, 0) if !once => DONE,
                (true, _) => DONE_RENEW,
            }
        }
    }
}
