//! What OpenSSL's hooks do: they write down what happened, or suspend the handshake. None of them runs Python.
//!
//! Every context gets every hook at its birth, because after `SSL_set_SSL_CTX` the hooks are those of the new context.
//! A handshake stops only where its connection asked for it (`Settings::asks`).

use std::ffi::{c_char, c_int, c_uchar, c_uint, c_void, CStr};
use std::ptr::null_mut;
use std::sync::Arc;

use crate::buffer::Buffer;
use crate::settings::Settings;
use crate::sys;

/// So many KeyUpdate messages may come without application data between them.
pub const MOST_KEY_UPDATES: u32 = 32;

pub const ASK_HELLO: u32 = 1;
pub const ASK_CERTIFICATE: u32 = 2;
pub const ASK_VERIFY: u32 = 4;
pub const ASK_SESSION: u32 = 8;
pub const ASK_KEYLOG: u32 = 16;

/// What is known about one question of a handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    Refused,
}

pub enum News {
    KeyLog(Vec<u8>),
}

/// The part of a connection that OpenSSL's hooks and its BIO see.
///
/// The engine holds it by pointer and keeps no reference to it while OpenSSL runs.
pub struct State {
    pub settings: Arc<Settings>,
    pub incoming: Buffer,
    pub outgoing: Buffer,
    /// The question that the handshake waits for, one of `ASK_*`, or 0.
    pub question: u32,
    /// The answers given, by question.
    answers: [(u32, Option<Answer>); 4],
    /// The outgoing flight waits for an answer.
    pub held: bool,
    /// The verdict on the peer's chain: the last error of a verification that ran to its end.
    pub verify_error: c_int,
    chain_verified: bool,
    verified_chain: *mut sys::stack_st_X509,
    pub alert_sent: Option<u8>,
    pub alert_received: Option<u8>,
    /// KeyUpdate messages of the peer since its last application data.
    pub key_updates: u32,
    pub news: Vec<News>,
}

impl State {
    pub fn new(settings: Arc<Settings>) -> Self {
        State {
            settings,
            incoming: Buffer::default(),
            outgoing: Buffer::default(),
            question: 0,
            answers: [ASK_HELLO, ASK_CERTIFICATE, ASK_VERIFY, ASK_SESSION].map(|question| (question, None)),
            held: false,
            verify_error: sys::X509_V_OK,
            chain_verified: false,
            verified_chain: null_mut(),
            alert_sent: None,
            alert_received: None,
            key_updates: 0,
            news: Vec::new(),
        }
    }

    /// Answers the question that waits; without one, nothing happens.
    pub fn answer(&mut self, answer: Answer) {
        for entry in &mut self.answers {
            if entry.0 == self.question {
                entry.1 = Some(answer);
            }
        }
        if self.question == ASK_SESSION {
            self.held = false;
        }
        self.question = 0;
    }

    /// The chain that is being asked about, while the connection itself does not know its peer yet.
    pub fn verified_chain(&self) -> *mut sys::stack_st_X509 {
        self.verified_chain
    }

    pub fn refused(&self) -> bool {
        self.answers.iter().any(|entry| entry.1 == Some(Answer::Refused))
    }

    fn asks(&self, question: u32) -> bool {
        self.settings.asks & question != 0
    }

    /// The answer to `question`; without one, the handshake is to stop for it.
    fn ask(&mut self, question: u32) -> Option<Answer> {
        if !self.asks(question) {
            return Some(Answer::Accepted);
        }
        let answer = self.answers.iter().find(|entry| entry.0 == question).and_then(|entry| entry.1);
        if answer.is_none() {
            self.question = question;
        }
        answer
    }
}

impl Drop for State {
    fn drop(&mut self) {
        free_chain(self.verified_chain);
    }
}

fn free_chain(chain: *mut sys::stack_st_X509) {
    unsafe extern "C" fn free(certificate: *mut c_void) {
        // SAFETY: the stack holds a reference to each certificate.
        unsafe { sys::X509_free(certificate.cast()) };
    }
    // SAFETY: the chain is ours; null is allowed.
    unsafe { sys::OPENSSL_sk_pop_free(chain.cast(), Some(free)) };
}

/// Ties `state` to `ssl`, for the hooks to find.
pub fn attach(ssl: *mut sys::SSL, state: *mut State) -> bool {
    // SAFETY: `ssl` is live; index 0 is the application's own (SSL_set_app_data).
    unsafe { sys::SSL_set_ex_data(ssl, 0, state.cast()) == 1 }
}

/// The state of a connection, for the time of one hook.
///
/// # Safety
/// `ssl` must be live, and the reference must end before OpenSSL goes on.
unsafe fn state<'a>(ssl: *const sys::SSL) -> Option<&'a mut State> {
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
        sys::SSL_CTX_set_keylog_callback(ctx, Some(keylog));
        sys::SSL_CTX_set_info_callback(ctx, Some(info));
    }
}

unsafe extern "C" fn client_hello(ssl: *mut sys::SSL, _alert: *mut c_int, _: *mut c_void) -> c_int {
    // SAFETY: OpenSSL calls with a live connection.
    match unsafe { state(ssl) }.map(|state| state.ask(ASK_HELLO)) {
        Some(Some(Answer::Accepted)) => sys::SSL_CLIENT_HELLO_SUCCESS,
        Some(None) => sys::SSL_CLIENT_HELLO_RETRY,
        _ => sys::SSL_CLIENT_HELLO_ERROR,
    }
}

unsafe extern "C" fn select_certificate(ssl: *mut sys::SSL, _: *mut c_void) -> c_int {
    // SAFETY: OpenSSL calls with a live connection.
    match unsafe { state(ssl) } {
        // A client's own certificate is chosen by its context alone.
        Some(state) if !state.settings.server => 1,
        Some(state) => match state.ask(ASK_CERTIFICATE) {
            Some(Answer::Accepted) => 1,
            Some(Answer::Refused) => 0,
            None => -1,
        },
        None => 0,
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
            let chain = std::mem::replace(&mut known.verified_chain, null_mut());
            if !chain.is_null() {
                sys::X509_STORE_CTX_set0_verified_chain(store, chain);
            }
        } else {
            sys::X509_STORE_CTX_set_verify_cb(store, Some(note_error));
            let verified = sys::X509_verify_cert(store);
            let error = sys::X509_STORE_CTX_get_error(store);
            let Some(known) = state(ssl) else { return 0 };
            if verified <= 0 && known.verify_error == sys::X509_V_OK {
                known.verify_error = if error == sys::X509_V_OK { sys::X509_V_ERR_UNSPECIFIED } else { error };
            }
            known.chain_verified = true;
        }
        let Some(known) = state(ssl) else { return 0 };
        sys::X509_STORE_CTX_set_error(store, known.verify_error);
        if known.verify_error != sys::X509_V_OK {
            return c_int::from(!known.settings.reject_unauthorized);
        }
        if known.settings.server {
            return 1;
        }
        match known.ask(ASK_VERIFY) {
            Some(Answer::Accepted) => 1,
            Some(Answer::Refused) => {
                sys::X509_STORE_CTX_set_error(store, sys::X509_V_ERR_HOSTNAME_MISMATCH);
                0
            }
            None => {
                free_chain(std::mem::replace(&mut known.verified_chain, sys::X509_STORE_CTX_get1_chain(store)));
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
    // settings live as long as the connection.
    unsafe {
        let Some(state) = state(ssl) else { return sys::SSL_TLSEXT_ERR_ALERT_FATAL };
        let ours = &state.settings.alpn;
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

/// Runs while the last flight is being written, which is then held back until the session is stored.
unsafe extern "C" fn new_session(ssl: *mut sys::SSL, _session: *mut sys::SSL_SESSION) -> c_int {
    // SAFETY: OpenSSL calls with a live connection.
    if let Some(state) = unsafe { state(ssl) } {
        if state.settings.server && state.ask(ASK_SESSION).is_none() {
            state.held = true;
        }
    }
    0
}

unsafe extern "C" fn keylog(ssl: *const sys::SSL, line: *const c_char) {
    // SAFETY: OpenSSL calls with a live connection and a NUL-terminated line.
    unsafe {
        if let Some(state) = state(ssl) {
            if state.asks(ASK_KEYLOG) {
                let mut line = CStr::from_ptr(line).to_bytes().to_vec();
                line.push(b'\n');
                state.news.push(News::KeyLog(line));
            }
        }
    }
}

/// Notes alerts, which then stand in the failure of both sides, and counts KeyUpdate messages.
unsafe extern "C" fn info(ssl: *const sys::SSL, event: c_int, value: c_int) {
    const CLOSE_NOTIFY: c_int = 0;
    if event & sys::SSL_CB_LOOP != 0 {
        // SAFETY: OpenSSL calls with a live connection; the name of a state is static.
        unsafe {
            if matches!(CStr::from_ptr(sys::SSL_state_string(ssl)).to_bytes(), b"TRCKU" | b"TRSKU") {
                if let Some(state) = state(ssl) {
                    state.key_updates += 1;
                }
            }
        }
        return;
    }
    let description = value & 0xff;
    if event & sys::SSL_CB_ALERT == 0 || description == CLOSE_NOTIFY {
        return;
    }
    // SAFETY: OpenSSL calls with a live connection.
    if let Some(state) = unsafe { state(ssl) } {
        let alert = Some(description as u8);
        if event & sys::SSL_CB_READ != 0 {
            state.alert_received = alert;
        } else {
            state.alert_sent = alert;
        }
    }
}
