//! The registered GitHub App: its identity, secrets and key.
//!
//! The secrets follow from the seed; the RSA key is new at every start. JWTs of the app are
//! verified with GitHub's errors.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::world::Id;
use crate::StartError;

/// The registered app.
pub(crate) struct App {
    pub(crate) id: Id,
    pub(crate) slug: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) hook_id: Id,
    /// Private key in PKCS#1, the format that GitHub issues.
    pub(crate) private_key_pem: String,
    public_key: Vec<u8>,
}

/// Reason to reject a JWT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JwtError {
    Undecodable,
    UnknownIssuer,
    Expired,
    TooLong,
    IssuedInFuture,
}

impl JwtError {
    /// GitHub's error message.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Undecodable => "A JSON web token could not be decoded",
            Self::UnknownIssuer => "Integration not found",
            Self::Expired => {
                "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
            }
            Self::TooLong => "'Expiration time' claim ('exp') is too far in the future",
            Self::IssuedInFuture => {
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
            }
        }
    }
}

impl App {
    pub(crate) fn register(seed: u64) -> Result<(Self, String), StartError> {
        let mut rng = StdRng::seed_from_u64(seed);
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| StartError::Key)?;
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| StartError::Key)?;
        let id = rng.random_range(200_000..900_000);
        let webhook_secret = hex::encode(rng.random::<[u8; 20]>());
        let app = Self {
            id,
            slug: "signals-simulated".to_owned(),
            client_id: format!("Iv23li{}", Alphanumeric.sample_string(&mut rng, 14)),
            client_secret: hex::encode(rng.random::<[u8; 20]>()),
            hook_id: rng.random_range(300_000_000..400_000_000),
            private_key_pem: pem(pkcs1(pkcs8.as_ref()).ok_or(StartError::Key)?),
            public_key: pair.public_key().as_ref().to_vec(),
        };
        Ok((app, webhook_secret))
    }

    /// Verifies the app's JWT at a time of the client's clock.
    pub(crate) fn verify_jwt(&self, token: &str, now: i64) -> Result<(), JwtError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Undecodable)?;
        let (header, claims) = signed.split_once('.').ok_or(JwtError::Undecodable)?;
        if json_part(header)?["alg"] != "RS256" {
            return Err(JwtError::Undecodable);
        }
        let claims = json_part(claims)?;
        let issuer = match &claims["iss"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if issuer != self.id.to_string() && issuer != self.client_id {
            return Err(JwtError::UnknownIssuer);
        }
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| JwtError::Undecodable)?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| JwtError::Undecodable)?;
        let expires = claims["exp"].as_i64().ok_or(JwtError::Expired)?;
        let issued_at = claims["iat"].as_i64().ok_or(JwtError::IssuedInFuture)?;
        match () {
            () if expires <= now => Err(JwtError::Expired),
            () if expires > now + 600 => Err(JwtError::TooLong),
            () if issued_at > now => Err(JwtError::IssuedInFuture),
            () => Ok(()),
        }
    }
}

fn json_part(part: &str) -> Result<Value, JwtError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| JwtError::Undecodable)?;
    serde_json::from_slice(&bytes).map_err(|_| JwtError::Undecodable)
}

/// Extracts the PKCS#1 key from a PKCS#8 envelope.
///
/// It is the octet string after the version and the algorithm.
fn pkcs1(pkcs8: &[u8]) -> Option<&[u8]> {
    let (_, inside, _) = element(pkcs8)?;
    let (_, _, rest) = element(inside)?;
    let (_, _, rest) = element(rest)?;
    let (tag, key, _) = element(rest)?;
    (tag == 0x04).then_some(key)
}

/// Splits off the first DER element: tag, contents and remaining bytes.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (
            digits
                .iter()
                .fold(0, |sum, digit| (sum << 8) | usize::from(*digit)),
            rest,
        )
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN RSA PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END RSA PRIVATE KEY-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_795_428_000;

    fn token(app: &App, claims: &Value) -> String {
        let key = EncodingKey::from_rsa_pem(app.private_key_pem.as_bytes()).expect("a PKCS#1 key");
        encode(&Header::new(Algorithm::RS256), claims, &key).expect("a token")
    }

    #[test]
    fn jwt_issuer_is_app_id_or_client_id() {
        let (app, _) = App::register(1).expect("an app");
        for issuer in [
            json!(app.id),
            json!(app.id.to_string()),
            json!(app.client_id),
        ] {
            let claims = json!({"iss": issuer, "iat": NOW - 60, "exp": NOW + 600});
            assert_eq!(app.verify_jwt(&token(&app, &claims), NOW), Ok(()));
        }
    }

    #[test]
    fn jwt_is_rejected_for_dates_issuer_and_signature() {
        let (app, _) = App::register(1).expect("an app");
        let (other, _) = App::register(1).expect("the same app with another key");
        let claims = |iat: i64, exp: i64| json!({"iss": app.id, "iat": iat, "exp": exp});
        let check = |claims: &Value| app.verify_jwt(&token(&app, claims), NOW);
        assert_eq!(check(&claims(NOW, NOW + 601)), Err(JwtError::TooLong));
        assert_eq!(check(&claims(NOW - 600, NOW)), Err(JwtError::Expired));
        assert_eq!(
            check(&claims(NOW + 5, NOW + 500)),
            Err(JwtError::IssuedInFuture)
        );
        assert_eq!(
            check(&json!({"iss": 1, "iat": NOW, "exp": NOW + 60})),
            Err(JwtError::UnknownIssuer)
        );
        let forged = token(&other, &claims(NOW, NOW + 60));
        assert_eq!(app.verify_jwt(&forged, NOW), Err(JwtError::Undecodable));
        assert_eq!(app.verify_jwt("a.b", NOW), Err(JwtError::Undecodable));
    }
}
