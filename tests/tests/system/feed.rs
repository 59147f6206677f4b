//! The feed has no gaps: eight writers with delays and rollbacks, and concurrent readers.
//!
//! 8,000 Signals by default; `POBLYSH_FEED_SIGNALS` sets another number.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use tests::harness::{BackgroundWriters, System, Tenant, setting, write_signals};
use uuid::Uuid;

const WRITERS: u64 = 8;
const READERS: usize = 3;

/// Writes 180 Signals in small batches.
async fn write_batch(system: &System, tenant: Uuid, seed: u64) -> Vec<Uuid> {
    write_signals(system.db.pool().clone(), tenant, seed, 180, 5).await
}

/// Reads the next page and advances the cursor; returns the number of Signals.
async fn read_page(
    tenant: &Tenant<'_>,
    limit: usize,
    cursor: &mut Option<String>,
    seen: &mut Vec<Uuid>,
) -> usize {
    let after = cursor
        .as_ref()
        .map(|cursor| format!("&cursor={cursor}"))
        .unwrap_or_default();
    let page = tenant
        .get(&format!("/v1/signals?limit={limit}{after}"))
        .await;
    *cursor = page["next_cursor"].as_str().map(str::to_owned);
    let signals = page["signals"].as_array().expect("a list");
    seen.extend(
        signals
            .iter()
            .filter_map(|signal| signal["id"].as_str()?.parse::<Uuid>().ok()),
    );
    signals.len()
}

/// Follows the feed until it has at least `count` Signals.
async fn follow(tenant: &Tenant<'_>, limit: usize, count: impl Fn() -> Option<usize>) -> Vec<Uuid> {
    let (mut cursor, mut seen) = (None, Vec::new());
    loop {
        let added = read_page(tenant, limit, &mut cursor, &mut seen).await;
        if added == 0 && count().is_some_and(|count| seen.len() >= count) {
            return seen;
        }
        if added == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_every_signal_exactly_once() {
    let total_count = setting("POBLYSH_FEED_SIGNALS", 8_000);
    let max_batch = (total_count / 4_000).clamp(5, 100);
    let system = System::with_fast_provider().start().await;
    let tenant = system.tenant("Acme").await;
    let each = total_count / usize::try_from(WRITERS).expect("few");
    let writers = BackgroundWriters::start(&system.db, tenant.id, 0..WRITERS, each, max_batch);
    let total = std::sync::OnceLock::new();
    let write = async {
        let committed = writers.finish().await;
        total.set(committed.len()).expect("counted once");
        committed
    };
    let read = futures::future::join_all((0..READERS).map(|reader| {
        let limit = [7, 50, 200][reader % 3].max(max_batch);
        follow(&tenant, limit, || total.get().copied())
    }));
    let (committed, readers) = tokio::join!(write, read);
    eprintln!(
        "{} Signals of {WRITERS} writers, {READERS} readers",
        committed.len()
    );
    for seen in readers {
        let distinct: HashSet<Uuid> = seen.iter().copied().collect();
        assert_eq!(distinct.len(), seen.len(), "no duplicates");
        assert!(
            distinct == committed,
            "all committed Signals, none rolled back"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_ids_are_ordered_as_numbers() {
    let system = System::with_fast_provider().start().await;
    let tenant = system.tenant("Acme").await;
    let stored = write_batch(&system, tenant.id, 1).await.len();
    // Some transaction ids have fewer digits than others.
    sqlx::query("UPDATE signals SET tx_id = (seq % 120)::text::xid8")
        .execute(system.db.pool())
        .await
        .expect("moved");
    assert_eq!(tenant.feed().await.len(), stored);
    let seen = follow(&tenant, 7, || Some(stored)).await;
    assert_eq!(seen.len(), stored, "page by page, seven at a time");
}

#[tokio::test(flavor = "multi_thread")]
async fn cursor_advances_past_filtered_out_signals() {
    let system = System::with_fast_provider().start().await;
    let tenant = system.tenant("Acme").await;
    let committed = write_batch(&system, tenant.id, 1).await.len();
    follow(&tenant, 50, || Some(committed)).await;
    let empty = tenant.get("/v1/signals?kind=pr_merged").await;
    assert_eq!(empty["signals"], json!([]));
    assert_eq!(empty["has_more"], false);
    let cursor = empty["next_cursor"].as_str().expect("always present");
    // The cursor without the filter is behind all Signals.
    let rest = tenant.get(&format!("/v1/signals?cursor={cursor}")).await;
    assert_eq!(rest["signals"], json!([]), "the cursor stayed behind");
    let added = write_batch(&system, tenant.id, 2).await;
    let (mut cursor, mut seen) = (Some(cursor.to_owned()), Vec::new());
    tests::harness::eventually("the new Signals are in the feed", async || {
        while read_page(&tenant, 50, &mut cursor, &mut seen).await > 0 {}
        seen.len() >= added.len()
    })
    .await;
    assert_eq!(seen.iter().collect::<HashSet<_>>(), added.iter().collect());
}

/// Reads the completeness of the feed's only connection.
async fn completeness(tenant: &Tenant<'_>) -> Value {
    let page = tenant.get("/v1/signals?limit=1").await;
    let connections = page["completeness"]["connections"]
        .as_array()
        .expect("a list");
    assert_eq!(connections.len(), 1, "{connections:?}");
    connections[0].clone()
}

fn timestamp(value: &Value) -> chrono::DateTime<chrono::Utc> {
    let text = value.as_str().expect("a time");
    text.parse().expect("RFC 3339")
}

#[tokio::test(flavor = "multi_thread")]
async fn feed_reports_completeness_and_reason_for_delay() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 10)
        .start()
        .await;
    let (_, tenant, connection) = system.connect_account("slack").await;
    tests::harness::eventually("nothing is behind", async || {
        completeness(&tenant).await["behind"].is_null()
    })
    .await;
    let first = completeness(&tenant).await;
    assert_eq!(first["connection_id"], connection.to_string());
    assert_eq!(first["source"], "slack");

    // An open transaction holds the feed back, which the feed reports.
    let mut open = system.db.pool().begin().await.expect("a transaction");
    sqlx::query("SELECT pg_current_xact_id()")
        .execute(&mut *open)
        .await
        .expect("an id");
    tenant.poll().await;
    system.drain().await;
    let held = completeness(&tenant).await;
    assert_eq!(held["behind"], "held_back");
    assert_eq!(held["complete_through"], first["complete_through"]);
    open.rollback().await.expect("ended");
    tests::harness::eventually("the feed advances", async || {
        completeness(&tenant).await["behind"].is_null()
    })
    .await;
    let second = completeness(&tenant).await;
    assert!(timestamp(&second["complete_through"]) > timestamp(&first["complete_through"]));

    for (status, behind) in [("paused", json!("paused")), ("active", Value::Null)] {
        let path = format!("/v1/connections/{connection}");
        let body = json!({ "status": status });
        let response = tenant
            .request(reqwest::Method::PATCH, &path, Some(&body))
            .await;
        assert!(response.status().is_success(), "{}", response.status());
        system.drain().await;
        // Transactions of other tests in the same cluster may hold the feed back.
        tests::harness::eventually("the status shows", async || {
            completeness(&tenant).await["behind"] == behind
        })
        .await;
    }
    let fault = json!({ "target": "request", "pattern": "conversations", "effect": "status" });
    system.sim("faults", fault).await;
    tenant.poll().await;
    tests::harness::eventually("a failing read shows", async || {
        completeness(&tenant).await["behind"] == "failing"
    })
    .await;
    let other = tenant.get("/v1/signals?source=github").await;
    assert_eq!(other["completeness"]["total"], 0, "filters leave none");
}

#[tokio::test(flavor = "multi_thread")]
async fn cursor_of_older_generation_is_gone() {
    let system = System::with_fast_provider().start().await;
    let tenant = system.tenant("Acme").await;
    let page = tenant.get("/v1/signals").await;
    let cursor = page["next_cursor"]
        .as_str()
        .expect("always present")
        .to_owned();
    sqlx::query("INSERT INTO feed_generations SELECT 2, system_identifier FROM feed_generations")
        .execute(system.db.pool())
        .await
        .expect("a new generation");
    let path = format!("/v1/signals?cursor={cursor}");
    let response = tenant.request(reqwest::Method::GET, &path, None).await;
    assert_eq!(response.status().as_u16(), 410);
    let problem: Value = response.json().await.expect("problem+json");
    assert_eq!(problem["code"], "cursor_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_cursor_is_rejected() {
    let system = System::with_fast_provider().start().await;
    let (tenant, other) = (system.tenant("Acme").await, system.tenant("Globex").await);
    let page = tenant.get("/v1/signals").await;
    let path = format!(
        "/v1/signals?cursor={}",
        page["next_cursor"].as_str().expect("present")
    );
    let response = other.request(reqwest::Method::GET, &path, None).await;
    assert_eq!(
        response.status().as_u16(),
        404,
        "like any object of another tenant"
    );
}
