//! One TLS connection over two ciphertext buffers.
//!
//! Nothing here waits: a step that cannot go on says what it wants. What a failing step wrote (the alert) stays in the
//! outgoing buffer and is sent like everything else.

use std::ffi::{c_int, CString};
use std::sync::Arc;

use crate::alert;
use crate::bio;
use crate::callbacks::{self, MOST_KEY_UPDATES};
use crate::dh;
use crate::error::{clear_queue, Failure, Kind};
use crate::process;
use crate::settings::Settings;
use crate::state::{News, Refusal, State, ASK_CLIENT, ASK_SESSION, ASK_STAPLE, ASK_TRACE, ASK_VERIFY};
use crate::sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Done = 0,
    WantInput = 1,
    Asking = 2,
    Ended = 3,
    Failed = 4,
}

pub struct Engine {
    ssl: *mut sys::SSL,
    /// Owned; by pointer because OpenSSL's hooks use it while a call into OpenSSL runs.
    state: *mut State,
    /// The peer's stream of ciphertext has ended.
    eof: bool,
    close_notify_sent: bool,
    close_notify_received: bool,
    failure: Option<Box<Failure>>,
    /// The first handshake is done, and all questions about it have their answers.
    settled: bool,
    /// A renegotiation is done, but not all questions about it have their answers.
    unsettled: bool,
    /// What was decrypted behind it.
    early: Vec<u8>,
    /// The application protocol, which no renegotiation changes.
    pub protocol: Option<Vec<u8>>,
    pub settings: Arc<Settings>,
}

// SAFETY: an SSL may move between threads as long as one uses it at a time; the owner's lock sees to that.
unsafe impl Send for Engine {}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: both are ours; the SSL goes first because its BIO and its hooks use the state.
        unsafe {
            sys::SSL_free(self.ssl);
            drop(Box::from_raw(self.state));
        }
    }
}

impl Engine {
    /// A connection that has not begun. A client names the server in `servername`, and asks nobody about a certificate for
    /// the name `expected`.
    pub fn new(settings: Arc<Settings>, servername: Option<&str>, expected: Option<&str>) -> Result<Engine, Failure> {
        clear_queue();
        let name = servername.map(CString::new).transpose().map_err(|_| Failure::default())?;
        let state = Box::into_raw(Box::new(State::new(settings.clone())));
        // SAFETY: the context is live. The engine owns what was made so far, so an early return frees it.
        unsafe {
            let ssl = sys::SSL_new(settings.context.0);
            let mut engine = Engine {
                ssl,
                state,
                eof: false,
                close_notify_sent: false,
                close_notify_received: false,
                failure: None,
                settled: false,
                unsettled: false,
                early: Vec::new(),
                protocol: None,
                settings,
            };
            let settings = &engine.settings;
            let bio = if ssl.is_null() { std::ptr::null_mut() } else { bio::new(state) };
            if bio.is_null() || !callbacks::attach(ssl, state) {
                return Err(Failure::from_queue());
            }
            sys::SSL_set_bio(ssl, bio, bio);
            if settings.asks & ASK_TRACE != 0 || process::traces() {
                callbacks::trace(ssl);
            }
            if settings.server {
                engine.apply_policy()?;
                sys::SSL_set_accept_state(ssl);
                return Ok(engine);
            }
            sys::SSL_set_verify(ssl, sys::SSL_VERIFY_PEER, None);
            sys::SSL_set_connect_state(ssl);
            if settings.asks & ASK_STAPLE != 0 {
                sys::request_status(ssl);
            }
            if let Some(name) = name {
                if sys::SSL_set_tlsext_host_name(ssl, name.as_ptr().cast_mut()) != 1 {
                    return Err(Failure::from_queue());
                }
            }
            // SSL_set_alpn_protos answers 0 for success.
            if !settings.alpn.is_empty()
                && sys::SSL_set_alpn_protos(ssl, settings.alpn.as_ptr(), settings.alpn.len() as u32) != 0
            {
                return Err(Failure::from_queue());
            }
            engine.state_mut().expected = expected.map(Box::from);
            engine.watch_dh();
            Ok(engine)
        }
    }

    pub fn ssl(&self) -> *mut sys::SSL {
        self.ssl
    }

    pub fn state(&self) -> &State {
        // SAFETY: no hook runs while the reference lives, because the hooks run inside methods that take `&mut self`.
        unsafe { &*self.state }
    }

    pub fn state_mut(&mut self) -> &mut State {
        // SAFETY: as in `state`.
        unsafe { &mut *self.state }
    }

    pub fn is_secure(&self) -> bool {
        self.state().secure
    }

    /// A renegotiation is under way: application data cannot leave before it is done.
    pub fn is_renegotiating(&self) -> bool {
        self.is_secure() && !self.close_notify_received && self.in_handshake()
    }

    fn in_handshake(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { sys::SSL_in_init(self.ssl) == 1 }
    }

    pub fn eof(&self) -> bool {
        self.eof
    }

    pub fn feed_eof(&mut self) {
        self.eof = true;
        let state = self.state();
        if state.question != 0 && !state.secure {
            // Nobody is left to hear the answer.
            self.fail(Failure::of_kind(Kind::Eof));
        }
    }

    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_deref()
    }

    /// The stream ended without close_notify.
    pub fn truncated(&self) -> bool {
        self.is_secure() && self.eof && !self.close_notify_received && self.failure.is_none()
    }

    /// Application data has to wait: for a renegotiation, or for the answer to a question about it.
    pub fn is_busy(&self) -> bool {
        let state = self.state();
        state.question != 0 || state.held || self.unsettled || self.is_renegotiating()
    }

    /// Ciphertext that may leave now.
    pub fn outgoing(&self) -> &[u8] {
        let state = self.state();
        if state.held {
            return &[];
        }
        state.outgoing.as_slice()
    }

    pub fn sent(&mut self, count: usize) {
        self.state_mut().outgoing.consume(count);
    }

    /// Gives back memory that OpenSSL has read to its end; in between, reading only moves a mark.
    pub fn compact(&mut self) {
        self.state_mut().incoming.consume(0);
    }

    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.state_mut().news)
    }

    pub fn answer(&mut self, accept: bool) {
        if let Some(alert) = self.state_mut().answer(accept) {
            self.turn_away(alert, Failure::of_kind(Kind::Refused));
        }
    }

    /// Ends the connection for a reason from outside, unless it has failed already.
    pub fn fail(&mut self, failure: Failure) -> Status {
        if self.failure.is_none() {
            let (alert_sent, alert_received) = (self.state().alert_sent, self.state().alert_received);
            self.failure = Some(Box::new(Failure { alert_sent, alert_received, ..failure }));
        }
        Status::Failed
    }

    pub fn handshake(&mut self) -> Status {
        if self.failure.is_some() {
            return Status::Failed;
        }
        if self.state().question != 0 {
            return Status::Asking;
        }
        if !self.state().secure {
            self.state_mut().held = false;
        }
        // SAFETY: the connection is live and nobody holds a reference to its state.
        let result = unsafe {
            sys::ERR_clear_error();
            sys::SSL_do_handshake(self.ssl)
        };
        if result != 1 {
            return self.interpret(result);
        }
        self.state_mut().secure = true;
        self.after_handshake()
    }

    /// A handshake is done: what still has to be asked before anybody may rely on it.
    fn after_handshake(&mut self) -> Status {
        // SAFETY: the connection is live; the certificate stays its own.
        let peer = unsafe { sys::SSL_get0_peer_certificate(self.ssl) };
        let certificate = !peer.is_null();
        let keyed = self.note_key(certificate);
        let accepted = self.verify_result() == i64::from(sys::X509_V_OK);
        let server = self.settings.server;
        let state = self.state_mut();
        if !server && !certificate && (state.reject_unauthorized && !keyed || !state.former_peer.is_null()) {
            // With an anonymous suite nobody was verified, and no hook was called.
            return self.fail(Failure {
                verify_result: sys::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
                ..Failure::of_kind(Kind::Verify)
            });
        }
        if let Some(weak) = (!server && !self.settled).then(|| self.weak_group()).flatten() {
            self.state_mut().outgoing = Default::default();
            return self.turn_away(alert::HANDSHAKE_FAILURE, weak);
        }
        let state = self.state_mut();
        let asks = |state: &State, question| state.asks(question) && !state.has_answer(question);
        if state.question != 0 {
            // A client has yet to hear about its OCSP response.
            return Status::Asking;
        }
        if server && certificate && accepted && asks(state, ASK_CLIENT) {
            state.hold(ASK_CLIENT);
        // SAFETY: the certificate is still the connection's.
        } else if !server && accepted && asks(state, ASK_VERIFY) && !unsafe { state.expects(peer) } {
            // A session was resumed, or a key used: the hook that verifies certificates was not called.
            state.hold(ASK_VERIFY);
        } else if !state.sessions.is_empty() {
            state.hold(ASK_SESSION);
        }
        if state.question != 0 {
            return Status::Asking;
        }
        state.held = false;
        state.forget_secret();
        if !self.settled {
            self.settled = true;
            self.protocol = self.selected_protocol();
        }
        Status::Done
    }

    /// Ends a handshake that OpenSSL takes for done, with an alert where the peer can still read one.
    fn turn_away(&mut self, description: u8, failure: Failure) -> Status {
        let (server, secure) = (self.settings.server, self.state().secure);
        // Up to TLS 1.2, a resuming server and a client that does not resume have sent their ChangeCipherSpec before.
        let readable = self.is_tls13() || !secure || self.resumed() != server;
        let record = if self.settled || !readable {
            None
        } else if self.is_tls13() {
            let suite = self.cipher().map(|(_, name, _)| name);
            let state = self.state();
            state.secret.as_ref().zip(suite).and_then(|(secret, suite)| alert::sealed(&suite, secret, description))
        } else {
            // SAFETY: the connection is live.
            Some(alert::plain(unsafe { sys::SSL_version(self.ssl) }, description))
        };
        clear_queue();
        if let Some(record) = record {
            let state = self.state_mut();
            state.outgoing.extend(&record);
            state.alert_sent = Some(description);
        }
        self.fail(failure)
    }

    /// Notes whether a pre-shared key, or the session made with one, tells who the peer is; answers that.
    fn note_key(&mut self, certificate: bool) -> bool {
        let (ssl, server) = (self.ssl, self.settings.server);
        let state = self.state_mut();
        // Sessions are bound to the policy.
        let required = if server { state.request_cert && state.reject_unauthorized } else { state.session_authorized };
        match &mut state.psk {
            Some(psk) if !state.renegotiation.running => {
                // SAFETY: the connection is live.
                unsafe { psk.note(ssl, server, certificate, required) };
                psk.authenticates
            }
            _ => false,
        }
    }

    pub fn is_tls13(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { sys::SSL_version(self.ssl) >= sys::TLS1_3_VERSION }
    }

    /// Decrypts into `out`; the count is 0 unless the status is `Done`. OpenSSL's queue of errors must be empty, as it is
    /// after a read that was done or wants input.
    pub fn read(&mut self, out: &mut [u8]) -> (Status, usize) {
        if self.failure.is_some() {
            return (Status::Failed, 0);
        }
        if self.state().question != 0 {
            return (Status::Asking, 0);
        }
        if self.unsettled {
            let status = self.settle();
            if status != Status::Done {
                return (status, 0);
            }
        }
        if !self.early.is_empty() {
            let count = self.early.len().min(out.len());
            out[..count].copy_from_slice(&self.early[..count]);
            self.early.drain(..count);
            return (Status::Done, count);
        }
        if std::mem::take(&mut self.state_mut().stirred) {
            clear_queue();
        }
        let mut count = 0;
        // SAFETY: `out` is writable for its length; as in `handshake`.
        let result = unsafe { sys::SSL_read_ex(self.ssl, out.as_mut_ptr().cast(), out.len(), &mut count) };
        if self.state().renegotiation.refusal.is_none() && std::mem::take(&mut self.state_mut().renegotiation.done) {
            // Nothing behind the renegotiation is delivered before that.
            let status = self.settle();
            if status != Status::Done {
                self.early.extend_from_slice(&out[..count]);
                return (status, 0);
            }
        }
        if result == 1 {
            self.state_mut().key_updates = 0;
            return (Status::Done, count);
        }
        (self.interpret(result), 0)
    }

    /// A renegotiation is done, or an answer to a question about it has come.
    fn settle(&mut self) -> Status {
        let status = self.after_handshake();
        self.unsettled = status == Status::Asking;
        if status == Status::Done {
            self.state_mut().news.push(News::Secure);
        }
        status
    }

    /// Encrypts all of `data`, or, with `WantInput`, none of it: a renegotiation has to be finished before.
    pub fn write(&mut self, data: &[u8]) -> Status {
        if self.failure.is_some() {
            return Status::Failed;
        }
        if self.is_busy() {
            return Status::WantInput;
        }
        if self.close_notify_received && self.in_handshake() {
            // The peer has ended instead of finishing a renegotiation, without which nothing can be sent.
            return self.fail(Failure::system(libc::ECONNRESET));
        }
        let mut rest = data;
        while !rest.is_empty() {
            let mut count = 0;
            // SAFETY: `rest` is readable for its length; as in `handshake`.
            let result = unsafe {
                sys::ERR_clear_error();
                sys::SSL_write_ex(self.ssl, rest.as_ptr().cast(), rest.len(), &mut count)
            };
            if result != 1 {
                return self.interpret(result);
            }
            rest = &rest[count..];
        }
        Status::Done
    }

    /// Adds our close_notify to the outgoing buffer, once, where the protocol allows it.
    pub fn shutdown(&mut self) -> Status {
        if self.failure.is_some() {
            return Status::Failed;
        }
        if self.is_secure() && !self.is_busy() && !self.close_notify_sent {
            self.close_notify_sent = true;
            // SAFETY: as in `handshake`; the answer only tells whether the peer's close_notify is there already.
            unsafe {
                sys::ERR_clear_error();
                sys::SSL_shutdown(self.ssl);
                sys::ERR_clear_error();
            }
        }
        Status::Done
    }

    /// What a call into OpenSSL that did not succeed means.
    fn interpret(&mut self, result: c_int) -> Status {
        // SAFETY: the connection is live and `result` is that of its last call.
        match unsafe { sys::SSL_get_error(self.ssl, result) } {
            _ if self.state().renegotiation.refusal.is_some() => self.fail_renegotiation(),
            sys::SSL_ERROR_WANT_READ if self.state().question != 0 => Status::Asking,
            sys::SSL_ERROR_WANT_READ if self.state().refused => {
                // A client's function for a key has failed, where OpenSSL goes on without one.
                self.state_mut().outgoing = Default::default();
                self.fail(Failure::of_kind(Kind::Refused))
            }
            sys::SSL_ERROR_WANT_READ => match (self.eof, self.is_secure()) {
                (false, _) => Status::WantInput,
                (true, true) if self.is_renegotiating() => self.fail(Failure::system(libc::ECONNRESET)),
                (true, true) => Status::Ended,
                (true, false) => self.fail(Failure::of_kind(Kind::Eof)),
            },
            sys::SSL_ERROR_WANT_CLIENT_HELLO_CB
            | sys::SSL_ERROR_WANT_X509_LOOKUP
            | sys::SSL_ERROR_WANT_RETRY_VERIFY => Status::Asking,
            sys::SSL_ERROR_ZERO_RETURN if self.is_secure() => {
                self.close_notify_received = true;
                Status::Ended
            }
            sys::SSL_ERROR_ZERO_RETURN => self.fail(Failure::of_kind(Kind::Eof)),
            _ => {
                let failure = self.classify(Failure::of_connection());
                self.fail(failure)
            }
        }
    }

    fn fail_renegotiation(&mut self) -> Status {
        let (code, reason) = match self.state().renegotiation.refusal {
            Some(Refusal::TooMany) => ("ERR_TLS_SESSION_ATTACK", "TLS session renegotiation attack detected"),
            _ => ("ERR_TLS_RENEGOTIATION_DISABLED", "TLS session renegotiation disabled for this socket"),
        };
        clear_queue();
        self.fail(Failure::named(code, reason))
    }

    /// Tells a certificate that was not accepted, and an answer that said no, from OpenSSL's own errors.
    fn classify(&mut self, failure: Failure) -> Failure {
        if failure.code.as_deref() == Some("ERR_SSL_PACKET_LENGTH_TOO_LONG") {
            if let Some(reason) = sys::no_tls(self.state().first()) {
                // There is nobody who would understand an alert.
                let state = self.state_mut();
                state.outgoing = Default::default();
                state.alert_sent = None;
                return failure.with_reason(reason);
            }
        }
        let state = self.state();
        if state.refused {
            return Failure { kind: Kind::Refused, ..failure };
        }
        if let Some(size) = state.weak_dh {
            return dh::weak(size, self.settings.min_dh_size);
        }
        if state.key_updates > MOST_KEY_UPDATES {
            return Failure { stack: Vec::new(), ..failure.with_reason("too many key updates") };
        }
        if failure.code.as_deref() == Some("ERR_SSL_CERTIFICATE_VERIFY_FAILED") {
            return Failure { kind: Kind::Verify, verify_result: state.verify_error, ..failure };
        }
        if state.psk.as_ref().is_some_and(|psk| psk.unknown) {
            // The peer was not to learn it; whoever runs the server may.
            return failure.with_reason("psk identity not found");
        }
        failure
    }
}
