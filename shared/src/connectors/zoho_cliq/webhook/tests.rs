//! Verification by signature and by secret.

use async_trait::async_trait;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;

use crate::connectors::NoKeys;
use crate::model::ConnectionId;

const PRIVATE: &str = include_str!("../../github/fixtures/test-app.pem");
const PUBLIC: &str = include_str!("../../github/fixtures/test-app.pub.pem");
const CONNECTION: ConnectionId = ConnectionId(Uuid::nil());
const SECRET: &str = "the secret of the connection";
const OLD_SECRET: &str = "the previous one";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
}

/// Keys of one connection.
#[derive(Default)]
struct Keys {
    secrets: Vec<&'static str>,
    public_keys: Vec<PublicKey>,
}

#[async_trait]
impl KeySource for Keys {
    async fn connection_secrets(
        &self,
        provider: &'static str,
        connection: ConnectionId,
    ) -> Result<Vec<SecretString>, VerifyError> {
        assert_eq!((provider, connection), (SLUG, CONNECTION));
        let secrets = self.secrets.iter();
        Ok(secrets.map(|secret| SecretString::from(*secret)).collect())
    }

    async fn connection_public_keys(
        &self,
        provider: &'static str,
        connection: ConnectionId,
    ) -> Result<Vec<PublicKey>, VerifyError> {
        assert_eq!((provider, connection), (SLUG, CONNECTION));
        Ok(self.public_keys.clone())
    }
}

fn with_secrets(secrets: &[&'static str]) -> Keys {
    Keys {
        secrets: secrets.to_vec(),
        ..Keys::default()
    }
}

fn with_public_key() -> Keys {
    Keys {
        public_keys: vec![PublicKey::parse(PUBLIC).expect("a key")],
        ..Keys::default()
    }
}

fn sign(body: &[u8]) -> String {
    let key = EncodingKey::from_rsa_pem(PRIVATE.as_bytes()).expect("a private key");
    let signature = jsonwebtoken::crypto::sign(body, &key, Algorithm::RS256).expect("signed");
    STANDARD.encode(URL_SAFE_NO_PAD.decode(signature).expect("base64"))
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs = pairs.iter().map(|(name, value)| {
        let value = HeaderValue::from_str(value).expect("a value");
        (HeaderName::from_static(name), value)
    });
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name, value);
    }
    headers
}

/// A delivery that was sent this many seconds ago.
fn body(seconds: i64) -> Bytes {
    let sent = now().timestamp_millis() - seconds * 1_000;
    let params = json!({ "operation": "message_sent", "chat": { "id": "CT_1" } });
    let handler = json!({ "type": "participation_handler" });
    Bytes::from(json!({ "handler": handler, "timestamp": sent, "params": params }).to_string())
}

async fn check(
    keys: &dyn KeySource,
    pairs: &[(&'static str, &str)],
    body: &Bytes,
) -> Result<WebhookReceipt, VerifyError> {
    let headers = headers(pairs);
    let request = WebhookRequest {
        headers: &headers,
        body,
        connection: Some(CONNECTION),
    };
    verify(now(), &request, keys).await
}

async fn error(keys: &dyn KeySource, pairs: &[(&'static str, &str)], body: &Bytes) -> VerifyError {
    let result = check(keys, pairs, body).await;
    result.expect_err("a rejection")
}

#[tokio::test]
async fn signed_delivery_is_acknowledged_with_an_empty_object() {
    let body = body(1);
    let signature = sign(&body);
    let receipt = check(&with_public_key(), &[(SIGNATURE, &signature)], &body).await;
    let receipt = receipt.expect("a receipt");
    assert_eq!(receipt.event, "participation.message_sent");
    assert_eq!(receipt.dedupe_id, hex::encode(sha256(&body)));
    assert!(receipt.routes.is_empty() && receipt.handshake.is_none());
    assert_eq!(&receipt.acknowledgement.body[..], b"{}");
    let content_type = &receipt.acknowledgement.headers["content-type"];
    assert_eq!(content_type, "application/json");
}

#[tokio::test]
async fn either_of_two_secrets_is_accepted() {
    let body = body(1);
    let keys = with_secrets(&[SECRET, OLD_SECRET]);
    for secret in [SECRET, OLD_SECRET] {
        assert!(check(&keys, &[(TOKEN, secret)], &body).await.is_ok());
    }
    for wrong in [
        "",
        "The secret of the connection",
        "the secret of the connection2",
    ] {
        let result = error(&keys, &[(TOKEN, wrong)], &body).await;
        assert_eq!(result, VerifyError::Mismatch, "{wrong}");
    }
}

#[tokio::test]
async fn nothing_is_accepted_without_keys() {
    let body = body(1);
    let signature = sign(&body);
    for keys in [with_secrets(&[]), with_secrets(&[""])] {
        for pair in [(TOKEN, SECRET), (TOKEN, ""), (SIGNATURE, &signature)] {
            assert_eq!(
                error(&keys, &[pair], &body).await,
                VerifyError::NotConfigured
            );
        }
    }
    // A key of one kind is none of the other.
    let token = error(&with_public_key(), &[(TOKEN, SECRET)], &body).await;
    assert_eq!(token, VerifyError::NotConfigured);
    let signed = error(&with_secrets(&[SECRET]), &[(SIGNATURE, &signature)], &body).await;
    assert_eq!(signed, VerifyError::NotConfigured);
    let unsigned = error(&with_public_key(), &[], &body).await;
    assert_eq!(unsigned, VerifyError::MissingHeader(SIGNATURE));
}

#[tokio::test]
async fn delivery_to_the_apps_url_is_rejected() {
    let (body, headers) = (body(1), headers(&[(TOKEN, "")]));
    let request = WebhookRequest {
        headers: &headers,
        body: &body,
        connection: None,
    };
    let result = verify(now(), &request, &NoKeys).await;
    assert_eq!(result.expect_err("a rejection"), VerifyError::NotConfigured);
}

#[tokio::test]
async fn forged_signatures_are_rejected() {
    let body = body(1);
    let keys = with_public_key();
    let signature = sign(&body);
    let mut damaged = STANDARD.decode(&signature).expect("base64");
    damaged[9] ^= 1;
    let damaged = STANDARD.encode(damaged);
    let of_other_body = sign(b"{}");
    for (forged, expected) in [
        (damaged.as_str(), VerifyError::Mismatch),
        (&of_other_body, VerifyError::Mismatch),
        ("", VerifyError::Mismatch),
        ("AAAA", VerifyError::Mismatch),
        ("no base64!", VerifyError::Malformed),
    ] {
        assert_eq!(
            error(&keys, &[(SIGNATURE, forged)], &body).await,
            expected,
            "{forged}"
        );
    }
    // A valid token does not replace a wrong signature, and two signatures contradict each other.
    let both = Keys {
        secrets: vec![SECRET],
        ..with_public_key()
    };
    let pairs = [(SIGNATURE, "AAAA"), (TOKEN, SECRET)];
    assert_eq!(error(&both, &pairs, &body).await, VerifyError::Mismatch);
    let twice = [(SIGNATURE, signature.as_str()), (SIGNATURE, "AAAA")];
    assert_eq!(error(&both, &twice, &body).await, VerifyError::Malformed);
}

#[tokio::test]
async fn body_is_verified_as_received() {
    let body = body(1);
    let signature = sign(&body);
    let reformatted = String::from_utf8_lossy(&body).replace("\":", "\": ");
    let (keys, reformatted) = (with_public_key(), Bytes::from(reformatted));
    let result = error(&keys, &[(SIGNATURE, &signature)], &reformatted).await;
    assert_eq!(result, VerifyError::Mismatch);
}

#[tokio::test]
async fn old_delivery_is_not_accepted_again() {
    let keys = with_secrets(&[SECRET]);
    for (seconds, is_accepted) in [
        (0, true),
        (900, true),
        (901, false),
        (-900, true),
        (-901, false),
    ] {
        let result = check(&keys, &[(TOKEN, SECRET)], &body(seconds)).await;
        assert_eq!(result.is_ok(), is_accepted, "{seconds}");
        let expected = (!is_accepted).then_some(VerifyError::Stale);
        assert_eq!(result.err(), expected);
    }
}

#[tokio::test]
async fn events_have_a_bounded_set_of_names() {
    let keys = with_secrets(&[SECRET]);
    for (body, event) in [
        (r#"{"handler":"mention"}"#, "mention"),
        (
            r#"{"handler":{"type":"message_handler"},"operation":"x"}"#,
            "message",
        ),
        (r#"{"operation":"added"}"#, "participation.added"),
        (r#"{"operation":"Something else"}"#, "participation"),
        (r#"{"handler":"menu_handler"}"#, "other"),
        ("handler=mention&message=hi", "mention"),
        ("no delivery", "unknown"),
    ] {
        let body = Bytes::from_static(body.as_bytes());
        let receipt = check(&keys, &[(TOKEN, SECRET)], &body).await;
        assert_eq!(receipt.expect("a receipt").event, event);
    }
}

proptest! {
    #[test]
    fn arbitrary_signatures_are_rejected(
        signature in prop::collection::vec(any::<u8>(), 0..300),
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let body = Bytes::from(body);
        let signature = STANDARD.encode(signature);
        let keys = with_public_key();
        let pairs = [(SIGNATURE, signature.as_str())];
        let result = futures::executor::block_on(check(&keys, &pairs, &body));
        prop_assert_eq!(result.err(), Some(VerifyError::Mismatch));
    }

    #[test]
    fn changed_body_is_rejected(at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let body = body(1);
        let signature = sign(&body);
        let mut changed = body.to_vec();
        changed[at.index(body.len())] ^= 1_u8 << bit;
        let keys = with_public_key();
        let pairs = [(SIGNATURE, signature.as_str())];
        let result = futures::executor::block_on(check(&keys, &pairs, &Bytes::from(changed)));
        prop_assert_eq!(result.err(), Some(VerifyError::Mismatch));
    }
}
