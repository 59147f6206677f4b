//! Encryption at rest, signatures and random values.
//!
//! A sealed value can be decrypted only with the right key, for the same tenant, owner and field.
//! Secrets are compared in constant time. No error reveals anything about a plaintext or a key.
//! `credentials` and `db::sealed` store sealed values and re-encrypt them after a key rotation.

mod digest;
mod key_set;
mod keyring;
mod public_key;

pub use digest::{
    constant_time_eq, hmac_sha256, pkce_challenge, random_token, sha256, verify_hmac_sha256,
    verify_hmac_sha256_hex,
};
pub use key_set::KeySet;
pub use keyring::{CryptoError, Keyring, SealContext};
pub use public_key::PublicKey;
