//! RSA keys that sign what the providers send.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};

use super::StartError;

/// A key pair with 2048 bits.
pub(crate) struct RsaKey {
    pub(crate) pair: RsaKeyPair,
    /// Public key as `SubjectPublicKeyInfo`.
    pub(crate) spki: Vec<u8>,
}

impl RsaKey {
    pub(crate) fn generate() -> Result<Self, StartError> {
        let pair =
            aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).map_err(|_| StartError::Key)?;
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| StartError::Key)?;
        let pair = RsaKeyPair::from_pkcs8(pkcs8.as_ref()).map_err(|_| StartError::Key)?;
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| StartError::Key)?;
        let spki = spki.as_ref().to_vec();
        Ok(Self { pair, spki })
    }

    /// Signature by RSASSA-PKCS1-v1_5 with SHA-256.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .expect("an RSA key signs");
        signature
    }
}
