//! The keys that seal credentials at rest.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::Reader;

/// The keys that seal credentials at rest; zeroed in memory when dropped.
#[derive(Clone)]
pub struct CryptoConfig {
    /// The key that seals and opens.
    pub current: Zeroizing<[u8; 32]>,
    /// Keys that only open values from before a rotation.
    pub previous: Vec<Zeroizing<[u8; 32]>>,
}

impl CryptoConfig {
    /// The keys of credentials.
    ///
    /// `CRYPTO_KEY` and `CRYPTO_PREVIOUS_KEYS`, each base64 of 32 bytes.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        let secret = reader.required_secret("CRYPTO_KEY");
        Self::decode(reader, &secret, "CRYPTO_KEY", "CRYPTO_PREVIOUS_KEYS")
    }

    /// The keys of webhook secrets; `None` if they are not set.
    ///
    /// `INGRESS_CRYPTO_KEY` and `INGRESS_CRYPTO_PREVIOUS_KEYS`.
    pub fn for_webhook_secrets(reader: &mut Reader<'_>) -> Option<Self> {
        let (name, previous) = ("INGRESS_CRYPTO_KEY", "INGRESS_CRYPTO_PREVIOUS_KEYS");
        let Some(secret) = reader.optional_secret(name) else {
            if reader.is_set(previous) {
                reader.problem(name, format!("is not set, though POBLYSH_{previous} is"));
            }
            return None;
        };
        let keys = Self::decode(reader, &secret, name, previous);
        // A process with this key must not be able to open tokens.
        let other = reader.optional_string("CRYPTO_KEY");
        if other.is_some_and(|key| decode(&key.into()).is_some_and(|key| key == keys.current)) {
            reader.problem(name, "must differ from POBLYSH_CRYPTO_KEY");
        }
        Some(keys)
    }

    fn decode(
        reader: &mut Reader<'_>,
        secret: &SecretString,
        name: &str,
        previous_name: &str,
    ) -> Self {
        let mut current = Zeroizing::new([0; 32]);
        if !secret.expose_secret().is_empty() {
            match decode(secret) {
                Some(key) => current = key,
                None => reader.problem(name, NOT_A_KEY),
            }
        }

        let mut previous = Vec::new();
        for secret in reader.optional_secrets(previous_name) {
            match decode(&secret) {
                Some(key) if key == current => {
                    reader.problem(previous_name, "contains the current key");
                }
                Some(key) => previous.push(key),
                None => reader.problem(previous_name, NOT_A_KEY),
            }
        }
        Self { current, previous }
    }
}

const NOT_A_KEY: &str =
    "is not base64 of 32 random bytes; generate it with `openssl rand -base64 32`";

/// Decodes a key; `None` if it is malformed or one repeated byte.
fn decode(secret: &SecretString) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(STANDARD.decode(secret.expose_secret()).ok()?);
    let key = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).ok()?);
    key.iter().any(|byte| *byte != key[0]).then_some(key)
}

impl fmt::Debug for CryptoConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CryptoConfig")
            .field("previous", &self.previous.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Env;
    use super::*;

    const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const TWO: &str = "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn read(current: &str, previous: &str) -> Result<CryptoConfig, String> {
        let env = Env::from_pairs([
            ("POBLYSH_CRYPTO_KEY", current),
            ("POBLYSH_CRYPTO_PREVIOUS_KEYS", previous),
        ]);
        let mut reader = Reader::new(&env);
        let config = CryptoConfig::from_reader(&mut reader);
        reader
            .finish()
            .map(|()| config)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_read_in_order() {
        let config = read(ONE, TWO).expect("valid");
        assert_eq!(config.current[..3], [0, 1, 2]);
        assert_eq!(config.previous.len(), 1);
        assert_eq!(config.previous[0][0], 1);
    }

    #[test]
    fn error_of_an_invalid_key_is_redacted() {
        let zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        for bad in ["", "short", "AAEC", zeros] {
            let error = read(bad, "").expect_err("rejected");
            assert!(error.contains("POBLYSH_CRYPTO_KEY"), "{error}");
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
        assert!(read(ONE, "short").is_err());
    }

    #[test]
    fn current_key_is_rejected_as_a_previous_one() {
        let error = read(ONE, ONE).expect_err("contradiction");
        assert!(error.contains("POBLYSH_CRYPTO_PREVIOUS_KEYS contains the current key"));
    }

    #[test]
    fn ingress_key_is_optional_and_separate() {
        let read = |pairs: &[(&str, &str)]| {
            let env = Env::from_pairs(pairs.iter().copied());
            let mut reader = Reader::new(&env);
            let keys = CryptoConfig::for_webhook_secrets(&mut reader);
            reader.finish().map(|()| keys.is_some())
        };
        assert_eq!(read(&[]), Ok(false));
        let own = ("POBLYSH_INGRESS_CRYPTO_KEY", ONE);
        assert_eq!(read(&[own]), Ok(true));
        let error = read(&[own, ("POBLYSH_CRYPTO_KEY", ONE)]).expect_err("the same key");
        assert!(
            error
                .to_string()
                .contains("POBLYSH_INGRESS_CRYPTO_KEY must differ")
        );
        assert!(read(&[("POBLYSH_INGRESS_CRYPTO_PREVIOUS_KEYS", ONE)]).is_err());
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(
            format!("{:?}", read(ONE, TWO).expect("valid")),
            "CryptoConfig { previous: 1, .. }"
        );
    }
}
