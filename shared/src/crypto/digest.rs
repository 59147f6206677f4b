//! Digests, message authentication codes and random tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// SHA-256 of `data`.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// HMAC-SHA-256 (RFC 2104) of `data`.
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    hmac_sha256_parts(key, &[data])
}

/// HMAC-SHA-256 over the concatenation of `parts`.
pub(super) fn hmac_sha256_parts(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Whether two values are equal, in time that depends on their lengths only.
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// Whether `hex` is the HMAC-SHA-256 of the concatenated parts under one of the secrets.
///
/// All secrets are tried, so the time does not reveal which one matched. Empty secrets are ignored,
/// and without a secret nothing matches.
pub fn verify_hmac_sha256_hex(secrets: &[SecretString], parts: &[&[u8]], hex: &str) -> bool {
    let mut claimed = [0; 32];
    hex::decode_to_slice(hex, &mut claimed).is_ok() && verify_hmac_sha256(secrets, parts, &claimed)
}

/// Whether `claimed` is the HMAC-SHA-256 of the concatenated parts under one of the secrets.
///
/// As [`verify_hmac_sha256_hex`], over raw bytes.
pub fn verify_hmac_sha256(secrets: &[SecretString], parts: &[&[u8]], claimed: &[u8]) -> bool {
    let mut matched = Choice::from(0);
    for secret in secrets
        .iter()
        .map(ExposeSecret::expose_secret)
        .filter(|text| !text.is_empty())
    {
        matched |= hmac_sha256_parts(secret.as_bytes(), parts).ct_eq(claimed);
    }
    matched.into()
}

/// Generates a token of this many random bytes, in base64url without padding.
pub fn random_token(bytes: usize) -> SecretString {
    let mut random = Zeroizing::new(vec![0; bytes]);
    rand::rng().fill_bytes(&mut random);
    URL_SAFE_NO_PAD.encode(&*random).into()
}

/// The PKCE challenge of a verifier, method S256 (RFC 7636, section 4.2).
pub fn pkce_challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secrets(texts: &[&str]) -> Vec<SecretString> {
        texts.iter().copied().map(SecretString::from).collect()
    }

    /// The example of GitHub's documentation, "Validating webhook deliveries".
    const GITHUB_SECRET: &str = "It's a Secret to Everybody";
    const GITHUB_HEX: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn sha256_matches_fips_180_vector() {
        assert_eq!(
            hex::encode(sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn hmac_matches_rfc_4231_vectors() {
        assert_eq!(
            hex::encode(hmac_sha256(&[0x0b; 20], b"Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            hex::encode(hmac_sha256(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn pkce_matches_rfc_7636_vector() {
        assert_eq!(
            pkce_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn signature_matches_either_of_two_active_secrets() {
        for active in [
            &[GITHUB_SECRET][..],
            &[GITHUB_SECRET, "other"][..],
            &["other", GITHUB_SECRET][..],
        ] {
            assert!(verify_hmac_sha256_hex(
                &secrets(active),
                &[b"Hello, World!"],
                GITHUB_HEX
            ));
        }
        let retired = secrets(&["other"]);
        assert!(!verify_hmac_sha256_hex(
            &retired,
            &[b"Hello, World!"],
            GITHUB_HEX
        ));
    }

    #[test]
    fn nothing_matches_without_a_secret() {
        let unkeyed = hex::encode(hmac_sha256(b"", b"body"));
        assert!(!verify_hmac_sha256_hex(&[], &[b"body"], &unkeyed));
        assert!(!verify_hmac_sha256_hex(
            &secrets(&[""]),
            &[b"body"],
            &unkeyed
        ));
    }

    #[test]
    fn malformed_signatures_do_not_match() {
        let active = secrets(&[GITHUB_SECRET]);
        for bad in [
            "",
            "75",
            "zz",
            &GITHUB_HEX[..62],
            &format!("{GITHUB_HEX}00"),
        ] {
            assert!(
                !verify_hmac_sha256_hex(&active, &[b"Hello, World!"], bad),
                "{bad}"
            );
        }
    }

    #[test]
    fn tokens_are_long_enough_and_differ() {
        let (one, two) = (random_token(32), random_token(32));
        assert_eq!(one.expose_secret().len(), 43);
        assert_ne!(one.expose_secret(), two.expose_secret());
        assert!(
            one.expose_secret()
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        );
    }

    proptest! {
        #[test]
        fn signature_matches_only_its_body_and_secret(
            secret in "[ -~]{1,40}",
            other in "[ -~]{1,40}",
            body in prop::collection::vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let signature = hmac_sha256(secret.as_bytes(), &body);
            let active = secrets(&[&secret]);
            prop_assert!(verify_hmac_sha256_hex(&active, &[&body], &hex::encode(signature)));

            let mut forged = signature;
            forged[at.index(32)] ^= 1 << bit;
            prop_assert!(!verify_hmac_sha256_hex(&active, &[&body], &hex::encode(forged)));

            if !body.is_empty() {
                let mut altered = body.clone();
                altered[at.index(body.len())] ^= 1 << bit;
                prop_assert!(!verify_hmac_sha256_hex(&active, &[&altered], &hex::encode(signature)));
            }
            prop_assume!(other != secret);
            prop_assert!(!verify_hmac_sha256_hex(
                &secrets(&[&other]), &[&body], &hex::encode(signature)
            ));
        }

        #[test]
        fn constant_time_equality_is_equality(
            left in prop::collection::vec(any::<u8>(), 0..40),
            right in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            prop_assert_eq!(constant_time_eq(&left, &right), left == right);
            prop_assert!(constant_time_eq(&left, &left));
        }
    }
}
