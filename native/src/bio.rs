//! The BIO between OpenSSL and the two ciphertext buffers of a connection.
//!
//! Reading an empty buffer asks for a retry, also when the stream has ended: the engine knows about the end and decides
//! what it means. Writing always succeeds, so OpenSSL never waits for the network.

use std::ffi::{c_char, c_int, c_long, c_void};
use std::sync::OnceLock;

use crate::callbacks::MOST_KEY_UPDATES;
use crate::state::State;
use crate::sys;

/// The header of a record of an unknown type.
const NO_RECORD: [u8; 5] = [0xff, 3, 3, 0, 1];

struct Method(*mut sys::BIO_METHOD);
// SAFETY: the table is written once, before it is shared, and only read afterwards.
unsafe impl Send for Method {}
// SAFETY: as above.
unsafe impl Sync for Method {}

static METHOD: OnceLock<Method> = OnceLock::new();

/// A BIO over the buffers of `state`, which must outlive it.
pub fn new(state: *mut State) -> *mut sys::BIO {
    let method = METHOD.get_or_init(|| {
        // SAFETY: the functions below have the signatures that BIO_meth_new(3) asks for.
        unsafe {
            let method = sys::BIO_meth_new(sys::BIO_TYPE_NONE, c"aiotls".as_ptr());
            sys::BIO_meth_set_write__fixed_rust(method, Some(write));
            sys::BIO_meth_set_read__fixed_rust(method, Some(read));
            sys::BIO_meth_set_ctrl__fixed_rust(method, Some(control));
            Method(method)
        }
    });
    // SAFETY: the method is valid; the BIO is null only when memory is out, which the caller checks.
    unsafe {
        let bio = sys::BIO_new(method.0);
        if !bio.is_null() {
            sys::BIO_set_data(bio, state.cast());
            sys::BIO_set_init(bio, 1);
        }
        bio
    }
}

unsafe extern "C" fn write(bio: *mut sys::BIO, data: *const c_char, length: c_int) -> c_int {
    // SAFETY: OpenSSL gives `length` readable bytes; the state outlives the BIO, and nobody else holds a reference to it
    // while OpenSSL runs.
    unsafe {
        sys::BIO_clear_retry_flags(bio);
        let state = &mut *sys::BIO_get_data(bio).cast::<State>();
        state.outgoing.extend(std::slice::from_raw_parts(data.cast(), length.max(0) as usize));
    }
    length
}

unsafe extern "C" fn read(bio: *mut sys::BIO, out: *mut c_char, length: c_int) -> c_int {
    // SAFETY: OpenSSL gives `length` writable bytes; the state as in `write`.
    unsafe {
        sys::BIO_clear_retry_flags(bio);
        let state = &mut *sys::BIO_get_data(bio).cast::<State>();
        if state.key_updates > MOST_KEY_UPDATES {
            // A peer that only changes its keys gets no further. OpenSSL ends the connection, with an alert, when it finds
            // a record that is none; the engine finds the words.
            let count = NO_RECORD.len().min(length.max(0) as usize);
            std::ptr::copy_nonoverlapping(NO_RECORD.as_ptr(), out.cast(), count);
            return count as c_int;
        }
        let waiting = state.incoming.as_slice();
        if waiting.is_empty() {
            sys::BIO_set_flags(bio, sys::BIO_FLAGS_READ | sys::BIO_FLAGS_SHOULD_RETRY);
            return -1;
        }
        let count = waiting.len().min(length.max(0) as usize);
        std::ptr::copy_nonoverlapping(waiting.as_ptr(), out.cast(), count);
        state.incoming.advance(count);
        if !state.secure {
            state.note_first(std::slice::from_raw_parts(out.cast(), count));
        }
        count as c_int
    }
}

unsafe extern "C" fn control(_bio: *mut sys::BIO, command: c_int, _: c_long, _: *mut c_void) -> c_long {
    c_long::from(command == sys::BIO_CTRL_FLUSH)
}
