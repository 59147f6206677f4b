//! Rows about what piles up: the same work beside nothing and beside much that is done, and while
//! a transaction that somebody left open keeps what is dead from being cleared away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::{Connection, PgConnection, PgPool};
use tests::harness::System;

use crate::load::{self, Webhooks};
use crate::queue::{self, Queue};
use crate::reads;
use crate::report::{Beside, Row};

/// Jobs a second while the transaction is open, added so many at a time.
const CHURN: u32 = 500;
const TICK: Duration = Duration::from_millis(100);
/// Signals of a feed that is small.
const FEW: u32 = 10_000;

/// Jobs, webhooks and pages of the feed, each beside `rows` that are done and beside none.
pub(crate) async fn rows(rows: u32, seconds: u32) -> anyhow::Result<Vec<Row>> {
    let queue = Arc::new(Queue::open().await?);
    let before = capacity(&queue).await?;
    finish_jobs(queue.pool(), rows).await?;
    let after = capacity(&queue).await?;
    let mut table = vec![compared("jobs, beside many that are done", after, before)];

    let before = acknowledged(0, seconds).await?;
    let after = acknowledged(rows, seconds).await?;
    table.push(compared(
        "webhooks, beside many that are filed",
        after,
        before,
    ));

    let before = reads::rate(FEW, seconds).await?;
    let after = reads::rate(rows, seconds).await?;
    table.push(compared("pages of a long feed", after, before));
    Ok(table)
}

fn compared(name: &str, after: f64, before: f64) -> Row {
    Row::new(name, "/s", after, "").beside(Beside::new("where there are few", before, "1x"))
}

/// Jobs per second when there is much to do.
async fn capacity(queue: &Arc<Queue>) -> anyhow::Result<f64> {
    queue::fill(queue, queue::JOBS).await?;
    let started = Instant::now();
    queue::work(queue).await?;
    Ok(f64::from(queue::JOBS) / started.elapsed().as_secs_f64())
}

async fn finish_jobs(pool: &PgPool, rows: u32) -> anyhow::Result<()> {
    eprintln!("  writing {rows} finished jobs");
    sqlx::query(
        "INSERT INTO job_history (tenant_id, id, kind, provider, state, priority, attempts, \
             max_attempts, payload, created_at) \
         SELECT gen_random_uuid(), gen_random_uuid(), 'sweep_deliveries', 'any', 'succeeded', 60, \
             1, 3, '{\"kind\":\"sweep_deliveries\"}', now() \
         FROM generate_series(1, $1)",
    )
    .bind(i32::try_from(rows)?)
    .execute(pool)
    .await?;
    sqlx::raw_sql("VACUUM ANALYZE job_history")
        .execute(pool)
        .await?;
    Ok(())
}

/// Webhooks acknowledged per second beside so many that were filed.
async fn acknowledged(rows: u32, seconds: u32) -> anyhow::Result<f64> {
    let system = System::builder().outside().workers(0).start().await;
    let tenant = system.tenant("Bench").await;
    let webhooks = Arc::new(Webhooks::prepare(&system, &tenant).await?);
    if rows > 0 {
        eprintln!("  writing {rows} filed deliveries");
        sqlx::query(
            "WITH filed AS (INSERT INTO delivery_ledger \
                 SELECT $1, 'github', gen_random_uuid()::text, now() FROM generate_series(1, $2) \
                 RETURNING *) \
             INSERT INTO deliveries (tenant_id, received_at, id, provider, dedupe_id, event, \
                 headers, body, outcome) \
             SELECT tenant_id, received_at, gen_random_uuid(), provider, dedupe_id, 'issues', \
                 '{}', '\\x7b7d', 'processed' FROM filed",
        )
        .bind(tenant.id)
        .bind(i32::try_from(rows)?)
        .execute(system.db.pool())
        .await?;
        sqlx::raw_sql("VACUUM ANALYZE deliveries, delivery_ledger")
            .execute(system.db.pool())
            .await?;
    }
    load::closed(webhooks, seconds).await
}

/// The queue before, at the end of, and a minute after a transaction that was left open.
pub(crate) async fn held_open(seconds: u32) -> anyhow::Result<Vec<Row>> {
    let queue = Arc::new(Queue::open().await?);
    let before = capacity(&queue).await?;
    let mut elsewhere = PgConnection::connect(queue.url()).await?;
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()")
        .execute(&mut elsewhere)
        .await?;
    eprintln!("  {CHURN} jobs/s for {seconds} s beside an open transaction");
    churn(&queue, Duration::from_secs(seconds.into())).await?;
    let during = capacity(&queue).await?;
    let dead: i64 =
        sqlx::query_scalar("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'jobs'")
            .fetch_optional(queue.pool())
            .await?
            .context("the table is counted")?;
    eprintln!("  {dead} dead rows of jobs");
    sqlx::raw_sql("ROLLBACK").execute(&mut elsewhere).await?;
    churn(&queue, Duration::from_mins(1)).await?;
    let after = capacity(&queue).await?;
    let row = |name, figure, target| {
        Row::new(name, "/s", figure, "").beside(Beside::new("before it", before, target))
    };
    Ok(vec![
        row("jobs, a transaction is open elsewhere", during, "0.9x"),
        row("jobs, a minute after it has ended", after, "1x"),
    ])
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
