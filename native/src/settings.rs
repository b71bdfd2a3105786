//! What every connection of one kind starts with.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::context::{Context, SharedContext};

pub struct Settings {
    pub context: Arc<SharedContext>,
    pub server: bool,
    pub asks: u32,
    pub request_cert: bool,
    pub reject_unauthorized: bool,
    /// ALPN protocols in their wire form (RFC 7301, section 3.1), most wanted first.
    pub alpn: Vec<u8>,
}

#[pyclass(frozen, name = "Settings", module = "aiotls._native")]
pub struct PySettings(pub Arc<Settings>);

#[pymethods]
impl PySettings {
    #[new]
    #[pyo3(signature = (context, *, server, asks = 0, request_cert = false, reject_unauthorized = true, alpn = Vec::new()))]
    fn new(
        context: &Bound<'_, Context>,
        server: bool,
        asks: u32,
        request_cert: bool,
        reject_unauthorized: bool,
        alpn: Vec<u8>,
    ) -> Self {
        let context = context.get().share();
        PySettings(Arc::new(Settings { context, server, asks, request_cert, reject_unauthorized, alpn }))
    }
}
