//! Events: listed, filtered, paginated, and over all tenants for operators.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use shared::model::EventId;
use uuid::Uuid;

use crate::server::{Api, As, ids};

/// The time this many minutes ago.
async fn minutes_ago(api: &Api, minutes: i32) -> DateTime<Utc> {
    sqlx::query_scalar("SELECT now() - make_interval(mins => $1)")
        .bind(minutes)
        .fetch_one(api.db.pool())
        .await
        .expect("a time")
}

/// Stores an event that happened this many minutes ago, as the worker does.
async fn event(
    api: &Api,
    tenant: Uuid,
    connection: Option<Uuid>,
    kind: &str,
    minutes: i32,
) -> Uuid {
    let at = minutes_ago(api, minutes).await;
    let id = EventId::at(at, 0).0;
    sqlx::query(
        "INSERT INTO events (tenant_id, id, type, provider, connection_id, data, created_at) \
         VALUES ($1, $2, $3, 'github', $4, '{\"resumed\":false}', $5)",
    )
    .bind(tenant)
    .bind(id)
    .bind(kind)
    .bind(connection)
    .bind(at)
    .execute(api.db.pool())
    .await
    .expect("the event is stored");
    id
}

async fn list(api: &Api, query: &str, caller: As<'_>) -> Vec<Uuid> {
    let path = format!("/v1/events?{query}");
    ids(&api.get(&path, caller).await.ok()["events"])
}

#[tokio::test]
async fn events_are_filtered_and_paginated() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let (first, second) = (api.connection(&acme).await, api.connection(&acme).await);
    let mut all = Vec::new();
    for (connection, kind, minutes) in [
        (first, "connection.connected", 50),
        (second, "connection.connected", 40),
        (first, "connection.degraded", 30),
        (first, "connection.recovered", 20),
        (second, "a.later_type", 10),
    ] {
        all.insert(
            0,
            event(&api, acme.id, Some(connection), kind, minutes).await,
        );
    }
    let since = minutes_ago(&api, 35).await;
    let since = since.to_rfc3339_opts(SecondsFormat::Micros, true);
    for (query, expected) in [
        (String::new(), all.clone()),
        ("type=connection.connected".to_owned(), vec![all[3], all[4]]),
        (
            "type=a.later_type,connection.degraded".to_owned(),
            vec![all[0], all[2]],
        ),
        (format!("connection_id={second}"), vec![all[0], all[3]]),
        (format!("since={since}"), all[..3].to_vec()),
        (
            format!("since={since}&connection_id={first}"),
            vec![all[1], all[2]],
        ),
        ("provider=jira".to_owned(), vec![]),
        (format!("tenant_id={}", acme.id), all.clone()),
    ] {
        assert_eq!(list(&api, &query, acme.auth()).await, expected, "{query}");
    }
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/events?limit=2{cursor}");
        let page = api.get(&path, acme.auth()).await.ok();
        pages.push(ids(&page["events"]));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<Vec<Uuid>> = all.chunks(2).map(<[Uuid]>::to_vec).collect();
    assert_eq!(pages, expected);
    let shown = api.get("/v1/events?limit=1", acme.auth()).await.ok();
    let shown = &shown["events"][0];
    assert_eq!(shown["type"], "a.later_type");
    assert_eq!(shown["connection_id"], json!(second));
    assert_eq!(shown["subscription_id"], Value::Null);
    assert_eq!(shown["data"], json!({ "resumed": false }));
}

#[tokio::test]
async fn operator_sees_events_of_all_tenants_and_service() {
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let (own, foreign) = (api.connection(&acme).await, api.connection(&other).await);
    let acme_event = event(&api, acme.id, Some(own), "connection.degraded", 3).await;
    let other_event = event(&api, other.id, Some(foreign), "connection.degraded", 2).await;
    let rejected = event(&api, Uuid::nil(), None, "deliveries.rejected", 1).await;
    let all = [rejected, other_event, acme_event];
    assert_eq!(list(&api, "", As::Operator).await, all);
    for (query, expected) in [
        (format!("tenant_id={}", acme.id), vec![acme_event]),
        (format!("tenant_id={}", Uuid::nil()), vec![rejected]),
        (format!("connection_id={foreign}"), vec![other_event]),
        ("type=deliveries.rejected".to_owned(), vec![rejected]),
        (format!("tenant_id={}", Uuid::now_v7()), vec![]),
    ] {
        assert_eq!(list(&api, &query, As::Operator).await, expected, "{query}");
    }
    let of_one = list(&api, "", As::OperatorOf(other.id)).await;
    assert_eq!(of_one, [other_event]);
    assert_eq!(list(&api, "", acme.auth()).await, [acme_event]);
    for query in [
        "type=deliveries.rejected".to_owned(),
        format!("connection_id={foreign}"),
    ] {
        let listed = list(&api, &query, acme.auth()).await;
        assert!(listed.is_empty(), "{query}: {listed:?}");
    }
    for tenant in [other.id, Uuid::nil()] {
        let path = format!("/v1/events?tenant_id={tenant}");
        let response = api.get(&path, acme.auth()).await;
        response.is_problem(404, "tenant_not_found");
    }
}

#[tokio::test]
async fn invalid_event_filters_are_listed() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path =
        "/v1/events?type=No&connection_id=1&tenant_id=x&since=now&provider=A&limit=0&order=up";
    let response = api.get(path, acme.auth()).await;
    response.is_problem(400, "invalid_parameters");
    let mut fields = response.fields();
    fields.sort_unstable();
    let expected = [
        "connection_id",
        "limit",
        "order",
        "provider",
        "since",
        "tenant_id",
        "type",
    ];
    assert_eq!(fields, expected);
    api.get("/v1/events", As::Anonymous)
        .await
        .is_problem(401, "unauthorized");
}
