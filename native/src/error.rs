//! Failures as data, and the one door to Python's exceptions.

use std::ffi::c_int;

use openssl::error::ErrorStack;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::sys;

create_exception!(
    _native,
    NativeError,
    PyException,
    "A failing OpenSSL call outside a connection; args[0] is its Failure."
);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    OpenSsl,
    Verify,
    Refused,
    Eof,
    System,
    Timeout,
}

/// Why something failed. `_native.pyi` says what each field means.
#[pyclass(frozen, module = "aiotls._native")]
#[derive(Clone, Debug, Default)]
pub struct Failure {
    pub kind: Kind,
    pub library: Option<String>,
    pub reason: Option<String>,
    pub code: Option<String>,
    pub stack: Vec<String>,
    pub alert_sent: Option<u8>,
    pub alert_received: Option<u8>,
    pub verify_result: c_int,
    pub errno: Option<i32>,
}

impl Failure {
    pub fn of_kind(kind: Kind) -> Self {
        Failure { kind, ..Failure::default() }
    }

    pub fn system(errno: i32) -> Self {
        Failure { errno: Some(errno), ..Failure::of_kind(Kind::System) }
    }

    /// One of ours, which OpenSSL has no words for.
    pub fn named(code: &str, reason: &str) -> Self {
        Failure { code: Some(code.into()), reason: Some(reason.into()), ..Failure::default() }
    }

    /// Takes what stands in OpenSSL's error queue of this thread.
    pub fn from_queue() -> Self {
        Failure::from(ErrorStack::get())
    }
}

impl Failure {
    /// Takes the queue after a call on a connection. The TLS library's own entry names the failure, whatever a provider
    /// below it has said before, which depends on the version.
    pub fn of_connection() -> Self {
        let stack = ErrorStack::get();
        let own = stack.errors().iter().position(|error| error.library_code() == sys::ERR_LIB_SSL);
        Failure::new(&stack, own.unwrap_or(0))
    }

    /// The same failure with other words of the TLS library, and the code that goes with them.
    pub fn with_reason(self, reason: &str) -> Self {
        Failure {
            library: Some("SSL routines".into()),
            code: Some(code(sys::ERR_LIB_SSL, reason)),
            reason: Some(reason.to_owned()),
            ..self
        }
    }

    fn new(stack: &ErrorStack, cause: usize) -> Self {
        let Some(first) = stack.errors().get(cause) else {
            return Failure { reason: Some("unknown error".into()), ..Failure::default() };
        };
        let others = stack.errors().iter().enumerate().filter(|(index, _)| *index != cause);
        let reason = match first.library_code() {
            ERR_LIB_SYS => system_reason(first.reason_code()),
            _ => sys::stable_reason(first.reason().unwrap_or("unknown error")),
        };
        Failure {
            library: first.library().map(str::to_owned),
            code: Some(code(first.library_code(), &reason)),
            reason: Some(reason),
            stack: others.map(|(_, error)| error.to_string()).collect(),
            ..Failure::default()
        }
    }
}

impl From<ErrorStack> for Failure {
    /// The first entry is the cause.
    fn from(stack: ErrorStack) -> Self {
        Failure::new(&stack, 0)
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> PyErr {
        NativeError::new_err((failure,))
    }
}

#[pymethods]
impl Failure {
    #[getter]
    fn kind(&self) -> &'static str {
        match self.kind {
            Kind::OpenSsl => "openssl",
            Kind::Verify => "verify",
            Kind::Refused => "refused",
            Kind::Eof => "eof",
            Kind::System => "system",
            Kind::Timeout => "timeout",
        }
    }

    #[getter]
    fn library(&self) -> Option<&str> {
        self.library.as_deref()
    }

    #[getter]
    fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    #[getter]
    fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    #[getter]
    fn stack<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.stack)
    }

    #[getter]
    fn alert_sent(&self) -> Option<u8> {
        self.alert_sent
    }

    #[getter]
    fn alert_received(&self) -> Option<u8> {
        self.alert_received
    }

    #[getter]
    fn verify_result(&self) -> c_int {
        self.verify_result
    }

    #[getter]
    fn errno(&self) -> Option<i32> {
        self.errno
    }

    fn __repr__(&self) -> String {
        format!("<Failure {} {:?} {:?}>", self.kind(), self.code, self.reason)
    }
}

const ERR_LIB_SYS: c_int = 2;
const ERR_LIB_EVP: c_int = 6;

/// The code for what is encrypted in a way that no provider knows.
pub const UNSUPPORTED: &str = "ERR_CRYPTO_UNSUPPORTED_OPERATION";

/// Whether an algorithm was wanted that no provider has.
pub fn is_unsupported(stack: &ErrorStack) -> bool {
    stack.errors().iter().any(|error| error.library_code() == ERR_LIB_EVP && error.reason() == Some("unsupported"))
}

/// The words of a system error, which OpenSSL itself does not always have.
fn system_reason(errno: c_int) -> String {
    // SAFETY: the words are static, or good until the next call in this thread.
    unsafe { std::ffi::CStr::from_ptr(libc::strerror(errno)) }.to_string_lossy().into_owned()
}

/// Forgets what earlier calls, also those of other libraries, have left in the queue of this thread.
pub fn clear_queue() {
    // SAFETY: always allowed.
    unsafe { sys::ERR_clear_error() };
}

/// `ERR_SSL_<REASON>`, or `ERR_OSSL_<LIBRARY>_<REASON>` for another library; without the library's name where the
/// failing one is a provider, whose reasons repeat those of the older libraries.
fn code(library: c_int, reason: &str) -> String {
    let reason = reason.to_uppercase().replace(' ', "_");
    match library_name(library) {
        Some("SSL") => format!("ERR_SSL_{reason}"),
        Some(name) => format!("ERR_OSSL_{name}_{reason}"),
        None => format!("ERR_OSSL_{reason}"),
    }
}

/// The names of err.h's `ERR_LIB_*` numbers.
fn library_name(library: c_int) -> Option<&'static str> {
    Some(match library {
        2 => "SYS",
        3 => "BN",
        4 => "RSA",
        5 => "DH",
        6 => "EVP",
        7 => "BUF",
        8 => "OBJ",
        9 => "PEM",
        10 => "DSA",
        11 => "X509",
        13 => "ASN1",
        14 => "CONF",
        15 => "CRYPTO",
        16 => "EC",
        20 => "SSL",
        32 => "BIO",
        33 => "PKCS7",
        34 => "X509V3",
        35 => "PKCS12",
        36 => "RAND",
        37 => "DSO",
        38 => "ENGINE",
        39 => "OCSP",
        40 => "UI",
        41 => "COMP",
        42 => "ECDSA",
        43 => "ECDH",
        44 => "OSSL_STORE",
        45 => "FIPS",
        46 => "CMS",
        47 => "TS",
        48 => "HMAC",
        50 => "CT",
        51 => "ASYNC",
        52 => "KDF",
        53 => "SM2",
        _ => return None,
    })
}
