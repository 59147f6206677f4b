//! Slack: Events API bodies, events without their envelope, shapes, the published signature.

mod answers;
mod asks;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use http::HeaderMap;
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use shared::connectors::{Connector, Directory, ExternalAccount, VerifyError};

use self::table::{change_of, changed, must_of_body, route, text};
use crate::folder::Folder;
use crate::must::Must;
use crate::provider::{SECRET, check as verified, connector_at, handle, headers, hmac_hex, verify};
use crate::report::{Tally, list};

/// A connector of an app with this signing secret, at this moment.
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

/// A run of payloads through one connector.
struct Run {
    now: DateTime<Utc>,
    slack: Arc<dyn Connector>,
    tally: Tally,
    refused: BTreeMap<String, String>,
}

impl Run {
    fn start() -> Self {
        let now = SystemClock.now();
        Self {
            now,
            slack: slack("https://slack.com", SECRET, now),
            tally: Tally::default(),
            refused: BTreeMap::new(),
        }
    }

    /// Delivers a body, and compares what it gives with what it must.
    fn deliver(&mut self, name: &str, body: &Bytes) {
        let (must, json) = must_of_body(body);
        let headers = signed(self.now, body);
        let receipt = verify(self.slack.as_ref(), &headers, body);
        if let Some(challenge) =
            text(&json["challenge"]).filter(|_| json["type"] == "url_verification")
        {
            assert!(receipt.handshake.is_some(), "{name}");
            assert_eq!(receipt.acknowledgement.body, challenge, "{name}");
            return self
                .tally
                .count("url_verification", "none (a handshake, answered)");
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
        let account = ExternalAccount::of_route(route(&json).unwrap_or("T0NOBODY"));
        let directory = Directory::default();
        let outcome = handle(self.slack.as_ref(), &headers, body, &account, &directory);
        let prefix = format!("slack:{}", account.id);
        match must.compare(&prefix, &outcome) {
            Ok(gave) => self.tally.count(&receipt.event, &gave),
            Err(wrong) => self.tally.wrong(format!("{name}: {wrong}")),
        }
        if let Must::BeRefused(_) = must {
            let reason = outcome.refused.clone().unwrap_or_default();
            self.refused.insert(name.to_owned(), reason);
        }
        if changed(&outcome) != change_of(&json) {
            self.tally
                .wrong(format!("{name}: {:?} of the connection", outcome.changes));
        }
    }

    fn finish(self, what: &str) {
        self.tally.finish(what);
        list("Refused, for want of an identity", &self.refused);
    }
}

#[test]
fn every_recorded_body_gives_exactly_the_kinds_of_the_table() {
    let Some(folder) = Folder::open() else { return };
    let mut run = Run::start();
    for file in folder.files("slack", "webhook") {
        run.deliver(&file.name, &file.bytes());
    }
    run.finish("recorded Slack bodies, by event");
}

/// An event as Slack would send it.
fn enveloped(event: &Value) -> Bytes {
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
fn every_recorded_event_gives_exactly_the_kinds_of_the_table() {
    let Some(folder) = Folder::open() else { return };
    let mut run = Run::start();
    for file in folder.files("slack", "inner-event") {
        run.deliver(&file.name, &enveloped(&file.json()));
    }
    run.finish("recorded Slack events, put into an envelope, by event");
}

#[test]
fn every_shape_of_an_event_is_taken() {
    let Some(folder) = Folder::open() else { return };
    let mut run = Run::start();
    let mut shapes = folder.files("slack", "shape");
    shapes.retain(|file| file.name.contains("/events/"));
    assert!(!shapes.is_empty(), "the index names shapes of events");
    for file in shapes {
        run.deliver(&file.name, &file.bytes());
    }
    run.finish("shapes of Slack events, whose values are empty, by event");
}

#[test]
fn the_published_signature_is_verified_with_its_secret_and_no_other() {
    let Some(folder) = Folder::open() else { return };
    for file in folder.files("slack", "signature-vector") {
        let vector = file.json();
        let part = |name: &str| vector[name].as_str().expect("text").to_owned();
        let body = Bytes::from(part("body"));
        let seconds: i64 = part("timestamp").parse().expect("seconds");
        let then = DateTime::from_timestamp(seconds, 0).expect("a moment");
        let (time, signature) = (part("timestamp"), part("signature"));
        let headers = headers([
            ("x-slack-request-timestamp", time.as_str()),
            ("x-slack-signature", signature.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ]);
        let check = |secret: &str, now, body: &Bytes| {
            let slack = slack("https://slack.com", secret, now);
            verified(slack.as_ref(), &headers, body, None).err()
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
        let account = ExternalAccount::of_route("T0NOBODY");
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
