//! Verification of pushes, and the wake-ups that they mean.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::webhook::{channel_token, handle_push, verify_push};
use super::{SLUG, account, now, secrets};
use crate::connectors::{SyncHint, VerifyError, WebhookDelivery, WebhookReceipt, WebhookRequest};
use crate::model::Subscription;

const CHANNEL: &str = "0b9a1f0e-2f63-4e57-8f0e-55d6a3a3f001";
const NEW: &str = "the-new-channel-secret";
const OLD: &str = "the-old-channel-secret";

/// The headers of a genuine push, with some of them replaced; `None` removes one.
fn headers(token: &str, changes: &[(&'static str, Option<&str>)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-goog-channel-id", CHANNEL),
        ("x-goog-channel-token", token),
        ("x-goog-resource-id", "r-1"),
        ("x-goog-resource-state", "change"),
        ("x-goog-message-number", "17"),
        ("content-type", "application/json; utf-8"),
    ] {
        headers.insert(name, HeaderValue::from_str(value).expect("a value"));
    }
    for (name, value) in changes {
        let name = HeaderName::from_static(name);
        match value {
            Some(value) => {
                headers.insert(name, HeaderValue::from_str(value).expect("a value"));
            }
            None => {
                headers.remove(name);
            }
        }
    }
    headers
}

fn verify(headers: &HeaderMap, active: &[&str]) -> Result<WebhookReceipt, VerifyError> {
    let request = WebhookRequest {
        headers,
        body: &Bytes::from_static(b"an unsigned body"),
        connection: None,
    };
    verify_push(SLUG, &secrets(active), &request)
}

fn token(secret: &str) -> String {
    channel_token(&secret.into(), SLUG, CHANNEL)
}

#[test]
fn push_is_routed_by_its_channel() {
    for state in ["sync", "change", "changed", "exists", "not_exists"] {
        let headers = headers(&token(NEW), &[("x-goog-resource-state", Some(state))]);
        let receipt = verify(&headers, &[NEW]).expect("a genuine push");
        assert_eq!(receipt.event, state);
        assert_eq!(receipt.routes, [CHANNEL]);
        assert_eq!(receipt.dedupe_id, format!("{CHANNEL}:17"));
        assert_eq!(receipt.stored_body, Some(Bytes::new()), "no body is kept");
    }
}

#[test]
fn token_of_either_active_secret_is_accepted() {
    for secret in [NEW, OLD] {
        let headers = headers(&token(secret), &[]);
        assert!(verify(&headers, &[NEW, OLD]).is_ok(), "{secret}");
    }
    let retired = verify(&headers(&token(OLD), &[]), &[NEW]);
    assert_eq!(retired.expect_err("rejected"), VerifyError::Mismatch);
    let none = verify(&headers(&token(NEW), &[]), &[]);
    assert_eq!(none.expect_err("rejected"), VerifyError::NotConfigured);
}

#[test]
fn other_tokens_are_rejected() {
    let genuine = token(NEW);
    let of_other_product = channel_token(&NEW.into(), "google_other", CHANNEL);
    let other_channel = "0b9a1f0e-2f63-4e57-8f0e-55d6a3a3f002";
    let of_other_channel = channel_token(&NEW.into(), SLUG, other_channel);
    for (token, error) in [
        (of_other_product.as_str(), VerifyError::Mismatch),
        (of_other_channel.as_str(), VerifyError::Mismatch),
        (&genuine[..42], VerifyError::Malformed),
        (&genuine[..40], VerifyError::Mismatch),
        ("", VerifyError::Mismatch),
        ("not base64!", VerifyError::Malformed),
    ] {
        let rejected = verify(&headers(token, &[]), &[NEW]);
        assert_eq!(rejected.expect_err("rejected"), error, "{token}");
    }
    let moved = headers(&genuine, &[("x-goog-channel-id", Some(other_channel))]);
    assert_eq!(
        verify(&moved, &[NEW]).expect_err("rejected"),
        VerifyError::Mismatch
    );
    let mut twice = headers(&genuine, &[]);
    twice.append("x-goog-channel-token", HeaderValue::from_static("other"));
    assert_eq!(
        verify(&twice, &[NEW]).expect_err("rejected"),
        VerifyError::Malformed
    );
}

#[test]
fn missing_headers_are_named() {
    for name in [
        "x-goog-channel-id",
        "x-goog-channel-token",
        "x-goog-resource-id",
        "x-goog-resource-state",
        "x-goog-message-number",
    ] {
        let rejected = verify(&headers(&token(NEW), &[(name, None)]), &[NEW]);
        assert_eq!(
            rejected.expect_err("rejected"),
            VerifyError::MissingHeader(name)
        );
    }
}

fn delivery(subscription: Option<Subscription>) -> WebhookDelivery {
    let stored = ["x-goog-resource-id"].map(|name| (name.to_owned(), "r-1".to_owned()));
    WebhookDelivery {
        headers: stored.into(),
        body: Bytes::new(),
        received_at: now(),
        account: account(),
        subscription,
    }
}

fn channel(resource: &str, state: Value) -> Subscription {
    Subscription {
        state,
        ..Subscription::planned(resource.to_owned(), CHANNEL.to_owned())
    }
}

#[test]
fn push_wakes_up_its_stream() {
    let replaced = Subscription::replaced("drive:1", CHANNEL);
    for resource in ["drive:1", &replaced] {
        // The response that states the resource's id may not have arrived.
        for state in [json!(null), json!({ "resource_id": "r-1" })] {
            let outcome = handle_push(&delivery(Some(channel(resource, state))));
            assert_eq!(outcome.sync_hint, Some(SyncHint::stream("drive:1")));
            assert!(outcome.refused.is_none() && outcome.signals.is_empty());
        }
    }
}

#[test]
fn push_about_another_resource_is_refused() {
    let channel = channel("drive:1", json!({ "resource_id": "r-2" }));
    let outcome = handle_push(&delivery(Some(channel)));
    assert!(outcome.refused.is_some() && outcome.sync_hint.is_none());
}

#[test]
fn push_of_ended_channel_changes_nothing() {
    let outcome = handle_push(&delivery(None));
    assert!(outcome.refused.is_none() && outcome.sync_hint.is_none());
}

proptest! {
    #[test]
    fn changed_token_is_rejected(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_-]") {
        let genuine = token(NEW);
        let mut changed = genuine.clone();
        let at = at.index(genuine.len());
        changed.replace_range(at..=at, &with);
        prop_assume!(changed != genuine);
        prop_assert!(verify(&headers(&changed, &[]), &[NEW]).is_err());
    }
}
