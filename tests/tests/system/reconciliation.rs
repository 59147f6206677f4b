//! The reconciliation pass, page sizes, and the stream that holds a connection back.

use provider_sim::Filter;
use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

/// Providers, each with a kind of facts that its lists always show.
const KINDS: [(&str, &str); 3] = [
    ("github", "issue_commented"),
    ("slack", "message_posted"),
    ("jira", "issue_created"),
];

async fn get_connection(tenant: &Tenant<'_>, connection: Uuid) -> Value {
    tenant.get(&format!("/v1/connections/{connection}")).await
}

/// Counts a kind's streams whose reconciliation is due.
async fn count_due(system: &System, connection: Uuid, streams: &str) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM cursors \
         WHERE connection_id = $1 AND stream LIKE $2 AND reconcile_at <= now()",
    )
    .bind(connection)
    .bind(streams)
    .fetch_one(system.db.pool())
    .await
    .expect("the query result")
}

async fn count_runs(system: &System, connection: Uuid) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM job_history WHERE kind = 'sync_connection' AND connection_id = $1",
    )
    .bind(connection)
    .fetch_one(system.db.pool())
    .await
    .expect("the query result")
}

/// The window is seven days, and the last pass was ten days ago.
#[tokio::test(flavor = "multi_thread")]
async fn overdue_pass_covers_the_time_since_the_last() {
    for (provider, kind) in KINDS {
        let system = System::with_fast_provider()
            .simulator(|sim| (sim.accounts, sim.history) = (1, 600))
            .start()
            .await;
        let (account, admin) = system.accounts_at(provider).await.remove(0);
        let tenant = system.tenant("Acme").await;
        let connection = tenant.connect_to(provider, &account, &admin).await;
        system.drain().await;
        // Simulates facts that neither a delivery nor a sync has reported.
        let lost = sqlx::query(
            "DELETE FROM signals WHERE connection_id = $1 AND kind = $2 \
               AND occurred_at > now() - interval '9 days 12 hours' \
               AND occurred_at < now() - interval '7 days 12 hours'",
        )
        .bind(connection)
        .bind(kind)
        .execute(system.db.pool())
        .await
        .expect("the query result");
        assert!(
            lost.rows_affected() > 0,
            "{provider} has no fact of this kind"
        );
        sqlx::query(
            "UPDATE cursors SET reconciled_through = now() - interval '10 days' \
             WHERE connection_id = $1",
        )
        .bind(connection)
        .execute(system.db.pool())
        .await
        .expect("the query result");
        tenant.poll_and_reconcile().await;
        tenant.assert_equals_ledger(&account).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limited_pass_continues_in_the_same_run() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.providers.slack.channels, sim.history) = (1, 2, 60))
        .start()
        .await;
    let (_, tenant, connection) = system.connect_account("slack").await;
    // The next run only reconciles.
    sqlx::query(
        "UPDATE cursors SET reconcile_at = now(), attempted_through = now() + interval '1 hour' \
         WHERE connection_id = $1 AND stream LIKE 'messages:%'",
    )
    .bind(connection)
    .execute(system.db.pool())
    .await
    .expect("the query result");
    let limit = json!({
        "target": "request", "effect": "too_many_requests", "seconds": 4.0, "count": 1,
        "pattern": "conversations.history",
    });
    system.sim("faults", limit).await;
    assert_eq!(count_due(&system, connection, "messages:%").await, 2);
    let runs = count_runs(&system, connection).await;
    tenant.poll().await;
    system.drain().await;
    assert_eq!(count_due(&system, connection, "messages:%").await, 0);
    assert_eq!(count_runs(&system, connection).await, runs + 1);
    assert!(system.faults().await.is_empty(), "the pass was limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_stream_leaves_the_poll_interval_adaptive() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 5)
        .start()
        .await;
    let (_, tenant, connection) = system.connect_account("github").await;
    let fails = json!({
        "target": "request", "effect": "status", "status": 500, "pattern": "GET /repos/*/releases",
    });
    system.sim("faults", fails).await;
    // Simulates an earlier time slice that found missed facts.
    sqlx::query("UPDATE connections SET run_missed = 40 WHERE id = $1")
        .bind(connection)
        .execute(system.db.pool())
        .await
        .expect("the query result");
    tenant.poll().await;
    system.drain().await;
    let shown = get_connection(&tenant, connection).await;
    assert_eq!(shown["effective_poll_interval_seconds"], 150, "{shown:#}");
    assert_eq!(shown["last_error"]["code"], "transient", "{shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limited_stream_is_reported_after_some_progress() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 10))
        .start()
        .await;
    let (_, tenant, connection) = system.connect_account("slack").await;
    assert_eq!(
        get_connection(&tenant, connection).await["held_back_by"],
        Value::Null
    );
    let limit = json!({
        "target": "request", "effect": "too_many_requests", "seconds": 600.0,
        "pattern": "conversations.history",
    });
    system.sim("faults", limit).await;
    tenant.poll().await;
    let mut held = Value::Null;
    eventually("the limited stream is named", async || {
        held = get_connection(&tenant, connection).await["held_back_by"].clone();
        held["code"] == "rate_limited"
    })
    .await;
    let stream = held["stream"].as_str().expect("a stream");
    assert!(stream.starts_with("messages:"), "{held:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_list_of_streams_is_reported() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 5)
        .start()
        .await;
    let (_, tenant, connection) = system.connect_account("github").await;
    let fails = json!({
        "target": "request", "effect": "status", "status": 500,
        "pattern": "installation/repositories",
    });
    system.sim("faults", fails).await;
    tenant.poll().await;
    system.drain().await;
    let shown = get_connection(&tenant, connection).await;
    let held = &shown["held_back_by"];
    assert_eq!(held["stream"], "repositories", "{shown:#}");
    assert_eq!(held["code"], "transient", "{shown:#}");
}

/// GitHub fails on every page of 100 comments, but not on pages of 50.
#[tokio::test(flavor = "multi_thread")]
async fn page_size_that_works_is_remembered() {
    let system = System::with_fast_provider()
        .simulator(|sim| {
            (sim.accounts, sim.providers.github.repositories, sim.history) = (1, 1, 2_000);
        })
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    let fails = json!({
        "target": "request", "effect": "status", "status": 502,
        "pattern": "GET /repos/*/issues/comments?*per_page=100",
    });
    system.sim("faults", fails).await;
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    let comments = Filter {
        source: Some("github".to_owned()),
        account: Some(account.clone()),
        ..Filter::default()
    };
    let comments = system.simulator.ledger(&comments);
    let comments = comments
        .iter()
        .filter(|entry| entry.poll && entry.dedupe_key.contains(":comment:"))
        .count();
    assert!(comments > 200, "{comments} comments are not several pages");
    tenant.assert_equals_ledger(&account).await;
    let applied = system.faults().await[0]["applied"].as_u64();
    let applied = applied.expect("a number");
    // Two at first; after ten successful pages the default size is tried again.
    assert!((2..=4).contains(&applied), "{applied} pages failed");
}
