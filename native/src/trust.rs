//! Certificates, private keys and stores of trusted certificates.

use std::ffi::c_int;

use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::{GeneralName, GeneralNameRef, X509Ref, X509};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{clear_queue, Failure};
use crate::passphrase::Passphrase;
use crate::sys;

#[pyclass(frozen, module = "aiotls._native")]
pub struct PrivateKey(pub PKey<Private>);

#[pymethods]
impl PrivateKey {
    #[staticmethod]
    #[pyo3(signature = (pem, passphrase, /))]
    fn from_pem(py: Python<'_>, pem: &[u8], passphrase: Option<&[u8]>) -> PyResult<Self> {
        py.detach(|| {
            clear_queue();
            let mut passphrase = Passphrase::new(passphrase);
            let key = PKey::private_key_from_pem_callback(pem, |buffer| Ok(passphrase.tell(buffer)));
            key.map(PrivateKey).map_err(|stack| passphrase.failure(stack).into())
        })
    }
}

#[pyclass(frozen, module = "aiotls._native")]
pub struct Certificate(pub X509);

#[pymethods]
impl Certificate {
    #[staticmethod]
    #[pyo3(signature = (pem, /))]
    fn from_pem(pem: &[u8]) -> PyResult<Vec<Certificate>> {
        clear_queue();
        let mut found = Vec::new();
        // SAFETY: the BIO reads from `pem`, which outlives it; each certificate returned is owned by us. No callback is
        // given, so the passphrase is the empty string of `user_data` and nothing prompts.
        unsafe {
            let bio = sys::BIO_new_mem_buf(pem.as_ptr().cast(), pem.len() as i32);
            if bio.is_null() {
                return Err(Failure::from_queue().into());
            }
            loop {
                let certificate =
                    sys::PEM_read_bio_X509_AUX(bio, std::ptr::null_mut(), None, c"".as_ptr().cast_mut().cast());
                if certificate.is_null() {
                    break;
                }
                found.push(Certificate(X509::from_ptr(certificate)));
            }
            sys::BIO_free_all(bio);
        }
        let stack = ErrorStack::get();
        // The end of the text is told by the last entry (PEM_read_bio(3)).
        if stack.errors().last().is_some_and(|error| error.reason() == Some("no start line")) {
            return Ok(found);
        }
        Err(Failure::from(stack).into())
    }

    #[staticmethod]
    #[pyo3(signature = (der, /))]
    fn from_der(der: &[u8]) -> PyResult<Certificate> {
        clear_queue();
        Ok(Certificate(X509::from_der(der).map_err(Failure::from)?))
    }

    fn der<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.0.to_der().map_err(Failure::from)?))
    }

    /// With what a TRUSTED CERTIFICATE says besides about its own trust, where it does.
    fn trusted_der<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        // SAFETY: the certificate is live; the second call writes as many bytes as the first one said.
        let der = unsafe {
            let length = sys::i2d_X509_AUX(self.0.as_ptr(), std::ptr::null_mut());
            let mut der = vec![0; length.max(0) as usize];
            sys::i2d_X509_AUX(self.0.as_ptr(), &mut der.as_mut_ptr());
            der
        };
        PyBytes::new(py, &der)
    }

    #[pyo3(signature = (key, /))]
    fn matches(&self, key: &Bound<'_, PrivateKey>) -> bool {
        // SAFETY: both are live.
        let fits = unsafe { sys::X509_check_private_key(self.0.as_ptr(), key.get().0.as_ptr()) };
        clear_queue();
        fits == 1
    }
}

#[pyclass(frozen, module = "aiotls._native")]
pub struct TrustStore(pub X509Store);

#[pymethods]
impl TrustStore {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(TrustStore(X509StoreBuilder::new().map_err(Failure::from)?.build()))
    }

    #[pyo3(signature = (certificate, /))]
    fn add(&self, certificate: &Bound<'_, Certificate>) -> PyResult<()> {
        clear_queue();
        // SAFETY: both are live; the store takes a reference of its own and locks itself.
        let added = unsafe { sys::X509_STORE_add_cert(self.0.as_ptr(), certificate.get().0.as_ptr()) };
        if added == 1 {
            return Ok(());
        }
        Err(Failure::from_queue().into())
    }

    /// From now on every certificate of a chain but the root is looked up (X509_V_FLAG_CRL_CHECK_ALL).
    #[pyo3(signature = (pem, /))]
    fn add_crl(&self, pem: &[u8]) -> PyResult<()> {
        clear_queue();
        // SAFETY: the BIO reads from `pem`, which outlives it; each list is ours until the store has taken its reference.
        let found = unsafe {
            let bio = sys::BIO_new_mem_buf(pem.as_ptr().cast(), pem.len() as i32);
            let mut found = 0;
            while !bio.is_null() {
                // As in `from_pem`, nothing prompts.
                let user_data = c"".as_ptr().cast_mut().cast();
                let crl = sys::PEM_read_bio_X509_CRL(bio, std::ptr::null_mut(), None, user_data);
                if crl.is_null() || sys::X509_STORE_add_crl(self.0.as_ptr(), crl) != 1 {
                    break;
                }
                sys::X509_CRL_free(crl);
                found += 1;
            }
            sys::BIO_free_all(bio);
            sys::X509_STORE_set_flags(self.0.as_ptr(), sys::X509_V_FLAG_CRL_CHECK | sys::X509_V_FLAG_CRL_CHECK_ALL);
            found
        };
        let stack = ErrorStack::get();
        // The end of the text is told by the last entry (PEM_read_bio(3)).
        if found > 0 && stack.errors().last().is_some_and(|error| error.reason() == Some("no start line")) {
            return Ok(());
        }
        Err(Failure::from(stack).into())
    }
}

/// The names a certificate is for, taken from its encoding without building anything else:
/// DNS names, packed IP addresses, common names.
pub type Names = (Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<String>);

/// The names of a certificate.
///
/// None where there are names that cannot be read: then the common name must not stand for them.
pub fn names(certificate: &X509Ref) -> Option<Names> {
    let mut dns = Vec::new();
    let mut addresses = Vec::new();
    for name in alternative_names(certificate)?.iter().flatten() {
        match name_bytes(name) {
            Some((sys::GEN_DNS, name)) => dns.push(name.to_vec()),
            Some((_, address)) => addresses.push(address.to_vec()),
            None => {}
        }
    }
    let common_names = certificate
        .subject_name()
        .entries_by_nid(openssl::nid::Nid::COMMONNAME)
        .filter_map(|entry| entry.data().to_string().ok())
        .collect();
    // What could not be read has left its words; they must not be taken for those of a later call.
    clear_queue();
    Some((dns, addresses, common_names))
}

/// Whether a DNS name of the certificate is `name` as it stands, but for the case of its letters. `names` finds the same one.
pub fn shows(certificate: &X509Ref, name: &str) -> bool {
    alternative_names(certificate).flatten().iter().flatten().any(
        |entry| matches!(name_bytes(entry), Some((sys::GEN_DNS, found)) if found.eq_ignore_ascii_case(name.as_bytes())),
    )
}

/// The type and the bytes of a DNS name or an IP address.
fn name_bytes(name: &GeneralNameRef) -> Option<(c_int, &[u8])> {
    // SAFETY: for these two types the union holds an ASN1_STRING, live as long as the name.
    unsafe {
        let name = &*name.as_ptr();
        if !matches!(name.type_, sys::GEN_DNS | sys::GEN_IPADD) {
            return None;
        }
        let text = name.d.cast::<sys::ASN1_STRING>();
        let (data, length) = (sys::ASN1_STRING_get0_data(text), sys::ASN1_STRING_length(text));
        Some((name.type_, std::slice::from_raw_parts(data, length.max(0) as usize)))
    }
}

/// The extension subjectAltName; nothing where there is none, and None where it is broken, or there twice.
fn alternative_names(certificate: &X509Ref) -> Option<Option<Stack<GeneralName>>> {
    const ABSENT: c_int = -1;
    let mut critical = 0;
    // SAFETY: the certificate is live, the names are ours.
    unsafe {
        let nid = sys::NID_subject_alt_name;
        let names = sys::X509_get_ext_d2i(certificate.as_ptr(), nid, &mut critical, std::ptr::null_mut());
        if names.is_null() {
            clear_queue();
            return (critical == ABSENT).then_some(None);
        }
        Some(Some(Stack::from_ptr(names.cast())))
    }
}
