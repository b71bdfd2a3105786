//! One TLS connection over two ciphertext buffers.
//!
//! Nothing here waits: a step that cannot go on says what it wants. What a failing step wrote (the alert) stays in the
//! outgoing buffer and is sent like everything else.

use std::ffi::{c_int, CString};
use std::sync::Arc;

use crate::bio;
use crate::callbacks::{self, Answer, News, State, MOST_KEY_UPDATES};
use crate::error::{clear_queue, Failure, Kind};
use crate::settings::Settings;
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
    secure: bool,
    close_notify_sent: bool,
    close_notify_received: bool,
    failure: Option<Box<Failure>>,
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
    /// A connection that has not begun. A client names the server in `servername`.
    pub fn new(settings: Arc<Settings>, servername: Option<&str>) -> Result<Engine, Failure> {
        clear_queue();
        let name = servername.map(CString::new).transpose().map_err(|_| Failure::default())?;
        let state = Box::into_raw(Box::new(State::new(settings.clone())));
        // SAFETY: the context is live. The engine owns what was made so far, so an early return frees it.
        unsafe {
            let ssl = sys::SSL_new(settings.context.0);
            let engine = Engine {
                ssl,
                state,
                eof: false,
                secure: false,
                close_notify_sent: false,
                close_notify_received: false,
                failure: None,
                settings,
            };
            let settings = &engine.settings;
            let bio = if ssl.is_null() { std::ptr::null_mut() } else { bio::new(state) };
            if bio.is_null() || !callbacks::attach(ssl, state) {
                return Err(Failure::from_queue());
            }
            sys::SSL_set_bio(ssl, bio, bio);
            sys::SSL_set_verify(ssl, verify_mode(settings), None);
            if settings.server {
                let id = settings.context.session_id_context(settings.request_cert, settings.reject_unauthorized);
                if sys::SSL_set_session_id_context(ssl, id.as_ptr(), id.len() as u32) != 1 {
                    return Err(Failure::from_queue());
                }
                sys::SSL_set_accept_state(ssl);
                return Ok(engine);
            }
            sys::SSL_set_connect_state(ssl);
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
        self.secure
    }

    pub fn eof(&self) -> bool {
        self.eof
    }

    pub fn feed_eof(&mut self) {
        self.eof = true;
    }

    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_deref()
    }

    /// The stream ended without close_notify.
    pub fn truncated(&self) -> bool {
        self.secure && self.eof && !self.close_notify_received && self.failure.is_none()
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

    pub fn answer(&mut self, answer: Answer) {
        self.state_mut().answer(answer);
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
        if self.state().refused() && self.secure {
            return self.fail(Failure::of_kind(Kind::Refused));
        }
        // SAFETY: the connection is live and nobody holds a reference to its state.
        let result = unsafe {
            sys::ERR_clear_error();
            sys::SSL_do_handshake(self.ssl)
        };
        if result != 1 {
            return self.interpret(result);
        }
        self.secure = true;
        if self.state().question != 0 {
            return Status::Asking;
        }
        if !self.settings.server && self.settings.reject_unauthorized && !self.has_peer_certificate() {
            // With an anonymous suite nobody was verified, and no hook was called.
            return self.fail(Failure {
                verify_result: sys::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
                ..Failure::of_kind(Kind::Verify)
            });
        }
        Status::Done
    }

    fn has_peer_certificate(&self) -> bool {
        // SAFETY: the connection is live; the certificate stays its own.
        unsafe { !sys::SSL_get0_peer_certificate(self.ssl).is_null() }
    }

    /// Decrypts into `out`; the count is 0 unless the status is `Done`.
    pub fn read(&mut self, out: &mut [u8]) -> (Status, usize) {
        if self.failure.is_some() {
            return (Status::Failed, 0);
        }
        let mut count = 0;
        // SAFETY: `out` is writable for its length; as in `handshake`.
        let result = unsafe {
            sys::ERR_clear_error();
            sys::SSL_read_ex(self.ssl, out.as_mut_ptr().cast(), out.len(), &mut count)
        };
        if result == 1 {
            self.state_mut().key_updates = 0;
            return (Status::Done, count);
        }
        (self.interpret(result), 0)
    }

    /// Encrypts all of `data`.
    pub fn write(&mut self, data: &[u8]) -> Status {
        if self.failure.is_some() {
            return Status::Failed;
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
        if self.secure && !self.close_notify_sent {
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
            sys::SSL_ERROR_WANT_READ if self.state().key_updates > MOST_KEY_UPDATES => self.fail(Failure {
                library: Some("SSL routines".into()),
                reason: Some("too many key updates".into()),
                code: Some("ERR_SSL_TOO_MANY_KEY_UPDATES".into()),
                ..Failure::default()
            }),
            sys::SSL_ERROR_WANT_READ => match (self.eof, self.secure) {
                (false, _) => Status::WantInput,
                (true, true) => Status::Ended,
                (true, false) => self.fail(Failure::of_kind(Kind::Eof)),
            },
            sys::SSL_ERROR_WANT_CLIENT_HELLO_CB
            | sys::SSL_ERROR_WANT_X509_LOOKUP
            | sys::SSL_ERROR_WANT_RETRY_VERIFY => Status::Asking,
            sys::SSL_ERROR_ZERO_RETURN if self.secure => {
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

    /// Tells a certificate that was not accepted, and an answer that said no, from OpenSSL's own errors.
    fn classify(&self, failure: Failure) -> Failure {
        let state = self.state();
        if state.refused() {
            return Failure { kind: Kind::Refused, ..failure };
        }
        if failure.code.as_deref() == Some("ERR_SSL_CERTIFICATE_VERIFY_FAILED") {
            return Failure { kind: Kind::Verify, verify_result: state.verify_error, ..failure };
        }
        failure
    }
}

fn verify_mode(settings: &Settings) -> c_int {
    if !settings.server {
        return sys::SSL_VERIFY_PEER;
    }
    match (settings.request_cert, settings.reject_unauthorized) {
        (false, _) => sys::SSL_VERIFY_NONE,
        (true, false) => sys::SSL_VERIFY_PEER,
        (true, true) => sys::SSL_VERIFY_PEER | sys::SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
    }
}
