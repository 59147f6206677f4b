//! Verification of the `OpenID` Connect token that Pub/Sub sends with a push.
//!
//! Every user of Google's can obtain a token for any audience, so the token must also name the
//! service account of the operator's subscription. It does not cover the body.
//!
//! Source: "Authenticate push requests" at docs.cloud.google.com.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::super::settings::PushSettings;
use crate::connectors::VerifyError;
use crate::crypto::constant_time_eq;
use crate::http::Jwks;

/// Issuer of all tokens of Google's.
const ISSUER: &str = "https://accounts.google.com";
/// The only accepted algorithm.
const ALGORITHM: &str = "RS256";
/// Maximum difference between Google's clock and ours.
const LEEWAY: Duration = Duration::seconds(60);
/// Maximum length of a token. Google's have about 1,200 characters.
const MAX_TOKEN: usize = 8 * 1024;

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
    /// Extensions that must be understood (RFC 7515, 4.1.11); none are.
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    email: String,
    #[serde(default)]
    email_verified: bool,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
}

/// Verifies the value of the header `Authorization`.
///
/// # Errors
///
/// [`VerifyError::KeysUnavailable`] if the token's key is not known yet.
pub(super) fn verify(
    settings: &PushSettings,
    keys: &Jwks,
    authorization: &str,
    now: DateTime<Utc>,
) -> Result<(), VerifyError> {
    let (scheme, token) = authorization
        .split_once(' ')
        .ok_or(VerifyError::Malformed)?;
    if !scheme.eq_ignore_ascii_case("Bearer") || token.len() > MAX_TOKEN {
        return Err(VerifyError::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(VerifyError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(VerifyError::Malformed)?;
    let Header { alg, kid, crit } = decode_json(header)?;
    if alg != ALGORITHM || crit.is_some() || kid.is_empty() {
        return Err(VerifyError::Malformed);
    }
    let signature = decode(signature)?;
    // A token that is rejected with any key causes no fetch of keys.
    let claims: Claims = decode_json(claims)?;
    claims.check_sender(settings)?;
    claims.check_time(now)?;
    let keys = keys.keys_with(&kid).ok_or(VerifyError::KeysUnavailable)?;
    if keys.verify_rs256(&kid, signed.as_bytes(), &signature) {
        Ok(())
    } else {
        Err(VerifyError::Mismatch)
    }
}

impl Claims {
    fn check_sender(&self, settings: &PushSettings) -> Result<(), VerifyError> {
        let is_equal = |claim: &str, expected: &str| {
            !expected.is_empty() && constant_time_eq(claim.as_bytes(), expected.as_bytes())
        };
        let is_sender = is_equal(&self.iss, ISSUER)
            & is_equal(&self.aud, &settings.audience)
            & is_equal(&self.email, &settings.service_account)
            & self.email_verified;
        if is_sender {
            Ok(())
        } else {
            Err(VerifyError::Mismatch)
        }
    }

    fn check_time(&self, now: DateTime<Utc>) -> Result<(), VerifyError> {
        let (expires, issued) = (time(self.exp)?, time(self.iat)?);
        let not_before = self.nbf.map(time).transpose()?;
        let early = |at: DateTime<Utc>| at > now + LEEWAY;
        if expires < now - LEEWAY
            || expires < issued
            || early(issued)
            || not_before.is_some_and(early)
        {
            return Err(VerifyError::Stale);
        }
        Ok(())
    }
}

fn decode(part: &str) -> Result<Vec<u8>, VerifyError> {
    let decoded = URL_SAFE_NO_PAD.decode(part);
    decoded.map_err(|_| VerifyError::Malformed)
}

fn decode_json<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, VerifyError> {
    serde_json::from_slice(&decode(part)?).map_err(|_| VerifyError::Malformed)
}

/// A claim as `NumericDate` in whole seconds (RFC 7519, 2).
fn time(seconds: i64) -> Result<DateTime<Utc>, VerifyError> {
    DateTime::from_timestamp(seconds, 0).ok_or(VerifyError::Malformed)
}
