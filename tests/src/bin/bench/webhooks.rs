//! Rows about webhooks: acknowledged per second, how soon, and how soon they are in the feed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use tests::harness::{System, Tenant};

use crate::installation;
use crate::load::{self, Webhooks};
use crate::pgbench::Pgbench;
use crate::report::{Beside, Row, milliseconds};

/// How a plain insert may compress its body: as our settings say, and as PostgreSQL does where
/// nobody has said anything.
const COMPRESSIONS: [(&str, &str, &str); 2] = [
    ("default", "pgbench jsonb inserts, 32 clients", "2x"),
    (
        "pglz",
        "pgbench jsonb inserts, PostgreSQL's own compression",
        "",
    ),
];

/// Signed webhooks acknowledged per second by one ingress; no worker runs.
pub(crate) async fn acknowledged(pgbench: &Pgbench) -> anyhow::Result<Vec<Row>> {
    let system = installation::fast().workers(0).start().await;
    let tenant = system.tenant("Bench").await;
    let webhooks = Arc::new(Webhooks::prepare(&system, &tenant).await?);
    let example = webhooks.example();
    eprintln!("  a body has {} bytes", example.len());
    let (_, ours) = load::closed(webhooks, pgbench.seconds).await?;
    let mut row = Row::new("webhooks acknowledged", "/s, 64 connections", ours, "");
    for (compression, what, target) in COMPRESSIONS {
        let plain = plain_inserts(&system, pgbench, compression, &example).await?;
        row = row.beside(Beside::new(what, plain, target));
    }
    Ok(vec![row])
}

/// Commits of single rows with the same body, each for itself.
async fn plain_inserts(
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

/// How soon a webhook is acknowledged at a thousand per second; one worker runs.
pub(crate) async fn acknowledgement(seconds: u32) -> anyhow::Result<Vec<Row>> {
    let system = installation::fast().start().await;
    let tenant = system.tenant("Bench").await;
    let webhooks = Arc::new(Webhooks::prepare(&system, &tenant).await?);
    let took = load::open(webhooks, 1000, seconds).await?.acknowledged;
    Ok(vec![
        Row::new(
            "acknowledgement at 1,000/s, p50",
            "ms",
            milliseconds(&took, 50),
            "5",
        ),
        Row::new(
            "acknowledgement at 1,000/s, p99",
            "ms",
            milliseconds(&took, 99),
            "50",
        ),
    ])
}

/// How soon a webhook's Signal can be read at five hundred per second.
pub(crate) async fn to_feed(seconds: u32) -> anyhow::Result<Vec<Row>> {
    const RATE: u32 = 500;
    let system = installation::fast().start().await;
    let tenant = system.tenant("Bench").await;
    let webhooks = Arc::new(Webhooks::prepare(&system, &tenant).await?);
    let count = usize::try_from(RATE * seconds)?;
    let (sent, seen) = tokio::join!(
        load::open(webhooks, RATE, seconds),
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
    Ok(vec![
        Row::new(
            "webhook to feed at 500/s, p50",
            "ms",
            milliseconds(&took, 50),
            "20",
        ),
        Row::new(
            "webhook to feed at 500/s, p99",
            "ms",
            milliseconds(&took, 99),
            "100",
        ),
    ])
}

/// Webhooks per second that have become Signals, while they come as fast as they are acknowledged.
pub(crate) async fn sustained(seconds: u32) -> anyhow::Result<Vec<Row>> {
    let system = installation::fast().start().await;
    let tenant = system.tenant("Bench").await;
    let webhooks = Arc::new(Webhooks::prepare(&system, &tenant).await?);
    let started = Instant::now();
    let (sent, acknowledged) = load::closed(webhooks, seconds).await?;
    load::worked_off(system.db.pool()).await?;
    let took = started.elapsed().as_secs_f64();
    eprintln!("  {acknowledged:.0}/s were acknowledged; the last was a Signal after {took:.1} s");
    Ok(vec![Row::new(
        "webhooks to Signals, everything at once",
        "/s, 64 connections",
        f64::from(sent) / took,
        "6000",
    )])
}

/// Polls the feed until `count` Signals of the load were seen, or patience ends.
pub(crate) async fn follow(
    tenant: &Tenant<'_>,
    count: usize,
    patience: Duration,
) -> HashMap<u64, Instant> {
    let deadline = Instant::now() + patience;
    let (mut cursor, mut seen) = (String::new(), HashMap::new());
    while seen.len() < count && Instant::now() < deadline {
        let page = tenant.get(&format!("/v1/signals?limit=200{cursor}")).await;
        let now = Instant::now();
        let signals = page["signals"].as_array().into_iter().flatten();
        for number in
            signals.filter_map(|signal| load::number_of(signal["subject"]["id"].as_str()?))
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
