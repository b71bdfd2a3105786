//! What is not bound of PKCS#12, stores, engines, and the questions for passphrases.

use std::ffi::{c_char, c_int, c_void};

use openssl_sys::*;

pub const OSSL_STORE_INFO_PKEY: c_int = 4;
pub const OSSL_STORE_INFO_CERT: c_int = 5;

// Only ever behind pointers.
pub enum UI_METHOD {}
pub enum OSSL_STORE_CTX {}
pub enum OSSL_STORE_INFO {}
pub enum PKCS12_SAFEBAG {}

pub const NID_KEY_BAG: c_int = 150;
pub const NID_SHROUDED_KEY_BAG: c_int = 151;
pub const NID_CERT_BAG: c_int = 152;
pub const NID_SAFES_BAG: c_int = 155;

extern "C" {
    pub fn UI_UTIL_wrap_read_pem_callback(callback: pem_password_cb, writing: c_int) -> *mut UI_METHOD;
    pub fn UI_destroy_method(method: *mut UI_METHOD);
    pub fn d2i_PKCS12_bio(bio: *mut BIO, out: *mut *mut PKCS12) -> *mut PKCS12;
    pub fn OSSL_STORE_open(
        uri: *const c_char,
        method: *const UI_METHOD,
        user_data: *mut c_void,
        post_process: Option<unsafe extern "C" fn(*mut OSSL_STORE_INFO, *mut c_void) -> *mut OSSL_STORE_INFO>,
        post_process_data: *mut c_void,
    ) -> *mut OSSL_STORE_CTX;
    pub fn OSSL_STORE_expect(store: *mut OSSL_STORE_CTX, kind: c_int) -> c_int;
    pub fn OSSL_STORE_load(store: *mut OSSL_STORE_CTX) -> *mut OSSL_STORE_INFO;
    pub fn OSSL_STORE_eof(store: *mut OSSL_STORE_CTX) -> c_int;
    pub fn OSSL_STORE_close(store: *mut OSSL_STORE_CTX) -> c_int;
    pub fn OSSL_STORE_INFO_get_type(info: *const OSSL_STORE_INFO) -> c_int;
    pub fn OSSL_STORE_INFO_get1_PKEY(info: *const OSSL_STORE_INFO) -> *mut EVP_PKEY;
    pub fn OSSL_STORE_INFO_get1_CERT(info: *const OSSL_STORE_INFO) -> *mut X509;
    pub fn OSSL_STORE_INFO_free(info: *mut OSSL_STORE_INFO);
    pub fn PKCS12_mac_present(file: *const PKCS12) -> c_int;
    pub fn PKCS12_verify_mac(file: *mut PKCS12, passphrase: *const c_char, length: c_int) -> c_int;
    pub fn PKCS12_unpack_authsafes(file: *const PKCS12) -> *mut OPENSSL_STACK;
    pub fn PKCS12_unpack_p7data(part: *mut PKCS7) -> *mut OPENSSL_STACK;
    pub fn PKCS12_unpack_p7encdata(part: *mut PKCS7, passphrase: *const c_char, length: c_int) -> *mut OPENSSL_STACK;
    pub fn PKCS12_SAFEBAG_get_nid(bag: *const PKCS12_SAFEBAG) -> c_int;
    pub fn PKCS12_SAFEBAG_get0_p8inf(bag: *const PKCS12_SAFEBAG) -> *const PKCS8_PRIV_KEY_INFO;
    pub fn PKCS12_SAFEBAG_get0_safes(bag: *const PKCS12_SAFEBAG) -> *const OPENSSL_STACK;
    pub fn PKCS12_SAFEBAG_get1_cert(bag: *const PKCS12_SAFEBAG) -> *mut X509;
    pub fn PKCS12_decrypt_skey(
        bag: *const PKCS12_SAFEBAG,
        passphrase: *const c_char,
        length: c_int,
    ) -> *mut PKCS8_PRIV_KEY_INFO;
    pub fn PKCS12_SAFEBAG_free(bag: *mut PKCS12_SAFEBAG);
}

#[cfg(ossl_engine)]
extern "C" {
    pub fn ENGINE_load_builtin_engines();
    pub fn ENGINE_by_id(name: *const c_char) -> *mut ENGINE;
    pub fn ENGINE_ctrl_cmd_string(
        engine: *mut ENGINE,
        command: *const c_char,
        argument: *const c_char,
        optional: c_int,
    ) -> c_int;
    pub fn ENGINE_init(engine: *mut ENGINE) -> c_int;
    pub fn ENGINE_finish(engine: *mut ENGINE) -> c_int;
    pub fn ENGINE_free(engine: *mut ENGINE) -> c_int;
    pub fn ENGINE_load_private_key(
        engine: *mut ENGINE,
        name: *const c_char,
        method: *mut UI_METHOD,
        user_data: *mut c_void,
    ) -> *mut EVP_PKEY;
    pub fn SSL_CTX_set_client_cert_engine(ctx: *mut SSL_CTX, engine: *mut ENGINE) -> c_int;
}
