//! Sealing, signatures and random values.
//!
//! Promises: what is sealed opens only with the right key, for the same tenant, owner and
//! field; comparisons of secrets take the same time wherever they differ; no error says
//! anything about a plaintext or a key. Where sealed values are kept, and when they are
//! sealed anew after a rotation, is the business of `credentials`.

mod digest;
mod keyring;
mod public_key;

pub use digest::{
    constant_time_eq, hmac_sha256, pkce_challenge, random_token, sha256, verify_hmac_sha256_hex,
};
pub use keyring::{CryptoError, Keyring, SealContext};
pub use public_key::PublicKey;
