//! Jira: webhooks, of Cloud as it is and of its ancestors, and what is said of each.

mod answers;
mod asks;
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
use shared::connectors::{
    Connector, Directory, DirectoryEntry, DirectoryKey, DirectoryKind, ExternalAccount,
};
use shared::ids::ConnectionId;

use self::table::{Site, Statuses, foreign, must, origin};
use crate::answers as recordings;
use crate::folder::Folder;
use crate::provider::{SECRET, check, connector_at, handle, headers, hmac_hex, keys, verify};
use crate::report::{Tally, list};

const CLIENT_SECRET: &str = "the client secret of these tests";
const CLOUD: &str = "11111111-2222-4333-8444-555555555555";

/// A connector whose Atlassian is at this address.
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

/// As an administrator's webhook is signed: over the body.
fn by_administrator(body: &[u8]) -> HeaderMap {
    let signature = format!("sha256={}", hmac_hex(SECRET, &[body]));
    headers([
        ("x-atlassian-webhook-identifier", "d-1"),
        ("x-hub-signature", signature.as_str()),
        ("content-type", "application/json"),
    ])
}

/// As an app's webhook is signed: a token that knows nothing of the body.
fn by_app(now: DateTime<Utc>) -> HeaderMap {
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
        ..ExternalAccount::of_route(CLOUD)
    }
}

/// Everything that the recordings say of statuses.
fn statuses(folder: &Folder) -> Statuses {
    let mut statuses = Statuses::default();
    for kind in ["webhook", "recorded"] {
        for file in folder.files("jira", kind) {
            for exchange in recordings::of(&file) {
                statuses.learn(&exchange.body);
            }
        }
    }
    statuses
}

/// What a site knows of its statuses.
fn directory(site: &Site) -> Directory {
    Directory::of(site.0.iter().map(|(id, done)| DirectoryEntry {
        key: DirectoryKey::new(DirectoryKind::Status, id),
        name: None,
        detail: json!({ "category": if *done { "done" } else { "new" } }),
    }))
}

/// Checks both ways of proving a delivery, and where each leads.
fn filed(jira: &dyn Connector, now: DateTime<Utc>, name: &str, body: &Bytes, payload: &Value) {
    let site = origin(payload);
    let own = Some(ConnectionId::generate());
    let administrators = check(jira, &by_administrator(body), body, own);
    let administrators = administrators.expect("a genuine delivery");
    assert!(administrators.routes.is_empty(), "{name}");
    let apps = verify(jira, &by_app(now), body);
    let ids = payload["matchedWebhookIds"].as_array().map_or(0, Vec::len);
    let site = site.unwrap_or_default();
    let routes = if site.is_empty() { 0 } else { ids };
    assert_eq!(apps.routes.len(), routes, "{name}");
    assert!(
        apps.routes.iter().all(|route| route.starts_with(&site)),
        "{name}"
    );
    assert!(administrators.handshake.is_none() && apps.handshake.is_none());
    let digest = hex::encode(Sha256::digest(body));
    assert_eq!(apps.dedupe_id, format!("{site}:{digest}"), "{name}");
}

#[test]
fn every_recorded_payload_gives_exactly_the_kinds_of_the_table() {
    let Some(folder) = Folder::open() else { return };
    let now = SystemClock.now();
    let jira = jira("https://example.org", now);
    let statuses = statuses(&folder);
    let (mut tally, mut ancestors) = (Tally::default(), BTreeMap::new());
    for file in folder.files("jira", "webhook") {
        let (body, payload) = (file.bytes(), file.json());
        filed(jira.as_ref(), now, &file.name, &body, &payload);
        let site = statuses.of_changes([&payload["changelog"]]);
        let must = must(&payload, &site);
        let told = |headers: &HeaderMap| {
            let account = account(origin(&payload).as_deref());
            handle(jira.as_ref(), headers, &body, &account, &directory(&site))
        };
        let outcome = told(&by_administrator(&body));
        assert_eq!(keys(&outcome), keys(&told(&by_app(now))), "{}", file.name);
        let verdict = match must.compare(&format!("jira:{CLOUD}"), &outcome) {
            Ok(gave) => gave,
            Err(wrong) => {
                tally.wrong(format!("{}: {wrong}", file.name));
                continue;
            }
        };
        tally.count(&file.event, &verdict);
        if let Some(whose) = foreign(&payload) {
            let word = match &outcome.refused {
                Some(reason) => format!("{whose}, refused: {reason}"),
                None => format!("{whose}, handled as {verdict}"),
            };
            ancestors.insert(file.name, word);
        }
    }
    tally.finish("recorded Jira payloads, by event");
    list("Of these, none of today's Jira Cloud", &ancestors);
}
