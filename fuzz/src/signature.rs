//! Signatures, by other implementations than the code under test uses.

use ::hmac::{Hmac, KeyInit, Mac};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::Sha256;

/// HMAC-SHA-256 of the parts in hex, by AWS-LC; the connectors use `RustCrypto`.
pub fn hex(secret: &str, parts: &[&[u8]]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    ::hex::encode(hmac::sign(&key, &parts.concat()))
}

/// Signature header with the algorithm, then the body's HMAC.
pub fn body_signature(secret: &str, body: &[u8]) -> String {
    format!("sha256={}", hex(secret, &[body]))
}

/// JSON Web Token (RFC 7519, HS256), by `RustCrypto`; the connectors use AWS-LC.
pub fn token(secret: &str, header: &str, claims: &str) -> String {
    let (header, claims) = (
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims),
    );
    let signed = format!("{header}.{claims}");
    format!("{signed}.{}", tag(secret, &signed))
}

/// Header and claims of a token; `None` unless one of the secrets signed it.
pub fn verify_token(secrets: &[&str], token: &str) -> Option<(String, String)> {
    let (signed, found) = token.rsplit_once('.')?;
    if !secrets.iter().any(|secret| tag(secret, signed) == found) {
        return None;
    }
    let (header, claims) = signed.split_once('.')?;
    let text = |part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    Some((text(header)?, text(claims)?))
}

/// HMAC-SHA-256 of a text in base64url without padding, by `RustCrypto`.
pub fn tag(secret: &str, signed: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(signed.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// Changes one of the last `tail` characters of a text.
pub fn tamper(text: &str, tail: usize, at: usize) -> String {
    let position = text.len() - 1 - at % tail;
    let other = if text.as_bytes()[position] == b'a' {
        "b"
    } else {
        "a"
    };
    format!("{}{other}{}", &text[..position], &text[position + 1..])
}
