//! Signatures, by implementations that the code under test does not use for them.

use ::hmac::{Hmac, KeyInit, Mac};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::Sha256;

/// The hex of the HMAC-SHA-256 of these parts, by AWS-LC; the connectors use `RustCrypto`.
pub fn hex(secret: &str, parts: &[&[u8]]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    ::hex::encode(hmac::sign(&key, &parts.concat()))
}

/// What GitHub and Jira put into a header: over the body, behind the method.
pub fn of_body(secret: &str, body: &[u8]) -> String {
    format!("sha256={}", hex(secret, &[body]))
}

/// A JSON Web Token of these parts (RFC 7519, HS256), by `RustCrypto`; the connectors' comes
/// from AWS-LC.
pub fn token(secret: &str, head: &str, claims: &str) -> String {
    let (head, claims) = (URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
    let signed = format!("{head}.{claims}");
    format!("{signed}.{}", tag(secret, &signed))
}

/// The head and the claims of a token that was signed with one of the secrets.
pub fn opened(secrets: &[&str], token: &str) -> Option<(String, String)> {
    let (signed, found) = token.rsplit_once('.')?;
    if !secrets.iter().any(|secret| tag(secret, signed) == found) {
        return None;
    }
    let (head, claims) = signed.split_once('.')?;
    let text = |part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    Some((text(head)?, text(claims)?))
}

fn tag(secret: &str, signed: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(signed.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// The text with one character changed, among the last `tail`.
pub fn changed(text: &str, tail: usize, at: usize) -> String {
    let place = text.len() - 1 - at % tail;
    let other = if text.as_bytes()[place] == b'a' {
        "b"
    } else {
        "a"
    };
    format!("{}{other}{}", &text[..place], &text[place + 1..])
}
