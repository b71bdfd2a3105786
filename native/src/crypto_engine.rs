//! Keys and client certificates that live in a crypto engine (ENGINE of OpenSSL up to 3.x), where OpenSSL has engines.

use std::ffi::CString;

use pyo3::prelude::*;

use crate::error::{clear_queue, Failure};
use crate::sys;
use crate::trust::PrivateKey;

/// A private key by the name that an engine knows it under.
#[pyfunction]
#[pyo3(signature = (engine, identifier, passphrase, /))]
pub fn load_engine_key(
    py: Python<'_>,
    engine: &str,
    identifier: &str,
    passphrase: Option<&[u8]>,
) -> PyResult<PrivateKey> {
    py.detach(|| Ok(PrivateKey(imp::private_key(&text(engine)?, &text(identifier)?, passphrase)?)))
}

/// Lets an engine choose the certificate that a client shows.
///
/// # Safety
/// `ctx` must be live.
pub unsafe fn use_client_certificates(ctx: *mut sys::SSL_CTX, engine: &str) -> Result<(), Failure> {
    // SAFETY: the caller's.
    unsafe { imp::client_certificates(ctx, &text(engine)?) }
}

fn text(value: &str) -> Result<CString, Failure> {
    clear_queue();
    CString::new(value).map_err(|_| Failure::default())
}

#[cfg(ossl_engine)]
mod imp {
    use std::ffi::{c_int, CStr};
    use std::ptr::null;

    use foreign_types::ForeignType;
    use openssl::error::ErrorStack;
    use openssl::pkey::{PKey, Private};

    use crate::error::{clear_queue, Failure};
    use crate::passphrase::{Asking, Passphrase};
    use crate::sys;

    /// An engine that was started; both references end with it.
    struct Engine(*mut sys::ENGINE);

    impl Engine {
        /// By its name, else by the name of the shared object that has it.
        fn start(name: &CStr) -> Result<Engine, Failure> {
            // SAFETY: names are NUL-terminated; a reference that cannot be used is given back.
            unsafe {
                sys::ENGINE_load_builtin_engines();
                let mut engine = sys::ENGINE_by_id(name.as_ptr());
                if engine.is_null() {
                    engine = sys::ENGINE_by_id(c"dynamic".as_ptr());
                    clear_queue();
                    let found = !engine.is_null()
                        && command(engine, c"SO_PATH", name.as_ptr()) == 1
                        && command(engine, c"LOAD", null()) == 1;
                    if !found {
                        let failure = Failure::from_queue();
                        sys::ENGINE_free(engine);
                        return Err(failure);
                    }
                }
                if sys::ENGINE_init(engine) != 1 {
                    let failure = Failure::from_queue();
                    sys::ENGINE_free(engine);
                    return Err(failure);
                }
                Ok(Engine(engine))
            }
        }
    }

    impl Drop for Engine {
        fn drop(&mut self) {
            // SAFETY: both references are ours.
            unsafe {
                sys::ENGINE_finish(self.0);
                sys::ENGINE_free(self.0);
            }
        }
    }

    /// # Safety
    /// `engine` must be live and `value` NUL-terminated or null.
    unsafe fn command(engine: *mut sys::ENGINE, name: &CStr, value: *const std::ffi::c_char) -> c_int {
        // SAFETY: the caller's.
        unsafe { sys::ENGINE_ctrl_cmd_string(engine, name.as_ptr(), value, 0) }
    }

    pub fn private_key(engine: &CStr, identifier: &CStr, passphrase: Option<&[u8]>) -> Result<PKey<Private>, Failure> {
        let engine = Engine::start(engine)?;
        let asking = Asking::new()?;
        let mut passphrase = Passphrase::new(passphrase);
        // SAFETY: all live for the call; the key is ours and holds the engine by itself.
        unsafe {
            let data = passphrase.as_user_data();
            let key = sys::ENGINE_load_private_key(engine.0, identifier.as_ptr(), asking.as_ptr(), data);
            if key.is_null() {
                return Err(passphrase.failure(ErrorStack::get()));
            }
            Ok(PKey::from_ptr(key))
        }
    }

    /// # Safety
    /// `ctx` must be live.
    pub unsafe fn client_certificates(ctx: *mut sys::SSL_CTX, engine: &CStr) -> Result<(), Failure> {
        let engine = Engine::start(engine)?;
        // SAFETY: the caller's; the context takes a reference of its own.
        if unsafe { sys::SSL_CTX_set_client_cert_engine(ctx, engine.0) } != 1 {
            return Err(Failure::from_queue());
        }
        Ok(())
    }
}

#[cfg(not(ossl_engine))]
mod imp {
    use std::ffi::CStr;

    use openssl::pkey::{PKey, Private};

    use crate::error::Failure;
    use crate::sys;

    pub fn private_key(_: &CStr, _: &CStr, _: Option<&[u8]>) -> Result<PKey<Private>, Failure> {
        Err(unsupported())
    }

    /// # Safety
    /// None is needed; it has the same form as where there are engines.
    pub unsafe fn client_certificates(_: *mut sys::SSL_CTX, _: &CStr) -> Result<(), Failure> {
        Err(unsupported())
    }

    fn unsupported() -> Failure {
        Failure::named("ERR_CRYPTO_CUSTOM_ENGINE_NOT_SUPPORTED", "Custom engines not supported by this OpenSSL")
    }
}
