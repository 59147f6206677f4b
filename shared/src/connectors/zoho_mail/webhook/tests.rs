//! Signatures, the handshake, and what is stored.

use std::sync::Arc;

use base64::engine::general_purpose::STANDARD as STANDARD_BASE64;
use chrono::{DateTime, Utc};
use futures::FutureExt;
use http::{HeaderName, HeaderValue};
use serde_json::json;

use super::*;
use crate::clock::ManualClock;
use crate::connectors::NoKeys;
use crate::connectors::testing::SecretsOf;
use crate::connectors::zoho_mail::tests::{MAILBOX, ZUID, account, now};
use crate::crypto::hmac_sha256;

const ACTIVE: &str = "unit-test-hook-secret";
const OLD: &str = "the-old-hook-secret";
/// A sample with ids beyond 2^53, and its signature under [`ACTIVE`].
const SAMPLE: &str =
    r#"{"messageId":1560840837125110000,"folderId":3881227000000013000,"zuid":647772765}"#;
const SAMPLE_SIGNATURE: &str = "cGyTZLnVe4TReVcsr2iJHylFpR7RCjA9ynJxK8ALego=";

fn connection() -> ConnectionId {
    "0198c4f0-7a11-7c52-9d5e-000000000001"
        .parse()
        .expect("an id")
}

fn sign(secret: &str, body: &str) -> String {
    STANDARD_BASE64.encode(hmac_sha256(secret.as_bytes(), body.as_bytes()))
}

fn verify_with(
    secrets: &'static [&'static str],
    headers: &[(&'static str, &str)],
    body: &str,
) -> Result<WebhookReceipt, VerifyError> {
    let headers = headers.iter().map(|(name, value)| {
        let value = HeaderValue::from_str(value).expect("a header's value");
        (HeaderName::from_static(name), value)
    });
    let headers: HeaderMap = headers.collect();
    let body = Bytes::from(body.to_owned());
    let request = WebhookRequest {
        headers: &headers,
        body: &body,
        connection: Some(connection()),
    };
    let keys = SecretsOf(connection(), secrets);
    verify(&request, &keys)
        .now_or_never()
        .expect("verification does not wait")
}

fn delivery(body: &str) -> WebhookDelivery {
    WebhookDelivery {
        headers: Vec::new(),
        body: Bytes::from(body.to_owned()),
        received_at: now(),
        account: account(),
        subscription: None,
    }
}

/// A delivery of a mail, as Zoho sends it.
fn mail() -> String {
    format!(
        r#"{{"summary":"Dear Ada","sentDateInGMT":1560866021000,"subject":"R&amp;D",
            "messageId":1560840837125110001,"messageIdString":"1560840837125110001","Mode":0,
            "toAddress":"\"Ada\"<ada@acme.example>","folderId":3881227000000013001,"zuid":{ZUID},
            "ccAddress":"","size":55503,"sender":"Grace","receivedTime":1560840837126,
            "fromAddress":"grace@navy.example","html":"<p>Dear Ada","IntegIdList":"34,"}}"#
    )
}

#[test]
fn sample_verifies_in_both_forms_of_base64() {
    let unpadded = SAMPLE_SIGNATURE.trim_end_matches('=');
    for signature in [SAMPLE_SIGNATURE, unpadded] {
        for secrets in [&[ACTIVE][..], &[OLD, ACTIVE], &[ACTIVE, OLD]] {
            let receipt = verify_with(secrets, &[(SIGNATURE, signature)], SAMPLE);
            let receipt = receipt.expect("a receipt");
            assert!(receipt.handshake.is_none());
            assert_eq!(receipt.event, "mail.received");
            assert_eq!(
                receipt.dedupe_id,
                format!("{}:mail:1560840837125110000", connection())
            );
        }
    }
}

#[test]
fn altered_deliveries_are_rejected() {
    let altered = SAMPLE.replace("647772765", "647772766");
    let other = sign(OLD, SAMPLE);
    let hex = hex::encode(hmac_sha256(ACTIVE.as_bytes(), SAMPLE.as_bytes()));
    for (secrets, signature, body, error) in [
        (
            &[ACTIVE][..],
            SAMPLE_SIGNATURE,
            altered.as_str(),
            VerifyError::Mismatch,
        ),
        (&[ACTIVE], other.as_str(), SAMPLE, VerifyError::Mismatch),
        (&[ACTIVE], hex.as_str(), SAMPLE, VerifyError::Mismatch),
        (&[ACTIVE], "", SAMPLE, VerifyError::Mismatch),
        (&[ACTIVE], "not base64!", SAMPLE, VerifyError::Malformed),
        (&[], SAMPLE_SIGNATURE, SAMPLE, VerifyError::NotConfigured),
        (&[""], SAMPLE_SIGNATURE, SAMPLE, VerifyError::Mismatch),
    ] {
        let verified = verify_with(secrets, &[(SIGNATURE, signature)], body);
        assert_eq!(verified.err(), Some(error), "{signature}");
    }
    let missing = verify_with(&[ACTIVE], &[], SAMPLE);
    assert_eq!(missing.err(), Some(VerifyError::MissingHeader(SIGNATURE)));
    let twice = [(SIGNATURE, SAMPLE_SIGNATURE), (SIGNATURE, SAMPLE_SIGNATURE)];
    let twice = verify_with(&[ACTIVE], &twice, SAMPLE);
    assert_eq!(twice.err(), Some(VerifyError::Malformed));
}

#[test]
fn handshake_carries_the_secret_to_store() {
    let signature = sign("a-new-hook-secret", SAMPLE);
    for signed in [None, Some(signature.as_str())] {
        for secrets in [&[][..], &[OLD]] {
            let mut headers = vec![(SECRET, "a-new-hook-secret")];
            headers.extend(signed.map(|signature| (SIGNATURE, signature)));
            for body in [SAMPLE, ""] {
                if signed.is_some() && body.is_empty() {
                    continue;
                }
                let receipt = verify_with(secrets, &headers, body).expect("a receipt");
                let secret = receipt.handshake.and_then(|handshake| handshake.secret);
                let secret = secret.expect("a secret");
                assert_eq!(secret.expose_secret(), "a-new-hook-secret");
                assert!(receipt.acknowledgement.status.is_success());
            }
        }
    }
}

#[test]
fn signed_handshake_must_verify_under_its_own_secret() {
    for secrets in [&[][..], &[ACTIVE]] {
        let headers = [
            (SECRET, "a-strangers-secret"),
            (SIGNATURE, SAMPLE_SIGNATURE),
        ];
        let verified = verify_with(secrets, &headers, SAMPLE);
        assert_eq!(verified.err(), Some(VerifyError::Mismatch));
    }
    let empty = verify_with(&[ACTIVE], &[(SECRET, "")], SAMPLE);
    assert_eq!(empty.err(), Some(VerifyError::Malformed));
}

#[test]
fn secret_in_use_is_not_stored_again() {
    let receipt = verify_with(&[ACTIVE], &[(SECRET, ACTIVE)], SAMPLE).expect("a receipt");
    assert!(receipt.handshake.expect("a handshake").secret.is_none());
    let headers = [(SECRET, ACTIVE), (SIGNATURE, SAMPLE_SIGNATURE)];
    let receipt = verify_with(&[ACTIVE], &headers, SAMPLE).expect("a receipt");
    let handshake = receipt
        .handshake
        .expect("no delivery, whose body may be a sample");
    assert!(handshake.secret.is_none());
    let forged = verify_with(&[ACTIVE], &headers, "{}");
    assert_eq!(forged.err(), Some(VerifyError::Mismatch));
}

#[test]
fn secret_that_is_not_the_current_one_is_stored() {
    let receipt = verify_with(&[ACTIVE, OLD], &[(SECRET, OLD)], SAMPLE).expect("a receipt");
    let secret = receipt.handshake.and_then(|handshake| handshake.secret);
    assert_eq!(secret.expect("a secret").expose_secret(), OLD);
    let receipt = verify_with(&[ACTIVE, OLD], &[(SECRET, ACTIVE)], SAMPLE).expect("a receipt");
    assert!(receipt.handshake.expect("a handshake").secret.is_none());
}

#[test]
fn text_of_a_mail_is_not_stored() {
    let body = mail();
    let receipt = verify_with(&[ACTIVE], &[(SIGNATURE, &sign(ACTIVE, &body))], &body);
    let stored = receipt.expect("a receipt").stored_body.expect("a body");
    let stored = std::str::from_utf8(&stored).expect("text");
    assert!(!stored.contains("Dear"), "{stored}");
    for kept in [
        "1560840837125110001",
        "3881227000000013001",
        ZUID,
        "R&amp;D",
    ] {
        assert!(stored.contains(kept), "{kept}: {stored}");
    }
    for body in [
        "",
        "Dear Ada",
        "[\"Dear Ada\"",
        "[{\"html\":\"Dear Ada\"}]",
        "\"Dear Ada\"",
        "{\"html\":\"Dear Ada\"}",
    ] {
        let receipt = verify_with(&[ACTIVE], &[(SIGNATURE, &sign(ACTIVE, body))], body);
        let receipt = receipt.expect("a receipt");
        let stored = receipt.stored_body.expect("a body");
        assert!(!stored.windows(4).any(|part| part == b"Dear"), "{body}");
        assert_eq!(receipt.event, "unknown");
    }
}

#[test]
fn delivery_and_stored_delivery_have_one_outcome() {
    let body = mail();
    let receipt = verify_with(&[ACTIVE], &[(SIGNATURE, &sign(ACTIVE, &body))], &body);
    let stored = receipt.expect("a receipt").stored_body.expect("a body");
    let stored = String::from_utf8(stored.to_vec()).expect("text");
    for body in [&body, &stored] {
        let outcome = handle(&delivery(body));
        let [signal] = &outcome.signals[..] else {
            panic!("{outcome:?}");
        };
        assert_eq!(
            signal.dedupe_key,
            format!("zoho_mail:{MAILBOX}:message:1560840837125110001")
        );
        assert_eq!(signal.timestamp.timestamp_millis(), 1_560_840_837_126);
        assert_eq!(signal.subject.title.as_deref(), Some("R&D"));
        assert_eq!(signal.normalized["folder"], "3881227000000013001");
        assert!(!signal.raw.get().contains("Dear"));
    }
}

#[test]
fn delivery_of_another_person_is_refused() {
    for zuid in ["60014123457", "\"\"", "null", "[]"] {
        let body = mail().replace(ZUID, zuid);
        let outcome = handle(&delivery(&body));
        assert!(outcome.signals.is_empty(), "{zuid}");
        assert!(outcome.refused.is_some(), "{zuid}");
    }
    let text = mail().replace(ZUID, &format!("\"{ZUID}\""));
    assert_eq!(handle(&delivery(&text)).signals.len(), 1);
}

#[test]
fn tasks_and_posts_have_no_kind() {
    let zuid = ZUID;
    for body in [
        json!({ "entityId": 7, "entityType": "task", "action": "create", "nameSpaceId": zuid }),
        json!({ "entityId": "7", "receivedTime": 7, "zuid": zuid }),
        json!({ "postId": 7, "content": "a post", "zuid": zuid }),
        json!({}),
    ] {
        let outcome = handle(&delivery(&body.to_string()));
        assert!(
            outcome.signals.is_empty() && outcome.refused.is_none(),
            "{body}"
        );
    }
    for body in ["", "null", "[]", "{\"messageId\":"] {
        assert!(handle(&delivery(body)).refused.is_some(), "{body}");
    }
}

#[test]
fn nothing_is_accepted_at_the_apps_url() {
    let headers = HeaderMap::from_iter([(
        HeaderName::from_static(SIGNATURE),
        HeaderValue::from_static(SAMPLE_SIGNATURE),
    )]);
    let body = Bytes::from_static(SAMPLE.as_bytes());
    let request = WebhookRequest {
        headers: &headers,
        body: &body,
        connection: None,
    };
    let env = crate::config::Env::default();
    let clock: SharedClock = Arc::new(ManualClock::new(DateTime::<Utc>::UNIX_EPOCH));
    let verifier = Webhooks::from_reader(&mut Reader::new(&env), &clock);
    let result = verifier.verify(&request, &NoKeys).now_or_never();
    let result = result.expect("verification does not wait");
    assert_eq!(result.err(), Some(VerifyError::NotConfigured));
}
