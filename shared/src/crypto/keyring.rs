//! Sealing at rest: AES-256-GCM, bound to the place where the value belongs.
//!
//! A sealed value is `version (1) | key id (4) | nonce (12) | ciphertext and tag`. The
//! nonce is random, which is safe for 2³² values under one key (NIST SP 800-38D, 8.3). The
//! associated data is the header and the length-prefixed tenant, owner and field, so a
//! sealed value that was moved to another row or column does not open. Each purpose uses
//! its own subkey: a cursor's tag says nothing about the key that seals tokens.

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
use crate::ids::TenantId;

const VERSION: u8 = 1;
const KEY_ID: usize = 4;
const HEADER: usize = 1 + KEY_ID;
const NONCE: usize = 12;
const TAG: usize = 16;

/// Where a sealed value belongs. It opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealContext<'a> {
    /// The tenant whose value it is.
    pub tenant: TenantId,
    /// The connection, or the id of the row that owns the value.
    pub connection: Uuid,
    /// The field's name, `access_token` for example.
    pub field: &'a str,
}

impl SealContext<'_> {
    fn associated_data(&self, header: &[u8]) -> Vec<u8> {
        let parts = [
            header,
            self.tenant.0.as_bytes(),
            self.connection.as_bytes(),
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

/// Why a sealed value does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// Too short, or of a version this program does not know.
    #[error("the sealed value is malformed or of an unknown version")]
    Malformed,
    /// Sealed with a key that is neither the current one nor a previous one.
    #[error("the sealed value's key is not in the keyring")]
    UnknownKey,
    /// Altered, or moved from where it belongs.
    #[error("the sealed value is not authentic in this place")]
    NotAuthentic,
}

/// The current key and those before it.
#[derive(Clone)]
pub struct Keyring {
    current: Key,
    previous: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: [u8; KEY_ID],
    /// What keys of other purposes are derived from.
    deriving: Zeroizing<[u8; 32]>,
    cipher: Aes256Gcm,
}

impl Key {
    fn new(secret: &Zeroizing<[u8; 32]>) -> Self {
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&subkey(secret, b"key-id")[..KEY_ID]);
        let sealing = subkey(secret, b"seal");
        let cipher = Aes256Gcm::new_from_slice(&*sealing).expect("a subkey has 32 bytes");
        Self {
            id,
            deriving: subkey(secret, b"derive"),
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
        Zeroizing::new(hmac_sha256_parts(&*self.deriving, &[label.as_bytes()]))
    }
}

/// The key for one purpose. A root key is random and as long as the output, so a single
/// HMAC is all of HKDF (RFC 5869) that is needed.
fn subkey(secret: &[u8; 32], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(hmac_sha256_parts(secret, &[b"poblysh/1/", purpose]))
}

impl Keyring {
    /// A keyring of the configured keys.
    pub fn new(config: &CryptoConfig) -> Self {
        Self {
            current: Key::new(&config.current),
            previous: config.previous.iter().map(Key::new).collect(),
        }
    }

    /// Seals a secret for this place with the current key.
    pub fn seal(&self, context: &SealContext<'_>, plaintext: &SecretString) -> Vec<u8> {
        let header = self.header();
        let mut nonce = [0; NONCE];
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

    /// Opens what was sealed for this place, with whichever key sealed it.
    pub fn open(
        &self,
        context: &SealContext<'_>,
        sealed: &[u8],
    ) -> Result<SecretString, CryptoError> {
        let (header, nonce, ciphertext) = split(sealed).ok_or(CryptoError::Malformed)?;
        let aad = context.associated_data(header);
        // Two keys may share an id by chance, so every match is tried.
        let mut failure = CryptoError::UnknownKey;
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
            failure = CryptoError::NotAuthentic;
        }
        Err(failure)
    }

    /// What every value begins with that the current key has sealed.
    pub fn header(&self) -> [u8; HEADER] {
        let mut header = [VERSION; HEADER];
        header[1..].copy_from_slice(&self.current.id);
        header
    }

    /// Whether there are keys that only open.
    pub fn has_previous(&self) -> bool {
        !self.previous.is_empty()
    }

    /// A key for another purpose, derived from the current key. It changes with a rotation.
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        self.current.derive(label)
    }

    /// A tag that proves that `data` came from us, for this purpose.
    pub fn mac(&self, label: &str, data: &[u8]) -> [u8; 16] {
        self.current.mac(label, data)
    }

    /// Whether the tag belongs to `data` under the current or a previous key.
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

/// Header, nonce and ciphertext of a value that has the right form.
fn split(sealed: &[u8]) -> Option<(&[u8; HEADER], [u8; NONCE], &[u8])> {
    let (header, rest) = sealed.split_first_chunk::<HEADER>()?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>()?;
    (header[0] == VERSION && ciphertext.len() >= TAG).then_some((header, *nonce, ciphertext))
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
            field,
        }
    }

    fn secret(text: &str) -> SecretString {
        text.into()
    }

    #[test]
    fn a_sealed_value_begins_with_version_and_key_id() {
        let ring = keyring(1, &[]);
        let sealed = ring.seal(&context(1, 2, "access_token"), &secret("ghs_x"));
        assert_eq!(sealed.len(), 1 + 4 + 12 + 5 + 16);
        assert_eq!(sealed[0], 1);
        let again = ring.seal(&context(1, 2, "access_token"), &secret("ghs_x"));
        assert_eq!(sealed[1..5], again[1..5]);
        assert_ne!(sealed[5..17], again[5..17], "nonces are random");
    }

    #[test]
    fn previous_keys_open_and_show_in_the_header() {
        let place = context(1, 2, "access_token");
        let old = keyring(1, &[]);
        let sealed = old.seal(&place, &secret("token"));
        assert!(sealed.starts_with(&old.header()) && !old.has_previous());

        let rotated = keyring(2, &[1]);
        assert!(!sealed.starts_with(&rotated.header()) && rotated.has_previous());
        let opened = rotated.open(&place, &sealed).expect("a previous key opens");
        assert_eq!(opened.expose_secret(), "token");

        let resealed = rotated.seal(&place, &opened);
        assert!(resealed.starts_with(&rotated.header()));
        assert_eq!(
            old.open(&place, &resealed).err(),
            Some(CryptoError::UnknownKey)
        );
        assert_eq!(
            keyring(2, &[]).open(&place, &sealed).err(),
            Some(CryptoError::UnknownKey)
        );
    }

    #[test]
    fn values_of_another_form_are_malformed() {
        let ring = keyring(1, &[]);
        let place = context(1, 2, "f");
        for bad in [&[][..], &[1; 32], &[2; 64]] {
            assert_eq!(ring.open(&place, bad).err(), Some(CryptoError::Malformed));
        }
    }

    #[test]
    fn tags_survive_a_rotation_and_are_bound_to_label_and_data() {
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
    fn debug_shows_no_key() {
        assert_eq!(
            format!("{:?}", keyring(7, &[8])),
            "Keyring { previous: 1, .. }"
        );
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_in_its_place(
            text in ".{0,300}", tenant: u128, connection: u128, field in "[a-z_]{0,20}",
        ) {
            let ring = keyring(1, &[2]);
            let place = context(tenant, connection, &field);
            let sealed = ring.seal(&place, &secret(&text));
            let opened = ring.open(&place, &sealed).expect("opens");
            prop_assert_eq!(opened.expose_secret(), text.as_str());
        }

        #[test]
        fn a_single_flipped_bit_keeps_it_shut(
            text in ".{0,100}", at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let ring = keyring(1, &[2]);
            let place = context(1, 2, "access_token");
            let mut sealed = ring.seal(&place, &secret(&text));
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(ring.open(&place, &sealed).is_err());
        }

        #[test]
        fn a_value_that_was_cut_or_extended_does_not_open(
            text in ".{0,100}", keep in any::<prop::sample::Index>(), extra: u8,
        ) {
            let ring = keyring(1, &[]);
            let place = context(1, 2, "access_token");
            let mut sealed = ring.seal(&place, &secret(&text));
            prop_assert!(ring.open(&place, &sealed[..keep.index(sealed.len())]).is_err());
            sealed.push(extra);
            prop_assert!(ring.open(&place, &sealed).is_err());
        }

        #[test]
        fn a_value_moved_elsewhere_does_not_open(
            text in ".{0,100}",
            from in (0..3_u128, 0..3_u128, "[ab]{0,3}"),
            to in (0..3_u128, 0..3_u128, "[ab]{0,3}"),
        ) {
            prop_assume!(from != to);
            let ring = keyring(1, &[]);
            let sealed = ring.seal(&context(from.0, from.1, &from.2), &secret(&text));
            prop_assert_eq!(
                ring.open(&context(to.0, to.1, &to.2), &sealed).err(),
                Some(CryptoError::NotAuthentic)
            );
        }
    }
}
