//! What every connection of one kind starts with.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::context::{Context, SharedContext};
use crate::tickets::{Keys, TicketKeys};

pub struct Settings {
    pub context: Arc<SharedContext>,
    pub server: bool,
    pub asks: u32,
    pub request_cert: bool,
    pub reject_unauthorized: bool,
    /// ALPN protocols in their wire form (RFC 7301, section 3.1), most wanted first.
    pub alpn: Vec<u8>,
    pub tickets: Arc<Keys>,
    /// How many renegotiations a peer may ask for in so many seconds.
    pub reneg_limit: u32,
    pub reneg_window: f64,
    /// The smallest ephemeral Diffie-Hellman key, in bits, that a client takes from its server.
    pub min_dh_size: u32,
}

#[pyclass(frozen, name = "Settings", module = "aiotls._native")]
pub struct PySettings(pub Arc<Settings>);

#[pymethods]
impl PySettings {
    #[new]
    #[pyo3(signature = (
        context, tickets = None, *, server, asks = 0, request_cert = false, reject_unauthorized = true, alpn = Vec::new(),
        reneg_limit = 3, reneg_window = 600.0, min_dh_size = 1024
    ))]
    #[allow(clippy::too_many_arguments)] // one for each field
    fn new(
        context: &Bound<'_, Context>,
        tickets: Option<&Bound<'_, TicketKeys>>,
        server: bool,
        asks: u32,
        request_cert: bool,
        reject_unauthorized: bool,
        alpn: Vec<u8>,
        reneg_limit: u32,
        reneg_window: f64,
        min_dh_size: u32,
    ) -> PyResult<Self> {
        let tickets = match tickets {
            Some(tickets) => tickets.get().0.clone(),
            None => Arc::new(Keys::random()?),
        };
        Ok(PySettings(Arc::new(Settings {
            context: context.get().share(),
            server,
            asks,
            request_cert,
            reject_unauthorized,
            alpn,
            tickets,
            reneg_limit,
            reneg_window,
            min_dh_size,
        })))
    }
}
