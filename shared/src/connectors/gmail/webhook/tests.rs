//! Verification of pushes with a key set from an HTTP server.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::*;
use crate::clock::ManualClock;
use crate::crypto::hmac_sha256;

const PRIVATE: &str = include_str!("../../github/fixtures/test-app.pem");
const MODULUS: &str = include_str!("../../../crypto/test-key.modulus");
const AUDIENCE: &str = "https://hooks.example/webhooks/gmail";
const SERVICE_ACCOUNT: &str = "push@the-project.iam.gserviceaccount.com";
const ISSUER: &str = "https://accounts.google.com";
const KEY: &str = "key-1";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_100, 0).expect("a timestamp")
}

fn claims() -> Value {
    json!({
        "aud": AUDIENCE, "azp": "113774264463038321964", "sub": "113774264463038321964",
        "email": SERVICE_ACCOUNT, "email_verified": true, "iss": ISSUER,
        "iat": now().timestamp() - 60, "exp": now().timestamp() + 3540,
    })
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with this header and these claims, signed with the key.
fn token(header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let key = EncodingKey::from_rsa_pem(PRIVATE.as_bytes()).expect("a private key");
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::RS256);
    format!("{signed}.{}", signature.expect("signed"))
}

fn header() -> Value {
    json!({ "alg": "RS256", "kid": KEY, "typ": "JWT" })
}

fn body() -> Bytes {
    let data = json!({ "emailAddress": "Ada@Example.com", "historyId": 9_876_543_210_u64 });
    let message = json!({
        "data": STANDARD.encode(data.to_string()),
        "messageId": "2070443601311540", "message_id": "2070443601311540",
        "publishTime": "2023-11-14T22:15:00Z",
    });
    Bytes::from(
        json!({ "message": message, "subscription": "projects/p/subscriptions/s" }).to_string(),
    )
}

/// Pushes of the sender, whose keys have been fetched from this server.
struct Fixture {
    _server: MockServer,
    pushes: Pushes,
}

impl Fixture {
    async fn new() -> Self {
        let server = MockServer::start().await;
        let keys = json!({ "keys": [{ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY,
                                      "n": MODULUS.trim(), "e": "AQAB" }] });
        Mock::given(matchers::path("/oauth2/v3/certs"))
            .respond_with(ResponseTemplate::new(200).set_body_json(keys))
            .mount(&server)
            .await;
        let keys_url = format!("{}/oauth2/v3/certs", server.uri());
        let settings = PushSettings {
            audience: AUDIENCE.to_owned(),
            service_account: SERVICE_ACCOUNT.to_owned(),
            keys_url: keys_url.parse().expect("a URL"),
        };
        Self {
            _server: server,
            pushes: Pushes::new(settings, Arc::new(ManualClock::new(now()))),
        }
    }

    /// A fixture that knows the keys.
    async fn with_keys() -> Self {
        let fixture = Self::new().await;
        let fetched = async {
            while fixture.pushes.keys.keys_with(KEY).is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let limit = Duration::from_secs(30);
        tokio::time::timeout(limit, fetched).await.expect("keys");
        fixture
    }

    fn verify(&self, authorization: &str) -> Result<WebhookReceipt, VerifyError> {
        let value = HeaderValue::from_str(authorization).expect("a header's value");
        self.verify_headers(&HeaderMap::from_iter([(
            http::header::AUTHORIZATION,
            value,
        )]))
    }

    fn verify_headers(&self, headers: &HeaderMap) -> Result<WebhookReceipt, VerifyError> {
        let body = body();
        let request = WebhookRequest {
            headers,
            body: &body,
            connection: None,
        };
        verify(Some(&self.pushes), now(), &request)
    }

    fn verify_token(&self, header: &Value, claims: &Value) -> Result<(), VerifyError> {
        let result = self.verify(&format!("Bearer {}", token(header, claims)));
        result.map(|_| ())
    }
}

#[tokio::test]
async fn genuine_push_is_routed_by_lower_case_address() {
    let fixture = Fixture::with_keys().await;
    let receipt = fixture.verify(&format!("Bearer {}", token(&header(), &claims())));
    let receipt = receipt.expect("a receipt");
    assert_eq!(receipt.routes, ["ada@example.com"]);
    assert_eq!(receipt.dedupe_id, "2070443601311540");
    assert_eq!(receipt.stored_body, Some(Bytes::new()), "no body is kept");
    assert!(receipt.handshake.is_none() && receipt.acknowledgement.status.is_success());
}

#[tokio::test]
async fn push_is_rejected_until_keys_are_known() {
    let fixture = Fixture::new().await;
    let first = fixture.verify_token(&header(), &claims());
    assert_eq!(first, Err(VerifyError::KeysUnavailable));
    let unknown = json!({ "alg": "RS256", "kid": "rotated" });
    let fixture = Fixture::with_keys().await;
    let result = fixture.verify_token(&unknown, &claims());
    assert_eq!(result, Err(VerifyError::KeysUnavailable));
}

#[tokio::test]
async fn foreign_token_needs_no_key() {
    let fixture = Fixture::new().await;
    for (claim, value, error) in [
        (
            "iss",
            json!("https://issuer.example"),
            VerifyError::Mismatch,
        ),
        ("aud", json!("https://other.example"), VerifyError::Mismatch),
        ("email", json!("push@other.example"), VerifyError::Mismatch),
        ("exp", json!(now().timestamp() - 61), VerifyError::Stale),
    ] {
        let mut claims = claims();
        claims[claim] = value;
        let header = json!({ "alg": "RS256", "kid": "made-up" });
        let result = fixture.verify_token(&header, &claims);
        assert_eq!(result, Err(error), "{claim}");
    }
}

#[tokio::test]
async fn push_without_token_is_rejected() {
    let fixture = Fixture::with_keys().await;
    let missing = fixture.verify_headers(&HeaderMap::new()).err();
    assert_eq!(missing, Some(VerifyError::MissingHeader(AUTHORIZATION)));
    let genuine = token(&header(), &claims());
    for (name, value) in [
        ("Basic", format!("Basic {genuine}")),
        ("bare", genuine.clone()),
        ("empty", "Bearer ".to_owned()),
        ("two parts", "Bearer a.b".to_owned()),
        ("no JSON", "Bearer a.b.c".to_owned()),
        ("long", format!("Bearer {}", "a".repeat(9_000))),
    ] {
        let error = fixture.verify(&value).err();
        assert_eq!(error, Some(VerifyError::Malformed), "{name}");
    }
}

#[tokio::test]
async fn two_tokens_are_rejected() {
    let fixture = Fixture::with_keys().await;
    let value = format!("Bearer {}", token(&header(), &claims()));
    let value = HeaderValue::from_str(&value).expect("a header's value");
    let mut headers = HeaderMap::new();
    headers.append(http::header::AUTHORIZATION, value.clone());
    headers.append(http::header::AUTHORIZATION, value);
    let error = fixture.verify_headers(&headers).err();
    assert_eq!(error, Some(VerifyError::Malformed));
}

#[tokio::test]
async fn other_algorithms_are_rejected() {
    let fixture = Fixture::with_keys().await;
    for other in [
        json!({ "alg": "none", "kid": KEY }),
        json!({ "alg": "HS256", "kid": KEY }),
        json!({ "alg": "RS512", "kid": KEY }),
        json!({ "alg": "rs256", "kid": KEY }),
        json!({ "alg": "RS256", "kid": KEY, "crit": ["exp"] }),
        json!({ "alg": "RS256", "kid": "" }),
        json!({ "alg": "RS256" }),
        json!({ "kid": KEY }),
        json!(["RS256"]),
    ] {
        let result = fixture.verify_token(&other, &claims());
        assert_eq!(result, Err(VerifyError::Malformed), "{other}");
    }
    // Signed with the public key as a secret, and not at all.
    let signed = format!(
        "{}.{}",
        encode(&json!({ "alg": "HS256", "kid": KEY })),
        encode(&claims())
    );
    let tag = URL_SAFE_NO_PAD.encode(hmac_sha256(MODULUS.trim().as_bytes(), signed.as_bytes()));
    let unsigned = format!("{}.{}.", encode(&header()), encode(&claims()));
    for (forged, error) in [
        (format!("{signed}.{tag}"), VerifyError::Malformed),
        (unsigned, VerifyError::Mismatch),
    ] {
        assert_eq!(
            fixture.verify(&format!("Bearer {forged}")).err(),
            Some(error)
        );
    }
}

#[tokio::test]
async fn changed_token_is_rejected() {
    let fixture = Fixture::with_keys().await;
    let genuine = token(&header(), &claims());
    let (signed, signature) = genuine.rsplit_once('.').expect("a signature");
    let mut other = claims();
    other["aud"] = json!("https://attacker.example");
    let swapped = format!("{}.{}.{signature}", encode(&header()), encode(&other));
    let cut = format!("{signed}.{}", &signature[..signature.len() - 2]);
    for forged in [swapped, cut] {
        let error = fixture.verify(&format!("Bearer {forged}")).err();
        assert_eq!(error, Some(VerifyError::Mismatch));
    }
}

#[tokio::test]
async fn token_of_another_sender_is_rejected() {
    let fixture = Fixture::with_keys().await;
    for (claim, value) in [
        ("iss", json!("https://accounts.example.com")),
        ("iss", json!("accounts.google.com")),
        ("aud", json!("https://hooks.example/webhooks/gmail/")),
        ("aud", json!("")),
        (
            "email",
            json!("push@another-project.iam.gserviceaccount.com"),
        ),
        ("email", json!("PUSH@the-project.iam.gserviceaccount.com")),
        ("email", json!("")),
        ("email_verified", json!(false)),
    ] {
        let mut claims = claims();
        claims[claim] = value;
        let result = fixture.verify_token(&header(), &claims);
        assert_eq!(result, Err(VerifyError::Mismatch), "{claim}");
    }
    for claim in ["iss", "aud", "email", "email_verified", "exp", "iat"] {
        let mut claims = claims();
        claims.as_object_mut().expect("an object").remove(claim);
        assert!(fixture.verify_token(&header(), &claims).is_err(), "{claim}");
        claims[claim] = json!(["a", "b"]);
        let result = fixture.verify_token(&header(), &claims);
        assert_eq!(result, Err(VerifyError::Malformed), "{claim}");
    }
}

#[tokio::test]
async fn token_is_valid_in_its_time_only() {
    let fixture = Fixture::with_keys().await;
    let at = |seconds: i64| json!(now().timestamp() + seconds);
    for (issued, expires, not_before, is_valid) in [
        (at(-3600), at(-60), None, true),
        (at(-3600), at(-61), None, false),
        (at(60), at(3660), None, true),
        (at(61), at(3661), None, false),
        (at(-60), at(-120), None, false),
        (at(-60), at(3540), Some(at(60)), true),
        (at(-60), at(3540), Some(at(61)), false),
    ] {
        let mut claims = claims();
        (claims["iat"], claims["exp"]) = (issued, expires);
        if let Some(not_before) = not_before {
            claims["nbf"] = not_before;
        }
        let expected = if is_valid {
            Ok(())
        } else {
            Err(VerifyError::Stale)
        };
        let result = fixture.verify_token(&header(), &claims);
        assert_eq!(result, expected, "{claims}");
    }
    for extreme in [i64::MIN, i64::MAX] {
        let mut claims = claims();
        claims["exp"] = json!(extreme);
        assert!(
            fixture.verify_token(&header(), &claims).is_err(),
            "{extreme}"
        );
    }
}

#[test]
fn nothing_is_accepted_without_settings() {
    let (headers, body) = (HeaderMap::new(), body());
    let request = WebhookRequest {
        headers: &headers,
        body: &body,
        connection: None,
    };
    let result = verify(None, now(), &request);
    assert_eq!(result.err(), Some(VerifyError::NotConfigured));
}

#[test]
fn push_wakes_the_stream_of_messages() {
    let outcome = handle();
    assert_eq!(outcome.sync_hint, Some(SyncHint::stream(MESSAGES)));
    assert!(outcome.signals.is_empty());
}
