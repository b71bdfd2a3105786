//! Keys and certificates in a PKCS#12 file (RFC 7292).

use std::ffi::{c_char, c_int, CString};
use std::ptr::{null, null_mut};

use foreign_types::ForeignType;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509VerifyResult, X509};
use pyo3::prelude::*;

use crate::error::{self, clear_queue, Failure};
use crate::sys;
use crate::trust::{Certificate, PrivateKey};

/// Every private key of a PKCS#12 file with the chain of its certificate, leaf first, as far as the file has it.
#[pyfunction]
#[pyo3(signature = (der, passphrase, /))]
pub fn load_pkcs12(py: Python<'_>, der: &[u8], passphrase: Option<&[u8]>) -> PyResult<Vec<Identity>> {
    // Whoever made the file said how long it takes to derive a key from the passphrase.
    Ok(py.detach(|| load(der, passphrase))?)
}

type Identity = (PrivateKey, Vec<Certificate>);

fn load(der: &[u8], passphrase: Option<&[u8]>) -> Result<Vec<Identity>, Failure> {
    clear_queue();
    let mut contents = Contents::default();
    contents.read(der, passphrase)?;
    clear_queue();
    if contents.keys.is_empty() {
        return Err(failure("Unable to load private key from PFX data"));
    }
    let identities = contents.keys.iter().map(|key| {
        let leaf = contents.certificates.iter().position(|certificate| fits(certificate, key));
        let leaf = leaf.ok_or_else(|| failure("Unable to load certificate from PFX data"))?;
        Ok((PrivateKey(key.clone()), chain(leaf, &contents.certificates)))
    });
    let identities = identities.collect();
    clear_queue();
    identities
}

#[derive(Default)]
struct Contents {
    keys: Vec<PKey<Private>>,
    certificates: Vec<X509>,
}

/// A passphrase as PKCS#12 functions take it. None and the empty one are two, and files are made with either.
struct Secret {
    text: Option<CString>,
}

impl Secret {
    fn as_ptr(&self) -> *const c_char {
        self.text.as_ref().map_or(null(), |text| text.as_ptr())
    }

    fn length(&self) -> c_int {
        self.text.as_ref().map_or(0, |text| text.as_bytes().len() as c_int)
    }

    /// Those that may have been meant.
    fn candidates(passphrase: Option<&[u8]>) -> Result<Vec<Secret>, Failure> {
        let given = passphrase.filter(|text| !text.is_empty()).map(CString::new).transpose();
        let given = given.map_err(|_| failure("a passphrase cannot hold a NUL character"))?;
        Ok(match given {
            Some(text) => vec![Secret { text: Some(text) }],
            None => vec![Secret { text: None }, Secret { text: Some(CString::default()) }],
        })
    }
}

impl Contents {
    fn read(&mut self, der: &[u8], passphrase: Option<&[u8]>) -> Result<(), Failure> {
        // SAFETY: the BIO reads from `der`, which outlives it; the file is ours.
        unsafe {
            let bio = sys::BIO_new_mem_buf(der.as_ptr().cast(), der.len() as c_int);
            let file = sys::d2i_PKCS12_bio(bio, null_mut());
            sys::BIO_free_all(bio);
            if file.is_null() {
                return Err(Failure::from_queue());
            }
            let read = self.read_file(file, passphrase);
            sys::PKCS12_free(file);
            read
        }
    }

    /// # Safety
    /// `file` must be live.
    unsafe fn read_file(&mut self, file: *mut sys::PKCS12, passphrase: Option<&[u8]>) -> Result<(), Failure> {
        let mut candidates = Secret::candidates(passphrase)?;
        // SAFETY: the caller's; passphrases go with their lengths, the parts are ours.
        unsafe {
            if sys::PKCS12_mac_present(file) == 1 {
                let good = |secret: &Secret| sys::PKCS12_verify_mac(file, secret.as_ptr(), secret.length()) == 1;
                let Some(position) = candidates.iter().position(good) else {
                    return Err(wrong_passphrase(ErrorStack::get()));
                };
                clear_queue();
                candidates.swap(0, position);
            }
            let parts = sys::PKCS12_unpack_authsafes(file);
            if parts.is_null() {
                return Err(Failure::from_queue());
            }
            let read = (0..sys::OPENSSL_sk_num(parts.cast())).try_for_each(|index| {
                self.read_part(sys::OPENSSL_sk_value(parts.cast(), index).cast(), &candidates[0])
            });
            sys::OPENSSL_sk_pop_free(parts.cast(), Some(free_part));
            read
        }
    }

    /// # Safety
    /// `part` must be live.
    unsafe fn read_part(&mut self, part: *mut sys::PKCS7, secret: &Secret) -> Result<(), Failure> {
        // SAFETY: the caller's; the bags are ours.
        unsafe {
            let mut bags = sys::PKCS12_unpack_p7data(part);
            if bags.is_null() {
                // It is encrypted.
                clear_queue();
                bags = sys::PKCS12_unpack_p7encdata(part, secret.as_ptr(), secret.length());
            }
            if bags.is_null() {
                return Err(refusal(ErrorStack::get()));
            }
            let read = self.read_bags(bags, secret);
            sys::OPENSSL_sk_pop_free(bags.cast(), Some(free_bag));
            read
        }
    }

    /// # Safety
    /// `bags` must be a live stack of bags.
    unsafe fn read_bags(&mut self, bags: *const sys::OPENSSL_STACK, secret: &Secret) -> Result<(), Failure> {
        // SAFETY: the caller's; what is taken out of a bag is ours, or stays the bag's where its name has a 0.
        unsafe {
            for index in 0..sys::OPENSSL_sk_num(bags.cast()) {
                let bag: *const sys::PKCS12_SAFEBAG = sys::OPENSSL_sk_value(bags.cast(), index).cast();
                match sys::PKCS12_SAFEBAG_get_nid(bag) {
                    sys::NID_KEY_BAG => self.take_key(sys::PKCS12_SAFEBAG_get0_p8inf(bag))?,
                    sys::NID_SHROUDED_KEY_BAG => {
                        let key = sys::PKCS12_decrypt_skey(bag, secret.as_ptr(), secret.length());
                        let taken = self.take_key(key);
                        sys::PKCS8_PRIV_KEY_INFO_free(key);
                        taken?;
                    }
                    sys::NID_CERT_BAG => {
                        let certificate = sys::PKCS12_SAFEBAG_get1_cert(bag);
                        if certificate.is_null() {
                            return Err(Failure::from_queue());
                        }
                        self.certificates.push(X509::from_ptr(certificate));
                    }
                    sys::NID_SAFES_BAG => self.read_bags(sys::PKCS12_SAFEBAG_get0_safes(bag), secret)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// # Safety
    /// `key` must be live or null.
    unsafe fn take_key(&mut self, key: *const sys::PKCS8_PRIV_KEY_INFO) -> Result<(), Failure> {
        // SAFETY: the caller's; the key that is made of it is ours.
        let key = if key.is_null() { null_mut() } else { unsafe { sys::EVP_PKCS82PKEY(key) } };
        if key.is_null() {
            return Err(refusal(ErrorStack::get()));
        }
        // SAFETY: as above.
        self.keys.push(unsafe { PKey::from_ptr(key) });
        Ok(())
    }
}

fn fits(certificate: &X509, key: &PKey<Private>) -> bool {
    // SAFETY: both are live.
    unsafe { sys::X509_check_private_key(certificate.as_ptr(), key.as_ptr()) == 1 }
}

/// The certificate at a position and those of the others that lead from it to a root, in the order in which they are
/// sent.
fn chain(leaf: usize, certificates: &[X509]) -> Vec<Certificate> {
    const LONGEST: usize = 100;
    let mut order = vec![leaf];
    while let Some(last) = order.last().map(|last| &certificates[*last]) {
        if order.len() == LONGEST || last.issued(last) == X509VerifyResult::OK {
            break;
        }
        let issuer = (0..certificates.len())
            .find(|index| !order.contains(index) && certificates[*index].issued(last) == X509VerifyResult::OK);
        let Some(issuer) = issuer else { break };
        order.push(issuer);
    }
    order.into_iter().map(|index| Certificate(certificates[index].clone())).collect()
}

fn refusal(stack: ErrorStack) -> Failure {
    if !error::is_unsupported(&stack) {
        return Failure::from(stack);
    }
    Failure {
        code: Some(error::UNSUPPORTED.into()),
        reason: Some("Unsupported PKCS12 PFX data".into()),
        ..Failure::from(stack)
    }
}

fn wrong_passphrase(stack: ErrorStack) -> Failure {
    if error::is_unsupported(&stack) {
        return refusal(stack);
    }
    Failure {
        library: Some("PKCS12 routines".into()),
        code: Some("ERR_OSSL_PKCS12_MAC_VERIFY_FAILURE".into()),
        reason: Some("mac verify failure".into()),
        ..Failure::from(stack)
    }
}

fn failure(reason: &str) -> Failure {
    Failure::named("ERR_CRYPTO_OPERATION_FAILED", reason)
}

unsafe extern "C" fn free_part(part: *mut std::ffi::c_void) {
    // SAFETY: the stack holds a reference to each part.
    unsafe { sys::PKCS7_free(part.cast()) };
}

unsafe extern "C" fn free_bag(bag: *mut std::ffi::c_void) {
    // SAFETY: the stack owns each bag.
    unsafe { sys::PKCS12_SAFEBAG_free(bag.cast()) };
}
