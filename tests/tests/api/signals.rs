//! The feed: its cursor, order, filters and completeness.

use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use tests::harness::eventually;
use uuid::Uuid;

use crate::server::{Api, As, Team, ids};

#[tokio::test]
async fn feed_is_followed_by_its_cursor() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let connection = api.connection(&acme).await;
    let mut created = Vec::new();
    for n in 0..5 {
        created.push(api.signal(&acme, connection, "issue_created", 10 - n).await);
    }
    wait_for_signals(&api, &acme, 5).await;

    let mut seen = Vec::new();
    let mut path = "/v1/signals?limit=2".to_owned();
    let end = loop {
        let page = api.get(&path, acme.auth()).await.ok();
        seen.extend(ids(&page["signals"]));
        let cursor = page["next_cursor"]
            .as_str()
            .expect("always present")
            .to_owned();
        if page["has_more"] == json!(false) {
            break cursor;
        }
        path = format!("/v1/signals?limit=2&cursor={cursor}");
    };
    assert_eq!(seen, created);

    let path = format!("/v1/signals?cursor={end}");
    let nothing = api.get(&path, acme.auth()).await.ok();
    assert_eq!(nothing["signals"], json!([]));
    let late = api.signal(&acme, connection, "issue_closed", 60).await;
    eventually("the late Signal is after the cursor", async || {
        let page = api.get(&path, acme.auth()).await.ok();
        ids(&page["signals"]) == [late]
    })
    .await;
}

#[tokio::test]
async fn recent_order_is_by_the_providers_time() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let connection = api.connection(&acme).await;
    let old = api.signal(&acme, connection, "issue_created", 30).await;
    let new = api.signal(&acme, connection, "issue_created", 1).await;
    let middle = api.signal(&acme, connection, "issue_created", 15).await;
    let page = api
        .get("/v1/signals?order=recent&limit=2", acme.auth())
        .await
        .ok();
    assert_eq!(ids(&page["signals"]), [new, middle]);
    let cursor = page["next_cursor"].as_str().expect("more");
    let path = format!("/v1/signals?order=recent&cursor={cursor}");
    let page = api.get(&path, acme.auth()).await.ok();
    assert_eq!(ids(&page["signals"]), [old]);
    assert_eq!(page["next_cursor"], Value::Null);
    let mixed = api
        .get(&format!("/v1/signals?cursor={cursor}"), acme.auth())
        .await;
    mixed.is_problem(404, "cursor_not_found");
}

#[tokio::test]
async fn filters_select_signals() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let (one, two) = (api.connection(&acme).await, api.connection(&acme).await);
    let created = api.signal(&acme, one, "issue_created", 30).await;
    let merged = api.signal(&acme, two, "pr_merged", 5).await;
    wait_for_signals(&api, &acme, 2).await;
    let now = SystemClock.now();
    let between = (now - chrono::TimeDelta::minutes(10)).format("%Y-%m-%dT%H:%M:%SZ");
    for (query, expected) in [
        ("kind=issue_created".to_owned(), vec![created]),
        (
            "kind=issue_created,pr_merged".to_owned(),
            vec![created, merged],
        ),
        ("source=github".to_owned(), vec![created, merged]),
        ("source=jira,slack".to_owned(), vec![]),
        (format!("connection_id={two}"), vec![merged]),
        (format!("since={between}"), vec![merged]),
        (format!("until={between}"), vec![created]),
    ] {
        let page = api
            .get(&format!("/v1/signals?{query}"), acme.auth())
            .await
            .ok();
        assert_eq!(ids(&page["signals"]), expected, "{query}");
    }
    let bad = "/v1/signals?kind=gossip&source=A&connection_id=1&since=now&include=all&order=up";
    let response = api.get(bad, acme.auth()).await;
    response.is_problem(400, "invalid_parameters");
    assert_eq!(
        response.fields(),
        [
            "order",
            "since",
            "source",
            "kind",
            "connection_id",
            "include"
        ]
    );
}

#[tokio::test]
async fn signal_has_dedupe_key_and_timestamp_source() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let connection = api.connection(&acme).await;
    let dated = api.signal(&acme, connection, "issue_created", 2).await;
    let undated = api.signal(&acme, connection, "member_added", 1).await;
    sqlx::query(
        "UPDATE signals SET body = (body::jsonb || '{\"timestamp_source\":\"received\"}')::json \
         WHERE id = $1",
    )
    .bind(undated)
    .execute(api.db.pool())
    .await
    .expect("an update");
    wait_for_signals(&api, &acme, 2).await;
    let page = api.get("/v1/signals", acme.auth()).await.ok();
    for (id, source) in [(dated, "provider"), (undated, "received")] {
        let path = format!("/v1/signals/{id}");
        let single = api.get(&path, acme.auth()).await.ok();
        assert_eq!(single["timestamp_source"], source);
        assert_eq!(single["dedupe_key"], format!("github:{id}"));
        let listed = page["signals"].as_array().expect("a list");
        assert!(listed.contains(&single));
    }
}

#[tokio::test]
async fn raw_object_is_included_on_request() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let connection = api.connection(&acme).await;
    let id = api.signal(&acme, connection, "issue_created", 1).await;
    let path = format!("/v1/signals/{id}");
    let signal = api.get(&path, acme.auth()).await.ok();
    assert_eq!(signal["payload"], json!({ "normalized": { "number": 1 } }));
    assert_eq!(signal["tenant_id"], json!(acme.id));
    assert_eq!(signal["connection_id"], json!(connection));
    assert_eq!(signal["schema_version"], 1);
    let raw = api
        .get(&format!("{path}?include=raw"), acme.auth())
        .await
        .ok();
    assert_eq!(raw["payload"]["raw"], json!({ "id": 1 }));
    let page = api
        .get("/v1/signals?include=raw&order=recent", acme.auth())
        .await
        .ok();
    assert_eq!(page["signals"][0]["payload"]["raw"], json!({ "id": 1 }));
}

#[tokio::test]
async fn foreign_signals_and_cursors_are_not_found() {
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let connection = api.connection(&acme).await;
    let id = api.signal(&acme, connection, "issue_created", 1).await;
    wait_for_signals(&api, &acme, 1).await;
    let path = format!("/v1/signals/{id}");
    api.get(&path, other.auth())
        .await
        .is_problem(404, "signal_not_found");
    api.get(&path, As::Anonymous)
        .await
        .is_problem(401, "unauthorized");
    api.get("/v1/signals", As::Anonymous)
        .await
        .is_problem(401, "unauthorized");
    for order in ["feed", "recent"] {
        let path = format!("/v1/signals?order={order}&connection_id={connection}");
        let page = api.get(&path, other.auth()).await.ok();
        assert_eq!(page["signals"], json!([]));
    }
    let page = api.get("/v1/signals", acme.auth()).await.ok();
    let cursor = page["next_cursor"].as_str().expect("a cursor");
    for path in ["/v1/signals", "/v1/signals/stream"] {
        let stolen = api
            .get(&format!("{path}?cursor={cursor}"), other.auth())
            .await;
        stolen.is_problem(404, "cursor_not_found");
        let bad = api
            .get(&format!("{path}?cursor=nonsense"), acme.auth())
            .await;
        bad.is_problem(400, "invalid_parameters");
    }
}

#[tokio::test]
async fn cursor_of_an_earlier_generation_expires() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let page = api.get("/v1/signals", acme.auth()).await.ok();
    let cursor = page["next_cursor"].as_str().expect("a cursor");
    api.sql(
        "INSERT INTO feed_generations (generation, system_identifier) \
         SELECT 2, system_identifier FROM feed_generations WHERE $1 <> $2",
        acme.id,
        Uuid::nil(),
    )
    .await;
    for path in ["/v1/signals", "/v1/signals/stream"] {
        let response = api
            .get(&format!("{path}?cursor={cursor}"), acme.auth())
            .await;
        response.is_problem(410, "cursor_expired");
    }
}

#[tokio::test]
async fn catalogue_of_kinds_is_public_and_complete() {
    let api = Api::start().await;
    let list = api.get("/v1/signals/kinds", As::Anonymous).await.ok();
    let kinds = list["kinds"].as_array().expect("a list");
    assert!(kinds.len() > 40);
    for kind in kinds {
        assert!(
            kind["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{kind}"
        );
    }
    let providers = |name: &str| {
        let kind = kinds.iter().find(|kind| kind["kind"] == name);
        kind.expect("known")["providers"].clone()
    };
    assert_eq!(providers("issue_created"), json!(["github", "jira"]));
    assert_eq!(providers("message_posted"), json!(["slack", "zoho_cliq"]));
}

/// Waits until the feed shows `count` Signals.
///
/// The watermark is the oldest running transaction of the whole cluster, which may belong to
/// another test.
pub(crate) async fn wait_for_signals(api: &Api, team: &Team, count: usize) {
    eventually("the Signals are in the feed", async || {
        let page = api.get("/v1/signals?limit=200", team.auth()).await.ok();
        ids(&page["signals"]).len() == count
    })
    .await;
}

#[tokio::test]
async fn completeness_covers_unlisted_connections() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    sqlx::query(
        "INSERT INTO connections (tenant_id, id, provider, status, account_id, \
             account_stable_id, poll_interval_seconds, backfilled_at, last_sync_at, \
             complete_through, reconciled_through, complete_tx, last_error) \
         SELECT $1, lpad(n::text, 32, '0')::uuid, 'slack', 'active', n::text, n::text, 300, \
             now(), now(), \
             timestamptz '2026-11-20 10:00Z' + n * interval '1 hour', \
             timestamptz '2026-11-20 09:00Z' + n * interval '1 hour', '3'::xid8, \
             CASE WHEN n = 3 THEN json_build_object('code', 'permission', 'message', 'denied') END \
         FROM generate_series(1, 600) n",
    )
    .bind(acme.id)
    .execute(api.db.pool())
    .await
    .expect("connections");
    let page = api.get("/v1/signals", acme.auth()).await.ok();
    let completeness = &page["completeness"];
    assert_eq!(
        (&completeness["total"], &completeness["behind"]),
        (&json!(600), &json!(1))
    );
    assert_eq!(completeness["complete_through"], "2026-11-20T11:00:00Z");
    assert_eq!(completeness["reconciled_through"], "2026-11-20T10:00:00Z");
    let url = completeness["connections_url"].as_str().expect("a URL");
    assert_eq!(url, "/v1/connections?behind=true");
    let behind = api.get(url, acme.auth()).await.ok();
    let behind = behind["connections"].as_array().expect("a list");
    assert_eq!(behind.len(), 1, "{behind:?}");
    assert_eq!(behind[0]["behind"], "denied");
    let listed = completeness["connections"].as_array().expect("a list");
    assert_eq!(listed.len(), 100);
    assert_eq!(listed[0]["behind"], "denied", "{}", listed[0]);
    assert!(listed[1..].iter().all(|one| one["behind"].is_null()));
}
