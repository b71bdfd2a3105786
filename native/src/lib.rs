//! The engine of aiotls. Its contract, with a word on every name, is `src/aiotls/_native.pyi`.

mod alert; // of a side that refuses its peer when OpenSSL would send none
mod bio; // OpenSSL's view of the two ciphertext buffers
mod buffer; // a byte queue that holds no memory while it is empty
mod callbacks; // what OpenSSL's hooks write down, and where they suspend
mod connection; // an engine, a descriptor, and what waits between them
mod context; // SSL_CTX
mod crypto_engine; // keys and client certificates in an ENGINE
mod descriptors;
mod dh; // Diffie-Hellman over finite fields
mod engine; // one TLS connection
mod engine_class; // ... as Python sees it
mod error; // failures as data; the one door to Python's exceptions
mod facts; // what a connection negotiated
mod fd; // system calls on descriptors
mod hello; // what a ClientHello says
mod listener; // a listening descriptor
mod passphrase; // how OpenSSL is told one, without a terminal
mod pkcs12; // keys and certificates in a PKCS#12 file
mod process; // what holds for every connection of the process
mod psk; // pre-shared keys: the only hooks that call Python
mod reactor; // many connections over one descriptor set
mod reactor_class; // ... as Python sees it
mod session; // sessions and their encoding
mod settings; // what connections of one kind start with
mod slots; // the table of a reactor's connections and listeners
mod state; // the part of a connection that hooks see
mod steering; // what the application decides about a connection
mod store; // keys and certificates behind a URI
mod sys; // what the openssl crates do not bind; version differences
mod tickets; // the keys of session tickets
mod trust; // certificates, keys, stores

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    sys::initialise();
    module.add("OPENSSL_VERSION", openssl::version::version())?;
    module.add("OPENSSL_VERSION_NUMBER", openssl::version::number())?;
    for (name, value) in [
        ("DONE", engine::Status::Done as u32),
        ("WANT_INPUT", engine::Status::WantInput as u32),
        ("ASKING", engine::Status::Asking as u32),
        ("ENDED", engine::Status::Ended as u32),
        ("FAILED", engine::Status::Failed as u32),
        ("ASK_HELLO", state::ASK_HELLO),
        ("ASK_CERTIFICATE", state::ASK_CERTIFICATE),
        ("ASK_VERIFY", state::ASK_VERIFY),
        ("ASK_SESSION", state::ASK_SESSION),
        ("ASK_CLIENT", state::ASK_CLIENT),
        ("ASK_STAPLE", state::ASK_STAPLE),
        ("ASK_KEYLOG", state::ASK_KEYLOG),
        ("ASK_TICKETS", state::ASK_TICKETS),
        ("ASK_TRACE", state::ASK_TRACE),
    ] {
        module.add(name, value)?;
    }
    reactor_class::add_notices(module)?;
    module.add("NativeError", module.py().get_type::<error::NativeError>())?;
    module.add_class::<error::Failure>()?;
    module.add_class::<trust::PrivateKey>()?;
    module.add_class::<trust::Certificate>()?;
    module.add_class::<trust::TrustStore>()?;
    module.add_class::<context::Context>()?;
    module.add_class::<tickets::TicketKeys>()?;
    module.add_class::<settings::PySettings>()?;
    module.add_class::<session::SessionClass>()?;
    module.add_class::<engine_class::EngineClass>()?;
    module.add_class::<reactor_class::ReactorClass>()?;
    module.add_function(wrap_pyfunction!(context::cipher_suites, module)?)?;
    module.add_function(wrap_pyfunction!(context::certificate_compression_algorithms, module)?)?;
    module.add_function(wrap_pyfunction!(dh::dh_bits, module)?)?;
    module.add_function(wrap_pyfunction!(pkcs12::load_pkcs12, module)?)?;
    module.add_function(wrap_pyfunction!(store::load_store_keys, module)?)?;
    module.add_function(wrap_pyfunction!(store::load_store_certificates, module)?)?;
    module.add_function(wrap_pyfunction!(crypto_engine::load_engine_key, module)?)?;
    module.add_function(wrap_pyfunction!(process::set_keylog_fd, module)?)?;
    module.add_function(wrap_pyfunction!(process::trace_everything, module)?)?;
    Ok(())
}
