//! What the `openssl-sys` crate does not bind, and the only place that knows differences between OpenSSL versions.

#![allow(non_camel_case_types)]

use std::ffi::{c_char, c_int, c_long, c_uchar, c_uint, c_void};

pub use openssl_sys::*;

/// `SSL_ERROR_*` values of suspended handshakes, see SSL_get_error(3).
pub const SSL_ERROR_WANT_CLIENT_HELLO_CB: c_int = 11;
pub const SSL_ERROR_WANT_RETRY_VERIFY: c_int = 12;

pub const SSL_CLIENT_HELLO_SUCCESS: c_int = 1;
pub const SSL_CLIENT_HELLO_RETRY: c_int = -1;
pub const SSL_CLIENT_HELLO_ERROR: c_int = 0;

pub const SSL_MAX_SID_CTX_LENGTH: usize = 32;

pub const ERR_LIB_SSL: c_int = 20;

pub const SSL_CB_LOOP: c_int = 0x01;
pub const SSL_CB_ALERT: c_int = 0x4000;
pub const SSL_CB_READ: c_int = 0x04;

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
    pub fn OPENSSL_INIT_set_config_filename(settings: *mut OPENSSL_INIT_SETTINGS, path: *const c_char) -> c_int;
}

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

/// The reason text of an error, the same for all versions since 3.2: OpenSSL 4 says `tls alert ...` where those before it
/// say `ssl/tls alert ...`.
pub fn stable_reason(reason: &str) -> String {
    match reason.strip_prefix("tls alert ") {
        Some(alert) => format!("ssl/tls alert {alert}"),
        None => reason.to_owned(),
    }
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
