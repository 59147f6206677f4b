//! Tests of the signature, the handshake and the receipt of deliveries.

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::connectors::slack::tests::{SIGNING_SECRET, account, connector, now};
use crate::connectors::{Connector, testing};
use crate::crypto::hmac_sha256;

fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let mut signed = format!("v0:{timestamp}:").into_bytes();
    signed.extend_from_slice(body);
    format!(
        "v0={}",
        hex::encode(hmac_sha256(secret.as_bytes(), &signed))
    )
}

fn headers(timestamp: &str, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [(TIMESTAMP, timestamp), (SIGNATURE, signature)] {
        headers.insert(name, HeaderValue::from_str(value).expect("a header"));
    }
    headers
}

fn verify_at(
    slack: &Slack,
    then: DateTime<Utc>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<WebhookReceipt, VerifyError> {
    let request = WebhookRequest {
        headers,
        body,
        connection: None,
    };
    verify(&slack.app.signing_secrets, None, then, &request)
}

fn receive(body: &Value) -> WebhookReceipt {
    let (slack, _) = connector("http://localhost:1", &[]);
    let body = Bytes::from(body.to_string());
    let time = now().timestamp().to_string();
    let signature = sign(SIGNING_SECRET, &time, &body);
    testing::verify(&slack, &headers(&time, &signature), &body).expect("a receipt")
}

#[test]
fn documented_example_is_verified() {
    // From "Verifying requests from Slack"; the clock is set to the example's time.
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow\
                &channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner\
                &command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com\
                %2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
                &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let (slack, _) = connector(
        "http://localhost:1",
        &[("SLACK_WEBHOOK_SECRET", "8f742231b10e8888abcd99yyyzzz85a5")],
    );
    let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let then = DateTime::from_timestamp(1_531_420_618, 0).expect("a timestamp");
    let body = Bytes::from_static(body.as_bytes());
    let headers = headers("1531420618", signature);
    assert!(verify_at(&slack, then, &headers, &body).is_ok());
    assert_eq!(
        verify_at(&slack, now(), &headers, &body).err(),
        Some(VerifyError::Stale)
    );
}

#[test]
fn signed_handshake_returns_its_challenge() {
    let body = r#"{"type":"url_verification","token":"x","challenge":"abc"}"#;
    let signature = "v0=bfefdfed4e3e222315f417a473563e460724d6a4cbd7da3d0621379e74d8ed62";
    let (slack, _) = connector("http://localhost:1", &[]);
    let receipt = testing::verify(
        &slack,
        &headers("1700000000", signature),
        &Bytes::from(body),
    )
    .expect("a receipt");
    assert!(receipt.handshake.is_some());
    assert_eq!(receipt.acknowledgement.body, "abc");
}

#[test]
fn invalid_signatures_are_rejected() {
    let (slack, _) = connector("http://localhost:1", &[]);
    let body = Bytes::from_static(b"{}");
    let time = "1700000000";
    let good = sign(SIGNING_SECRET, time, &body);
    let check = |headers: &HeaderMap| testing::verify(&slack, headers, &body).err();
    assert_eq!(check(&headers(time, &good)), None);
    for (at, signature, error) in [
        (time, sign("other", time, &body), VerifyError::Mismatch),
        (
            time,
            sign(SIGNING_SECRET, "1700000001", &body),
            VerifyError::Mismatch,
        ),
        (
            time,
            sign(SIGNING_SECRET, time, b"{ }"),
            VerifyError::Mismatch,
        ),
        (time, good.to_uppercase(), VerifyError::Malformed),
        (time, good.replace("v0=", "v1="), VerifyError::Malformed),
        (time, good[..60].to_owned(), VerifyError::Malformed),
        (time, String::new(), VerifyError::Malformed),
        ("yesterday", good.clone(), VerifyError::Malformed),
        ("-1700000000", good.clone(), VerifyError::Malformed),
        (
            "1699999699",
            sign(SIGNING_SECRET, "1699999699", &body),
            VerifyError::Stale,
        ),
        (
            "1700000301",
            sign(SIGNING_SECRET, "1700000301", &body),
            VerifyError::Stale,
        ),
    ] {
        assert_eq!(
            check(&headers(at, &signature)),
            Some(error),
            "{at} {signature}"
        );
    }
    for missing in REQUIRED_HEADERS {
        let mut headers = headers(time, &good);
        headers.remove(*missing);
        assert_eq!(check(&headers), Some(VerifyError::MissingHeader(missing)));
        headers.append(*missing, HeaderValue::from_static("a"));
        headers.append(*missing, HeaderValue::from_static("b"));
        assert_eq!(check(&headers), Some(VerifyError::Malformed));
    }
    let (unset, _) = connector("http://localhost:1", &[("SLACK_WEBHOOK_SECRET", "")]);
    assert_eq!(
        testing::verify(&unset, &headers(time, &good), &body).err(),
        Some(VerifyError::NotConfigured)
    );
}

#[test]
fn receipt_names_event_and_installation() {
    let event = |authorizations: Value, app: &str| {
        json!({ "type": "event_callback", "team_id": "T9", "api_app_id": app,
                "event_id": "Ev1", "authorizations": authorizations,
                "event": { "type": "message", "subtype": "file_share" } })
    };
    let team = json!([{ "team_id": "T1", "enterprise_id": "E1", "is_enterprise_install": false }]);
    let organization =
        json!([{ "team_id": "T1", "enterprise_id": "E1", "is_enterprise_install": true }]);
    let endless = json!([{ "team_id": "T".repeat(3_000) }]);
    for (authorizations, app, routes) in [
        (team.clone(), "A0POBLYSH", vec!["T1"]),
        (organization, "A0POBLYSH", vec!["E1"]),
        (json!([]), "A0POBLYSH", vec!["T9"]),
        (json!("none"), "A0POBLYSH", vec!["T9"]),
        (team, "A0OTHER", vec![]),
        (endless, "A0POBLYSH", vec![]),
    ] {
        let receipt = receive(&event(authorizations, app));
        assert_eq!(receipt.routes, routes);
        assert_eq!(receipt.event, "message.file_share");
        assert_eq!(receipt.dedupe_id, "Ev1");
    }
}

#[test]
fn rate_limit_events_are_deduplicated_per_minute() {
    let rate_limited = |minute: i64| {
        receive(
            &json!({ "type": "app_rate_limited", "team_id": "T1", "api_app_id": "A0POBLYSH",
                         "minute_rate_limited": minute }),
        )
    };
    assert_eq!(rate_limited(1).dedupe_id, rate_limited(1).dedupe_id);
    assert_ne!(rate_limited(1).dedupe_id, rate_limited(2).dedupe_id);
    assert_eq!(rate_limited(1).routes, ["T1"]);
}

#[test]
fn verified_non_events_yield_no_signal() {
    let (slack, _) = connector("http://localhost:1", &[]);
    for body in [
        "command=%2Fpumps&text=&team_id=T0ACME",
        "payload=%7B%22type%22%3A%22block_actions%22%7D",
        "",
        "[]",
        r#"{"type":"block_actions","trigger_id":"1.2","team":{"id":"T0ACME"}}"#,
        r#"{"envelope_id":"1","type":"events_api","payload":{"type":"event_callback"}}"#,
    ] {
        let delivery = WebhookDelivery {
            headers: Vec::new(),
            body: Bytes::from(body),
            received_at: now(),
            account: account(),
            subscription: None,
        };
        let outcome = slack
            .handle_webhook(&delivery, &Directory::default())
            .expect("an outcome");
        assert!(outcome.signals.is_empty() && outcome.changes.is_empty());
        assert_eq!(outcome.refused, None, "{body}");
    }
}

#[test]
fn unreadable_body_is_deduplicated_by_digest() {
    let (slack, _) = connector("http://localhost:1", &[]);
    let body = Bytes::from_static(b"\xff not json");
    let signature = sign(SIGNING_SECRET, "1700000000", &body);
    let receipt =
        testing::verify(&slack, &headers("1700000000", &signature), &body).expect("a receipt");
    assert_eq!(
        (receipt.event.as_str(), receipt.dedupe_id.len()),
        ("unknown", 64)
    );
    assert!(receipt.routes.is_empty());
}

proptest! {
    #[test]
    fn any_changed_bit_fails_verification(
        body in prop::collection::vec(any::<u8>(), 1..80),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let (slack, _) = connector("http://localhost:1", &[]);
        let signature = sign(SIGNING_SECRET, "1700000000", &body);
        let headers = headers("1700000000", &signature);
        prop_assert!(testing::verify(&slack, &headers, &Bytes::from(body.clone())).is_ok());
        let mut other = body;
        let at = at.index(other.len());
        other[at] ^= 1 << bit;
        prop_assert!(testing::verify(&slack, &headers, &Bytes::from(other)).is_err());
    }

    #[test]
    fn arbitrary_headers_do_not_panic(time in "[ -~]{0,20}", signature in "[ -~]{0,80}") {
        let (slack, _) = connector("http://localhost:1", &[]);
        testing::verify(&slack, &headers(&time, &signature), &Bytes::new())
            .ok();
    }
}

#[test]
fn verification_token_is_not_stored() {
    for (sent, stored) in [
        (
            r#"{"token":"Xyz","event":{"token":"kept"}}"#,
            r#"{"token":"","event":{"token":"kept"}}"#,
        ),
        (
            r#"{ "a" : 1, "token" :  "X\"yz" }"#,
            r#"{ "a" : 1, "token" :  "" }"#,
        ),
        (r#"{"event":{}}"#, r#"{"event":{}}"#),
        (
            r#"{"token":"Xyz","token":"Zyx","type":"a"}"#,
            r#"{"token":"","type":"a"}"#,
        ),
        (r#"{"token":"Xyz","type":"#, "{"),
        ("token=Xyz&command=%2Fask", ""),
        ("payload=%7B%22token%22%3A%22Xyz%22%7D", ""),
    ] {
        assert_eq!(strip_token(&Bytes::from(sent)), stored);
    }
}
