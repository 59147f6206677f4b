//! Recordings of Slack: bodies, events without envelope, shapes and the signature vector.

mod requests;
mod responses;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use http::HeaderMap;
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use shared::connectors::{Connector, Directory, VerifyError};
use shared::model::ExternalAccount;

use self::table::{account_change, expected_change, expected_of_body, route, text};
use crate::expectation::Expected;
use crate::folder::Folder;
use crate::provider::{SECRET, connector_at, handle, headers, hmac_hex, try_verify, verify};
use crate::report::{Tally, list};

/// A connector with this signing secret, whose clock is stopped at `now`.
fn slack(base: &str, secret: &str, now: DateTime<Utc>) -> Arc<dyn Connector> {
    let settings = [
        ("POBLYSH_SLACK_CLIENT_ID", "client"),
        (
            "POBLYSH_SLACK_CLIENT_SECRET",
            "the client secret of these tests",
        ),
        ("POBLYSH_SLACK_WEBHOOK_SECRET", secret),
        ("POBLYSH_SLACK_APP_TOKEN", "xapp-token-of-tests"),
        ("POBLYSH_SLACK_BASE_URL", base),
    ];
    connector_at("slack", &settings, now)
}

fn signed(now: DateTime<Utc>, body: &[u8]) -> HeaderMap {
    let time = now.timestamp().to_string();
    let parts = [b"v0:", time.as_bytes(), b":", body];
    let signature = format!("v0={}", hmac_hex(SECRET, &parts));
    headers([
        ("x-slack-request-timestamp", time.as_str()),
        ("x-slack-signature", signature.as_str()),
        ("content-type", "application/json"),
    ])
}

/// Deliveries to one connector, with a tally of the results.
struct Run {
    now: DateTime<Utc>,
    slack: Arc<dyn Connector>,
    tally: Tally,
    rejected: BTreeMap<String, String>,
}

impl Run {
    fn start() -> Self {
        let now = SystemClock.now();
        Self {
            now,
            slack: slack("https://slack.com", SECRET, now),
            tally: Tally::default(),
            rejected: BTreeMap::new(),
        }
    }

    /// Delivers a body and compares the outcome with the expected one.
    fn deliver(&mut self, name: &str, body: &Bytes) {
        let (expected, json) = expected_of_body(body);
        let headers = signed(self.now, body);
        let receipt = verify(self.slack.as_ref(), &headers, body);
        if let Some(challenge) =
            text(&json["challenge"]).filter(|_| json["type"] == "url_verification")
        {
            assert!(receipt.handshake.is_some(), "{name}");
            assert_eq!(receipt.acknowledgement.body, challenge, "{name}");
            return self
                .tally
                .count("url_verification", "none (answered handshake)");
        }
        assert!(receipt.handshake.is_none(), "{name}");
        assert_eq!(
            receipt.routes.first().map(String::as_str),
            route(&json),
            "{name}"
        );
        if let Some(id) = text(&json["event_id"]) {
            assert_eq!(receipt.dedupe_id, id, "{name}");
        }
        let account = ExternalAccount::from_route(route(&json).unwrap_or("T0UNKNOWN"));
        let directory = Directory::default();
        let outcome = handle(self.slack.as_ref(), &headers, body, &account, &directory);
        let prefix = format!("slack:{}", account.id);
        match expected.compare(&prefix, &outcome) {
            Ok(summary) => self.tally.count(&receipt.event, &summary),
            Err(difference) => self.tally.fail(format!("{name}: {difference}")),
        }
        if let Expected::MissingField(_) = expected {
            let reason = outcome.refused.clone().unwrap_or_default();
            self.rejected.insert(name.to_owned(), reason);
        }
        if account_change(&outcome) != expected_change(&json) {
            self.tally.fail(format!(
                "{name}: unexpected account changes {:?}",
                outcome.changes
            ));
        }
    }

    fn finish(self, title: &str) {
        self.tally.finish(title);
        list("Rejected because a field is missing", &self.rejected);
    }
}

#[test]
fn recorded_bodies_yield_the_cataloged_kinds() {
    let Some(folder) = Folder::open() else { return };
    let mut run = Run::start();
    for file in folder.files("slack", "webhook") {
        run.deliver(&file.name, &file.bytes());
    }
    run.finish("recorded Slack bodies, by event");
}

/// An event in an envelope of the Events API.
fn wrap_in_envelope(event: &Value) -> Bytes {
    let envelope = json!({
        "type": "event_callback", "team_id": "T0TEAM", "api_app_id": "A0APP",
        "event_id": "Ev0EVENT", "event_time": 1_700_000_000, "event": event,
        "authorizations": [{
            "team_id": "T0TEAM", "enterprise_id": null, "user_id": "U0BOT",
            "is_bot": true, "is_enterprise_install": false,
        }],
    });
    Bytes::from(envelope.to_string())
}

#[test]
fn recorded_events_yield_the_cataloged_kinds() {
    let Some(folder) = Folder::open() else { return };
    let mut run = Run::start();
    for file in folder.files("slack", "inner-event") {
        run.deliver(&file.name, &wrap_in_envelope(&file.json()));
    }
    run.finish("recorded Slack events in an envelope, by event");
}

#[test]
fn event_shapes_are_accepted() {
    let Some(folder) = Folder::open() else { return };
    let mut run = Run::start();
    let mut shapes = folder.files("slack", "shape");
    shapes.retain(|file| file.name.contains("/events/"));
    assert!(!shapes.is_empty(), "the index has no shapes of events");
    for file in shapes {
        run.deliver(&file.name, &file.bytes());
    }
    run.finish("shapes of Slack events with empty values, by event");
}

#[test]
fn published_signature_matches_only_its_secret() {
    let Some(folder) = Folder::open() else { return };
    for file in folder.files("slack", "signature-vector") {
        let vector = file.json();
        let part = |name: &str| vector[name].as_str().expect("text").to_owned();
        let body = Bytes::from(part("body"));
        let seconds: i64 = part("timestamp").parse().expect("seconds");
        let then = DateTime::from_timestamp(seconds, 0).expect("a time");
        let (time, signature) = (part("timestamp"), part("signature"));
        let headers = headers([
            ("x-slack-request-timestamp", time.as_str()),
            ("x-slack-signature", signature.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ]);
        let check = |secret: &str, now, body: &Bytes| {
            let slack = slack("https://slack.com", secret, now);
            try_verify(slack.as_ref(), &headers, body, None).err()
        };
        let secret = part("signing_secret");
        assert_eq!(check(&secret, then, &body), None, "{}", file.name);
        assert_eq!(check(SECRET, then, &body), Some(VerifyError::Mismatch));
        let late = then + Duration::minutes(6);
        assert_eq!(check(&secret, late, &body), Some(VerifyError::Stale));
        let mut forged = body.to_vec();
        forged.push(b' ');
        assert_eq!(
            check(&secret, then, &Bytes::from(forged)),
            Some(VerifyError::Mismatch)
        );
        let slack = slack("https://slack.com", &secret, then);
        let account = ExternalAccount::from_route("T0UNKNOWN");
        let outcome = handle(
            slack.as_ref(),
            &headers,
            &body,
            &account,
            &Directory::default(),
        );
        assert!(outcome.signals.is_empty() && outcome.refused.is_none());
    }
}
