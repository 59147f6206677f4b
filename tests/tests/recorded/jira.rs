//! Recordings of Jira: webhooks of Cloud, old Cloud and Server.

mod requests;
mod responses;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::clock::{Clock, SystemClock};
use shared::connectors::{Connector, Directory};
use shared::model::{ConnectionId, DirectoryEntry, DirectoryKey, DirectoryKind, ExternalAccount};

use self::table::{Site, Statuses, expected_outcome, foreign, origin};
use crate::exchanges;
use crate::folder::Folder;
use crate::provider::{SECRET, connector_at, handle, headers, hmac_hex, keys, try_verify, verify};
use crate::report::{Tally, list};

const CLIENT_SECRET: &str = "the client secret of these tests";
const CLOUD: &str = "11111111-2222-4333-8444-555555555555";

/// A connector with a base URL of Atlassian.
fn jira(base: &str, now: DateTime<Utc>) -> Arc<dyn Connector> {
    let (auth, api) = (format!("{base}/auth"), format!("{base}/api"));
    let settings = [
        ("POBLYSH_JIRA_CLIENT_ID", "client"),
        ("POBLYSH_JIRA_CLIENT_SECRET", CLIENT_SECRET),
        ("POBLYSH_JIRA_AUTH_BASE_URL", auth.as_str()),
        ("POBLYSH_JIRA_API_BASE_URL", api.as_str()),
    ];
    connector_at("jira", &settings, now)
}

/// Headers of an administrator's webhook: a signature of the body.
fn admin_headers(body: &[u8]) -> HeaderMap {
    let signature = format!("sha256={}", hmac_hex(SECRET, &[body]));
    headers([
        ("x-atlassian-webhook-identifier", "d-1"),
        ("x-hub-signature", signature.as_str()),
        ("content-type", "application/json"),
    ])
}

/// Headers of an app's webhook: a JWT that does not cover the body.
fn app_headers(now: DateTime<Utc>) -> HeaderMap {
    let now = now.timestamp();
    let claims = json!({ "iss": "client", "iat": now, "exp": now + 180 });
    let key = EncodingKey::from_secret(CLIENT_SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key);
    let bearer = format!("Bearer {}", token.expect("a token"));
    headers([
        ("x-atlassian-webhook-identifier", "d-1"),
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ])
}

fn account(site: Option<&str>) -> ExternalAccount {
    ExternalAccount {
        settings: json!({ "url": site }),
        ..ExternalAccount::from_route(CLOUD)
    }
}

/// Categories of all statuses in the recordings.
fn statuses(folder: &Folder) -> Statuses {
    let mut statuses = Statuses::default();
    for kind in ["webhook", "recorded"] {
        for file in folder.files("jira", kind) {
            for exchange in exchanges::read(&file) {
                statuses.collect(&exchange.body);
            }
        }
    }
    statuses
}

/// Directory of a site's statuses.
fn directory(site: &Site) -> Directory {
    Directory::of(site.0.iter().map(|(id, done)| DirectoryEntry {
        key: DirectoryKey::new(DirectoryKind::Status, id),
        name: None,
        detail: json!({ "category": if *done { "done" } else { "new" } }),
    }))
}

/// Checks the verification and routes of a delivery, signed by an administrator and an app.
fn check_verification(
    jira: &dyn Connector,
    now: DateTime<Utc>,
    name: &str,
    body: &Bytes,
    payload: &Value,
) {
    let site = origin(payload);
    let connection = Some(ConnectionId::generate());
    let admin = try_verify(jira, &admin_headers(body), body, connection);
    let admin = admin.expect("a genuine delivery");
    assert!(admin.routes.is_empty(), "{name}");
    let app = verify(jira, &app_headers(now), body);
    let ids = payload["matchedWebhookIds"].as_array().map_or(0, Vec::len);
    let site = site.unwrap_or_default();
    let routes = if site.is_empty() { 0 } else { ids };
    assert_eq!(app.routes.len(), routes, "{name}");
    assert!(
        app.routes.iter().all(|route| route.starts_with(&site)),
        "{name}"
    );
    assert!(admin.handshake.is_none() && app.handshake.is_none());
    let digest = hex::encode(Sha256::digest(body));
    assert_eq!(app.dedupe_id, format!("{site}:{digest}"), "{name}");
}

#[test]
fn recorded_payloads_yield_the_cataloged_kinds() {
    let Some(folder) = Folder::open() else { return };
    let now = SystemClock.now();
    let jira = jira("https://example.org", now);
    let statuses = statuses(&folder);
    let (mut tally, mut old_payloads) = (Tally::default(), BTreeMap::new());
    for file in folder.files("jira", "webhook") {
        let (body, payload) = (file.bytes(), file.json());
        check_verification(jira.as_ref(), now, &file.name, &body, &payload);
        let site = statuses.of_changes([&payload["changelog"]]);
        let expected = expected_outcome(&payload, &site);
        let outcome_with = |headers: &HeaderMap| {
            let account = account(origin(&payload).as_deref());
            handle(jira.as_ref(), headers, &body, &account, &directory(&site))
        };
        let outcome = outcome_with(&admin_headers(&body));
        assert_eq!(
            keys(&outcome),
            keys(&outcome_with(&app_headers(now))),
            "{}",
            file.name
        );
        let result = match expected.compare(&format!("jira:{CLOUD}"), &outcome) {
            Ok(summary) => summary,
            Err(difference) => {
                tally.fail(format!("{}: {difference}", file.name));
                continue;
            }
        };
        tally.count(&file.event, &result);
        if let Some(origin) = foreign(&payload) {
            let description = match &outcome.refused {
                Some(reason) => format!("{origin}, rejected: {reason}"),
                None => format!("{origin}, handled as {result}"),
            };
            old_payloads.insert(file.name, description);
        }
    }
    tally.finish("recorded Jira payloads, by event");
    list("Payloads that are not of today's Jira Cloud", &old_payloads);
}
