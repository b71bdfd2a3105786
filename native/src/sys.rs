//! What the `openssl-sys` crate does not bind, and the only place that knows differences between OpenSSL versions.

#![allow(non_camel_case_types, non_snake_case)]

use std::ffi::{c_char, c_int, c_long, c_uchar, c_uint, c_void};

mod credentials;

pub use credentials::*;
pub use openssl_sys::*;

/// `SSL_ERROR_*` values of suspended handshakes, see SSL_get_error(3).
pub const SSL_ERROR_WANT_CLIENT_HELLO_CB: c_int = 11;
pub const SSL_ERROR_WANT_RETRY_VERIFY: c_int = 12;

pub const SSL_CLIENT_HELLO_SUCCESS: c_int = 1;
pub const SSL_CLIENT_HELLO_RETRY: c_int = -1;
pub const SSL_CLIENT_HELLO_ERROR: c_int = 0;

pub const ERR_LIB_SSL: c_int = 20;

pub const SSL_CB_LOOP: c_int = 0x01;
pub const SSL_CB_HANDSHAKE_START: c_int = 0x10;
pub const SSL_CB_HANDSHAKE_DONE: c_int = 0x20;
pub const SSL_CB_ALERT: c_int = 0x4000;
pub const SSL_CB_READ: c_int = 0x04;

pub const NID_AUTH_PSK: c_int = 1048;

/// Since OpenSSL 3.0 a server refuses renegotiation without it; ours counts them instead.
pub const SSL_OP_ALLOW_CLIENT_RENEGOTIATION: u64 = 1 << 8;

pub const SSL_AD_NO_RENEGOTIATION: c_int = 100;

pub const X509_V_ERR_UNSPECIFIED: c_int = 1;
pub const X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT: c_int = 2;
pub const X509_V_ERR_HOSTNAME_MISMATCH: c_int = 62;

/// Certificate compression (RFC 8879) is off unless asked for; OpenSSL before 3.2 ignores the bits.
pub const SSL_OP_NO_TX_CERTIFICATE_COMPRESSION: u64 = 1 << 32;
pub const SSL_OP_NO_RX_CERTIFICATE_COMPRESSION: u64 = 1 << 33;

const OPENSSL_INIT_LOAD_CONFIG: u64 = 0x40;
const SSL_CTRL_SET_RETRY_VERIFY: c_int = 136;
const SSL_CTRL_GET_NEGOTIATED_GROUP: c_int = 134;
const SSL_CTRL_SET_SIGALGS_LIST: c_int = 98;
const SSL_CTRL_SET_GROUPS_LIST: c_int = 92;
pub const SSL_CTRL_CLEAR_MODE: c_int = 78;
const SSL_CTRL_GET_MAX_PROTO_VERSION: c_int = 131;
const SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB: c_int = 63;
const SSL_CTRL_SET_TLSEXT_STATUS_REQ_TYPE: c_int = 65;
const SSL_CTRL_GET_TLSEXT_STATUS_REQ_OCSP_RESP: c_int = 70;
const SSL_CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP: c_int = 71;
const SSL_CTRL_GET_TLSEXT_STATUS_REQ_TYPE: c_int = 127;
/// What SSL_check_chain answers for a certificate that the peer can verify.
pub const CERT_PKEY_VALID: c_int = 1;
const TLSEXT_STATUSTYPE_OCSP: c_long = 1;
const SSL_CTRL_GET_PEER_TMP_KEY: c_int = 109;
const SSL_CTRL_SET_MAX_SEND_FRAGMENT: c_int = 52;
const SSL_CTRL_SET_SPLIT_SEND_FRAGMENT: c_int = 125;
const SSL_CTRL_SET_DH_AUTO: c_int = 118;

/// What the security callback is asked about when a peer's ephemeral Diffie-Hellman key has come.
pub const SSL_SECOP_TMP_DH: c_int = 7 | 4 << 16;

type SSL_psk_server_cb = unsafe extern "C" fn(*mut SSL, *const c_char, *mut c_uchar, c_uint) -> c_uint;
type SSL_psk_client_cb =
    unsafe extern "C" fn(*mut SSL, *const c_char, *mut c_char, c_uint, *mut c_uchar, c_uint) -> c_uint;
type SSL_psk_find_session_cb = unsafe extern "C" fn(*mut SSL, *const c_uchar, usize, *mut *mut SSL_SESSION) -> c_int;
type SSL_ticket_key_cb =
    unsafe extern "C" fn(*mut SSL, *mut c_uchar, *mut c_uchar, *mut EVP_CIPHER_CTX, *mut EVP_MAC_CTX, c_int) -> c_int;
pub type SSL_security_cb =
    unsafe extern "C" fn(*const SSL, *const SSL_CTX, c_int, c_int, c_int, *mut c_void, *mut c_void) -> c_int;
type SSL_msg_cb = unsafe extern "C" fn(c_int, c_int, c_int, *const c_void, usize, *mut SSL, *mut c_void);

extern "C" {
    pub fn SSL_CTX_set_cert_cb(
        ctx: *mut SSL_CTX,
        callback: Option<unsafe extern "C" fn(*mut SSL, *mut c_void) -> c_int>,
        argument: *mut c_void,
    );
    pub fn SSL_CTX_set_cert_verify_callback(
        ctx: *mut SSL_CTX,
        callback: Option<unsafe extern "C" fn(*mut X509_STORE_CTX, *mut c_void) -> c_int>,
        argument: *mut c_void,
    );
    pub fn SSL_CTX_set_info_callback(
        ctx: *mut SSL_CTX,
        callback: Option<unsafe extern "C" fn(*const SSL, c_int, c_int)>,
    );
    pub fn SSL_CTX_set1_cert_store(ctx: *mut SSL_CTX, store: *mut X509_STORE);
    pub fn SSL_CTX_set_timeout(ctx: *mut SSL_CTX, seconds: c_long) -> c_long;
    pub fn SSL_CTX_get_ciphers(ctx: *const SSL_CTX) -> *mut stack_st_SSL_CIPHER;
    pub fn SSL_get_ciphers(ssl: *const SSL) -> *mut stack_st_SSL_CIPHER;
    pub fn SSL_CTX_use_cert_and_key(
        ctx: *mut SSL_CTX,
        leaf: *mut X509,
        key: *mut EVP_PKEY,
        chain: *mut stack_st_X509,
        replace: c_int,
    ) -> c_int;
    pub fn SSL_set_session_id_context(ssl: *mut SSL, id: *const c_uchar, length: c_uint) -> c_int;
    pub fn SSL_state_string(ssl: *const SSL) -> *const c_char;
    pub fn SSL_get0_peer_certificate(ssl: *const SSL) -> *mut X509;
    pub fn SSL_get_options(ssl: *const SSL) -> u64;
    pub fn SSL_set_options(ssl: *mut SSL, options: u64) -> u64;
    pub fn SSL_in_init(ssl: *const SSL) -> c_int;
    pub fn SSL_renegotiate(ssl: *mut SSL) -> c_int;
    pub fn SSL_certs_clear(ssl: *mut SSL);
    pub fn SSL_use_cert_and_key(
        ssl: *mut SSL,
        leaf: *mut X509,
        key: *mut EVP_PKEY,
        chain: *mut stack_st_X509,
        replace: c_int,
    ) -> c_int;
    pub fn ERR_set_mark() -> c_int;
    pub fn ERR_pop_to_mark() -> c_int;
    pub fn ERR_clear_last_mark() -> c_int;
    pub fn SSL_CTX_get_cert_store(ctx: *const SSL_CTX) -> *mut X509_STORE;
    pub fn SSL_get1_session(ssl: *mut SSL) -> *mut SSL_SESSION;
    pub fn SSL_CTX_get_timeout(ctx: *const SSL_CTX) -> c_long;
    pub fn SSL_SESSION_set_timeout(session: *mut SSL_SESSION, seconds: c_long) -> c_long;
    pub fn SSL_SESSION_new() -> *mut SSL_SESSION;
    pub fn SSL_SESSION_dup(session: *const SSL_SESSION) -> *mut SSL_SESSION;
    pub fn SSL_SESSION_is_resumable(session: *const SSL_SESSION) -> c_int;
    pub fn SSL_SESSION_has_ticket(session: *const SSL_SESSION) -> c_int;
    pub fn SSL_SESSION_get0_ticket(session: *const SSL_SESSION, data: *mut *const c_uchar, length: *mut usize);
    pub fn SSL_SESSION_set1_master_key(session: *mut SSL_SESSION, key: *const c_uchar, length: usize) -> c_int;
    pub fn SSL_SESSION_set_cipher(session: *mut SSL_SESSION, cipher: *const SSL_CIPHER) -> c_int;
    pub fn SSL_SESSION_set_protocol_version(session: *mut SSL_SESSION, version: c_int) -> c_int;
    pub fn SSL_CIPHER_find(ssl: *mut SSL, number: *const c_uchar) -> *const SSL_CIPHER;
    pub fn SSL_CIPHER_get_auth_nid(cipher: *const SSL_CIPHER) -> c_int;
    pub fn SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx: *mut SSL_CTX, callback: Option<SSL_ticket_key_cb>) -> c_int;
    pub fn SSL_set_psk_server_callback(ssl: *mut SSL, callback: Option<SSL_psk_server_cb>);
    pub fn SSL_set_psk_client_callback(ssl: *mut SSL, callback: Option<SSL_psk_client_cb>);
    pub fn SSL_set_psk_find_session_callback(ssl: *mut SSL, callback: Option<SSL_psk_find_session_cb>);
    pub fn SSL_use_psk_identity_hint(ssl: *mut SSL, hint: *const c_char) -> c_int;
    pub fn SSL_set_msg_callback(ssl: *mut SSL, callback: Option<SSL_msg_cb>);
    pub fn SSL_trace(
        write: c_int,
        version: c_int,
        kind: c_int,
        data: *const c_void,
        length: usize,
        ssl: *mut SSL,
        bio: *mut c_void,
    );
    pub fn BIO_new_fd(fd: c_int, close: c_int) -> *mut BIO;
    pub fn OSSL_PARAM_construct_utf8_string(key: *const c_char, text: *mut c_char, length: usize) -> OSSL_PARAM;
    pub fn OPENSSL_cleanse(data: *mut c_void, length: usize);
    pub fn X509_STORE_CTX_get0_cert(ctx: *const X509_STORE_CTX) -> *mut X509;
    pub fn X509_STORE_CTX_get1_issuer(
        issuer: *mut *mut X509,
        ctx: *mut X509_STORE_CTX,
        certificate: *mut X509,
    ) -> c_int;
    pub fn X509_STORE_add_crl(store: *mut X509_STORE, crl: *mut X509_CRL) -> c_int;
    pub fn SSL_group_to_name(ssl: *mut SSL, group: c_int) -> *const c_char;
    pub fn X509_STORE_CTX_set_verify_cb(
        ctx: *mut X509_STORE_CTX,
        callback: Option<unsafe extern "C" fn(c_int, *mut X509_STORE_CTX) -> c_int>,
    );
    pub fn X509_STORE_CTX_get1_chain(ctx: *const X509_STORE_CTX) -> *mut stack_st_X509;
    pub fn X509_STORE_CTX_set0_verified_chain(ctx: *mut X509_STORE_CTX, chain: *mut stack_st_X509);
    pub fn X509_check_private_key(certificate: *const X509, key: *const EVP_PKEY) -> c_int;
    pub fn PEM_read_bio_X509_AUX(
        bio: *mut BIO,
        out: *mut *mut X509,
        callback: pem_password_cb,
        user_data: *mut c_void,
    ) -> *mut X509;
    pub fn OPENSSL_INIT_new() -> *mut OPENSSL_INIT_SETTINGS;
    pub fn OPENSSL_INIT_free(settings: *mut OPENSSL_INIT_SETTINGS);
    pub fn SSL_CTX_set0_tmp_dh_pkey(ctx: *mut SSL_CTX, parameters: *mut EVP_PKEY) -> c_int;
    pub fn PEM_read_bio_Parameters(bio: *mut BIO, out: *mut *mut EVP_PKEY) -> *mut EVP_PKEY;
    pub fn SSL_CTX_clear_options(ctx: *mut SSL_CTX, options: u64) -> u64;
    pub fn SSL_clear_options(ssl: *mut SSL, options: u64) -> u64;
    pub fn SSL_check_chain(ssl: *mut SSL, leaf: *mut X509, key: *mut EVP_PKEY, chain: *mut stack_st_X509) -> c_int;
    pub fn SSL_CTX_get_security_level(ctx: *const SSL_CTX) -> c_int;
    pub fn i2d_X509_AUX(certificate: *const X509, out: *mut *mut c_uchar) -> c_int;
    pub fn SSL_get_security_level(ssl: *const SSL) -> c_int;
    pub fn SSL_get_security_callback(ssl: *const SSL) -> Option<SSL_security_cb>;
    pub fn SSL_set_security_callback(ssl: *mut SSL, callback: Option<SSL_security_cb>);
    pub fn SSL_get_shared_sigalgs(
        ssl: *mut SSL,
        index: c_int,
        signature: *mut c_int,
        hash: *mut c_int,
        both: *mut c_int,
        raw_signature: *mut c_uchar,
        raw_hash: *mut c_uchar,
    ) -> c_int;
    pub fn OPENSSL_INIT_set_config_filename(settings: *mut OPENSSL_INIT_SETTINGS, path: *const c_char) -> c_int;
}

// Certificate compression (RFC 8879), which OpenSSL has since 3.2.
#[cfg(ossl320)]
extern "C" {
    pub fn SSL_CTX_set1_cert_comp_preference(ctx: *mut SSL_CTX, algorithms: *mut c_int, count: usize) -> c_int;
    pub fn SSL_set1_cert_comp_preference(ssl: *mut SSL, algorithms: *mut c_int, count: usize) -> c_int;
    pub fn SSL_CTX_compress_certs(ctx: *mut SSL_CTX, algorithm: c_int) -> c_int;
}

#[cfg(not(ossl320))]
mod without_compression {
    use super::*;

    /// # Safety
    /// None is needed; these have the form that they have where OpenSSL can compress certificates.
    pub unsafe fn SSL_CTX_set1_cert_comp_preference(_: *mut SSL_CTX, _: *mut c_int, _: usize) -> c_int {
        0
    }

    /// # Safety
    /// As above.
    pub unsafe fn SSL_set1_cert_comp_preference(_: *mut SSL, _: *mut c_int, _: usize) -> c_int {
        0
    }

    /// # Safety
    /// As above.
    pub unsafe fn SSL_CTX_compress_certs(_: *mut SSL_CTX, _: c_int) -> c_int {
        0
    }
}
#[cfg(not(ossl320))]
pub use without_compression::*;

/// The verify callback was asked and cannot answer yet: the handshake stops there (SSL_set_retry_verify(3)).
///
/// # Safety
/// `ssl` must be live, and inside its certificate verification.
pub unsafe fn set_retry_verify(ssl: *mut SSL) {
    // SAFETY: the caller's.
    unsafe { SSL_ctrl(ssl, SSL_CTRL_SET_RETRY_VERIFY, 0, std::ptr::null_mut()) };
}

/// The name of the group of the key exchange; null before there is one.
///
/// # Safety
/// `ssl` must be live.
pub unsafe fn negotiated_group_name(ssl: *mut SSL) -> *const c_char {
    // SAFETY: the caller's.
    unsafe {
        // Without a session OpenSSL 3.0 would read through a null pointer.
        if SSL_get_session(ssl).is_null() {
            return std::ptr::null();
        }
        let group = SSL_ctrl(ssl, SSL_CTRL_GET_NEGOTIATED_GROUP, 0, std::ptr::null_mut());
        if group == 0 {
            return std::ptr::null();
        }
        SSL_group_to_name(ssl, group as c_int)
    }
}

/// Sets the signature algorithms of a context, colon separated.
///
/// # Safety
/// `ctx` must be live and `list` a NUL-terminated string.
pub unsafe fn set_sigalgs(ctx: *mut SSL_CTX, list: *const c_char) -> bool {
    // SAFETY: the caller's.
    unsafe { SSL_CTX_ctrl(ctx, SSL_CTRL_SET_SIGALGS_LIST, 0, list as *mut c_void) == 1 }
}

/// Sets the groups of a context, colon separated.
///
/// # Safety
/// `ctx` must be live and `list` a NUL-terminated string.
pub unsafe fn set_groups(ctx: *mut SSL_CTX, list: *const c_char) -> bool {
    // SAFETY: the caller's.
    unsafe { SSL_CTX_ctrl(ctx, SSL_CTRL_SET_GROUPS_LIST, 0, list as *mut c_void) == 1 }
}

/// Lets a server choose the Diffie-Hellman group by its key (SSL_CTX_set_dh_auto(3)).
///
/// # Safety
/// `ctx` must be live.
pub unsafe fn set_dh_auto(ctx: *mut SSL_CTX) {
    // SAFETY: the caller's.
    unsafe { SSL_CTX_ctrl(ctx, SSL_CTRL_SET_DH_AUTO, 1, std::ptr::null_mut()) };
}

/// Sets how much plaintext a record holds; answers whether it may be so much.
///
/// # Safety
/// `ssl` must be live.
pub unsafe fn set_max_send_fragment(ssl: *mut SSL, size: c_long) -> bool {
    // SAFETY: the caller's.
    unsafe {
        // The second one follows the first one down, but not up again.
        SSL_ctrl(ssl, SSL_CTRL_SET_MAX_SEND_FRAGMENT, size, std::ptr::null_mut()) == 1
            && SSL_ctrl(ssl, SSL_CTRL_SET_SPLIT_SEND_FRAGMENT, size, std::ptr::null_mut()) == 1
    }
}

/// The kinds of signatures and of hashes that both sides support, most wanted first.
///
/// # Safety
/// `ssl` must be live.
pub unsafe fn shared_signatures(ssl: *mut SSL) -> Vec<(c_int, c_int)> {
    let none = std::ptr::null_mut();
    let mut found = Vec::new();
    // SAFETY: the caller's; both numbers are written, whatever is null is not.
    unsafe {
        for index in 0..SSL_get_shared_sigalgs(ssl, 0, none, none, none, none.cast(), none.cast()) {
            let (mut signature, mut hash) = (0, 0);
            SSL_get_shared_sigalgs(ssl, index, &mut signature, &mut hash, none, none.cast(), none.cast());
            found.push((signature, hash));
        }
    }
    found
}

/// A reference to the peer's ephemeral key; null where there is none.
///
/// # Safety
/// `ssl` must be live.
pub unsafe fn peer_temporary_key(ssl: *mut SSL) -> *mut EVP_PKEY {
    let mut key: *mut EVP_PKEY = std::ptr::null_mut();
    // SAFETY: the caller's; the key is written where the pointer to it stands.
    unsafe { SSL_ctrl(ssl, SSL_CTRL_GET_PEER_TMP_KEY, 0, std::ptr::from_mut(&mut key).cast()) };
    key
}

/// The highest protocol version of a connection; 0 for no limit.
///
/// # Safety
/// `ssl` must be live.
pub unsafe fn max_version(ssl: *mut SSL) -> c_long {
    // SAFETY: the caller's.
    unsafe { SSL_ctrl(ssl, SSL_CTRL_GET_MAX_PROTO_VERSION, 0, std::ptr::null_mut()) }
}

/// Copies what SSL_set_SSL_CTX leaves as it was: whether a partial chain is good enough, and whether chains that are sent
/// are completed.
///
/// # Safety
/// Both must be live.
pub unsafe fn follow_context(ssl: *mut SSL, ctx: *mut SSL_CTX) {
    let none = std::ptr::null_mut();
    // SAFETY: the caller's.
    unsafe {
        let ours = SSL_get0_param(ssl);
        X509_VERIFY_PARAM_clear_flags(ours, X509_V_FLAG_PARTIAL_CHAIN);
        let theirs = X509_VERIFY_PARAM_get_flags(SSL_CTX_get0_param(ctx));
        X509_VERIFY_PARAM_set_flags(ours, theirs & X509_V_FLAG_PARTIAL_CHAIN);
        let modes = SSL_CTX_ctrl(ctx, SSL_CTRL_MODE, 0, none) & SSL_MODE_NO_AUTO_CHAIN;
        SSL_ctrl(ssl, SSL_CTRL_CLEAR_MODE, SSL_MODE_NO_AUTO_CHAIN, none);
        SSL_ctrl(ssl, SSL_CTRL_MODE, modes, none);
    }
}

/// Sets the hook for stapled OCSP responses, on both sides (SSL_CTX_set_tlsext_status_cb(3)).
///
/// # Safety
/// `ctx` must be live.
pub unsafe fn set_status_callback(ctx: *mut SSL_CTX, callback: unsafe extern "C" fn(*mut SSL, *mut c_void) -> c_int) {
    // SAFETY: the caller's; OpenSSL calls the function with the signature that it has.
    unsafe {
        let callback: unsafe extern "C" fn() = std::mem::transmute(callback);
        SSL_CTX_callback_ctrl__fixed_rust(ctx, SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB, Some(callback));
    }
}

/// Lets a client ask for a stapled OCSP response (RFC 6066, section 8).
///
/// # Safety
/// `ssl` must be live.
pub unsafe fn request_status(ssl: *mut SSL) {
    // SAFETY: the caller's.
    unsafe { SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_STATUS_REQ_TYPE, TLSEXT_STATUSTYPE_OCSP, std::ptr::null_mut()) };
}

/// Whether the client of this connection wants one.
///
/// # Safety
/// `ssl` must be live.
pub unsafe fn wants_status(ssl: *mut SSL) -> bool {
    // SAFETY: the caller's.
    unsafe { SSL_ctrl(ssl, SSL_CTRL_GET_TLSEXT_STATUS_REQ_TYPE, 0, std::ptr::null_mut()) == TLSEXT_STATUSTYPE_OCSP }
}

/// What the server has stapled.
///
/// # Safety
/// `ssl` must be a live client.
pub unsafe fn stapled_response(ssl: *mut SSL) -> Option<Vec<u8>> {
    let mut data: *const c_uchar = std::ptr::null();
    // SAFETY: the caller's; the response belongs to the connection and is copied.
    unsafe {
        let out: *mut *const c_uchar = &mut data;
        let length = SSL_ctrl(ssl, SSL_CTRL_GET_TLSEXT_STATUS_REQ_OCSP_RESP, 0, out.cast());
        (!data.is_null() && length > 0).then(|| std::slice::from_raw_parts(data, length as usize).to_vec())
    }
}

/// Staples a response; answers whether that was possible.
///
/// # Safety
/// `ssl` must be a live server.
pub unsafe fn staple_response(ssl: *mut SSL, response: &[u8]) -> bool {
    // SAFETY: the caller's; the connection takes the copy, which only OpenSSL's allocator may have made.
    unsafe {
        let copy = OPENSSL_malloc(response.len());
        if copy.is_null() {
            return false;
        }
        std::ptr::copy_nonoverlapping(response.as_ptr(), copy.cast(), response.len());
        SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP, response.len() as c_long, copy) == 1
    }
}

/// The encoding of a certificate, or None for null.
///
/// # Safety
/// `certificate` must be live or null.
pub unsafe fn certificate_der(certificate: *mut X509) -> Option<Vec<u8>> {
    if certificate.is_null() {
        return None;
    }
    // SAFETY: the caller's; the second call writes as many bytes as the first one said.
    unsafe {
        let length = i2d_X509(certificate, std::ptr::null_mut());
        let mut der = vec![0; length.max(0) as usize];
        i2d_X509(certificate, &mut der.as_mut_ptr());
        Some(der)
    }
}

/// Makes a message authentication context one of HMAC-SHA256 under `key`.
///
/// # Safety
/// `mac` must be a live context of HMAC.
pub unsafe fn set_hmac_sha256(mac: *mut EVP_MAC_CTX, key: &[u8]) -> bool {
    // SAFETY: the caller's; OpenSSL reads the key and the name and writes to neither.
    unsafe {
        let parameters = [
            OSSL_PARAM_construct_octet_string(c"key".as_ptr(), key.as_ptr().cast_mut().cast(), key.len()),
            OSSL_PARAM_construct_utf8_string(c"digest".as_ptr(), c"SHA256".as_ptr().cast_mut(), 0),
            OSSL_PARAM_construct_end(),
        ];
        EVP_MAC_CTX_set_params(mac, parameters.as_ptr()) == 1
    }
}

/// The reason text of an error, the same for all versions since 3.2: OpenSSL 4 says `tls alert ...` where those before it
/// say `ssl/tls alert ...`.
pub fn stable_reason(reason: &str) -> String {
    match reason.strip_prefix("tls alert ") {
        Some(alert) => format!("ssl/tls alert {alert}"),
        None => reason.to_owned(),
    }
}

/// The reason to give for a peer whose first record is none, where OpenSSL only finds it too long: versions 3.2 to 3.6
/// look at the length before they look at the version.
pub fn no_tls(first: &[u8]) -> Option<&'static str> {
    const SSL_3_TO_TLS_1_3: u8 = 3;
    const METHODS: [&[u8]; 8] = [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"PATCH", b"OPTIO", b"DELET", b"TRACE"];
    if first.get(1).is_none_or(|major| *major == SSL_3_TO_TLS_1_3) {
        return None;
    }
    if METHODS.iter().any(|method| first.starts_with(method)) {
        return Some("http request");
    }
    Some(if first.starts_with(b"CONNE") { "https proxy request" } else { "wrong version number" })
}

/// Starts OpenSSL, with the system's configuration file where it is not where this build would look for it.
///
/// OpenSSL reads it by itself from its own folder or from `OPENSSL_CONF`; a vendored one was built for one folder only.
pub fn initialise() {
    const FILES: [&std::ffi::CStr; 2] = [c"/etc/ssl/openssl.cnf", c"/etc/pki/tls/openssl.cnf"];
    let found = FILES.iter().find(|path| path.to_str().is_ok_and(|path| std::path::Path::new(path).exists()));
    // SAFETY: the settings live for the call; starting twice is allowed and does nothing.
    unsafe {
        let settings = OPENSSL_INIT_new();
        if let (Some(path), None) = (found, std::env::var_os("OPENSSL_CONF")) {
            OPENSSL_INIT_set_config_filename(settings, path.as_ptr());
        }
        OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, settings);
        OPENSSL_INIT_free(settings);
        // A configuration that names something this OpenSSL does not have is no reason to fail later calls.
        ERR_clear_error();
    }
    openssl::init();
}
