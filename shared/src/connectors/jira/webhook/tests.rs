use http::HeaderValue;
use jsonwebtoken::{EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::connectors::Connector;
use crate::connectors::jira::tests::{account, connector, now};

/// An example: secret `jira-client-secret`, valid for three minutes.
const VECTOR: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJjbGllbnQtaWQiLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6MTcwMDAwMDE4MH0.8UeozO0OY4-VhkhosPvfnDRwYtboP8ALB4NPpI0STaU";

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
    jira.verify_webhook(headers, &Bytes::from_static(b"{}"))
        .err()
}

#[test]
fn the_published_token_is_genuine_while_it_lives() {
    assert_eq!(check(&bearer(VECTOR)), None);
    let (jira, _) = connector("http://localhost:1");
    let late = now() + Duration::minutes(5);
    let body = Bytes::from_static(b"{}");
    assert_eq!(
        verify(&jira.app, late, &bearer(VECTOR), &body).err(),
        Some(VerifyError::Stale)
    );
}

#[test]
fn the_ends_of_time_are_times_like_others() {
    let (begin, end) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    let claims = json!({ "iat": begin.timestamp(), "exp": end.timestamp() });
    let lasting = token(Algorithm::HS256, "jira-client-secret", &claims);
    assert_eq!(check(&bearer(&lasting)), None);
}

#[test]
fn a_token_that_is_not_ours_is_refused() {
    let now = now().timestamp();
    let good = json!({ "iat": now, "exp": now + 180 });
    let secret = "jira-client-secret";
    assert_eq!(
        check(&bearer(&token(Algorithm::HS256, secret, &good))),
        None
    );
    assert_eq!(
        check(&bearer(&token(Algorithm::HS256, "old-secret", &good))),
        None
    );
    let unsigned = format!(
        "eyJhbGciOiJub25lIn0.{}.",
        VECTOR.split('.').nth(1).expect("claims")
    );
    for (what, headers, error) in [
        (
            "another secret",
            bearer(&token(Algorithm::HS256, "other", &good)),
            VerifyError::Mismatch,
        ),
        (
            "another method",
            bearer(&token(Algorithm::HS512, secret, &good)),
            VerifyError::Malformed,
        ),
        ("no method", bearer(&unsigned), VerifyError::Malformed),
        (
            "no end",
            bearer(&token(Algorithm::HS256, secret, &json!({ "iat": now }))),
            VerifyError::Malformed,
        ),
        (
            "ended",
            bearer(&token(
                Algorithm::HS256,
                secret,
                &json!({ "iat": now - 400, "exp": now - 61 }),
            )),
            VerifyError::Stale,
        ),
        (
            "not yet",
            bearer(&token(
                Algorithm::HS256,
                secret,
                &json!({ "iat": now + 61, "exp": now + 300 }),
            )),
            VerifyError::Stale,
        ),
        (
            "not before the end of time",
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
            "nothing",
            headers(&[]),
            VerifyError::MissingHeader(AUTHORIZATION),
        ),
    ] {
        assert_eq!(check(&headers), Some(error), "{what}");
    }
    let mut nameless = bearer(VECTOR);
    nameless.remove(IDENTIFIER);
    assert_eq!(
        check(&nameless),
        Some(VerifyError::MissingHeader(IDENTIFIER))
    );
}

#[test]
fn an_administrators_webhook_is_signed_over_its_body() {
    let (jira, _) = connector("http://localhost:1");
    let signature = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9";
    let body = Bytes::from_static(b"Hello World!");
    let check = |signature: &str, body: &Bytes| {
        jira.verify_webhook(&headers(&[(SIGNATURE, signature)]), body)
            .err()
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
    // A bad token is not made good by a good signature.
    let both = headers(&[(SIGNATURE, signature), (AUTHORIZATION, "Bearer x")]);
    assert!(jira.verify_webhook(&both, &body).is_err());
}

#[test]
fn a_delivery_is_routed_by_site_and_number_and_never_by_number_alone() {
    let (jira, _) = connector("http://localhost:1");
    let receive = |body: Value, headers: &HeaderMap| {
        let body = Bytes::from(body.to_string());
        verify(&jira.app, now(), headers, &body).expect("genuine")
    };
    let issue = json!({ "self": "https://acme.atlassian.net/rest/api/2/issue/1" });
    let receipt = receive(
        json!({ "webhookEvent": "jira:issue_created", "issue": issue, "matchedWebhookIds": [2, 1, 2] }),
        &bearer(VECTOR),
    );
    assert_eq!(
        receipt.routes,
        [
            "https://acme.atlassian.net#1",
            "https://acme.atlassian.net#2"
        ]
    );
    assert_eq!(receipt.dedupe_id, "https://acme.atlassian.net:d-1");
    for object in ["comment", "sprint", "version", "worklog", "project", "user"] {
        let body = json!({ object: { "self": "https://acme.atlassian.net/x/1" }, "matchedWebhookIds": [7] });
        assert_eq!(
            receive(body, &bearer(VECTOR)).routes,
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
            receive(body.clone(), &bearer(VECTOR)).routes.is_empty(),
            "{body}"
        );
    }
}

proptest! {
    #[test]
    fn no_header_makes_it_panic(authorization in "[ -~]{0,200}", body in prop::collection::vec(any::<u8>(), 0..100)) {
        let (jira, _) = connector("http://localhost:1");
        let headers = headers(&[(AUTHORIZATION, &authorization)]);
        jira.verify_webhook(&headers, &Bytes::from(body)).ok();
    }
}

#[test]
fn a_list_is_no_delivery() {
    let delivery = WebhookDelivery {
        headers: Vec::new(),
        body: Bytes::from_static(br#"["jira:issue_deleted", null, null, null, { "id": "1" }]"#),
        received_at: now(),
        account: account(),
    };
    let outcome = handle(&delivery, &Directory::default());
    assert!(matches!(outcome, Err(ConnectorError::Permanent(_))));
}
