//! Public keys of providers, for the verification of their signatures.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};

const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";
/// Characters per line of PEM (RFC 7468, 2).
const PEM_LINE_LENGTH: usize = 64;
/// Maximum length of a key's text; a key of 8192 bits has about 1,500 characters.
const MAX_LENGTH: usize = 4096;

/// An RSA public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    pem: String,
}

impl PublicKey {
    /// Parses a `SubjectPublicKeyInfo` (RFC 5280, 4.1), as PEM or as its base64 alone.
    ///
    /// `None` if it is not an RSA key.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let text = text.trim();
        let body = match text.strip_prefix(PEM_BEGIN) {
            Some(rest) => rest.strip_suffix(PEM_END)?,
            None => text,
        };
        let base64: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(base64).ok()?;
        let base64 = STANDARD.encode(der);
        let mut pem = format!("{PEM_BEGIN}\n");
        for line in base64.as_bytes().chunks(PEM_LINE_LENGTH) {
            pem.push_str(std::str::from_utf8(line).ok()?);
            pem.push('\n');
        }
        pem.push_str(PEM_END);
        let key = Self { pem };
        key.decoding_key().map(|_| key)
    }

    /// The key as PEM.
    pub fn as_pem(&self) -> &str {
        &self.pem
    }

    /// Verifies an RSASSA-PKCS1-v1_5 signature with SHA-256 (RFC 8017, 8.2) of `message`.
    ///
    /// Signatures of keys below 2,048 bits are rejected.
    pub fn verify_rs256(&self, message: &[u8], signature: &[u8]) -> bool {
        let Some(key) = self.decoding_key() else {
            return false;
        };
        let signature = URL_SAFE_NO_PAD.encode(signature);
        jsonwebtoken::crypto::verify(&signature, message, &key, Algorithm::RS256).unwrap_or(false)
    }

    fn decoding_key(&self) -> Option<DecodingKey> {
        DecodingKey::from_rsa_pem(self.pem.as_bytes()).ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::EncodingKey;

    use super::*;

    const PRIVATE: &str = include_str!("../connectors/github/fixtures/test-app.pem");
    const PUBLIC: &str = include_str!("../connectors/github/fixtures/test-app.pub.pem");

    fn sign(message: &[u8]) -> Vec<u8> {
        let key = EncodingKey::from_rsa_pem(PRIVATE.as_bytes()).expect("a private key");
        let signature =
            jsonwebtoken::crypto::sign(message, &key, Algorithm::RS256).expect("signed");
        URL_SAFE_NO_PAD.decode(signature).expect("base64")
    }

    #[test]
    fn key_is_parsed_from_pem_and_from_base64() {
        let bare: String = PUBLIC
            .lines()
            .filter(|line| !line.contains("---"))
            .collect();
        let pem_key = PublicKey::parse(PUBLIC).expect("PEM");
        assert_eq!(PublicKey::parse(&bare), Some(pem_key.clone()));
        assert_eq!(PublicKey::parse(pem_key.as_pem()), Some(pem_key.clone()));
        assert!(pem_key.verify_rs256(b"body", &sign(b"body")));
    }

    #[test]
    fn signature_of_another_message_or_key_is_rejected() {
        let key = PublicKey::parse(PUBLIC).expect("PEM");
        let mut signature = sign(b"body");
        assert!(!key.verify_rs256(b"Body", &signature));
        assert!(!key.verify_rs256(b"body", &[]));
        signature[7] ^= 1;
        assert!(!key.verify_rs256(b"body", &signature));
    }

    #[test]
    fn other_text_than_rsa_public_key_is_rejected() {
        let cut: String = PUBLIC.lines().take(3).collect();
        let long = "A".repeat(MAX_LENGTH + 1);
        for text in ["", "no key", "AAAA", PRIVATE, &cut, &long] {
            assert_eq!(PublicKey::parse(text), None, "{text}");
        }
    }
}
