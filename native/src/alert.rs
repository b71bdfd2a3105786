//! The alert of a side that refuses its peer when OpenSSL takes the handshake for done, and would send none.
//!
//! Our last flight was held back and is dropped, so nothing has left yet under the keys that are used here.

use openssl::error::ErrorStack;
use openssl::md::{Md, MdRef};
use openssl::pkey::Id;
use openssl::pkey_ctx::{HkdfMode, PkeyCtx};
use openssl::symm::{encrypt_aead, Cipher};

pub const HANDSHAKE_FAILURE: u8 = 40;
pub const BAD_CERTIFICATE: u8 = 42;
pub const INTERNAL_ERROR: u8 = 80;
pub const BAD_CERTIFICATE_STATUS_RESPONSE: u8 = 113;

const FATAL: u8 = 2;
const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;
const TAG: usize = 16;

/// Up to TLS 1.2: the peer does not expect encrypted records before our ChangeCipherSpec.
pub fn plain(version: i32, description: u8) -> Vec<u8> {
    let [.., major, minor] = version.to_be_bytes();
    vec![ALERT, major, minor, 0, 2, FATAL, description]
}

/// TLS 1.3: the first record under a traffic secret (RFC 8446, sections 5.2 and 7.3).
pub fn sealed(suite: &str, secret: &[u8], description: u8) -> Option<Vec<u8>> {
    let (cipher, digest) = match suite {
        "TLS_AES_128_GCM_SHA256" => (Cipher::aes_128_gcm(), Md::sha256()),
        "TLS_AES_256_GCM_SHA384" => (Cipher::aes_256_gcm(), Md::sha384()),
        "TLS_CHACHA20_POLY1305_SHA256" => (Cipher::chacha20_poly1305(), Md::sha256()),
        _ => return None,
    };
    seal(cipher, digest, secret, &[FATAL, description, ALERT]).ok()
}

fn seal(cipher: Cipher, digest: &MdRef, secret: &[u8], inner: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let key = expand(digest, secret, b"tls13 key", cipher.key_len())?;
    // The number of the record, which is mixed into the nonce, is 0.
    let nonce = expand(digest, secret, b"tls13 iv", cipher.iv_len().unwrap_or_default())?;
    let mut record = vec![APPLICATION_DATA, 3, 3, 0, (inner.len() + TAG) as u8];
    let mut tag = [0; TAG];
    let sealed = encrypt_aead(cipher, &key, Some(&nonce), &record, inner, &mut tag)?;
    record.extend(sealed);
    record.extend(tag);
    Ok(record)
}

/// HKDF-Expand-Label without a context.
fn expand(digest: &MdRef, secret: &[u8], label: &[u8], length: usize) -> Result<Vec<u8>, ErrorStack> {
    let mut info = vec![0, length as u8, label.len() as u8];
    info.extend_from_slice(label);
    info.push(0);
    let mut context = PkeyCtx::new_id(Id::HKDF)?;
    context.derive_init()?;
    context.set_hkdf_mode(HkdfMode::EXPAND_ONLY)?;
    context.set_hkdf_md(digest)?;
    context.set_hkdf_key(secret)?;
    context.add_hkdf_info(&info)?;
    let mut out = vec![0; length];
    context.derive(Some(&mut out))?;
    Ok(out)
}

/// The secret in a line of the key log, where it is the one that our last flight is encrypted with.
pub fn secret_of(line: &[u8], server: bool) -> Option<Vec<u8>> {
    let label: &[u8] = if server { b"SERVER_TRAFFIC_SECRET_0 " } else { b"CLIENT_HANDSHAKE_TRAFFIC_SECRET " };
    let (_, secret) = std::str::from_utf8(line.strip_prefix(label)?).ok()?.split_once(' ')?;
    let digits = |index: usize| u8::from_str_radix(secret.get(index..index + 2)?, 16).ok();
    (0..secret.len()).step_by(2).map(digits).collect()
}
