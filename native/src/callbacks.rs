//! What OpenSSL's hooks do: they write down what happened, or suspend the handshake. None of them runs Python, but for
//! those of `psk.rs`.
//!
//! Every context gets every hook at its birth, because after `SSL_set_SSL_CTX` the hooks are those of the new context.
//! A handshake stops only where its connection asked for it (`Settings::asks`).

use std::ffi::{c_char, c_int, c_long, c_uchar, c_uint, c_void, CStr};
use std::ptr::null_mut;
use std::time::Duration;

use crate::alert;
use crate::hello::{self, Hello};
use crate::process;
use crate::psk;
use crate::session;
use crate::state::{
    Alpn, News, Refusal, State, ASK_CERTIFICATE, ASK_CLIENT, ASK_HELLO, ASK_KEYLOG, ASK_SESSION, ASK_STAPLE,
    ASK_TICKETS, ASK_VERIFY,
};
use crate::sys;

/// Questions about a handshake that OpenSSL takes for done.
const LAST_FLIGHT: u32 = ASK_VERIFY | ASK_CLIENT | ASK_SESSION | ASK_STAPLE;

/// So many KeyUpdate messages may come without application data between them.
pub const MOST_KEY_UPDATES: u32 = 32;

/// Ties `state` to `ssl`, for the hooks to find.
pub fn attach(ssl: *mut sys::SSL, state: *mut State) -> bool {
    // SAFETY: `ssl` is live; index 0 is the application's own (SSL_set_app_data).
    unsafe { sys::SSL_set_ex_data(ssl, 0, state.cast()) == 1 }
}

/// The state of a connection, for the time of one hook.
///
/// # Safety
/// `ssl` must be live, and the reference must end before OpenSSL goes on.
pub unsafe fn state<'a>(ssl: *const sys::SSL) -> Option<&'a mut State> {
    // SAFETY: set by `attach` to a state that outlives the connection; the engine holds no reference meanwhile.
    unsafe { sys::SSL_get_ex_data(ssl.cast_mut(), 0).cast::<State>().as_mut() }
}

/// Installs every hook on a new context.
pub fn install(ctx: *mut sys::SSL_CTX) {
    // SAFETY: `ctx` is live and the hooks have the signatures OpenSSL documents.
    unsafe {
        sys::SSL_CTX_set_client_hello_cb(ctx, Some(client_hello), null_mut());
        sys::SSL_CTX_set_cert_cb(ctx, Some(select_certificate), null_mut());
        sys::SSL_CTX_set_cert_verify_callback(ctx, Some(verify_chain), null_mut());
        sys::SSL_CTX_set_alpn_select_cb__fixed_rust(ctx, Some(select_alpn), null_mut());
        sys::SSL_CTX_set_tlsext_servername_callback__fixed_rust(ctx, Some(accept_servername));
        sys::SSL_CTX_sess_set_new_cb(ctx, Some(new_session));
        sys::SSL_CTX_sess_set_get_cb(ctx, Some(find_session));
        sys::SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, Some(ticket_key));
        sys::set_status_callback(ctx, staple);
        sys::SSL_CTX_set_keylog_callback(ctx, Some(keylog));
        sys::SSL_CTX_set_info_callback(ctx, Some(info));
    }
}

unsafe extern "C" fn client_hello(ssl: *mut sys::SSL, alert: *mut c_int, _: *mut c_void) -> c_int {
    // SAFETY: OpenSSL calls with a live connection, inside this very callback.
    unsafe {
        let Some(state) = state(ssl) else { return sys::SSL_CLIENT_HELLO_ERROR };
        if state.secure {
            if !state.renegotiation.running {
                state.renegotiate(null_mut());
                let settings = &state.settings;
                if !state.renegotiation.admit(settings.reneg_limit, Duration::from_secs_f64(settings.reneg_window)) {
                    *alert = sys::SSL_AD_NO_RENEGOTIATION;
                    return sys::SSL_CLIENT_HELLO_ERROR;
                }
            }
            return sys::SSL_CLIENT_HELLO_SUCCESS;
        }
        if state.servername.is_none() {
            state.servername = hello::servername(ssl);
        }
        if let Some(psk) = &mut state.psk {
            psk.begin();
            let tickets = state.settings.tickets.clone();
            if hello::offers_external_key(ssl, |identity| tickets.know(identity)) {
                psk::prefer_sha256(ssl);
            }
        }
        match state.ask(ASK_HELLO) {
            Some(true) => sys::SSL_CLIENT_HELLO_SUCCESS,
            Some(false) => sys::SSL_CLIENT_HELLO_ERROR,
            None => {
                state.hello = Some(Box::new(Hello::of(ssl)));
                sys::SSL_CLIENT_HELLO_RETRY
            }
        }
    }
}

unsafe extern "C" fn select_certificate(ssl: *mut sys::SSL, _: *mut c_void) -> c_int {
    // SAFETY: OpenSSL calls with a live connection.
    unsafe {
        let Some(state) = state(ssl) else { return 0 };
        if !state.settings.server {
            let context = state.context.clone();
            context.show_fitting(ssl);
            return 1;
        }
        // Nothing is stapled for those who do not ask.
        if !sys::wants_status(ssl) {
            return 1;
        }
        match state.ask(ASK_CERTIFICATE) {
            Some(accepted) => c_int::from(accepted),
            None => -1,
        }
    }
}

/// Verifies the peer's chain to its end; then a client may stop to ask whether the certificate is for the right name.
///
/// A server must not stop here: OpenSSL ignores the retry there and takes the certificate as accepted.
unsafe extern "C" fn verify_chain(store: *mut sys::X509_STORE_CTX, _: *mut c_void) -> c_int {
    // SAFETY: OpenSSL calls with a live verification that belongs to a connection, whose state outlives it. References
    // to the state end before each call that may come back to it.
    unsafe {
        let ssl = verified_connection(store);
        let Some(known) = state(ssl) else { return 0 };
        if known.chain_verified {
            let chain = known.take_chain();
            if !chain.is_null() {
                sys::X509_STORE_CTX_set0_verified_chain(store, chain);
            }
        } else {
            sys::X509_STORE_CTX_set_verify_cb(store, Some(note_error));
            sys::ERR_set_mark();
            let verified = sys::X509_verify_cert(store);
            let error = sys::X509_STORE_CTX_get_error(store);
            let Some(known) = state(ssl) else { return 0 };
            if verified <= 0 && known.verify_error == sys::X509_V_OK {
                known.verify_error = if error == sys::X509_V_OK { sys::X509_V_ERR_UNSPECIFIED } else { error };
            }
            known.chain_verified = true;
            if known.reject_unauthorized && verified <= 0 {
                sys::ERR_clear_last_mark();
            } else {
                // What is let pass must not look like a failure later.
                sys::ERR_pop_to_mark();
            }
        }
        let Some(known) = state(ssl) else { return 0 };
        sys::X509_STORE_CTX_set_error(store, known.verify_error);
        if known.renegotiation.running && !known.settings.server {
            // Nobody asks again: a server must stay who it was.
            let same = known.same_peer(sys::X509_STORE_CTX_get0_cert(store));
            if !same {
                sys::X509_STORE_CTX_set_error(store, sys::X509_V_ERR_HOSTNAME_MISMATCH);
                known.verify_error = sys::X509_V_ERR_HOSTNAME_MISMATCH;
                return 0;
            }
        }
        if known.verify_error != sys::X509_V_OK {
            return c_int::from(!known.reject_unauthorized);
        }
        if known.settings.server {
            return 1;
        }
        known.expects(sys::X509_STORE_CTX_get0_cert(store));
        match known.ask(ASK_VERIFY) {
            Some(true) => 1,
            Some(false) => {
                sys::X509_STORE_CTX_set_error(store, sys::X509_V_ERR_HOSTNAME_MISMATCH);
                0
            }
            None => {
                known.keep_chain(sys::X509_STORE_CTX_get1_chain(store));
                sys::set_retry_verify(ssl);
                1
            }
        }
    }
}

/// # Safety
/// `store` must be a verification that OpenSSL runs for a connection.
unsafe fn verified_connection(store: *mut sys::X509_STORE_CTX) -> *mut sys::SSL {
    // SAFETY: the caller's; the index is where OpenSSL keeps the connection.
    unsafe { sys::X509_STORE_CTX_get_ex_data(store, sys::SSL_get_ex_data_X509_STORE_CTX_idx()).cast() }
}

/// Notes an error and lets the verification go on: of several errors the last one counts.
unsafe extern "C" fn note_error(ok: c_int, store: *mut sys::X509_STORE_CTX) -> c_int {
    // SAFETY: called inside `verify_chain`, which holds no reference meanwhile.
    unsafe {
        if ok == 0 {
            if let Some(state) = state(verified_connection(store)) {
                state.verify_error = sys::X509_STORE_CTX_get_error(store);
            }
        }
    }
    1
}

/// The server's order counts; a list without overlap ends the handshake (RFC 7301, section 3.2).
unsafe extern "C" fn select_alpn(
    ssl: *mut sys::SSL,
    out: *mut *const c_uchar,
    out_length: *mut c_uchar,
    offered: *const c_uchar,
    offered_length: c_uint,
    _: *mut c_void,
) -> c_int {
    // SAFETY: OpenSSL gives the client's list and room for the answer, which points into one of the two lists; the
    // settings, and what was chosen, live as long as the connection.
    unsafe {
        let Some(state) = state(ssl) else { return sys::SSL_TLSEXT_ERR_ALERT_FATAL };
        let ours = match &state.alpn {
            Alpn::ByList => &state.settings.alpn,
            Alpn::Chosen(protocol) => protocol,
            Alpn::Denied => return sys::SSL_TLSEXT_ERR_ALERT_FATAL,
        };
        if ours.is_empty() {
            return sys::SSL_TLSEXT_ERR_NOACK;
        }
        let mut chosen = null_mut();
        let found = sys::SSL_select_next_proto(
            &mut chosen,
            out_length,
            ours.as_ptr(),
            ours.len() as c_uint,
            offered,
            offered_length,
        );
        if found != sys::OPENSSL_NPN_NEGOTIATED {
            return sys::SSL_TLSEXT_ERR_ALERT_FATAL;
        }
        *out = chosen;
        sys::SSL_TLSEXT_ERR_OK
    }
}

unsafe extern "C" fn accept_servername(_ssl: *mut sys::SSL, _alert: *mut c_int, _: *mut c_void) -> c_int {
    sys::SSL_TLSEXT_ERR_OK
}

/// Collects a new session: for a server's store, whose answer the last flight then waits for, or for a client.
unsafe extern "C" fn new_session(ssl: *mut sys::SSL, session: *mut sys::SSL_SESSION) -> c_int {
    // SAFETY: OpenSSL calls with a live connection and a session that stays its own.
    unsafe {
        if let Some(state) = state(ssl) {
            if state.settings.server {
                if state.asks(ASK_SESSION) {
                    state.sessions.push((session::id(session).to_vec(), session::encode(session)));
                }
            } else if state.asks(ASK_TICKETS) && !state.renegotiation.running {
                state.news.push(News::Session(session::encode(session)));
            }
        }
    }
    0
}

/// Finds what was answered to the question about the hello, and nothing else.
unsafe extern "C" fn find_session(
    ssl: *mut sys::SSL,
    id: *const c_uchar,
    length: c_int,
    copy: *mut c_int,
) -> *mut sys::SSL_SESSION {
    // SAFETY: OpenSSL calls with a live connection and an identifier; it takes the reference that is given away.
    unsafe {
        *copy = 0;
        let Some(state) = state(ssl) else { return null_mut() };
        let id = std::slice::from_raw_parts(id, length.max(0) as usize);
        match state.resumed.take_if(|session| session.id() == id) {
            Some(session) => session.into_ptr(),
            None => null_mut(),
        }
    }
}

unsafe extern "C" fn ticket_key(
    ssl: *mut sys::SSL,
    name: *mut c_uchar,
    iv: *mut c_uchar,
    cipher: *mut sys::EVP_CIPHER_CTX,
    mac: *mut sys::EVP_MAC_CTX,
    encrypts: c_int,
) -> c_int {
    // SAFETY: OpenSSL calls with a live connection, and the rest as the keys expect it.
    unsafe {
        let Some(state) = state(ssl) else { return -1 };
        let keys = &state.settings.tickets;
        if encrypts == 1 {
            keys.seal(name, iv, cipher, mac)
        } else {
            keys.open(name, iv, cipher, mac, sys::SSL_version(ssl) >= sys::TLS1_3_VERSION)
        }
    }
}

/// A server staples the response for the certificate that it shows; a client stops to tell what was stapled.
unsafe extern "C" fn staple(ssl: *mut sys::SSL, _: *mut c_void) -> c_int {
    const SENT: c_int = sys::SSL_TLSEXT_ERR_OK;
    const NOTHING: c_int = sys::SSL_TLSEXT_ERR_NOACK;
    const ACCEPTED: c_int = 1;
    // SAFETY: OpenSSL calls with a live connection; it takes the copy of the response.
    unsafe {
        let Some(state) = state(ssl) else { return NOTHING };
        if !state.settings.server {
            // Without a certificate there is nothing to say about one.
            if state.asks(ASK_STAPLE) && sys::SSL_session_reused(ssl) == 0 {
                state.stapled = sys::stapled_response(ssl);
                state.hold(ASK_STAPLE);
            }
            return ACCEPTED;
        }
        if state.staples.is_empty() {
            return NOTHING;
        }
        let shown = sys::certificate_der(sys::SSL_get_certificate(ssl));
        match state.staples.iter().find(|(certificate, _)| Some(certificate) == shown.as_ref()) {
            Some((_, response)) if sys::staple_response(ssl, response) => SENT,
            _ => NOTHING,
        }
    }
}

unsafe extern "C" fn keylog(ssl: *const sys::SSL, line: *const c_char) {
    // SAFETY: OpenSSL calls with a live connection and a NUL-terminated line.
    unsafe {
        let Some(state) = state(ssl) else { return };
        let line = CStr::from_ptr(line).to_bytes();
        if !state.secure && state.asks & LAST_FLIGHT != 0 && state.secret.is_none() {
            state.secret = alert::secret_of(line, state.settings.server);
        }
        if state.asks(ASK_KEYLOG) || process::logs_keys() {
            let line = [line, b"\n"].concat();
            process::log_key(&line);
            if state.asks(ASK_KEYLOG) {
                state.news.push(News::KeyLog(line));
            }
        }
    }
}

/// Notes alerts, which then stand in the failure of both sides, counts KeyUpdate messages, and sees renegotiations.
unsafe extern "C" fn info(ssl: *const sys::SSL, event: c_int, value: c_int) {
    const CLOSE_NOTIFY: c_int = 0;
    const USER_CANCELED: c_int = 90;
    const WARNING: c_int = 1;
    // SAFETY: OpenSSL calls with a live connection; the name of a state is static.
    unsafe {
        let Some(state) = state(ssl) else { return };
        state.stirred = true;
        if event & sys::SSL_CB_LOOP != 0 {
            if state.secure && matches!(CStr::from_ptr(sys::SSL_state_string(ssl)).to_bytes(), b"TRCKU" | b"TRSKU") {
                state.key_updates += 1;
            }
        } else if event == sys::SSL_CB_HANDSHAKE_START {
            // A server learns of a renegotiation by its client's hello. TLS 1.3 has other handshakes after the first.
            if state.secure && !state.settings.server && sys::SSL_version(ssl) < sys::TLS1_3_VERSION {
                state.renegotiate(sys::SSL_get1_peer_certificate(ssl));
            }
        } else if event == sys::SSL_CB_HANDSHAKE_DONE {
            state.renegotiation.done |= std::mem::take(&mut state.renegotiation.running);
        } else if event & sys::SSL_CB_ALERT != 0 {
            let description = value & 0xff;
            // Warnings end nothing: all of them in TLS 1.2 but a refused renegotiation, one in TLS 1.3.
            let ends = match description {
                CLOSE_NOTIFY | USER_CANCELED => false,
                sys::SSL_AD_NO_RENEGOTIATION => true,
                _ => value >> 8 != WARNING || sys::SSL_version(ssl) >= sys::TLS1_3_VERSION,
            };
            let alert = ends.then_some(description as u8);
            if event & sys::SSL_CB_READ != 0 {
                state.alert_received = alert.or(state.alert_received);
            } else {
                state.alert_sent = alert.or(state.alert_sent);
                if state.renegotiation.disabled && description == sys::SSL_AD_NO_RENEGOTIATION {
                    state.renegotiation.refusal = Some(Refusal::Disabled);
                }
            }
        }
    }
}

/// Prints what the connection says and hears on the error stream (SSL_trace(3)).
///
/// # Safety
/// `ssl` must be live, with its state.
pub unsafe fn trace(ssl: *mut sys::SSL) {
    const STDERR: c_int = 2;
    const KEEP_OPEN: c_int = 0;
    const SET_MSG_CALLBACK_ARG: c_int = 16;
    // SAFETY: the caller's; the state frees the BIO after the connection.
    unsafe {
        let Some(state) = state(ssl) else { return };
        if state.trace.is_null() {
            state.trace = sys::BIO_new_fd(STDERR, KEEP_OPEN);
            sys::SSL_set_msg_callback(ssl, Some(sys::SSL_trace));
            let bio: *mut c_void = state.trace.cast();
            sys::SSL_ctrl(ssl, SET_MSG_CALLBACK_ARG, 0 as c_long, bio);
        }
    }
}
