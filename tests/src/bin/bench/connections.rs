//! Rows about a great number of connections: what they cost while none is due, and how late the
//! scheduler is while many are.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use shared::db::Role;
use sqlx::PgPool;
use tests::harness::{Process, System, free_address, processor_time};

use crate::fill::fill;
use crate::installation;
use crate::report::{Row, milliseconds};

/// Connections, of so many tenants.
const CONNECTIONS: u32 = 100_000;
const TENANTS: u32 = 10;
/// How long is looked at what they cost.
const IDLE: Duration = Duration::from_secs(10);
/// How often is looked how late the scheduler is.
const LOOK: Duration = Duration::from_millis(100);
/// What became due while the rows were written is waited for, until the scheduler is no later than
/// this, or so long.
const ON_TIME: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_mins(1);

/// They have existed for a month and are polled every five minutes. They are paused, of which the
/// scheduler does not know: it enqueues their runs, and those end as they begin.
const CONNECTION: &str = "WITH chunk AS ( \
         SELECT id, n FROM unnest($2::uuid[], $3::bigint[]) AS chunk(id, n)), \
     connected AS (INSERT INTO connections (tenant_id, id, provider, status, account_id, \
             poll_interval_seconds) \
         SELECT $1, id, 'github', 'paused', n::text, 300 FROM chunk) \
     INSERT INTO connection_routes (tenant_id, connection_id, provider, account_id, exclusive, \
         polling, poll_interval_seconds, next_sync_at, routed_at) \
     SELECT $1, id, 'github', n::text, true, true, 300, now() + interval '1 day', \
         now() - interval '30 days' FROM chunk";

/// Spreads them over their interval: a hundred thousand in 300 s are 333 a second.
const SPREAD: &str = "UPDATE connection_routes \
     SET next_sync_at = now() + random() * poll_interval_seconds * interval '1 second'";

/// What is due, and by how much.
const LATE: &str = "SELECT coalesce(extract(epoch FROM now() - min(next_sync_at)), 0)::float8 \
     FROM connection_routes WHERE polling AND next_sync_at <= now()";

/// What they cost while they are idle, and how late they are while they are polled.
pub(crate) async fn rows(seconds: u32) -> anyhow::Result<Vec<Row>> {
    let system = installation::fast().workers(0).start().await;
    let pool = system.db.pool();
    for number in 0..TENANTS {
        let tenant = system.tenant(&format!("Team {number}")).await;
        let each = CONNECTIONS / TENANTS;
        let numbers = number * each..(number + 1) * each;
        fill(pool, "connections", CONNECTION, tenant.id, numbers).await?;
    }
    clear_away(pool).await?;
    let mut processes = system.processes().await;
    processes.start(Process::Worker, free_address()).await;
    drop(processes);
    let idle = busy(&system, tokio::time::sleep(IDLE)).await?;

    sqlx::raw_sql(SPREAD).execute(pool).await?;
    clear_away(pool).await?;
    let started = Instant::now();
    while lag(pool).await? > ON_TIME && started.elapsed() < MAX_WAIT {
        tokio::time::sleep(LOOK).await;
    }
    let mut late = Ok(Vec::new());
    let polled = busy(&system, async { late = measure_lag(pool, seconds).await }).await?;
    let late = late?;
    let seconds_late = |percent| milliseconds(&late, percent) / 1000.0;
    let row = |what: &str, unit, figure, target| {
        Row::new(
            format!("{CONNECTIONS} connections, {what}"),
            unit,
            figure,
            target,
        )
    };
    let processor = "% of a processor";
    Ok(vec![
        row("333 due/s: scheduler's lag, p50", "s", seconds_late(50), ""),
        row(
            "333 due/s: scheduler's lag, most",
            "s",
            seconds_late(100),
            "1",
        ),
        row("none due: sync-worker", processor, idle.worker, "5"),
        row("none due: PostgreSQL for it", processor, idle.postgres, ""),
        row("333 due/s: sync-worker", processor, polled.worker, ""),
        row(
            "333 due/s: PostgreSQL for it",
            processor,
            polled.postgres,
            "",
        ),
    ])
}

async fn clear_away(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::raw_sql("VACUUM ANALYZE connections, connection_routes")
        .execute(pool)
        .await?;
    sqlx::raw_sql("CHECKPOINT").execute(pool).await?;
    Ok(())
}

/// How late the scheduler is.
async fn lag(pool: &PgPool) -> anyhow::Result<Duration> {
    let seconds: f64 = sqlx::query_scalar(LATE).fetch_one(pool).await?;
    Ok(Duration::from_secs_f64(seconds))
}

/// The same, looked at again and again.
async fn measure_lag(pool: &PgPool, seconds: u32) -> anyhow::Result<Vec<Duration>> {
    let runs = "SELECT count(*)::integer FROM job_history WHERE kind = 'sync_connection'";
    let before: i32 = sqlx::query_scalar(runs).fetch_one(pool).await?;
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let mut late = Vec::new();
    while Instant::now() < end {
        late.push(lag(pool).await?);
        tokio::time::sleep(LOOK).await;
    }
    let after: i32 = sqlx::query_scalar(runs).fetch_one(pool).await?;
    let rate = f64::from(after - before) / f64::from(seconds);
    eprintln!("  {rate:.0} runs/s have ended");
    Ok(late)
}

/// Per cent of one processor.
struct Busy {
    worker: f64,
    /// The sessions of this database that the worker has.
    postgres: f64,
}

/// What the worker takes meanwhile.
async fn busy(system: &System, during: impl Future<Output = ()>) -> anyhow::Result<Busy> {
    let worker = async || system.processes().await.processor_time(Process::Worker);
    let (before, sessions_before) = (worker().await, sessions(system.db.pool()).await?);
    let began = Instant::now();
    during.await;
    let took = began.elapsed().as_secs_f64();
    let mut postgres = Duration::ZERO;
    for (id, time) in sessions(system.db.pool()).await? {
        let known = sessions_before.get(&id).copied().unwrap_or_default();
        postgres += time.saturating_sub(known);
    }
    let share = |time: Duration| time.as_secs_f64() / took * 100.0;
    Ok(Busy {
        worker: share(worker().await.saturating_sub(before)),
        postgres: share(postgres),
    })
}

/// The worker's sessions by their process ids, and how long processors have worked for each.
async fn sessions(pool: &PgPool) -> anyhow::Result<HashMap<u32, Duration>> {
    let ids: Vec<i32> = sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = $1",
    )
    .bind(Role::Worker.name())
    .fetch_all(pool)
    .await?;
    let ids = ids.into_iter().map(i32::unsigned_abs);
    Ok(ids.map(|id| (id, processor_time(id))).collect())
}
