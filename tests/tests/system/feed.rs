//! The feed has no holes: 8 writers, delays, rollbacks, and a reader that follows.

use std::collections::HashSet;

use serde_json::{Value, json};
use tests::harness::{System, Tenant, write_signals};

const WRITERS: u64 = 8;

async fn page(tenant: &Tenant<'_>, cursor: &mut Option<String>, seen: &mut Vec<String>) -> usize {
    let after = cursor
        .as_ref()
        .map(|cursor| format!("&cursor={cursor}"))
        .unwrap_or_default();
    let page = tenant.get(&format!("/v1/signals?limit=7{after}")).await;
    *cursor = page["next_cursor"].as_str().map(str::to_owned);
    let signals = page["signals"].as_array().expect("a list");
    seen.extend(
        signals
            .iter()
            .filter_map(|signal| signal["id"].as_str())
            .map(str::to_owned),
    );
    signals.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_every_signal_exactly_once() {
    let system = System::builder().start().await;
    let tenant = system.tenant("Acme").await;
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(8)
        .connect(system.db.url())
        .await
        .expect("Postgres answers");
    let writers: Vec<_> = (0..WRITERS)
        .map(|seed| tokio::spawn(write_signals(pool.clone(), tenant.id, seed)))
        .collect();
    let (mut cursor, mut seen) = (None, Vec::new());
    while writers.iter().any(|writer| !writer.is_finished()) {
        page(&tenant, &mut cursor, &mut seen).await;
    }
    let mut committed = HashSet::new();
    for writer in writers {
        committed.extend(writer.await.expect("a writer"));
    }
    tests::harness::eventually("the reader is at the end", async || {
        while page(&tenant, &mut cursor, &mut seen).await > 0 {}
        seen.len() >= committed.len()
    })
    .await;
    let distinct: HashSet<String> = seen.iter().cloned().collect();
    assert_eq!(distinct.len(), seen.len(), "nothing twice");
    assert_eq!(distinct, committed, "nothing missing, nothing rolled back");
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_ids_are_ordered_as_numbers() {
    let system = System::builder().start().await;
    let tenant = system.tenant("Acme").await;
    write_signals(system.db.pool().clone(), tenant.id, 1).await;
    // A few of them get ids of fewer digits than the others.
    sqlx::query("UPDATE signals SET tx_id = (seq % 120)::text::xid8")
        .execute(system.db.pool())
        .await
        .expect("moved");
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM signals")
        .fetch_one(system.db.pool())
        .await
        .expect("Postgres answers");
    let stored = usize::try_from(stored).expect("a count");
    assert_eq!(tenant.feed().await.len(), stored);
    let (mut cursor, mut seen) = (None, Vec::new());
    while page(&tenant, &mut cursor, &mut seen).await > 0 {}
    assert_eq!(seen.len(), stored, "page by page, seven at a time");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_passed_over_is_not_read_again() {
    let system = System::builder().start().await;
    let tenant = system.tenant("Acme").await;
    let committed = write_signals(system.db.pool().clone(), tenant.id, 1).await;
    tests::harness::eventually("everything is settled", async || {
        tenant.feed().await.len() == committed.len()
    })
    .await;
    let empty = tenant.get("/v1/signals?kind=pr_merged").await;
    assert_eq!(empty["signals"], json!([]));
    assert_eq!(empty["has_more"], false);
    let cursor = empty["next_cursor"].as_str().expect("always present");
    // The same place without the filter: behind everything.
    let rest = tenant.get(&format!("/v1/signals?cursor={cursor}")).await;
    assert_eq!(rest["signals"], json!([]), "the cursor stayed behind");
    let news = write_signals(system.db.pool().clone(), tenant.id, 2).await;
    let (mut cursor, mut seen) = (Some(cursor.to_owned()), Vec::new());
    tests::harness::eventually("the news are in the feed", async || {
        while page(&tenant, &mut cursor, &mut seen).await > 0 {}
        seen.len() >= news.len()
    })
    .await;
    assert_eq!(seen.iter().collect::<HashSet<_>>(), news.iter().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_an_older_generation_is_410() {
    let system = System::builder().start().await;
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
    let answer = tenant.request(reqwest::Method::GET, &path, None).await;
    assert_eq!(answer.status().as_u16(), 410);
    let problem: Value = answer.json().await.expect("problem+json");
    assert_eq!(problem["code"], "cursor_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_cursor_is_refused() {
    let system = System::builder().start().await;
    let (tenant, other) = (system.tenant("Acme").await, system.tenant("Globex").await);
    let page = tenant.get("/v1/signals").await;
    let path = format!(
        "/v1/signals?cursor={}",
        page["next_cursor"].as_str().expect("present")
    );
    let answer = other.request(reqwest::Method::GET, &path, None).await;
    assert_eq!(
        answer.status().as_u16(),
        404,
        "as any object of another tenant"
    );
}
