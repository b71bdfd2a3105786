//! How OpenSSL is told a passphrase: by what the user gave, and never by asking on the terminal.

use std::ffi::{c_char, c_int, c_void};

use openssl::error::ErrorStack;

use crate::error::{self, Failure};
use crate::sys;

/// A passphrase, and whether OpenSSL wanted one.
pub struct Passphrase<'a> {
    secret: Option<&'a [u8]>,
    pub asked: bool,
}

impl<'a> Passphrase<'a> {
    pub fn new(secret: Option<&'a [u8]>) -> Self {
        Passphrase { secret, asked: false }
    }

    /// What OpenSSL's errors mean: under a name of ours where a passphrase was wanted, because what OpenSSL says of a missing
    /// or a wrong one depends on its version, and on what the garbage that it decrypted happens to look like.
    pub fn failure(&self, stack: ErrorStack) -> Failure {
        let named = if error::is_unsupported(&stack) {
            Failure::named(error::UNSUPPORTED, "Unsupported encryption of a private key")
        } else if self.asked {
            Self::refused()
        } else {
            return Failure::from(stack);
        };
        Failure { code: named.code, reason: named.reason, ..Failure::from(stack) }
    }

    /// The failure for a passphrase that is missing or wrong.
    pub fn refused() -> Failure {
        Failure::named("ERR_OSSL_BAD_DECRYPT", "bad decrypt")
    }

    /// Writes the passphrase into `buffer`; answers its length.
    pub fn tell(&mut self, buffer: &mut [u8]) -> usize {
        self.asked = true;
        let secret = self.secret.unwrap_or_default();
        let length = secret.len().min(buffer.len());
        buffer[..length].copy_from_slice(&secret[..length]);
        length
    }

    pub fn as_user_data(&mut self) -> *mut c_void {
        std::ptr::from_mut(self).cast()
    }
}

/// A way of asking (UI_METHOD) that takes the answer from the `Passphrase` in its user data.
pub struct Asking(*mut sys::UI_METHOD);

impl Asking {
    pub fn new() -> Result<Self, Failure> {
        // SAFETY: the function has the signature of a pem_password_cb.
        let method = unsafe { sys::UI_UTIL_wrap_read_pem_callback(Some(answer), 0) };
        if method.is_null() {
            return Err(Failure::from_queue());
        }
        Ok(Asking(method))
    }

    pub fn as_ptr(&self) -> *mut sys::UI_METHOD {
        self.0
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // SAFETY: the method is ours.
        unsafe { sys::UI_destroy_method(self.0) };
    }
}

unsafe extern "C" fn answer(buffer: *mut c_char, size: c_int, _writing: c_int, passphrase: *mut c_void) -> c_int {
    // SAFETY: the user data is a `Passphrase` that lives for the call; the buffer has `size` bytes.
    unsafe {
        let Some(passphrase) = passphrase.cast::<Passphrase<'_>>().as_mut() else { return 0 };
        let buffer = std::slice::from_raw_parts_mut(buffer.cast::<u8>(), size.max(0) as usize);
        passphrase.tell(buffer) as c_int
    }
}
