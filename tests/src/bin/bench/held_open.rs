//! Rows about a transaction that somebody left open, which keeps what is dead from being cleared
//! away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::{Connection, PgConnection, PgPool};
use tests::harness::System;

use crate::installation;
use crate::load::{self, Webhooks};
use crate::queue::{self, Queue};
use crate::report::{Beside, Row, milliseconds};

/// Jobs a second while the transaction is open, added so many at a time.
const CHURN: u32 = 500;
const TICK: Duration = Duration::from_millis(100);
/// Webhooks a second while the transaction is open, and as many as are sent at once.
const DELIVERIES: u32 = 2000;
const BURST: u32 = 40_000;
/// How long after it things are to be as they were.
const RECOVERY_SECONDS: u32 = 60;

/// The queue before, at the end of, and a minute after a transaction that was left open.
pub(crate) async fn rows(seconds: u32) -> anyhow::Result<Vec<Row>> {
    let queue = Arc::new(Queue::open().await?);
    let before = queue::capacity(&queue).await?;
    let elsewhere = leave_open(queue.url()).await?;
    eprintln!("  {CHURN} jobs/s for {seconds} s beside an open transaction");
    churn(&queue, Duration::from_secs(seconds.into())).await?;
    let during = queue::capacity(&queue).await?;
    eprintln!("  {} dead rows", dead_rows(queue.pool()).await?);
    elsewhere.close().await?;
    churn(&queue, Duration::from_secs(RECOVERY_SECONDS.into())).await?;
    let after = queue::capacity(&queue).await?;
    let mut rows = beside("jobs", before, during, after);

    let system = installation::fast().start().await;
    let tenant = system.tenant("Bench").await;
    let webhooks = Arc::new(Webhooks::prepare(&system, &tenant).await?);
    let through = || to_signals(&system, &webhooks);
    let before = through().await?;
    let (start, dead) = (Instant::now(), dead_rows(system.db.pool()).await?);
    let elsewhere = leave_open(system.db.url()).await?;
    eprintln!("  {DELIVERIES} webhooks/s for {seconds} s beside an open transaction");
    let took = load::open(Arc::clone(&webhooks), DELIVERIES, seconds).await?;
    let during = through().await?;
    let dead = dead_rows(system.db.pool()).await? - dead;
    eprintln!("  {dead} dead rows after {:?}", start.elapsed());
    elsewhere.close().await?;
    load::open(Arc::clone(&webhooks), DELIVERIES, RECOVERY_SECONDS).await?;
    let after = through().await?;
    eprintln!(
        "  {} dead rows a minute later",
        dead_rows(system.db.pool()).await?
    );
    let delivered = f64::from(DELIVERIES * seconds + BURST);
    rows.extend(beside("webhooks to Signals", before, during, after));
    rows.extend([
        Row::new(
            "acknowledgement at 2,000/s meanwhile, p99",
            "ms",
            milliseconds(&took.acknowledged, 99),
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

/// A transaction that somebody forgot; it ends with its connection.
async fn leave_open(url: &str) -> anyhow::Result<PgConnection> {
    let mut elsewhere = PgConnection::connect(url).await?;
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()")
        .execute(&mut elsewhere)
        .await?;
    Ok(elsewhere)
}

/// Rows that are dead and not cleared away, of all tables.
async fn dead_rows(pool: &PgPool) -> anyhow::Result<i64> {
    sqlx::query_scalar("SELECT sum(n_dead_tup)::bigint FROM pg_stat_user_tables")
        .fetch_one(pool)
        .await
        .context("the tables are counted")
}

fn beside(what: &str, before: f64, during: f64, after: f64) -> Vec<Row> {
    let row = |when, figure, target| {
        Row::new(format!("{what}, {when}"), "/s", figure, "").beside(Beside::new(
            "before it",
            before,
            target,
        ))
    };
    vec![
        row("a transaction is open elsewhere", during, "0.9x"),
        row("a minute after it has ended", after, "1x"),
    ]
}

/// Webhooks per second that became Signals: as many as are sent at once, until the last is there.
async fn to_signals(system: &System, webhooks: &Arc<Webhooks>) -> anyhow::Result<f64> {
    let started = Instant::now();
    load::burst(Arc::clone(webhooks), BURST).await?;
    load::worked_off(system.db.pool()).await?;
    Ok(f64::from(BURST) / started.elapsed().as_secs_f64())
}

/// Jobs come and are done at a steady pace.
async fn churn(queue: &Arc<Queue>, lasts: Duration) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(TICK);
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        ticks.tick().await;
        queue.stay().await?;
        queue::add_many(queue, CHURN / 10).await?;
        queue::work(queue).await?;
    }
    Ok(())
}
