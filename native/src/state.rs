//! The part of a connection that OpenSSL's hooks and its BIO see.

use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foreign_types::ForeignTypeRef;
use openssl::x509::X509Ref;

use crate::alert;
use crate::buffer::Buffer;
use crate::context::SharedContext;
use crate::hello::Hello;
use crate::psk::Psk;
use crate::session::Session;
use crate::settings::Settings;
use crate::sys;
use crate::trust;

// Questions that a handshake may stop for.
pub const ASK_HELLO: u32 = 1;
pub const ASK_CERTIFICATE: u32 = 2;
pub const ASK_VERIFY: u32 = 4;
pub const ASK_SESSION: u32 = 8;
pub const ASK_CLIENT: u32 = 16;
pub const ASK_STAPLE: u32 = 32;
// News to collect.
pub const ASK_KEYLOG: u32 = 256;
pub const ASK_TICKETS: u32 = 512;
/// OpenSSL's trace on the error stream.
pub const ASK_TRACE: u32 = 1024;

pub enum News {
    KeyLog(Vec<u8>),
    /// A session of a client, encoded.
    Session(Vec<u8>),
    /// A renegotiation is done.
    Secure,
}

/// Which application protocol a server chooses.
#[derive(Default)]
pub enum Alpn {
    /// The first of our list that the client offers.
    #[default]
    ByList,
    Chosen(Vec<u8>),
    /// The handshake fails with the alert no_application_protocol.
    Denied,
}

/// The engine holds it by pointer and keeps no reference to it while OpenSSL runs.
pub struct State {
    pub settings: Arc<Settings>,
    /// The context in use; the first one lives as long as `settings`.
    pub context: Arc<SharedContext>,
    pub request_cert: bool,
    pub reject_unauthorized: bool,
    pub incoming: Buffer,
    pub outgoing: Buffer,
    /// The first handshake is done.
    pub secure: bool,

    /// What is asked and collected, bits of `ASK_*`.
    pub asks: u32,
    /// The question that the handshake waits for, one of `ASK_*`, or 0.
    pub question: u32,
    /// The questions that have their answer, as bits.
    answered: u32,
    /// An answer said no.
    pub refused: bool,
    /// The outgoing flight waits until every question about the handshake has its answer.
    pub held: bool,
    /// What the last flight of a first handshake is encrypted with (TLS 1.3).
    pub secret: Option<Vec<u8>>,

    pub servername: Option<Box<str>>,
    /// A client need not ask about a certificate with this DNS name, in lower case.
    pub expected: Option<Box<str>>,
    /// What stands for the name in the context of sessions.
    pub name: Vec<u8>,
    /// Whose certificates are shown, where it is not the context in use.
    pub identity: Option<Arc<SharedContext>>,
    pub hello: Option<Box<Hello>>,
    pub alpn: Alpn,
    /// What a lookup of the session that a client names is to find.
    pub resumed: Option<Session>,
    /// The server of the session that a client offers was verified.
    pub session_authorized: bool,
    /// Sessions to be stored: identifier and encoding.
    pub sessions: Vec<(Vec<u8>, Vec<u8>)>,
    /// Responses to staple, each with the certificate it is about.
    pub staples: Vec<(Vec<u8>, Vec<u8>)>,
    /// What a server has stapled, as its client sees it.
    pub stapled: Option<Vec<u8>>,
    pub psk: Option<Box<Psk>>,
    pub renegotiation: Renegotiation,

    /// The verdict on the peer's chain: the last error of a verification that ran to its end.
    pub verify_error: c_int,
    pub chain_verified: bool,
    verified_chain: *mut sys::stack_st_X509,
    /// The certificate that the peer showed before it renegotiated.
    pub former_peer: *mut sys::X509,
    pub alert_sent: Option<u8>,
    pub alert_received: Option<u8>,
    /// The first bytes of the peer, and how many there are.
    first: [u8; 5],
    first_length: usize,
    /// KeyUpdate messages of the peer since its last application data.
    pub key_updates: u32,
    /// What decides about the strength of keys where a hook of ours comes before it.
    pub security: Option<sys::SSL_security_cb>,
    /// The size of an ephemeral Diffie-Hellman key of the server that is too small.
    pub weak_dh: Option<u32>,
    /// OpenSSL has done something besides reading and writing data, which may leave errors in its queue.
    pub stirred: bool,
    pub news: Vec<News>,
    pub trace: *mut sys::BIO,
}

impl State {
    pub fn new(settings: Arc<Settings>) -> Self {
        State {
            context: settings.context.clone(),
            request_cert: settings.request_cert,
            reject_unauthorized: settings.reject_unauthorized,
            incoming: Buffer::default(),
            outgoing: Buffer::default(),
            secure: false,
            asks: settings.asks,
            question: 0,
            answered: 0,
            refused: false,
            held: false,
            secret: None,
            servername: None,
            expected: None,
            name: Vec::new(),
            identity: None,
            hello: None,
            alpn: Alpn::default(),
            resumed: None,
            session_authorized: false,
            sessions: Vec::new(),
            staples: Vec::new(),
            stapled: None,
            psk: None,
            renegotiation: Renegotiation::default(),
            verify_error: sys::X509_V_OK,
            chain_verified: false,
            verified_chain: null_mut(),
            former_peer: null_mut(),
            alert_sent: None,
            alert_received: None,
            first: [0; 5],
            first_length: 0,
            key_updates: 0,
            security: None,
            weak_dh: None,
            stirred: false,
            news: Vec::new(),
            trace: null_mut(),
            settings,
        }
    }

    pub fn asks(&self, question: u32) -> bool {
        self.asks & question != 0
    }

    pub fn has_answer(&self, question: u32) -> bool {
        self.answered & question != 0
    }

    /// The answer to `question`: whether to go on; without one, the handshake is to stop for it.
    pub fn ask(&mut self, question: u32) -> Option<bool> {
        if self.asks(question) && !self.has_answer(question) {
            self.question = question;
            return None;
        }
        Some(!self.refused)
    }

    /// Whether the certificate of a server has the expected name as it stands, so that there is nothing to ask.
    ///
    /// # Safety
    /// `certificate` must be live, or null.
    pub unsafe fn expects(&mut self, certificate: *mut sys::X509) -> bool {
        let Some(name) = self.expected.as_deref().filter(|_| !certificate.is_null()) else { return false };
        // SAFETY: the caller's.
        let expected = trust::shows(unsafe { X509Ref::from_ptr(certificate) }, name);
        if expected {
            self.answered |= ASK_VERIFY;
        }
        expected
    }

    /// Stops what is about to leave until `question` has its answer.
    pub fn hold(&mut self, question: u32) {
        self.question = question;
        self.held = true;
    }

    /// Answers the question that waits. A refusal of what only the held flight would tell the peer answers the alert to
    /// send instead of it.
    pub fn answer(&mut self, accept: bool) -> Option<u8> {
        let question = std::mem::take(&mut self.question);
        self.refused |= !accept && question != 0;
        self.answered |= question;
        if question == ASK_SESSION {
            self.sessions.clear();
        }
        if accept || !self.held {
            return None;
        }
        self.held = false;
        self.outgoing = Buffer::default();
        Some(match question {
            ASK_SESSION => alert::INTERNAL_ERROR,
            ASK_STAPLE => alert::BAD_CERTIFICATE_STATUS_RESPONSE,
            _ => alert::BAD_CERTIFICATE,
        })
    }

    pub fn forget_secret(&mut self) {
        if let Some(mut secret) = self.secret.take() {
            // SAFETY: the bytes are ours.
            unsafe { sys::OPENSSL_cleanse(secret.as_mut_ptr().cast(), secret.len()) };
        }
    }

    /// Keeps the header of the peer's first record, for the words about a peer that does not speak TLS.
    pub fn note_first(&mut self, data: &[u8]) {
        let count = data.len().min(self.first.len() - self.first_length);
        self.first[self.first_length..][..count].copy_from_slice(&data[..count]);
        self.first_length += count;
    }

    pub fn first(&self) -> &[u8] {
        &self.first[..self.first_length]
    }

    /// A renegotiation begins: what was found out about the peer's certificate holds no more.
    ///
    /// What was decided about the name, the context and the protocol stays.
    pub fn renegotiate(&mut self, former_peer: *mut sys::X509) {
        self.renegotiation.running = true;
        self.answered &= !ASK_CLIENT;
        self.chain_verified = false;
        self.verify_error = sys::X509_V_OK;
        // SAFETY: the reference is ours; null is allowed.
        unsafe { sys::X509_free(std::mem::replace(&mut self.former_peer, former_peer)) };
    }

    /// Whether a peer that renegotiates still shows `certificate`.
    pub fn same_peer(&self, certificate: *mut sys::X509) -> bool {
        // SAFETY: both are live.
        !self.former_peer.is_null() && unsafe { sys::X509_cmp(self.former_peer, certificate) == 0 }
    }

    /// The chain that is being asked about, while the connection itself does not know its peer yet.
    pub fn verified_chain(&self) -> *mut sys::stack_st_X509 {
        self.verified_chain
    }

    pub fn keep_chain(&mut self, chain: *mut sys::stack_st_X509) {
        free_chain(std::mem::replace(&mut self.verified_chain, chain));
    }

    pub fn take_chain(&mut self) -> *mut sys::stack_st_X509 {
        std::mem::replace(&mut self.verified_chain, null_mut())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.forget_secret();
        free_chain(self.verified_chain);
        // SAFETY: both are ours; null is allowed.
        unsafe {
            sys::X509_free(self.former_peer);
            sys::BIO_free_all(self.trace);
        }
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

/// Why a renegotiation was refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Disabled,
    TooMany,
}

#[derive(Default)]
pub struct Renegotiation {
    pub disabled: bool,
    pub running: bool,
    /// One is done, and nobody was told yet.
    pub done: bool,
    /// We asked for the next one ourselves, so it does not count.
    pub wanted: bool,
    pub refusal: Option<Refusal>,
    /// When the peer's own ones of the last window came.
    times: VecDeque<Instant>,
}

impl Renegotiation {
    /// The peer wants one: whether it may.
    pub fn admit(&mut self, limit: u32, window: Duration) -> bool {
        if self.disabled {
            self.refusal = Some(Refusal::Disabled);
        } else if !std::mem::take(&mut self.wanted) {
            let now = Instant::now();
            while self.times.front().is_some_and(|time| now.duration_since(*time) > window) {
                self.times.pop_front();
            }
            if self.times.len() >= limit as usize {
                self.refusal = Some(Refusal::TooMany);
            } else {
                self.times.push_back(now);
            }
        }
        self.refusal.is_none()
    }
}
