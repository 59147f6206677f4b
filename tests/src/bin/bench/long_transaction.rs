//! Row `long-transaction`: throughput while an open transaction prevents vacuum.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::{Connection, PgConnection, PgPool};
use tests::harness::System;

use crate::installation;
use crate::load::{self, Webhooks};
use crate::queue::{self, Queue};
use crate::report::{Comparison, Row, milliseconds};

/// Jobs per second while the transaction is open, added once per tick.
const CHURN: u32 = 500;
const TICK: Duration = Duration::from_millis(100);
/// Webhooks per second while the transaction is open.
const DELIVERIES: u32 = 2000;
/// Webhooks of a throughput measurement.
const BURST: u32 = 40_000;
/// Time to recover after the transaction.
const RECOVERY_SECONDS: u32 = 60;

/// Measures jobs and webhooks before, at the end of, and a minute after a long transaction.
pub(crate) async fn rows(seconds: u32) -> anyhow::Result<Vec<Row>> {
    let queue = Arc::new(Queue::open().await?);
    let before = queue::measure_capacity(&queue).await?;
    let transaction = open_transaction(queue.url()).await?;
    eprintln!("  {CHURN} jobs/s for {seconds} s with an open transaction");
    churn(&queue, Duration::from_secs(seconds.into())).await?;
    let during = queue::measure_capacity(&queue).await?;
    eprintln!("  {} dead rows", dead_rows(queue.pool()).await?);
    transaction.close().await?;
    churn(&queue, Duration::from_secs(RECOVERY_SECONDS.into())).await?;
    let after = queue::measure_capacity(&queue).await?;
    let mut rows = compare("jobs", before, during, after);

    let system = installation::fast().start().await;
    let tenant = system.tenant("Bench").await;
    let webhooks = Arc::new(Webhooks::prepare(&system, &tenant).await?);
    let measure = || measure_webhooks(&system, &webhooks);
    let before = measure().await?;
    let (start, dead) = (Instant::now(), dead_rows(system.db.pool()).await?);
    let transaction = open_transaction(system.db.url()).await?;
    eprintln!("  {DELIVERIES} webhooks/s for {seconds} s with an open transaction");
    let load = load::open_loop(Arc::clone(&webhooks), DELIVERIES, seconds).await?;
    let during = measure().await?;
    let dead = dead_rows(system.db.pool()).await? - dead;
    eprintln!("  {dead} dead rows after {:?}", start.elapsed());
    transaction.close().await?;
    load::open_loop(Arc::clone(&webhooks), DELIVERIES, RECOVERY_SECONDS).await?;
    let after = measure().await?;
    eprintln!(
        "  {} dead rows a minute later",
        dead_rows(system.db.pool()).await?
    );
    let delivered = f64::from(DELIVERIES * seconds + BURST);
    rows.extend(compare("webhooks to Signals", before, during, after));
    rows.extend([
        Row::new(
            "acknowledgement at 2,000/s meanwhile, p99",
            "ms",
            milliseconds(&load.acknowledged, 99),
            "",
        ),
        Row::new(
            "dead rows meanwhile",
            "per webhook",
            f64::from(i32::try_from(dead)?) / delivered,
            "",
        ),
    ]);
    Ok(rows)
}

/// Opens a transaction, which ends with its session.
async fn open_transaction(url: &str) -> anyhow::Result<PgConnection> {
    let mut session = PgConnection::connect(url).await?;
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()")
        .execute(&mut session)
        .await?;
    Ok(session)
}

/// Counts the dead rows of all tables.
async fn dead_rows(pool: &PgPool) -> anyhow::Result<i64> {
    sqlx::query_scalar("SELECT sum(n_dead_tup)::bigint FROM pg_stat_user_tables")
        .fetch_one(pool)
        .await
        .context("failed to count dead rows")
}

fn compare(what: &str, before: f64, during: f64, after: f64) -> Vec<Row> {
    let row = |when, figure, target| {
        Row::new(format!("{what}, {when}"), "/s", figure, "")
            .compare_with(Comparison::new("before", before, target))
    };
    vec![
        row("during a long transaction", during, "0.9x"),
        row("a minute after it", after, "1x"),
    ]
}

/// Sends a burst and returns how many webhooks per second became Signals.
async fn measure_webhooks(system: &System, webhooks: &Arc<Webhooks>) -> anyhow::Result<f64> {
    let started = Instant::now();
    load::burst(Arc::clone(webhooks), BURST).await?;
    load::wait_until_drained(system.db.pool()).await?;
    Ok(f64::from(BURST) / started.elapsed().as_secs_f64())
}

/// Enqueues and runs jobs at a steady pace.
async fn churn(queue: &Arc<Queue>, duration: Duration) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(TICK);
    let end = Instant::now() + duration;
    while Instant::now() < end {
        ticks.tick().await;
        queue.heartbeat().await?;
        queue::enqueue_many(queue, CHURN / 10).await?;
        queue::run_waiting(queue).await?;
    }
    Ok(())
}
