//! What a connection negotiated.

use std::ffi::{c_char, CStr};

use foreign_types::ForeignType;
use openssl::pkey::{Id, PKey, Public};
use openssl::x509::X509;

use crate::context::Identity;
use crate::engine::Engine;
use crate::error::{clear_queue, Failure};
use crate::session::Session;
use crate::sys;
use crate::trust;

/// # Safety
/// `text` must be NUL-terminated, or null.
unsafe fn owned(text: *const c_char) -> Option<String> {
    // SAFETY: the caller's.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

// Every call below reads from a live connection; nothing runs on it meanwhile, because the owner's lock is held.
impl Engine {
    pub fn protocol(&self) -> Option<String> {
        if !self.is_secure() {
            return None;
        }
        // SAFETY: see above.
        unsafe { owned(sys::SSL_get_version(self.ssl())) }
    }

    pub fn cipher(&self) -> Option<(String, String, String)> {
        // SAFETY: see above; the suite is static.
        unsafe {
            let suite = sys::SSL_get_current_cipher(self.ssl());
            if suite.is_null() {
                return None;
            }
            Some((
                owned(sys::SSL_CIPHER_get_name(suite))?,
                owned(sys::SSL_CIPHER_standard_name(suite))?,
                owned(sys::SSL_CIPHER_get_version(suite))?,
            ))
        }
    }

    pub fn group(&self) -> Option<String> {
        // SAFETY: see above.
        unsafe { owned(sys::negotiated_group_name(self.ssl())) }
    }

    /// The size in bits of the server's ephemeral key, as its client sees it, where that is one of Diffie-Hellman over a
    /// finite field and no group has a name for it.
    pub fn ephemeral_dh(&self) -> Option<i32> {
        // SAFETY: see above; the key is ours.
        unsafe {
            let key = sys::peer_temporary_key(self.ssl());
            if key.is_null() {
                return None;
            }
            let key = PKey::<Public>::from_ptr(key);
            matches!(key.id(), Id::DH | Id::DHX).then(|| key.bits() as i32)
        }
    }

    pub fn alpn(&self) -> Option<Vec<u8>> {
        self.protocol.clone().or_else(|| self.selected_protocol())
    }

    pub fn selected_protocol(&self) -> Option<Vec<u8>> {
        let mut data = std::ptr::null();
        let mut length = 0;
        // SAFETY: see above; the answer points into the connection and is copied.
        unsafe {
            sys::SSL_get0_alpn_selected(self.ssl(), &mut data, &mut length);
            (!data.is_null()).then(|| std::slice::from_raw_parts(data, length as usize).to_vec())
        }
    }

    pub fn servername(&self) -> Option<String> {
        if self.settings.server {
            // What the client said, whether or not it was taken up.
            return self.state().servername.as_deref().map(str::to_owned);
        }
        // SAFETY: see above.
        unsafe { owned(sys::SSL_get_servername(self.ssl(), sys::TLSEXT_NAMETYPE_host_name)) }
    }

    /// OpenSSL counts an external key of TLS 1.3 as a session; nothing was resumed then.
    pub fn session_reused(&self) -> bool {
        self.resumed() && !self.state().psk.as_ref().is_some_and(|psk| psk.external)
    }

    pub fn resumed(&self) -> bool {
        // SAFETY: see above.
        unsafe { sys::SSL_session_reused(self.ssl()) == 1 }
    }

    /// A pre-shared key has proved who the peer is.
    pub fn authenticated_by_key(&self) -> bool {
        self.is_secure() && self.state().psk.as_ref().is_some_and(|psk| psk.authenticates)
    }

    /// Each certificate that we may show, with its issuer.
    pub fn identities(&self) -> Vec<Identity> {
        let state = self.state();
        state.identity.as_ref().unwrap_or(&state.context).identities()
    }

    /// The session in use, if a later connection can resume it.
    pub fn session(&self) -> Option<Session> {
        // SAFETY: see above.
        unsafe { Session::current(self.ssl()) }.filter(Session::is_resumable)
    }

    pub fn verify_result(&self) -> i64 {
        // SAFETY: see above.
        unsafe { sys::SSL_get_verify_result(self.ssl()) }
    }

    pub fn certificate(&self) -> Option<Vec<u8>> {
        // SAFETY: see above; the certificate stays the connection's, so a reference is added for `X509` to drop.
        unsafe {
            let certificate = sys::SSL_get_certificate(self.ssl());
            if certificate.is_null() {
                return None;
            }
            sys::X509_up_ref(certificate);
            X509::from_ptr(certificate).to_der().ok()
        }
    }

    /// While a handshake asks about the peer's certificate, the connection itself has none yet.
    fn peer_x509(&self) -> Option<X509> {
        // SAFETY: see above; the reference is ours.
        let certificate = unsafe { sys::SSL_get1_peer_certificate(self.ssl()) };
        if certificate.is_null() {
            return certificates(self.state().verified_chain()).into_iter().next();
        }
        // SAFETY: as above.
        Some(unsafe { X509::from_ptr(certificate) })
    }

    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        self.peer_x509()?.to_der().ok()
    }

    pub fn peer_names(&self) -> Option<trust::Names> {
        self.peer_x509().and_then(|certificate| trust::names(&certificate))
    }

    /// The verified chain, or, where there is none, what the peer sent.
    pub fn peer_chain(&self) -> Vec<Vec<u8>> {
        let Some(leaf) = self.peer_certificate() else { return Vec::new() };
        // SAFETY: see above; the stacks stay the connection's.
        let known = unsafe {
            [
                sys::SSL_get0_verified_chain(self.ssl()),
                self.state().verified_chain(),
                sys::SSL_get_peer_cert_chain(self.ssl()),
            ]
        };
        let chain = known.into_iter().find(|chain| !chain.is_null()).map(certificates).unwrap_or_default();
        let mut chain: Vec<_> = chain.iter().filter_map(|certificate| certificate.to_der().ok()).collect();
        // A server's stack of what was sent lacks the leaf.
        if chain.first() != Some(&leaf) {
            chain.insert(0, leaf);
        }
        chain
    }

    /// The signature algorithms that both sides support, in the form of the option for them; the order is the one that
    /// counts for this side.
    pub fn shared_sigalgs(&self) -> Vec<String> {
        let mut names = Vec::new();
        // SAFETY: see above.
        for (signature, hash) in unsafe { sys::shared_signatures(self.ssl()) } {
            let name = sigalg_name(signature, hash);
            // Some differ only in the kind of key or curve, which has no place in the names.
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    pub fn finished(&self, peer: bool) -> Option<Vec<u8>> {
        let get = if peer { sys::SSL_get_peer_finished } else { sys::SSL_get_finished };
        let mut bytes = vec![0; 64];
        // SAFETY: see above; 64 bytes hold the longest Finished message.
        let length = unsafe { get(self.ssl(), bytes.as_mut_ptr().cast(), bytes.len()) };
        bytes.truncate(length);
        (length > 0).then_some(bytes)
    }

    pub fn export_keying_material(
        &self,
        length: usize,
        label: &str,
        context: Option<&[u8]>,
    ) -> Result<Vec<u8>, Failure> {
        clear_queue();
        let mut out = vec![0; length];
        let (data, data_length) = context.map_or((std::ptr::null(), 0), |context| (context.as_ptr(), context.len()));
        // SAFETY: see above; every pointer goes with its length.
        let exported = unsafe {
            sys::SSL_export_keying_material(
                self.ssl(),
                out.as_mut_ptr(),
                length,
                label.as_ptr().cast(),
                label.len(),
                data,
                data_length,
                i32::from(context.is_some()),
            )
        };
        if exported == 1 {
            return Ok(out);
        }
        Err(Failure::from_queue())
    }
}

fn sigalg_name(signature: i32, hash: i32) -> String {
    let short_name = |number| {
        // SAFETY: the name is static.
        unsafe { owned(sys::OBJ_nid2sn(number)) }.unwrap_or_default()
    };
    let signature = match signature {
        sys::EVP_PKEY_RSA => "RSA".to_owned(),
        sys::EVP_PKEY_RSA_PSS => "RSA-PSS".to_owned(),
        sys::EVP_PKEY_DSA => "DSA".to_owned(),
        sys::EVP_PKEY_EC => "ECDSA".to_owned(),
        sys::EVP_PKEY_ED25519 => "Ed25519".to_owned(),
        sys::EVP_PKEY_ED448 => "Ed448".to_owned(),
        other => short_name(other),
    };
    if hash == sys::NID_undef {
        return signature;
    }
    format!("{signature}+{}", short_name(hash))
}

/// References of our own to the certificates of a live stack, or of null.
fn certificates(stack: *mut sys::stack_st_X509) -> Vec<X509> {
    if stack.is_null() {
        return Vec::new();
    }
    // SAFETY: the stack belongs to a live connection and holds certificates.
    unsafe {
        (0..sys::OPENSSL_sk_num(stack.cast()))
            .map(|index| {
                let certificate: *mut sys::X509 = sys::OPENSSL_sk_value(stack.cast(), index).cast();
                sys::X509_up_ref(certificate);
                X509::from_ptr(certificate)
            })
            .collect()
    }
}
