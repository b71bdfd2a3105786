//! What the application decides about a connection: its context, its policy, its session and keys, a renegotiation.

use std::ffi::{c_int, CString};
use std::sync::Arc;

use foreign_types::ForeignType;

use crate::callbacks;
use crate::context::SharedContext;
use crate::engine::Engine;
use crate::error::{clear_queue, Failure};
use crate::psk::{self, Psk};
use crate::session::Session;
use crate::state::{Alpn, ASK_TRACE};
use crate::sys;

// Every call below works on a live connection; nothing runs on it meanwhile, because the owner's lock is held.
impl Engine {
    /// Asks for the peer's certificate as the policy says, and binds sessions to it.
    pub fn apply_policy(&self) -> Result<(), Failure> {
        let state = self.state();
        let mode = match (state.request_cert, state.reject_unauthorized) {
            (false, _) => sys::SSL_VERIFY_NONE,
            (true, false) => sys::SSL_VERIFY_PEER,
            (true, true) => sys::SSL_VERIFY_PEER | sys::SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
        };
        let id = state.context.session_id_context(state.request_cert, state.reject_unauthorized, &state.name);
        // SAFETY: see above.
        unsafe {
            sys::SSL_set_verify(self.ssl(), mode, None);
            check(sys::SSL_set_session_id_context(self.ssl(), id.as_ptr(), id.len() as u32))
        }
    }

    /// A server takes another context, for the name that the client asks for.
    ///
    /// Its keys, certificates, trust and ciphers count from now on; versions and options stay.
    pub fn use_context(
        &mut self,
        context: Arc<SharedContext>,
        request_cert: bool,
        reject_unauthorized: bool,
        name: Vec<u8>,
    ) -> Result<(), Failure> {
        clear_queue();
        // SAFETY: see above; the connection takes a reference of its own to the context.
        if unsafe { sys::SSL_set_SSL_CTX(self.ssl(), context.0) }.is_null() {
            return Err(Failure::from_queue());
        }
        // SAFETY: see above; both sets of parameters belong to live owners.
        unsafe {
            sys::follow_context(self.ssl(), context.0);
            context.apply_compression(self.ssl());
        }
        let state = self.state_mut();
        state.context = context;
        state.request_cert = request_cert;
        state.reject_unauthorized = reject_unauthorized;
        state.name = name;
        self.apply_policy()
    }

    /// A server shows the certificates of another context; nothing else of it counts.
    pub fn use_identity(&mut self, context: &Arc<SharedContext>) -> Result<(), Failure> {
        clear_queue();
        // SAFETY: see above; the connection takes references of its own.
        unsafe {
            sys::SSL_certs_clear(self.ssl());
            for (leaf, key, chain) in context.key_pairs() {
                let chain = chain.as_ref().map_or(std::ptr::null_mut(), |chain| chain.as_ptr());
                check(sys::SSL_use_cert_and_key(self.ssl(), leaf.as_ptr(), key.as_ptr(), chain, 1))?;
            }
        }
        self.state_mut().identity = Some(context.clone());
        Ok(())
    }

    /// Chooses the application protocol; None fails the handshake with the alert no_application_protocol.
    pub fn choose_protocol(&mut self, protocol: Option<&[u8]>) {
        self.state_mut().alpn = match protocol {
            Some(name) => {
                let mut wire = vec![name.len() as u8];
                wire.extend_from_slice(name);
                Alpn::Chosen(wire)
            }
            None => Alpn::Denied,
        };
    }

    /// A client offers this session, whose server was verified or not.
    pub fn offer_session(&mut self, session: &Session, authorized: bool) {
        if let Some(session) = session.copy() {
            // SAFETY: see above; the connection takes a reference of its own.
            unsafe { sys::SSL_set_session(self.ssl(), session.as_ptr()) };
        }
        clear_queue();
        self.state_mut().session_authorized = authorized;
    }

    pub fn set_psk(&mut self, psk: Psk, hint: Option<&str>) -> Result<(), Failure> {
        clear_queue();
        let hint = hint.map(CString::new).transpose().map_err(|_| Failure::default())?;
        self.state_mut().psk = Some(Box::new(psk));
        // SAFETY: see above; OpenSSL copies the hint.
        unsafe {
            psk::install(self.ssl(), self.settings.server);
            if let Some(hint) = hint {
                check(sys::SSL_use_psk_identity_hint(self.ssl(), hint.as_ptr()))?;
            }
        }
        Ok(())
    }

    /// Begins a renegotiation: what follows from it comes with later reads.
    pub fn renegotiate(&mut self, request_cert: bool, reject_unauthorized: bool) -> Result<(), Failure> {
        clear_queue();
        // SAFETY: see above.
        if self.settings.server && !self.is_tls13() {
            let state = self.state_mut();
            state.request_cert = request_cert;
            state.reject_unauthorized = reject_unauthorized;
            state.renegotiation.wanted = true;
            self.apply_policy()?;
        }
        // SAFETY: see above; hooks may run, nobody holds a reference to the state.
        unsafe {
            check(sys::SSL_renegotiate(self.ssl()))?;
            // A client goes on when the server has answered.
            let result = sys::SSL_do_handshake(self.ssl());
            if result != 1 && sys::SSL_get_error(self.ssl(), result) != sys::SSL_ERROR_WANT_READ {
                return Err(Failure::of_connection());
            }
        }
        Ok(())
    }

    pub fn disable_renegotiation(&mut self) {
        self.state_mut().renegotiation.disabled = true;
        if !self.settings.server {
            // OpenSSL answers a HelloRequest with no_renegotiation, which the hook for alerts notes.
            // SAFETY: see above.
            unsafe { sys::SSL_set_options(self.ssl(), u64::from(sys::SSL_OP_NO_RENEGOTIATION as u32)) };
        }
    }

    /// How much plaintext a record of ours holds (RFC 8446, section 5.1); answers whether it may be so much.
    pub fn set_max_send_fragment(&mut self, size: u32) -> bool {
        // SAFETY: see above.
        let set = unsafe { sys::set_max_send_fragment(self.ssl(), size.into()) };
        clear_queue();
        set
    }

    /// Collects, from now on, what `asks` says.
    pub fn watch(&mut self, asks: u32) {
        self.state_mut().asks |= asks;
        if asks & ASK_TRACE != 0 {
            // SAFETY: see above.
            unsafe { callbacks::trace(self.ssl()) };
        }
    }
}

fn check(result: c_int) -> Result<(), Failure> {
    if result == 1 {
        return Ok(());
    }
    Err(Failure::from_queue())
}
