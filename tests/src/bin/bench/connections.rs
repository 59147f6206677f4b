//! Row `connections`: CPU time of many connections, idle and polled, and the scheduler's lag.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use shared::db::Role;
use sqlx::PgPool;
use tests::harness::{Process, System, free_address, processor_time};

use crate::installation;
use crate::report::{Row, milliseconds};
use crate::seed::seed;

/// Number of connections over all tenants.
const CONNECTIONS: u32 = 100_000;
const TENANTS: u32 = 10;
/// Duration of the measurement while no connection is due.
const IDLE: Duration = Duration::from_secs(10);
/// Interval of reading the scheduler's lag.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Lag at which the measurement starts; earlier syncs became due while the rows were written.
const MAX_INITIAL_LAG: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_mins(1);

/// Connections that are a month old and polled every five minutes.
///
/// They are paused, which the scheduler does not check: it enqueues their runs, which end
/// immediately.
const CONNECTION: &str = "WITH chunk AS ( \
         SELECT id, n FROM unnest($2::uuid[], $3::bigint[]) AS chunk(id, n)), \
     connected AS (INSERT INTO connections (tenant_id, id, provider, status, account_id, \
             poll_interval_seconds) \
         SELECT $1, id, 'github', 'paused', n::text, 300 FROM chunk) \
     INSERT INTO connection_routes (tenant_id, connection_id, provider, account_id, exclusive, \
         polling, poll_interval_seconds, next_sync_at, routed_at) \
     SELECT $1, id, 'github', n::text, true, true, 300, now() + interval '1 day', \
         now() - interval '30 days' FROM chunk";

/// Spreads the connections over their interval: 100,000 in 300 s are 333 per second.
const SPREAD: &str = "UPDATE connection_routes \
     SET next_sync_at = now() + random() * poll_interval_seconds * interval '1 second'";

/// Age in seconds of the oldest due sync.
const LAG: &str = "SELECT coalesce(extract(epoch FROM now() - min(next_sync_at)), 0)::float8 \
     FROM connection_routes WHERE polling AND next_sync_at <= now()";

/// Measures CPU time and lag, idle and polled.
pub(crate) async fn rows(seconds: u32) -> anyhow::Result<Vec<Row>> {
    let system = installation::fast().workers(0).start().await;
    let pool = system.db.pool();
    for number in 0..TENANTS {
        let tenant = system.tenant(&format!("Team {number}")).await;
        let each = CONNECTIONS / TENANTS;
        let numbers = number * each..(number + 1) * each;
        seed(pool, "connections", CONNECTION, tenant.id, numbers).await?;
    }
    vacuum(pool).await?;
    let mut processes = system.processes().await;
    processes.start(Process::Worker, free_address()).await;
    drop(processes);
    let idle = measure_cpu(&system, tokio::time::sleep(IDLE)).await?;

    sqlx::raw_sql(SPREAD).execute(pool).await?;
    vacuum(pool).await?;
    let started = Instant::now();
    while lag(pool).await? > MAX_INITIAL_LAG && started.elapsed() < MAX_WAIT {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let mut lags = Ok(Vec::new());
    let polled = measure_cpu(&system, async { lags = measure_lag(pool, seconds).await }).await?;
    let lags = lags?;
    let lag_seconds = |percent| milliseconds(&lags, percent) / 1000.0;
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
        row("333 due/s: scheduler's lag, p50", "s", lag_seconds(50), ""),
        row(
            "333 due/s: scheduler's lag, maximum",
            "s",
            lag_seconds(100),
            "1",
        ),
        row("none due: sync-worker", processor, idle.worker, "5"),
        row(
            "none due: its PostgreSQL sessions",
            processor,
            idle.postgres,
            "",
        ),
        row("333 due/s: sync-worker", processor, polled.worker, ""),
        row(
            "333 due/s: its PostgreSQL sessions",
            processor,
            polled.postgres,
            "",
        ),
    ])
}

async fn vacuum(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::raw_sql("VACUUM ANALYZE connections, connection_routes")
        .execute(pool)
        .await?;
    sqlx::raw_sql("CHECKPOINT").execute(pool).await?;
    Ok(())
}

/// Reads the scheduler's lag.
async fn lag(pool: &PgPool) -> anyhow::Result<Duration> {
    let seconds: f64 = sqlx::query_scalar(LAG).fetch_one(pool).await?;
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads the scheduler's lag repeatedly.
async fn measure_lag(pool: &PgPool, seconds: u32) -> anyhow::Result<Vec<Duration>> {
    let runs = "SELECT count(*)::integer FROM job_history WHERE kind = 'sync_connection'";
    let before: i32 = sqlx::query_scalar(runs).fetch_one(pool).await?;
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let mut lags = Vec::new();
    while Instant::now() < end {
        lags.push(lag(pool).await?);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let after: i32 = sqlx::query_scalar(runs).fetch_one(pool).await?;
    let rate = f64::from(after - before) / f64::from(seconds);
    eprintln!("  {rate:.0} runs/s have ended");
    Ok(lags)
}

/// CPU time in percent of one processor.
struct CpuUsage {
    worker: f64,
    /// Usage of the worker's sessions in Postgres.
    postgres: f64,
}

/// Measures the CPU time of the worker and its sessions during a future.
async fn measure_cpu(
    system: &System,
    during: impl Future<Output = ()>,
) -> anyhow::Result<CpuUsage> {
    let worker = async || system.processes().await.processor_time(Process::Worker);
    let (before, sessions_before) = (worker().await, sessions(system.db.pool()).await?);
    let started = Instant::now();
    during.await;
    let took = started.elapsed().as_secs_f64();
    let mut postgres = Duration::ZERO;
    for (id, time) in sessions(system.db.pool()).await? {
        let known = sessions_before.get(&id).copied().unwrap_or_default();
        postgres += time.saturating_sub(known);
    }
    let share = |time: Duration| time.as_secs_f64() / took * 100.0;
    Ok(CpuUsage {
        worker: share(worker().await.saturating_sub(before)),
        postgres: share(postgres),
    })
}

/// CPU time of the worker's sessions by their process ids.
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
