//! Health of connections in lists and details, over one tenant and all, and the overview.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tests::harness::eventually;
use uuid::Uuid;

use crate::server::{Api, As, ids};

/// Stores the health of a connection, as the worker does.
async fn set_health(api: &Api, id: Uuid, state: &str, reason: &str) {
    sqlx::query("UPDATE connections SET health = $2, health_reason = $3 WHERE id = $1")
        .bind(id)
        .bind(state)
        .bind(reason)
        .execute(api.db.pool())
        .await
        .expect("stored");
}

async fn execute(api: &Api, statement: &str, id: Uuid) {
    sqlx::query(AssertSqlSafe(statement.to_owned()))
        .bind(id)
        .execute(api.db.pool())
        .await
        .expect("executed");
}

async fn list(api: &Api, filter: &str, caller: As<'_>) -> Vec<Uuid> {
    let path = format!("/v1/connections?{filter}");
    ids(&api.get(&path, caller).await.ok()["connections"])
}

#[tokio::test]
async fn connections_are_filtered_by_health_and_status() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let mut all = Vec::new();
    for (state, reason) in [
        ("healthy", "up_to_date"),
        ("degraded", "rate_limited"),
        ("action_required", "grant_refused"),
    ] {
        let id = api.connection(&acme).await;
        set_health(&api, id, state, reason).await;
        all.push(id);
    }
    execute(
        &api,
        "UPDATE connections SET status = 'needs_reauth' WHERE id = $1",
        all[2],
    )
    .await;
    for (filter, expected) in [
        ("health=healthy", vec![all[0]]),
        ("health=degraded,action_required", vec![all[2], all[1]]),
        ("health=paused", vec![]),
        ("status=needs_reauth", vec![all[2]]),
        ("status=active&health=action_required", vec![]),
        ("health=degraded&provider=jira", vec![]),
    ] {
        assert_eq!(list(&api, filter, acme.auth()).await, expected, "{filter}");
    }
    for filter in ["health=ill", "status=gone", "health="] {
        let path = format!("/v1/connections?{filter}");
        let rejected = api.get(&path, acme.auth()).await;
        rejected.is_problem(400, "invalid_parameters");
    }
    let shown = api
        .get(&format!("/v1/connections/{}", all[2]), acme.auth())
        .await
        .ok();
    let health = &shown["health"];
    assert_eq!(health["state"], "action_required");
    assert_eq!(health["action"]["kind"], "reconnect");
    assert_eq!(health["action"]["who"], "team_admin");
    assert_eq!(health["action"]["url"], "/v1/connect/github");
    assert_eq!(shown["tenant_id"], json!(acme.id));
    assert_eq!(shown["webhooks"]["state"], "active");
}

#[tokio::test]
async fn operator_without_tenant_lists_all_tenants() {
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let mut all = Vec::new();
    for number in 0..6 {
        let team = if number % 2 == 0 { &acme } else { &other };
        let id = api.connection(team).await;
        set_health(&api, id, "degraded", "rate_limited").await;
        all.insert(0, id);
    }
    set_health(&api, all[0], "healthy", "up_to_date").await;
    assert_eq!(list(&api, "", As::Operator).await, all);
    assert_eq!(list(&api, "health=degraded", As::Operator).await, all[1..]);
    let of_one = list(&api, "", As::OperatorOf(acme.id)).await;
    assert_eq!(of_one, list(&api, "", acme.auth()).await);
    assert_eq!(of_one, [all[1], all[3], all[5]]);

    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/connections?limit=2&health=degraded{cursor}");
        let page = api.get(&path, As::Operator).await.ok();
        pages.push(ids(&page["connections"]));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<Vec<Uuid>> = all[1..].chunks(2).map(<[Uuid]>::to_vec).collect();
    assert_eq!(pages, expected);

    // Lists that are not read across tenants yet still need one; so do single objects.
    let jobs = api.get("/v1/jobs", As::Operator).await;
    jobs.is_problem(400, "tenant_required");
    let path = format!("/v1/connections/{}", all[0]);
    let single = api.get(&path, As::Operator).await;
    single.is_problem(400, "tenant_required");
}

#[tokio::test]
async fn overview_counts_all_tenants() {
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    for (team, state, reason) in [
        (&acme, "healthy", "up_to_date"),
        (&acme, "degraded", "rate_limited"),
        (&other, "action_required", "grant_refused"),
        (&other, "disconnected", "disconnected"),
    ] {
        let id = api.connection(team).await;
        set_health(&api, id, state, reason).await;
        api.dead_job(team, id).await;
        api.queued_job(team, id).await;
    }
    for statement in [
        "INSERT INTO webhook_results (provider, connection_id, result, hour, requests) \
         SELECT 'github', gen_random_uuid(), 'mismatch', date_trunc('hour', now()), n \
         FROM generate_series(1, 2) n",
        "INSERT INTO webhook_results (provider, connection_id, result, hour, requests) \
         SELECT 'github', gen_random_uuid(), 'accepted', now() - interval '25 hours', 7",
        "INSERT INTO workers (id, expires_at, feed_lag_seconds) \
         VALUES (gen_random_uuid(), now() + interval '1 minute', 1.5), \
             (gen_random_uuid(), now() - interval '1 minute', 99)",
    ] {
        let done = sqlx::query(statement).execute(api.db.pool()).await;
        done.expect("inserted");
    }
    let overview = api.get("/v1/overview", As::Operator).await.ok();
    let connections = &overview["connections"];
    assert_eq!(connections["total"], 4);
    assert_eq!(connections["need_attention"], 2);
    assert_eq!(connections["by_health"]["healthy"], 1);
    assert_eq!(connections["by_health"]["paused"], 0);
    assert_eq!(connections["by_provider"][0]["provider"], "github");
    assert_eq!(connections["by_provider"][0]["by_health"]["degraded"], 1);
    let queue = &overview["queue"];
    assert_eq!((&queue["dead"], &queue["due"]), (&json!(4), &json!(4)));
    assert_eq!(
        (&queue["workers"], &queue["running"]),
        (&json!(1), &json!(0))
    );
    assert!(queue["oldest_seconds"].as_f64() >= Some(0.0), "{queue}");
    assert_eq!(overview["feed"]["lag_seconds"], 1.5);
    let deliveries = &overview["deliveries"];
    assert_eq!(deliveries.as_array().map(Vec::len), Some(1), "{deliveries}");
    assert_eq!(deliveries[0]["result"], "mismatch");
    assert_eq!(deliveries[0]["requests"], 3);

    let rejected = api.get("/v1/overview", acme.auth()).await;
    rejected.is_problem(403, "operator_only");
}

#[tokio::test]
async fn streams_show_why_they_are_not_read() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    execute(&api, "DELETE FROM cursors WHERE connection_id = $1", id).await;
    execute(
        &api,
        "INSERT INTO cursors (tenant_id, connection_id, stream, target, backfill_from, listed_at, \
             read_through, pending_upper_bound, failing_since, failure, retired_at) \
         SELECT c.tenant_id, c.id, s.stream, '{}', now(), s.listed, s.read, s.bound, \
             CASE WHEN s.failure IS NOT NULL THEN now() END, s.failure::json, s.retired \
         FROM connections c, (VALUES \
             ('a:1', now(), now(), NULL, NULL, NULL), \
             ('b:1', now(), NULL, now(), NULL, NULL), \
             ('c:1', now(), now(), NULL, \
                 '{\"code\":\"permission\",\"message\":\"\",\"scope\":\"read\"}', NULL), \
             ('d:1', now(), now(), NULL, \
                 '{\"code\":\"transient\",\"message\":\"\",\"operation\":\"list\"}', NULL), \
             ('e:1', now(), now(), NULL, NULL, now()), \
             ('root', NULL::timestamptz, now(), NULL, NULL, NULL) \
         ) AS s(stream, listed, read, bound, failure, retired) WHERE c.id = $1",
        id,
    )
    .await;
    let path = format!("/v1/connections/{id}");
    let streams = format!("{path}/streams");
    let states = async |query: &str| -> Vec<Value> {
        let page = api
            .get(&format!("{streams}{query}"), acme.auth())
            .await
            .ok();
        let listed = page["streams"].as_array().expect("a list").iter();
        listed
            .map(|stream| json!([stream["stream"], stream["state"]]))
            .collect()
    };
    let all = [
        json!(["a:1", "complete"]),
        json!(["b:1", "reading"]),
        json!(["c:1", "denied"]),
        json!(["d:1", "failing"]),
    ];
    assert_eq!(states("").await, all);
    assert_eq!(states("?state=denied,failing").await, all[2..]);
    let shown = api.get(&path, acme.auth()).await.ok();
    let counts = &shown["streams"];
    assert_eq!(
        *counts,
        json!({ "total": 4, "reading": 1, "complete": 1, "denied": 1, "limited": 0, "failing": 1 })
    );
    let first = api
        .get(&format!("{streams}?limit=3"), acme.auth())
        .await
        .ok();
    assert_eq!(first["streams"][2]["error"]["scope"], "read");
    assert_eq!(first["streams"][1]["complete_through"], Value::Null);
    assert!(first["streams"][0]["next_run_at"].is_string());
    let cursor = first["next_cursor"].as_str().expect("more");
    assert_eq!(states(&format!("?cursor={cursor}")).await, all[3..]);

    // While the provider allows no call, every other stream waits.
    execute(
        &api,
        "UPDATE connections SET last_error = json_build_object('code', 'rate_limited', \
             'message', '', 'retry_at', now() + interval '10 minutes') WHERE id = $1",
        id,
    )
    .await;
    assert_eq!(states("?state=limited").await.len(), 2);

    let other = api.team("Other").await;
    let foreign = api.get(&streams, other.auth()).await;
    foreign.is_problem(404, "connection_not_found");
    let rejected = api
        .get(&format!("{streams}?state=asleep"), acme.auth())
        .await;
    rejected.is_problem(400, "invalid_parameters");
    let rejected = api.get(&format!("{streams}?cursor=_w"), acme.auth()).await;
    rejected.is_problem(404, "cursor_not_found");
}

#[tokio::test]
async fn metric_counts_connections_by_health() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    for (state, reason) in [
        ("healthy", "up_to_date"),
        ("degraded", "rate_limited"),
        ("degraded", "webhooks_silent"),
    ] {
        let id = api.connection(&acme).await;
        set_health(&api, id, state, reason).await;
    }
    let metric = async |health: &str, value: i32| {
        let metrics = api.get("/metrics", As::Anonymous).await;
        let text = metrics.body.as_str().expect("a text").to_owned();
        let mut lines = text.lines().filter(|line| {
            line.starts_with("poblysh_connections{")
                && line.contains(r#"provider="github""#)
                && line.contains(&format!("health=\"{health}\""))
        });
        lines.any(|line| line.ends_with(&format!(" {value}")))
    };
    eventually("the connections are counted", async || {
        metric("degraded", 2).await
    })
    .await;
    assert!(metric("healthy", 1).await && metric("paused", 0).await);
}
