//! Encryption at rest with AES-256-GCM, bound to the context of the value.
//!
//! A sealed value is `version (1) | key id (4) | nonce (12) | ciphertext and tag`. The nonce is
//! random, which is safe for 2³² values under one key (NIST SP 800-38D, 8.3). The associated data
//! is the header and the length-prefixed tenant, owner, holder and field, so a sealed value that was
//! moved to another row or column cannot be decrypted. Each purpose has its own subkey: a cursor's tag
//! reveals nothing about the key that seals tokens.

use std::fmt;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::digest::hmac_sha256_parts;
use crate::config::CryptoConfig;
use crate::model::TenantId;

const VERSION: u8 = 1;
const KEY_ID_LENGTH: usize = 4;
const HEADER_LENGTH: usize = 1 + KEY_ID_LENGTH;
const NONCE_LENGTH: usize = 12;
const TAG_LENGTH: usize = 16;

/// The context of a sealed value, in which alone it can be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealContext<'a> {
    /// The tenant that owns the value.
    pub tenant: TenantId,
    /// The connection, or the id of the row that owns the value.
    pub connection: Uuid,
    /// The holder of a token; empty for other values.
    pub holder: &'a str,
    /// The field's name, `access_token` for example.
    pub field: &'a str,
}

impl SealContext<'_> {
    fn associated_data(&self, header: &[u8]) -> Vec<u8> {
        let parts = [
            header,
            self.tenant.0.as_bytes(),
            self.connection.as_bytes(),
            self.holder.as_bytes(),
            self.field.as_bytes(),
        ];
        let mut data = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part);
        }
        data
    }
}

/// The reason why a sealed value cannot be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// It is too short, or of an unknown version.
    #[error("sealed value is malformed or of an unknown version")]
    Malformed,
    /// Its key is neither the current one nor a previous one.
    #[error("key of sealed value is not in the keyring")]
    UnknownKey,
    /// It was altered, or moved to another context.
    #[error("sealed value is not authentic in its context")]
    NotAuthentic,
}

/// The current key and the previous ones.
#[derive(Clone)]
pub struct Keyring {
    current: Key,
    previous: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: [u8; KEY_ID_LENGTH],
    /// The key from which keys for other purposes are derived.
    derivation_secret: Zeroizing<[u8; 32]>,
    cipher: Aes256Gcm,
}

impl Key {
    fn new(secret: &Zeroizing<[u8; 32]>) -> Self {
        let mut id = [0; KEY_ID_LENGTH];
        id.copy_from_slice(&subkey(secret, b"key-id")[..KEY_ID_LENGTH]);
        let sealing_key = subkey(secret, b"seal");
        let cipher = Aes256Gcm::new_from_slice(&*sealing_key).expect("a subkey has 32 bytes");
        Self {
            id,
            derivation_secret: subkey(secret, b"derive"),
            cipher,
        }
    }

    fn mac(&self, label: &str, data: &[u8]) -> [u8; 16] {
        let key = self.derive(label);
        let mut tag = [0; 16];
        tag.copy_from_slice(&hmac_sha256_parts(&*key, &[data])[..16]);
        tag
    }

    fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(hmac_sha256_parts(
            &*self.derivation_secret,
            &[label.as_bytes()],
        ))
    }
}

/// Derives the key for one purpose.
///
/// A root key is random and as long as the output, so a single HMAC replaces HKDF (RFC 5869).
fn subkey(secret: &[u8; 32], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(hmac_sha256_parts(secret, &[b"poblysh/1/", purpose]))
}

impl Keyring {
    /// Creates a keyring with the configured keys.
    pub fn new(config: &CryptoConfig) -> Self {
        Self {
            current: Key::new(&config.current),
            previous: config.previous.iter().map(Key::new).collect(),
        }
    }

    /// Seals a secret for this context with the current key.
    pub fn seal(&self, context: &SealContext<'_>, plaintext: &SecretString) -> Vec<u8> {
        let header = self.header();
        let mut nonce = [0; NONCE_LENGTH];
        rand::rng().fill_bytes(&mut nonce);

        let payload = Payload {
            msg: plaintext.expose_secret().as_bytes(),
            aad: &context.associated_data(&header),
        };
        let ciphertext = self
            .current
            .cipher
            .encrypt(&nonce.into(), payload)
            .expect("AES-GCM takes any plaintext below 64 GiB");
        [&header[..], &nonce, &ciphertext].concat()
    }

    /// Decrypts a value that was sealed for this context, with the key that sealed it.
    pub fn open(
        &self,
        context: &SealContext<'_>,
        sealed: &[u8],
    ) -> Result<SecretString, CryptoError> {
        let (header, nonce, ciphertext) = split(sealed).ok_or(CryptoError::Malformed)?;
        let aad = context.associated_data(header);
        // Two keys may share an id by chance, so every match is tried.
        let mut error = CryptoError::UnknownKey;
        for key in self.keys().filter(|key| key.id == header[1..]) {
            let payload = Payload {
                msg: ciphertext,
                aad: &aad,
            };
            if let Ok(plaintext) = key.cipher.decrypt(&nonce.into(), payload) {
                let plaintext = Zeroizing::new(plaintext);
                let text = std::str::from_utf8(&plaintext).map_err(|_| CryptoError::Malformed)?;
                return Ok(text.into());
            }
            error = CryptoError::NotAuthentic;
        }
        Err(error)
    }

    /// The header of all values that are sealed with the current key.
    pub fn header(&self) -> [u8; HEADER_LENGTH] {
        let mut header = [VERSION; HEADER_LENGTH];
        header[1..].copy_from_slice(&self.current.id);
        header
    }

    /// Whether there are previous keys.
    pub fn has_previous(&self) -> bool {
        !self.previous.is_empty()
    }

    /// Derives a key for another purpose from the current key; it changes with a rotation.
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        self.current.derive(label)
    }

    /// Computes a tag that authenticates `data` for the purpose `label`.
    pub fn mac(&self, label: &str, data: &[u8]) -> [u8; 16] {
        self.current.mac(label, data)
    }

    /// Whether the tag authenticates `data` under the current or a previous key.
    pub fn mac_matches(&self, label: &str, data: &[u8], tag: &[u8]) -> bool {
        let mut matched = Choice::from(0);
        for key in self.keys() {
            matched |= key.mac(label, data).ct_eq(tag);
        }
        matched.into()
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("previous", &self.previous.len())
            .finish_non_exhaustive()
    }
}

/// Splits a sealed value into header, nonce and ciphertext; `None` if it is malformed.
fn split(sealed: &[u8]) -> Option<(&[u8; HEADER_LENGTH], [u8; NONCE_LENGTH], &[u8])> {
    let (header, rest) = sealed.split_first_chunk::<HEADER_LENGTH>()?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LENGTH>()?;
    (header[0] == VERSION && ciphertext.len() >= TAG_LENGTH).then_some((header, *nonce, ciphertext))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keyring(current: u8, previous: &[u8]) -> Keyring {
        let key = |seed: u8| Zeroizing::new([seed; 32]);
        Keyring::new(&CryptoConfig {
            current: key(current),
            previous: previous.iter().copied().map(key).collect(),
        })
    }

    const fn context(tenant: u128, connection: u128, field: &str) -> SealContext<'_> {
        SealContext {
            tenant: TenantId(Uuid::from_u128(tenant)),
            connection: Uuid::from_u128(connection),
            holder: "account",
            field,
        }
    }

    fn secret(text: &str) -> SecretString {
        text.into()
    }

    #[test]
    fn sealed_value_begins_with_version_and_key_id() {
        let ring = keyring(1, &[]);
        let sealed = ring.seal(&context(1, 2, "access_token"), &secret("ghs_x"));
        assert_eq!(sealed.len(), 1 + 4 + 12 + 5 + 16);
        assert_eq!(sealed[0], 1);
        let second = ring.seal(&context(1, 2, "access_token"), &secret("ghs_x"));
        assert_eq!(sealed[1..5], second[1..5]);
        assert_ne!(sealed[5..17], second[5..17], "nonces are random");
    }

    #[test]
    fn previous_key_opens_and_is_named_in_header() {
        let bound_context = context(1, 2, "access_token");
        let old = keyring(1, &[]);
        let sealed = old.seal(&bound_context, &secret("token"));
        assert!(sealed.starts_with(&old.header()) && !old.has_previous());

        let rotated = keyring(2, &[1]);
        assert!(!sealed.starts_with(&rotated.header()) && rotated.has_previous());
        let opened = rotated
            .open(&bound_context, &sealed)
            .expect("a previous key opens");
        assert_eq!(opened.expose_secret(), "token");

        let resealed = rotated.seal(&bound_context, &opened);
        assert!(resealed.starts_with(&rotated.header()));
        assert_eq!(
            old.open(&bound_context, &resealed).err(),
            Some(CryptoError::UnknownKey)
        );
        assert_eq!(
            keyring(2, &[]).open(&bound_context, &sealed).err(),
            Some(CryptoError::UnknownKey)
        );
    }

    #[test]
    fn malformed_values_are_rejected() {
        let ring = keyring(1, &[]);
        let bound_context = context(1, 2, "f");
        for bad in [&[][..], &[1; 32], &[2; 64]] {
            assert_eq!(
                ring.open(&bound_context, bad).err(),
                Some(CryptoError::Malformed)
            );
        }
    }

    #[test]
    fn tags_survive_rotation_and_bind_label_and_data() {
        let old = keyring(1, &[]);
        let tag = old.mac("cursor", b"data");
        let rotated = keyring(2, &[1]);
        assert!(rotated.mac_matches("cursor", b"data", &tag));
        assert!(!rotated.mac_matches("cursor", b"date", &tag));
        assert!(!rotated.mac_matches("page", b"data", &tag));
        assert!(!rotated.mac_matches("cursor", b"data", &tag[..15]));
        assert!(!rotated.mac_matches("cursor", b"data", &[]));
        assert!(!keyring(2, &[]).mac_matches("cursor", b"data", &tag));
        assert_ne!(*old.derive("a"), *old.derive("b"));
    }

    #[test]
    fn debug_output_contains_no_key() {
        assert_eq!(
            format!("{:?}", keyring(7, &[8])),
            "Keyring { previous: 1, .. }"
        );
    }

    proptest! {
        #[test]
        fn sealed_value_opens_in_its_context(
            text in ".{0,300}", tenant: u128, connection: u128, field in "[a-z_]{0,20}",
        ) {
            let ring = keyring(1, &[2]);
            let bound_context = context(tenant, connection, &field);
            let sealed = ring.seal(&bound_context, &secret(&text));
            let opened = ring.open(&bound_context, &sealed).expect("opens");
            prop_assert_eq!(opened.expose_secret(), text.as_str());
        }

        #[test]
        fn value_with_flipped_bit_does_not_open(
            text in ".{0,100}", at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let ring = keyring(1, &[2]);
            let bound_context = context(1, 2, "access_token");
            let mut sealed = ring.seal(&bound_context, &secret(&text));
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(ring.open(&bound_context, &sealed).is_err());
        }

        #[test]
        fn truncated_or_extended_value_does_not_open(
            text in ".{0,100}", keep in any::<prop::sample::Index>(), extra: u8,
        ) {
            let ring = keyring(1, &[]);
            let bound_context = context(1, 2, "access_token");
            let mut sealed = ring.seal(&bound_context, &secret(&text));
            prop_assert!(ring.open(&bound_context, &sealed[..keep.index(sealed.len())]).is_err());
            sealed.push(extra);
            prop_assert!(ring.open(&bound_context, &sealed).is_err());
        }

        #[test]
        fn value_in_another_context_does_not_open(
            text in ".{0,100}",
            from in (0..3_u128, 0..3_u128, "[ab]{0,3}", "[ab]{0,3}"),
            to in (0..3_u128, 0..3_u128, "[ab]{0,3}", "[ab]{0,3}"),
        ) {
            prop_assume!(from != to);
            let ring = keyring(1, &[]);
            let [from, to] = [&from, &to].map(|(tenant, connection, holder, field)| SealContext {
                holder,
                ..context(*tenant, *connection, field)
            });
            let sealed = ring.seal(&from, &secret(&text));
            prop_assert_eq!(ring.open(&to, &sealed).err(), Some(CryptoError::NotAuthentic));
        }
    }
}
