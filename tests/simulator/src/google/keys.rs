//! RSA keys that sign identity tokens, published as JWKS and as certificates.
//!
//! A rotation adds a key; the one before it stays published and the older ones go.

use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::StartError;
use crate::lock::Mutex;
use crate::rsa_key::RsaKey;

/// Keys that stay published.
const PUBLISHED: usize = 2;

struct Key {
    id: String,
    rsa: RsaKey,
}

/// The published keys, newest first.
pub(crate) struct Keys {
    keys: Mutex<Vec<Key>>,
}

impl Keys {
    pub(crate) fn generate() -> Result<Self, StartError> {
        Ok(Self {
            keys: Mutex::new(vec![Key::generate()?]),
        })
    }

    /// Adds a key, which signs from now on.
    pub(crate) fn rotate(&self) -> Result<(), StartError> {
        let key = Key::generate()?;
        let mut keys = self.keys.lock();
        keys.insert(0, key);
        keys.truncate(PUBLISHED);
        Ok(())
    }

    /// Ids of the published keys, the signing one first.
    pub(crate) fn ids(&self) -> Vec<String> {
        let keys = self.keys.lock();
        keys.iter().map(|key| key.id.clone()).collect()
    }

    /// A JWT of these claims with `RS256`.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let keys = self.keys.lock();
        let key = &keys[0];
        let header = json!({ "alg": "RS256", "kid": key.id, "typ": "JWT" });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let signature = key.rsa.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The keys as a JSON Web Key Set.
    pub(crate) fn jwks(&self) -> Value {
        let keys = self.keys.lock();
        let keys: Vec<Value> = keys.iter().map(Key::jwk).collect();
        json!({ "keys": keys })
    }

    /// The keys as certificates in PEM by their id.
    pub(crate) fn certificates(&self) -> Value {
        let keys = self.keys.lock();
        let by_id: Map<String, Value> = keys
            .iter()
            .map(|key| (key.id.clone(), json!(key.certificate())))
            .collect();
        Value::Object(by_id)
    }
}

impl Key {
    fn generate() -> Result<Self, StartError> {
        let rsa = RsaKey::generate()?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &rsa.spki);
        Ok(Self {
            id: hex::encode(&digest.as_ref()[..20]),
            rsa,
        })
    }

    fn jwk(&self) -> Value {
        let public = self.rsa.pair.public_key();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id,
            "n": encode(public.modulus().big_endian_without_leading_zero()),
            "e": encode(public.exponent().big_endian_without_leading_zero()),
        })
    }

    /// Self-signed certificate of version 1, in PEM.
    fn certificate(&self) -> String {
        // sha256WithRSAEncryption
        let algorithm = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";
        // commonName
        let attribute = [
            b"\x06\x03\x55\x04\x03".as_slice(),
            &der(0x0c, b"federated-signon.system.gserviceaccount.com"),
        ]
        .concat();
        let name = der(0x30, &der(0x31, &der(0x30, &attribute)));
        let times = [der(0x17, b"260101000000Z"), der(0x17, b"491231235959Z")].concat();
        let body = [
            der(0x02, &[1]),
            algorithm.to_vec(),
            name.clone(),
            der(0x30, &times),
            name,
            self.rsa.spki.clone(),
        ]
        .concat();
        let body = der(0x30, &body);
        let signature = [vec![0], self.rsa.sign(&body)].concat();
        let whole = [body, algorithm.to_vec(), der(0x03, &signature)].concat();
        let text = STANDARD.encode(der(0x30, &whole));
        let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }
}

/// A DER value with its tag and length.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = length.iter().position(|byte| *byte != 0);
    let length = &length[significant.unwrap_or(length.len() - 1)..];
    let mut value = vec![tag];
    if content.len() >= 0x80 {
        value.push(0x80 | u8::try_from(length.len()).unwrap_or_default());
    }
    value.extend_from_slice(length);
    value.extend_from_slice(content);
    value
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};

    use super::*;

    #[test]
    fn published_keys_verify_tokens_across_a_rotation() {
        let keys = Keys::generate().expect("a key");
        let old = keys.sign(&json!({ "aud": "a", "exp": 4_000_000_000_u64 }));
        keys.rotate().expect("a second key");
        let verifies = |token: &str| {
            let id = jsonwebtoken::decode_header(token).expect("a header").kid;
            let set = keys.jwks();
            let all = set["keys"].as_array().expect("keys");
            let key = all.iter().find(|key| key["kid"].as_str() == id.as_deref());
            let Some(key) = key else { return false };
            let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
            let key = DecodingKey::from_rsa_components(&text("n"), &text("e")).expect("a key");
            let mut validation = Validation::new(Algorithm::RS256);
            validation.set_audience(&["a"]);
            jsonwebtoken::decode::<Value>(token, &key, &validation).is_ok()
        };
        assert!(verifies(&old));
        let new = keys.sign(&json!({ "aud": "a", "exp": 4_000_000_000_u64 }));
        assert!(verifies(&new));
        keys.rotate().expect("a third key");
        assert!(!verifies(&old), "the oldest key is gone");
        assert_eq!(keys.certificates().as_object().map(Map::len), Some(2));
    }
}
