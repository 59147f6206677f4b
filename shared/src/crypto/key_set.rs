//! Signing keys of a JSON Web Key Set (RFC 7517).

use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Maximum number of keys of a set; the others are ignored.
const MAX_KEYS: usize = 64;
/// Maximum length of a key's id.
const MAX_KEY_ID: usize = 256;
/// Maximum length of a modulus in base64url, for 8,192 bits.
const MAX_MODULUS: usize = 1366;
/// Maximum length of an exponent in base64url, for 64 bits.
const MAX_EXPONENT: usize = 11;

/// Public keys for RS256 signatures, by their ids.
#[derive(Clone, Default)]
pub struct KeySet(HashMap<String, DecodingKey>);

impl KeySet {
    /// Parses a JWK Set; `None` if it is not one.
    ///
    /// Keys of other types, uses and algorithms are left out, and so are keys without an id. Of two
    /// keys with the same id neither is used.
    pub fn parse(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            keys: Vec<Value>,
        }
        let body: Body = serde_json::from_slice(json).ok()?;
        let mut keys: HashMap<String, Option<DecodingKey>> = HashMap::new();
        for (id, key) in body.keys.iter().take(MAX_KEYS).filter_map(read_key) {
            keys.entry(id)
                .and_modify(|known| *known = None)
                .or_insert(Some(key));
        }
        let unique = keys.into_iter().filter_map(|(id, key)| Some((id, key?)));
        Some(Self(unique.collect()))
    }

    /// Whether the set has no usable key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the set has a key with this id.
    pub fn contains(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Verifies an RSASSA-PKCS1-v1_5 signature with SHA-256 (RFC 8017, 8.2) of `message`.
    ///
    /// Signatures of unknown keys and of keys below 2,048 bits are rejected.
    pub fn verify_rs256(&self, id: &str, message: &[u8], signature: &[u8]) -> bool {
        let Some(key) = self.0.get(id) else {
            return false;
        };
        let signature = URL_SAFE_NO_PAD.encode(signature);
        jsonwebtoken::crypto::verify(&signature, message, key, Algorithm::RS256).unwrap_or(false)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Reads a key for RS256 signatures with its id.
fn read_key(row: &Value) -> Option<(String, DecodingKey)> {
    let text = |name: &str, max: usize| {
        let text = row[name].as_str()?;
        (!text.is_empty() && text.len() <= max).then_some(text)
    };
    // `use` and `alg` are optional (RFC 7517, 4.2 and 4.4).
    let is_optional = |name: &str, expected: &str| row[name].is_null() || row[name] == expected;
    if row["kty"] != "RSA" || !is_optional("use", "sig") || !is_optional("alg", "RS256") {
        return None;
    }
    let (modulus, exponent) = (text("n", MAX_MODULUS)?, text("e", MAX_EXPONENT)?);
    let key = DecodingKey::from_rsa_components(modulus, exponent).ok()?;
    Some((text("kid", MAX_KEY_ID)?.to_owned(), key))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::EncodingKey;
    use serde_json::json;

    use super::*;

    const PRIVATE: &str = include_str!("../connectors/github/fixtures/test-app.pem");
    /// The modulus of the key in `test-app.pem`.
    const MODULUS: &str = include_str!("test-key.modulus");

    fn jwk(id: &str) -> Value {
        json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": id,
                "n": MODULUS.trim(), "e": "AQAB" })
    }

    fn set(keys: &[Value]) -> KeySet {
        let body = json!({ "keys": keys }).to_string();
        KeySet::parse(body.as_bytes()).expect("a key set")
    }

    fn sign(message: &[u8]) -> Vec<u8> {
        let key = EncodingKey::from_rsa_pem(PRIVATE.as_bytes()).expect("a private key");
        let signature =
            jsonwebtoken::crypto::sign(message, &key, Algorithm::RS256).expect("signed");
        URL_SAFE_NO_PAD.decode(signature).expect("base64")
    }

    #[test]
    fn signature_matches_its_key_and_message_only() {
        let keys = set(&[jwk("a")]);
        let mut signature = sign(b"body");
        assert!(keys.verify_rs256("a", b"body", &signature));
        assert!(!keys.verify_rs256("b", b"body", &signature));
        assert!(!keys.verify_rs256("a", b"Body", &signature));
        assert!(!keys.verify_rs256("a", b"body", b""));
        signature[9] ^= 1;
        assert!(!keys.verify_rs256("a", b"body", &signature));
    }

    #[test]
    fn keys_of_other_kinds_are_left_out() {
        for (name, value) in [
            ("kty", json!("EC")),
            ("use", json!("enc")),
            ("alg", json!("RS512")),
            ("alg", json!("HS256")),
            ("kid", json!("")),
            ("kid", json!(7)),
            ("kid", json!("k".repeat(MAX_KEY_ID + 1))),
            ("n", json!("A".repeat(MAX_MODULUS + 1))),
            ("n", json!("not base64!")),
            ("e", Value::Null),
        ] {
            let mut other = jwk("other");
            other[name] = value;
            let keys = set(&[json!("no key"), other, jwk("a")]);
            assert!(keys.contains("a") && keys.0.len() == 1, "{name}: {keys:?}");
        }
        let mut bare = jwk("bare");
        for optional in ["use", "alg"] {
            bare.as_object_mut().expect("an object").remove(optional);
        }
        assert!(set(&[bare]).contains("bare"));
    }

    #[test]
    fn contradictory_keys_are_not_used() {
        let mut other = jwk("a");
        other["e"] = json!("Aw");
        assert!(set(&[jwk("a"), other, jwk("a")]).is_empty());
    }

    #[test]
    fn number_of_keys_is_limited() {
        let many: Vec<Value> = (0..1_000).map(|number| jwk(&number.to_string())).collect();
        assert_eq!(set(&many).0.len(), MAX_KEYS);
    }

    #[test]
    fn other_bodies_are_no_key_set() {
        for body in ["", "<html>", "[]", "{}", r#"{"keys":{}}"#] {
            assert!(KeySet::parse(body.as_bytes()).is_none(), "{body}");
        }
    }
}
