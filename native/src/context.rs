//! SSL_CTX: what connections share.

use std::ffi::{c_int, c_long, CString};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::{X509Ref, X509VerifyResult, X509};
use pyo3::prelude::*;

use crate::callbacks;
use crate::crypto_engine;
use crate::dh;
use crate::error::{self, Failure};
use crate::sys;
use crate::trust::{Certificate, PrivateKey, TrustStore};

/// An SSL_CTX with its reference; OpenSSL locks inside where contexts are shared.
pub struct SharedContext(pub *mut sys::SSL_CTX, Mutex<Own>);

/// What a context knows besides, written while it is built up.
#[derive(Default)]
struct Own {
    session_id_context: Vec<u8>,
    /// Tells apart what different contexts trust.
    trust: Vec<u8>,
    /// Leaf first, each with its key where that is known.
    chains: Vec<(Vec<X509>, Option<PKey<Private>>)>,
    /// What certificates may be compressed with, most wanted first (RFC 8879).
    compression: Vec<c_int>,
}

impl SharedContext {
    fn own(&self) -> MutexGuard<'_, Own> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What sessions are bound to, for servers of one policy and one of their names (SSL_CTX_set_session_id_context(3)).
    ///
    /// OpenSSL resumes without a look at the verify mode, or at the name. So a session made without a client's
    /// certificate, with a bad one, or with one that counts for another name, must not be taken where another policy
    /// holds, though both share the context and its ticket keys.
    pub fn session_id_context(&self, request_cert: bool, reject_unauthorized: bool, name: &[u8]) -> [u8; 32] {
        let policy = u8::from(request_cert) | u8::from(request_cert && reject_unauthorized) << 1;
        let mut hash = openssl::sha::Sha256::new();
        let own = self.own();
        hash.update(&[policy, own.session_id_context.len() as u8]);
        hash.update(&own.session_id_context);
        if request_cert {
            hash.update(&own.trust);
        }
        hash.update(name);
        hash.finish()
    }
}

/// Certificate compression is off unless asked for.
const NO_COMPRESSION: u64 = sys::SSL_OP_NO_TX_CERTIFICATE_COMPRESSION | sys::SSL_OP_NO_RX_CERTIFICATE_COMPRESSION;

impl SharedContext {
    /// Lets a connection compress certificates as this context does, which SSL_set_SSL_CTX leaves as it was.
    ///
    /// # Safety
    /// `ssl` must be live.
    pub unsafe fn apply_compression(&self, ssl: *mut sys::SSL) {
        let mut algorithms = self.own().compression.clone();
        // SAFETY: the caller's.
        unsafe {
            sys::SSL_set_options(ssl, NO_COMPRESSION);
            if sys::SSL_set1_cert_comp_preference(ssl, algorithms.as_mut_ptr(), algorithms.len()) == 1
                && !algorithms.is_empty()
            {
                sys::SSL_clear_options(ssl, NO_COMPRESSION);
            }
        }
    }
}

pub type KeyPair = (X509, PKey<Private>, Option<Stack<X509>>);

/// The encoding of a certificate and of its issuer.
pub type Identity = (Vec<u8>, Option<Vec<u8>>);

impl SharedContext {
    /// Each certificate of ours with its issuer, found in its chain or among the trusted ones.
    pub fn identities(&self) -> Vec<Identity> {
        let own = self.own();
        let chains = own.chains.iter().filter_map(|(chain, _)| chain.split_first());
        let found = chains.filter_map(|(leaf, issuers)| {
            let issuer = issuers.iter().find(|issuer| issuer.issued(leaf) == X509VerifyResult::OK).cloned();
            let issuer = issuer.or_else(|| self.trusted_issuer(leaf));
            Some((leaf.to_der().ok()?, issuer.and_then(|issuer| issuer.to_der().ok())))
        });
        let found = found.collect();
        error::clear_queue();
        found
    }

    /// Each certificate whose key is known, with its key and the rest of its chain.
    pub fn key_pairs(&self) -> Vec<KeyPair> {
        let pairs = self.own();
        let pairs = pairs.chains.iter().filter_map(|(chain, key)| {
            let (leaf, issuers) = chain.split_first()?;
            let mut stack = Stack::new().ok()?;
            for issuer in issuers {
                stack.push(issuer.clone()).ok()?;
            }
            Some((leaf.clone(), key.clone()?, (!issuers.is_empty()).then_some(stack)))
        });
        pairs.collect()
    }

    /// Lets a client of TLS 1.2 or older show, of several certificates, the one that its server prefers of those that it
    /// can verify: OpenSSL itself chooses only since TLS 1.3.
    ///
    /// # Safety
    /// `ssl` must be a live client that was asked for its certificate.
    pub unsafe fn show_fitting(&self, ssl: *mut sys::SSL) {
        // SAFETY: the caller's; the connection takes references of its own.
        unsafe {
            if self.own().chains.len() < 2 || sys::SSL_version(ssl) >= sys::TLS1_3_VERSION {
                return;
            }
            let signatures = sys::shared_signatures(ssl);
            let rank = |key: &PKey<Private>| signatures.iter().position(|(kind, _)| signs(key, *kind));
            // One whose whole chain it can verify, else one that at least makes a signature that it knows.
            let best = self.key_pairs().into_iter().min_by_key(|(leaf, key, chain)| {
                let chain = chain.as_ref().map_or(std::ptr::null_mut(), |chain| chain.as_ptr());
                let verdict = sys::SSL_check_chain(ssl, leaf.as_ptr(), key.as_ptr(), chain);
                (verdict & sys::CERT_PKEY_VALID == 0, rank(key).unwrap_or(usize::MAX))
            });
            if let Some((leaf, key, chain)) = best {
                let chain = chain.as_ref().map_or(std::ptr::null_mut(), |chain| chain.as_ptr());
                sys::SSL_use_cert_and_key(ssl, leaf.as_ptr(), key.as_ptr(), chain, 1);
            }
        }
        error::clear_queue();
    }

    /// The issuer of a certificate among those that are trusted.
    fn trusted_issuer(&self, certificate: &X509Ref) -> Option<X509> {
        let mut issuer = std::ptr::null_mut();
        // SAFETY: the store belongs to the context; the search is ours and freed, the issuer found is ours.
        unsafe {
            let store = sys::SSL_CTX_get_cert_store(self.0);
            let search = sys::X509_STORE_CTX_new();
            let ready = !search.is_null()
                && sys::X509_STORE_CTX_init(search, store, std::ptr::null_mut(), std::ptr::null_mut()) == 1;
            let found = ready && sys::X509_STORE_CTX_get1_issuer(&mut issuer, search, certificate.as_ptr()) == 1;
            sys::X509_STORE_CTX_free(search);
            (found && !issuer.is_null()).then(|| X509::from_ptr(issuer))
        }
    }
}

// SAFETY: an SSL_CTX that is not changed any more may be used by several threads (openssl-threads(7)).
unsafe impl Send for SharedContext {}
// SAFETY: as above.
unsafe impl Sync for SharedContext {}

impl Drop for SharedContext {
    fn drop(&mut self) {
        // SAFETY: one reference is ours.
        unsafe { sys::SSL_CTX_free(self.0) };
    }
}

#[pyclass(frozen, module = "aiotls._native")]
pub struct Context(Arc<SharedContext>);

impl Context {
    /// The context, for one call that reads OpenSSL's error queue if it fails.
    fn ctx(&self) -> *mut sys::SSL_CTX {
        error::clear_queue();
        self.0 .0
    }

    pub fn share(&self) -> Arc<SharedContext> {
        self.0.clone()
    }
}

/// Whether a key makes signatures of a kind.
fn signs(key: &PKey<Private>, kind: c_int) -> bool {
    key.id().as_raw() == kind || (key.id().as_raw(), kind) == (sys::EVP_PKEY_RSA, sys::EVP_PKEY_RSA_PSS)
}

/// The exception for a call that failed, unless it answered 1.
fn check(result: c_int) -> PyResult<()> {
    if result == 1 {
        return Ok(());
    }
    Err(Failure::from_queue().into())
}

fn text(value: &str) -> PyResult<CString> {
    Ok(CString::new(value)?)
}

#[pymethods]
impl Context {
    #[new]
    fn new() -> PyResult<Self> {
        // SAFETY: a new context, configured before anybody else sees it.
        unsafe {
            let ctx = sys::SSL_CTX_new(sys::TLS_method());
            if ctx.is_null() {
                return Err(Failure::from_queue().into());
            }
            let context = Context(Arc::new(SharedContext(ctx, Mutex::default())));
            callbacks::install(ctx);
            // The write buffer moves because ours grow; partial chains are completed only from a given `ca`; idle
            // connections hold no buffers.
            let modes =
                sys::SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | sys::SSL_MODE_NO_AUTO_CHAIN | sys::SSL_MODE_RELEASE_BUFFERS;
            sys::SSL_CTX_ctrl(ctx, sys::SSL_CTRL_MODE, modes, std::ptr::null_mut());
            let options = u64::from(sys::SSL_OP_NO_COMPRESSION as u32)
                | u64::from(sys::SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION as u32)
                | sys::SSL_OP_ALLOW_CLIENT_RENEGOTIATION
                | NO_COMPRESSION;
            sys::SSL_CTX_set_options(ctx, options);
            // Sessions are stored by us or not at all.
            let cache = sys::SSL_SESS_CACHE_BOTH | sys::SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR;
            sys::SSL_CTX_ctrl(ctx, sys::SSL_CTRL_SET_SESS_CACHE_MODE, cache, std::ptr::null_mut());
            Ok(context)
        }
    }

    #[pyo3(signature = (minimum, maximum, /))]
    fn set_versions(&self, minimum: c_int, maximum: c_int) -> PyResult<()> {
        // SAFETY: the context is live.
        unsafe {
            check(sys::SSL_CTX_set_min_proto_version(self.ctx(), minimum))?;
            check(sys::SSL_CTX_set_max_proto_version(self.ctx(), maximum))
        }
    }

    #[pyo3(signature = (mask, /))]
    fn set_options(&self, mask: u64) {
        // SAFETY: the context is live.
        unsafe { sys::SSL_CTX_set_options(self.ctx(), mask) };
    }

    #[pyo3(signature = (ciphers, /))]
    fn set_cipher_list(&self, ciphers: &str) -> PyResult<()> {
        let ciphers = text(ciphers)?;
        // SAFETY: the context is live, the string NUL-terminated.
        check(unsafe { sys::SSL_CTX_set_cipher_list(self.ctx(), ciphers.as_ptr()) })
    }

    #[pyo3(signature = (suites, /))]
    fn set_ciphersuites(&self, suites: &str) -> PyResult<()> {
        let suites = text(suites)?;
        // SAFETY: the context is live, the string NUL-terminated.
        check(unsafe { sys::SSL_CTX_set_ciphersuites(self.ctx(), suites.as_ptr()) })
    }

    #[pyo3(signature = (groups, /))]
    fn set_groups(&self, groups: &str) -> PyResult<()> {
        let groups = text(groups)?;
        // SAFETY: the context is live, the string NUL-terminated.
        check(c_int::from(unsafe { sys::set_groups(self.ctx(), groups.as_ptr()) }))
    }

    #[pyo3(signature = (sigalgs, /))]
    fn set_sigalgs(&self, sigalgs: &str) -> PyResult<()> {
        let sigalgs = text(sigalgs)?;
        // SAFETY: the context is live, the string NUL-terminated.
        check(c_int::from(unsafe { sys::set_sigalgs(self.ctx(), sigalgs.as_ptr()) }))
    }

    /// `trust` is a digest of what decides whether a client's certificate is good.
    #[pyo3(signature = (value, trust, /))]
    fn set_session_id_context(&self, value: &[u8], trust: &[u8]) {
        let mut own = self.0.own();
        own.session_id_context = value.to_vec();
        own.trust = trust.to_vec();
    }

    #[pyo3(signature = (seconds, /))]
    fn set_session_timeout(&self, seconds: c_long) {
        // SAFETY: the context is live.
        unsafe { sys::SSL_CTX_set_timeout(self.ctx(), seconds) };
    }

    #[pyo3(signature = (store, partial_chain, /))]
    fn set_trust(&self, store: &Bound<'_, TrustStore>, partial_chain: bool) -> PyResult<()> {
        // SAFETY: the context is live and takes a reference of its own to the store; the parameters belong to it.
        unsafe {
            sys::SSL_CTX_set1_cert_store(self.ctx(), store.get().0.as_ptr());
            if partial_chain {
                let parameters = sys::SSL_CTX_get0_param(self.ctx());
                check(sys::X509_VERIFY_PARAM_set_flags(parameters, sys::X509_V_FLAG_PARTIAL_CHAIN))?;
            }
        }
        Ok(())
    }

    /// A given `ca` also completes the chains that a server sends.
    #[pyo3(signature = (certificate, /))]
    fn add_client_ca(&self, certificate: &Bound<'_, Certificate>) -> PyResult<()> {
        // SAFETY: both are live; the context copies the name.
        unsafe {
            sys::SSL_CTX_ctrl(self.ctx(), sys::SSL_CTRL_CLEAR_MODE, sys::SSL_MODE_NO_AUTO_CHAIN, std::ptr::null_mut());
            check(sys::SSL_CTX_add_client_CA(self.ctx(), certificate.get().0.as_ptr()))
        }
    }

    #[pyo3(signature = (chain, key, /))]
    fn add_identity(&self, chain: Vec<Bound<'_, Certificate>>, key: Option<&Bound<'_, PrivateKey>>) -> PyResult<()> {
        let known = chain.iter().map(|certificate| certificate.get().0.clone()).collect();
        self.0.own().chains.push((known, key.map(|key| key.get().0.clone())));
        let Some((leaf, issuers)) = chain.split_first() else { return Ok(()) };
        let mut stack = Stack::new().map_err(Failure::from)?;
        for issuer in issuers {
            stack.push(issuer.get().0.clone()).map_err(Failure::from)?;
        }
        let leaf = leaf.get().0.as_ptr();
        // An empty chain would count as one, and not be completed from `ca`.
        let chain = if issuers.is_empty() { std::ptr::null_mut() } else { stack.as_ptr() };
        // SAFETY: all are live; the context takes references of its own.
        unsafe {
            if let Some(key) = key {
                let key = key.get().0.as_ptr();
                return check(sys::SSL_CTX_use_cert_and_key(self.ctx(), leaf, key, chain, 1));
            }
            check(sys::SSL_CTX_use_certificate(self.ctx(), leaf))?;
            let copied = sys::SSL_CTX_ctrl(self.ctx(), SSL_CTRL_CHAIN, 1, chain.cast());
            check(copied as c_int)
        }
    }

    #[pyo3(signature = (key, /))]
    fn add_private_key(&self, key: &Bound<'_, PrivateKey>) -> PyResult<()> {
        // SAFETY: both are live.
        check(unsafe { sys::SSL_CTX_use_PrivateKey(self.ctx(), key.get().0.as_ptr()) })
    }

    /// Diffie-Hellman parameters in PEM; None for a group as strong as the key.
    #[pyo3(signature = (pem, /))]
    fn set_dh(&self, pem: Option<&[u8]>) -> PyResult<()> {
        let Some(pem) = pem else {
            // SAFETY: the context is live.
            unsafe { sys::set_dh_auto(self.ctx()) };
            return Ok(());
        };
        let parameters = dh::parameters(pem)?;
        let ctx = self.ctx();
        // SAFETY: both are live; the context takes the reference where it takes the parameters.
        unsafe {
            let taken = sys::SSL_CTX_set0_tmp_dh_pkey(ctx, parameters.as_ptr());
            if taken == 1 {
                std::mem::forget(parameters);
            }
            check(taken)
        }
    }

    /// Compresses certificates (RFC 8879); to be called when all of them are there.
    #[pyo3(signature = (algorithms, /))]
    fn set_certificate_compression(&self, mut algorithms: Vec<c_int>) -> PyResult<()> {
        self.0.own().compression.clone_from(&algorithms);
        let ctx = self.ctx();
        // SAFETY: the context is live; the list is read for its length.
        unsafe {
            check(sys::SSL_CTX_set1_cert_comp_preference(ctx, algorithms.as_mut_ptr(), algorithms.len()))?;
            sys::SSL_CTX_clear_options(ctx, NO_COMPRESSION);
            // There may be no certificate, or none that becomes shorter.
            sys::SSL_CTX_compress_certs(ctx, 0);
        }
        error::clear_queue();
        Ok(())
    }

    #[pyo3(signature = (engine, /))]
    fn set_client_cert_engine(&self, engine: &str) -> PyResult<()> {
        // SAFETY: the context is live.
        Ok(unsafe { crypto_engine::use_client_certificates(self.ctx(), engine) }?)
    }

    fn security_level(&self) -> c_int {
        // SAFETY: the context is live.
        unsafe { sys::SSL_CTX_get_security_level(self.ctx()) }
    }

    fn cipher_names(&self) -> Vec<String> {
        suite_names(self.ctx())
    }
}

/// The number of an algorithm in RFC 8879 and its name, for those that this OpenSSL can compress certificates with.
#[pyfunction]
pub fn certificate_compression_algorithms() -> Vec<(c_int, &'static str)> {
    const ALGORITHMS: [(c_int, &str); 3] = [(1, "zlib"), (2, "brotli"), (3, "zstd")];
    // SAFETY: a context of our own, freed when `context` goes; each list is read for its length.
    unsafe {
        let context = SharedContext(sys::SSL_CTX_new(sys::TLS_method()), Mutex::default());
        ALGORITHMS
            .into_iter()
            .filter(|(mut number, _)| {
                !context.0.is_null() && sys::SSL_CTX_set1_cert_comp_preference(context.0, &mut number, 1) == 1
            })
            .collect()
    }
}

/// Every suite that this OpenSSL can use, whatever the security level.
#[pyfunction]
pub fn cipher_suites() -> PyResult<Vec<String>> {
    const TLS13: &std::ffi::CStr = c"TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256";
    // SAFETY: a context of our own, freed when `context` goes.
    unsafe {
        let context = SharedContext(sys::SSL_CTX_new(sys::TLS_method()), Mutex::default());
        if context.0.is_null() {
            return Err(Failure::from_queue().into());
        }
        check(sys::SSL_CTX_set_cipher_list(context.0, c"ALL:COMPLEMENTOFALL:@SECLEVEL=0".as_ptr()))?;
        check(sys::SSL_CTX_set_ciphersuites(context.0, TLS13.as_ptr()))?;
        Ok(suite_names(context.0))
    }
}

fn suite_names(ctx: *mut sys::SSL_CTX) -> Vec<String> {
    // SAFETY: the context is live and owns the list; names are static.
    unsafe {
        let suites = sys::SSL_CTX_get_ciphers(ctx);
        (0..sys::OPENSSL_sk_num(suites.cast()))
            .map(|index| {
                let suite = sys::OPENSSL_sk_value(suites.cast(), index).cast();
                std::ffi::CStr::from_ptr(sys::SSL_CIPHER_get_name(suite)).to_string_lossy().into_owned()
            })
            .collect()
    }
}

const SSL_SESS_CACHE_NO_AUTO_CLEAR: c_long = 0x80;
const SSL_CTRL_CHAIN: c_int = 88;
