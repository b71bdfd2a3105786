//! Keys and certificates that OpenSSL loads by a URI (ossl_store(7)): files, and what providers know, such as tokens.

use std::ffi::{c_int, CString};
use std::ptr::null_mut;

use foreign_types::ForeignType;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::x509::X509;
use pyo3::prelude::*;

use crate::error::{clear_queue, Failure};
use crate::passphrase::{Asking, Passphrase};
use crate::sys;
use crate::trust::{Certificate, PrivateKey};

/// All private keys behind a URI.
#[pyfunction]
#[pyo3(signature = (uri, passphrase, /))]
pub fn load_store_keys(py: Python<'_>, uri: &str, passphrase: Option<&[u8]>) -> PyResult<Vec<PrivateKey>> {
    py.detach(|| {
        let mut found = Vec::new();
        let asked = visit(uri, passphrase, sys::OSSL_STORE_INFO_PKEY, |info| {
            // SAFETY: the item is live; the key is ours.
            let key = unsafe { sys::OSSL_STORE_INFO_get1_PKEY(info) };
            if !key.is_null() {
                // SAFETY: as above.
                found.push(PrivateKey(unsafe { PKey::from_ptr(key) }));
            }
        })?;
        answer(found, asked)
    })
}

/// All certificates behind a URI, in their order.
#[pyfunction]
#[pyo3(signature = (uri, passphrase, /))]
pub fn load_store_certificates(py: Python<'_>, uri: &str, passphrase: Option<&[u8]>) -> PyResult<Vec<Certificate>> {
    py.detach(|| {
        let mut found = Vec::new();
        let asked = visit(uri, passphrase, sys::OSSL_STORE_INFO_CERT, |info| {
            // SAFETY: the item is live; the certificate is ours.
            let certificate = unsafe { sys::OSSL_STORE_INFO_get1_CERT(info) };
            if !certificate.is_null() {
                // SAFETY: as above.
                found.push(Certificate(unsafe { X509::from_ptr(certificate) }));
            }
        })?;
        answer(found, asked)
    })
}

/// So many things that are not wanted may follow each other.
const PATIENCE: usize = 1000;

/// Whether errors only say that something of another kind came, or the end.
fn is_benign(stack: &ErrorStack) -> bool {
    const ERR_LIB_OSSL_STORE: c_int = 44;
    const ERR_LIB_OSSL_DECODER: c_int = 60;
    stack.errors().iter().all(|error| {
        matches!(error.library_code(), ERR_LIB_OSSL_STORE | ERR_LIB_OSSL_DECODER)
            && error.reason() == Some("unsupported")
    })
}

/// Calls `take` with every item of one kind; answers whether a passphrase was asked for.
fn visit(
    uri: &str,
    passphrase: Option<&[u8]>,
    kind: c_int,
    mut take: impl FnMut(*mut sys::OSSL_STORE_INFO),
) -> Result<bool, Failure> {
    clear_queue();
    let scheme = uri.split_once(':').map(|(scheme, _)| scheme);
    let uri = CString::new(uri).map_err(|_| Failure::default())?;
    let asking = Asking::new()?;
    let mut passphrase = Passphrase::new(passphrase);
    // SAFETY: the store, and what it asks, live for this call; items are freed here.
    unsafe {
        let mut open =
            || sys::OSSL_STORE_open(uri.as_ptr(), asking.as_ptr(), passphrase.as_user_data(), None, null_mut());
        let mut store = open();
        if store.is_null() && scheme.is_some_and(load_provider) {
            clear_queue();
            store = open();
        }
        if store.is_null() {
            return Err(Failure::from_queue());
        }
        // Other kinds are then not decrypted in vain; a loader that cannot tell gives all.
        sys::OSSL_STORE_expect(store, kind);
        let mut stack = ErrorStack::get();
        let mut idle = 0;
        // A key that stands beside certificates and stays shut is no matter of theirs.
        let passes = |stack: &ErrorStack, asked| is_benign(stack) || asked && kind == sys::OSSL_STORE_INFO_CERT;
        while sys::OSSL_STORE_eof(store) == 0 && idle < PATIENCE && passes(&stack, passphrase.asked) {
            let info = sys::OSSL_STORE_load(store);
            idle += 1;
            if info.is_null() {
                stack = ErrorStack::get();
                continue;
            }
            if sys::OSSL_STORE_INFO_get_type(info) == kind {
                take(info);
                idle = 0;
            }
            sys::OSSL_STORE_INFO_free(info);
        }
        sys::OSSL_STORE_close(store);
        clear_queue();
        if !passes(&stack, passphrase.asked) {
            return Err(passphrase.failure(stack));
        }
    }
    Ok(passphrase.asked)
}

/// What was found. A loader that asked for a passphrase and then has nothing did not get the right one, though some say
/// nothing of it.
fn answer<T>(found: Vec<T>, asked: bool) -> PyResult<Vec<T>> {
    if found.is_empty() && asked {
        return Err(Passphrase::refused().into());
    }
    Ok(found)
}

/// Loads the provider for PKCS #11, which has the name of its scheme; the other ones stay. Others have to be activated by
/// the configuration: a mistake in a URI must not change what the whole process can do.
fn load_provider(scheme: &str) -> bool {
    const KEEP_FALLBACKS: c_int = 1;
    // SAFETY: the name is NUL-terminated; the provider stays loaded as long as the process.
    scheme.eq_ignore_ascii_case("pkcs11")
        && unsafe { !sys::OSSL_PROVIDER_try_load(null_mut(), c"pkcs11".as_ptr(), KEEP_FALLBACKS).is_null() }
}
