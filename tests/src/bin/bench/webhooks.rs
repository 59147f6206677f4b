//! Rows `ingress`, `ack-latency`, `to-feed` and `sustained`: webhook throughput and latency.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use tests::harness::{System, Tenant};

use crate::installation;
use crate::load::{self, Webhooks};
use crate::pgbench::Pgbench;
use crate::report::{Comparison, Row, percentiles};

/// Compressions of the plain inserts: that of our settings, and PostgreSQL's default.
const COMPRESSIONS: [(&str, &str, &str); 2] = [
    ("default", "pgbench jsonb inserts, 32 clients", "2x"),
    (
        "pglz",
        "pgbench jsonb inserts, PostgreSQL's own compression",
        "",
    ),
];

/// Measures webhooks acknowledged per second by one ingress, without a worker.
pub(crate) async fn acknowledged(pgbench: &Pgbench) -> anyhow::Result<Vec<Row>> {
    let system = installation::fast().workers(0).start().await;
    let tenant = system.tenant("Bench").await;
    let webhooks = Arc::new(Webhooks::prepare(&system, &tenant).await?);
    let example = webhooks.example();
    eprintln!("  a body has {} bytes", example.len());
    let (_, ours) = load::closed_loop(webhooks, pgbench.seconds).await?;
    let mut row = Row::new("webhooks acknowledged", "/s, 64 sockets", ours, "");
    for (compression, what, target) in COMPRESSIONS {
        let plain = measure_plain_inserts(&system, pgbench, compression, &example).await?;
        row = row.compare_with(Comparison::new(what, plain, target));
    }
    Ok(vec![row])
}

/// Measures commits of single rows with the same body.
async fn measure_plain_inserts(
    system: &System,
    pgbench: &Pgbench,
    compression: &str,
    body: &str,
) -> anyhow::Result<f64> {
    let table = format!(
        "CREATE TABLE plain_{compression} \
         (id bigserial PRIMARY KEY, body jsonb COMPRESSION {compression} NOT NULL)"
    );
    sqlx::query(AssertSqlSafe(table))
        .execute(system.db.pool())
        .await?;
    let insert = format!("INSERT INTO plain_{compression} (body) VALUES (:body);\n");
    pgbench
        .run(system.db.url(), 32, &insert, &[("body", body)])
        .await
}

/// Measures the latency of acknowledgements at 1,000 per second, with one worker.
pub(crate) async fn ack_latency(seconds: u32) -> anyhow::Result<Vec<Row>> {
    let system = installation::fast().start().await;
    let tenant = system.tenant("Bench").await;
    let webhooks = Arc::new(Webhooks::prepare(&system, &tenant).await?);
    let took = load::open_loop(webhooks, 1000, seconds).await?.acknowledged;
    let name = "acknowledgement at 1,000/s";
    Ok(percentiles(name, &took, [(50, "5"), (99, "50")]).into())
}

/// Measures the latency from webhook to feed at 500 per second.
pub(crate) async fn to_feed(seconds: u32) -> anyhow::Result<Vec<Row>> {
    const RATE: u32 = 500;
    let system = installation::fast().start().await;
    let tenant = system.tenant("Bench").await;
    let webhooks = Arc::new(Webhooks::prepare(&system, &tenant).await?);
    let count = usize::try_from(RATE * seconds)?;
    let (sent, seen) = tokio::join!(
        load::open_loop(webhooks, RATE, seconds),
        follow(&tenant, count, Duration::from_secs(u64::from(seconds) + 30)),
    );
    let started = sent?.started;
    let took: Vec<Duration> = seen
        .iter()
        .map(|(number, at)| at.saturating_duration_since(load::due(started, *number, RATE)))
        .collect();
    if took.len() < count {
        eprintln!("  only {} of {count} Signals were seen", took.len());
    }
    let name = "webhook to feed at 500/s";
    Ok(percentiles(name, &took, [(50, "20"), (99, "100")]).into())
}

/// Measures webhooks per second that become Signals under a closed-loop load.
pub(crate) async fn sustained(seconds: u32) -> anyhow::Result<Vec<Row>> {
    let system = installation::fast().start().await;
    let tenant = system.tenant("Bench").await;
    let webhooks = Arc::new(Webhooks::prepare(&system, &tenant).await?);
    let started = Instant::now();
    let (sent, acknowledged) = load::closed_loop(webhooks, seconds).await?;
    load::wait_until_drained(system.db.pool()).await?;
    let took = started.elapsed().as_secs_f64();
    eprintln!("  {acknowledged:.0}/s acknowledged; all were Signals after {took:.1} s");
    Ok(vec![Row::new(
        "webhooks to Signals, everything at once",
        "/s, 64 sockets",
        f64::from(sent) / took,
        "6000",
    )])
}

/// Polls the feed until it has `count` Signals of the load or the time is up.
pub(crate) async fn follow(
    tenant: &Tenant<'_>,
    count: usize,
    timeout: Duration,
) -> HashMap<u64, Instant> {
    let deadline = Instant::now() + timeout;
    let (mut cursor, mut seen) = (String::new(), HashMap::new());
    while seen.len() < count && Instant::now() < deadline {
        let page = tenant.get(&format!("/v1/signals?limit=200{cursor}")).await;
        let now = Instant::now();
        let signals = page["signals"].as_array().into_iter().flatten();
        for number in
            signals.filter_map(|signal| load::delivery_number(signal["subject"]["id"].as_str()?))
        {
            seen.entry(number).or_insert(now);
        }
        if let Some(next) = page["next_cursor"].as_str() {
            cursor = format!("&cursor={next}");
        }
        if page["has_more"] == false {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    seen
}
