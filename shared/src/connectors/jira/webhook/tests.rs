//! Tests of the verification, the receipt and the handling of deliveries.

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::connectors::jira::Jira;
use crate::connectors::jira::tests::{account, connector, now};
use crate::connectors::testing::SecretsOf;
use crate::connectors::{NoKeys, testing};
use crate::model::ConnectionId;

/// Example token: secret `jira-client-secret`, valid for three minutes.
const EXAMPLE_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJjbGllbnQtaWQiLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6MTcwMDAwMDE4MH0.8UeozO0OY4-VhkhosPvfnDRwYtboP8ALB4NPpI0STaU";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(IDENTIFIER, HeaderValue::from_static("d-1"));
    for (name, value) in pairs {
        headers.insert(*name, HeaderValue::from_str(value).expect("a header"));
    }
    headers
}

fn bearer(token: &str) -> HeaderMap {
    headers(&[(AUTHORIZATION, &format!("Bearer {token}"))])
}

fn token(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).expect("a token")
}

fn check(headers: &HeaderMap) -> Option<VerifyError> {
    let (jira, _) = connector("http://localhost:1");
    testing::verify(&jira, headers, &Bytes::from_static(b"{}")).err()
}

fn verify_at(
    jira: &Jira,
    then: DateTime<Utc>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<WebhookReceipt, VerifyError> {
    let request = WebhookRequest {
        headers,
        body,
        connection: None,
    };
    verify(&jira.app.client.secrets, then, &request, &NoKeys)
        .now_or_never()
        .expect("a verification without waiting")
}

#[test]
fn example_token_is_valid_until_expiry() {
    assert_eq!(check(&bearer(EXAMPLE_TOKEN)), None);
    let (jira, _) = connector("http://localhost:1");
    let late = now() + Duration::minutes(5);
    let body = Bytes::from_static(b"{}");
    assert_eq!(
        verify_at(&jira, late, &bearer(EXAMPLE_TOKEN), &body).err(),
        Some(VerifyError::Stale)
    );
}

#[test]
fn token_lifetime_over_an_hour_is_rejected() {
    let (begin, end) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    let now = now().timestamp();
    for (claims, error) in [
        (json!({ "iat": now, "exp": now + 3_600 }), None),
        (json!({ "exp": now + 180 }), None),
        (json!({ "iat": now, "nbf": now, "exp": now + 180 }), None),
        (
            json!({ "iat": now, "exp": now + 180, "qsh": 1, "aud": {}, "sub": [], "iss": null }),
            None,
        ),
        (
            json!({ "iat": now, "exp": now + 3_601 }),
            Some(VerifyError::Stale),
        ),
        (json!({ "exp": now + 4_000 }), Some(VerifyError::Stale)),
        (
            json!({ "iat": now + 30, "exp": now }),
            Some(VerifyError::Stale),
        ),
        (
            json!({ "nbf": now + 61, "exp": now + 180 }),
            Some(VerifyError::Stale),
        ),
        (
            json!({ "iat": begin.timestamp(), "exp": now }),
            Some(VerifyError::Stale),
        ),
        (
            json!({ "iat": now, "exp": end.timestamp() }),
            Some(VerifyError::Stale),
        ),
        (
            json!({ "iat": now, "exp": i64::MAX }),
            Some(VerifyError::Malformed),
        ),
        (
            json!({ "iat": now, "exp": "soon" }),
            Some(VerifyError::Malformed),
        ),
        (
            json!({ "nbf": "now", "exp": now + 180 }),
            Some(VerifyError::Malformed),
        ),
        (json!({ "iat": now }), Some(VerifyError::Malformed)),
    ] {
        let signed = token(Algorithm::HS256, "jira-client-secret", &claims);
        assert_eq!(check(&bearer(&signed)), error, "{claims}");
    }
}

#[test]
fn token_with_critical_extensions_is_rejected() {
    let now = now().timestamp();
    let claims = json!({ "iat": now, "exp": now + 180 }).to_string();
    for (header, error) in [
        (r#"{"alg":"HS256","typ":"JWT"}"#, None),
        (r#"{"alg":"HS256","kid":"any"}"#, None),
        (
            r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
            Some(VerifyError::Malformed),
        ),
        (r#"{"alg":"HS256","crit":[]}"#, Some(VerifyError::Malformed)),
        (
            r#"{"alg":"HS256","crit":null}"#,
            Some(VerifyError::Malformed),
        ),
    ] {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encode(header), encode(&claims));
        let tag = crate::crypto::hmac_sha256(b"jira-client-secret", signed.as_bytes());
        let whole = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
        assert_eq!(check(&bearer(&whole)), error, "{header}");
    }
}

#[test]
fn dedupe_id_depends_on_the_body_only() {
    let (jira, _) = connector("http://localhost:1");
    let receive = |name: &str, body: &'static [u8]| {
        let mut headers = bearer(EXAMPLE_TOKEN);
        headers.insert(IDENTIFIER, HeaderValue::from_str(name).expect("a header"));
        let receipt = testing::verify(&jira, &headers, &Bytes::from_static(body));
        receipt.expect("a receipt").dedupe_id
    };
    let first = receive("d-1", br#"{"timestamp":1}"#);
    assert_eq!(receive("d-1", br#"{"timestamp":1}"#), first);
    assert_eq!(
        receive("d-2", br#"{"timestamp":1}"#),
        first,
        "the identifier is not signed"
    );
    assert_ne!(
        receive("d-1", br#"{"timestamp":2}"#),
        first,
        "equal tokens within a second"
    );
}

#[test]
fn invalid_tokens_are_rejected() {
    let now = now().timestamp();
    let good = json!({ "iat": now, "exp": now + 180 });
    let secret = "jira-client-secret";
    assert_eq!(
        check(&bearer(&token(Algorithm::HS256, secret, &good))),
        None
    );
    assert_eq!(
        check(&bearer(&token(
            Algorithm::HS256,
            "the-old-client-secret",
            &good
        ))),
        None
    );
    let unsigned = format!(
        "eyJhbGciOiJub25lIn0.{}.",
        EXAMPLE_TOKEN.split('.').nth(1).expect("claims")
    );
    for (case, headers, error) in [
        (
            "another secret",
            bearer(&token(Algorithm::HS256, "other", &good)),
            VerifyError::Mismatch,
        ),
        (
            "another algorithm",
            bearer(&token(Algorithm::HS512, secret, &good)),
            VerifyError::Malformed,
        ),
        ("no algorithm", bearer(&unsigned), VerifyError::Malformed),
        (
            "no expiry",
            bearer(&token(Algorithm::HS256, secret, &json!({ "iat": now }))),
            VerifyError::Malformed,
        ),
        (
            "expired",
            bearer(&token(
                Algorithm::HS256,
                secret,
                &json!({ "iat": now - 400, "exp": now - 61 }),
            )),
            VerifyError::Stale,
        ),
        (
            "not yet valid",
            bearer(&token(
                Algorithm::HS256,
                secret,
                &json!({ "iat": now + 61, "exp": now + 300 }),
            )),
            VerifyError::Stale,
        ),
        (
            "not valid before the last time",
            bearer(&token(
                Algorithm::HS256,
                secret,
                &json!({ "iat": DateTime::<Utc>::MAX_UTC.timestamp(), "exp": now + 180 }),
            )),
            VerifyError::Stale,
        ),
        ("no token", bearer("nonsense"), VerifyError::Malformed),
        (
            "basic",
            headers(&[(AUTHORIZATION, "Basic eDp5")]),
            VerifyError::Malformed,
        ),
        (
            "no header",
            headers(&[]),
            VerifyError::MissingHeader(AUTHORIZATION),
        ),
    ] {
        assert_eq!(check(&headers), Some(error), "{case}");
    }
    let mut nameless = bearer(EXAMPLE_TOKEN);
    nameless.remove(IDENTIFIER);
    assert_eq!(
        check(&nameless),
        Some(VerifyError::MissingHeader(IDENTIFIER))
    );
}

const SECRETS: SecretsOf = SecretsOf(
    ConnectionId(uuid::Uuid::from_u128(7)),
    &["another one", "It's a Secret to Everybody"],
);

/// Verifies a delivery at a connection's URL.
fn verify_at_connection(
    connection: ConnectionId,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<WebhookReceipt, VerifyError> {
    let (jira, _) = connector("http://localhost:1");
    let request = WebhookRequest {
        headers,
        body,
        connection: Some(connection),
    };
    verify(&jira.app.client.secrets, now(), &request, &SECRETS)
        .now_or_never()
        .expect("a verification without waiting")
}

#[test]
fn administrator_webhook_requires_connection_secret() {
    let signature = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9";
    let body = Bytes::from_static(b"Hello World!");
    let check = |signature: &str, body: &Bytes| {
        verify_at_connection(SECRETS.0, &headers(&[(SIGNATURE, signature)]), body).err()
    };
    assert_eq!(check(signature, &body), None);
    assert_eq!(
        check(signature, &Bytes::from_static(b"Hello World?")),
        Some(VerifyError::Mismatch)
    );
    for other in [
        "sha1=00",
        "md5=00",
        "",
        &signature[7..],
        &signature.to_uppercase(),
    ] {
        assert_eq!(check(other, &body), Some(VerifyError::Malformed), "{other}");
    }
    let signed = headers(&[(SIGNATURE, signature)]);
    assert_eq!(
        verify_at_connection(ConnectionId::generate(), &signed, &body).err(),
        Some(VerifyError::UnknownConnection)
    );
    // A token is not accepted at a connection's URL, and a signature not at the app's.
    assert_eq!(
        verify_at_connection(SECRETS.0, &bearer(EXAMPLE_TOKEN), &body).err(),
        Some(VerifyError::MissingHeader(SIGNATURE))
    );
    let (jira, _) = connector("http://localhost:1");
    assert_eq!(
        testing::verify(&jira, &signed, &body).err(),
        Some(VerifyError::MissingHeader(AUTHORIZATION))
    );
}

#[test]
fn administrator_webhook_ignores_routes_in_body() {
    let issue = json!({ "self": "https://acme.atlassian.net/rest/api/2/issue/1" });
    let body =
        json!({ "webhookEvent": "jira:issue_created", "issue": issue, "matchedWebhookIds": [1] });
    let body = Bytes::from(body.to_string());
    let key = SECRETS.1[0].as_bytes();
    let signature = format!(
        "sha256={}",
        hex::encode(crate::crypto::hmac_sha256(key, &body))
    );
    let receipt = verify_at_connection(SECRETS.0, &headers(&[(SIGNATURE, &signature)]), &body);
    let receipt = receipt.expect("a receipt");
    assert!(receipt.routes.is_empty(), "{receipt:?}");
    // Dedupe ids are scoped to the connection.
    assert!(receipt.dedupe_id.starts_with(&SECRETS.0.to_string()));
}

#[test]
fn delivery_is_routed_by_site_and_subscription() {
    let (jira, _) = connector("http://localhost:1");
    let receive = |body: Value, headers: &HeaderMap| {
        let body = Bytes::from(body.to_string());
        verify_at(&jira, now(), headers, &body).expect("a receipt")
    };
    let issue = json!({ "self": "https://acme.atlassian.net/rest/api/2/issue/1" });
    let receipt = receive(
        json!({ "webhookEvent": "jira:issue_created", "issue": issue, "matchedWebhookIds": [2, 1, 2] }),
        &bearer(EXAMPLE_TOKEN),
    );
    assert_eq!(
        receipt.routes,
        [
            "https://acme.atlassian.net#1",
            "https://acme.atlassian.net#2"
        ]
    );
    assert!(receipt.dedupe_id.starts_with("https://acme.atlassian.net:"));
    for object in ["comment", "sprint", "version", "worklog", "project", "user"] {
        let body = json!({ object: { "self": "https://acme.atlassian.net/x/1" }, "matchedWebhookIds": [7] });
        assert_eq!(
            receive(body, &bearer(EXAMPLE_TOKEN)).routes,
            ["https://acme.atlassian.net#7"],
            "{object}"
        );
    }
    for body in [
        json!({ "matchedWebhookIds": [1] }),
        json!({ "issue": issue }),
        json!({ "issue": { "self": "not a url" }, "matchedWebhookIds": [1] }),
        json!({ "issue": { "self": format!("https://{}", "a".repeat(3_000)) }, "matchedWebhookIds": [1] }),
        json!({ "issue": issue, "matchedWebhookIds": ["1"] }),
    ] {
        assert!(
            receive(body.clone(), &bearer(EXAMPLE_TOKEN))
                .routes
                .is_empty(),
            "{body}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_headers_do_not_panic(authorization in "[ -~]{0,200}", body in prop::collection::vec(any::<u8>(), 0..100)) {
        let (jira, _) = connector("http://localhost:1");
        let headers = headers(&[(AUTHORIZATION, &authorization)]);
        testing::verify(&jira, &headers, &Bytes::from(body)).ok();
    }
}

#[test]
fn json_array_is_rejected() {
    let delivery = WebhookDelivery {
        headers: Vec::new(),
        body: Bytes::from_static(br#"["jira:issue_deleted", null, null, null, { "id": "1" }]"#),
        received_at: now(),
        account: account(),
        subscription: None,
    };
    let outcome = handle(&delivery, &Directory::default());
    assert!(matches!(outcome, Err(ConnectorError::Permanent(_))));
}
