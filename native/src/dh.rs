//! Diffie-Hellman over finite fields: the parameters of a server, and how small ones a client takes.

use std::ffi::{c_int, c_void};

use foreign_types::ForeignType;
use openssl::pkey::{Id, PKey, Params};
use pyo3::prelude::*;

use crate::callbacks;
use crate::engine::Engine;
use crate::error::{self, Failure};
use crate::sys;

/// The smallest finite field of TLS 1.3, in bits (RFC 7919).
const SMALLEST_GROUP: u32 = 2048;

/// How many bits the prime of Diffie-Hellman parameters in PEM has.
#[pyfunction]
#[pyo3(signature = (pem, /))]
pub fn dh_bits(pem: &[u8]) -> PyResult<c_int> {
    let parameters = parameters(pem)?;
    // SAFETY: the parameters are live.
    Ok(unsafe { sys::EVP_PKEY_bits(parameters.as_ptr()) })
}

pub fn parameters(pem: &[u8]) -> PyResult<PKey<Params>> {
    error::clear_queue();
    // SAFETY: the BIO reads from `pem`, which outlives it; the parameters are ours.
    let parameters = unsafe {
        let bio = sys::BIO_new_mem_buf(pem.as_ptr().cast(), pem.len() as c_int);
        let parameters = sys::PEM_read_bio_Parameters(bio, std::ptr::null_mut());
        sys::BIO_free_all(bio);
        if parameters.is_null() {
            return Err(Failure::from_queue().into());
        }
        PKey::<Params>::from_ptr(parameters)
    };
    if !matches!(parameters.id(), Id::DH | Id::DHX) {
        let reason = Some("these are no parameters of Diffie-Hellman".to_owned());
        return Err(Failure { reason, ..Failure::default() }.into());
    }
    Ok(parameters)
}

// Every call below works on a live connection; nothing runs on it meanwhile, because the owner's lock is held.
impl Engine {
    /// Lets a client refuse a server whose ephemeral Diffie-Hellman key has less than `min_dh_size` bits, where the
    /// security level alone would take it.
    pub fn watch_dh(&mut self) {
        const BITS_OF_LEVEL: [u32; 6] = [0, 1024, 2048, 3072, 7680, 15360];
        // SAFETY: see above.
        unsafe {
            let level = sys::SSL_get_security_level(self.ssl()).clamp(0, 5) as usize;
            if BITS_OF_LEVEL[level] < self.settings.min_dh_size {
                self.state_mut().security = sys::SSL_get_security_callback(self.ssl());
                sys::SSL_set_security_callback(self.ssl(), Some(check_strength));
            }
        }
    }

    /// Why the group of a TLS 1.3 key exchange is not taken: a finite field smaller than the client wants. In older
    /// versions the hook for the strength of keys sees to that.
    pub fn weak_group(&self) -> Option<Failure> {
        let wanted = self.settings.min_dh_size;
        if wanted <= SMALLEST_GROUP || !self.is_tls13() {
            return None;
        }
        let size: u32 = self.group()?.strip_prefix("ffdhe")?.parse().ok()?;
        (size < wanted).then(|| weak(size, wanted))
    }
}

/// Refuses an ephemeral Diffie-Hellman key of a server that is smaller than the client wants; the rest is OpenSSL's.
unsafe extern "C" fn check_strength(
    ssl: *const sys::SSL,
    ctx: *const sys::SSL_CTX,
    operation: c_int,
    bits: c_int,
    nid: c_int,
    subject: *mut c_void,
    data: *mut c_void,
) -> c_int {
    // SAFETY: OpenSSL calls with a live connection; for this operation the subject is the peer's key.
    unsafe {
        let Some(state) = callbacks::state(ssl) else { return 0 };
        if operation == sys::SSL_SECOP_TMP_DH {
            let size = sys::EVP_PKEY_bits(subject.cast()).max(0) as u32;
            if size < state.settings.min_dh_size {
                state.weak_dh = Some(size);
                return 0;
            }
        }
        let Some(usual) = state.security else { return 0 };
        usual(ssl, ctx, operation, bits, nid, subject, data)
    }
}

/// A server's key of so many bits, where so many are wanted.
pub fn weak(size: u32, wanted: u32) -> Failure {
    Failure::named("ERR_TLS_DH_PARAM_SIZE", &format!("DH parameter size {size} is less than {wanted}"))
}
