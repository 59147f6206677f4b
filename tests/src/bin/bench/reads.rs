//! The row about reading: pages of the feed, anywhere in it, by 16 readers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use sqlx::PgPool;
use tests::harness::{System, Tenant};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::line::Line;
use crate::pgbench::Pgbench;
use crate::report::{Beside, Row, milliseconds};

const READERS: usize = 16;
/// Signals of one transaction.
const CHUNK: u32 = 1000;
/// Transactions that write at the same time before anybody reads.
const WRITERS: usize = 2;

/// The statement behind a page, without policies, JSON and HTTP.
const PLAIN_PAGE: &str = "\\set at random(1, :top)\n\
     SELECT id, source, kind, occurred_at, received_at, body FROM signals \
     WHERE tenant_id = :tenant::uuid AND (tx_id, seq) > (:first::text::xid8, :at::bigint) \
     ORDER BY tx_id, seq LIMIT 50;\n";

/// How long each page took, of 50 Signals at random places of a feed.
async fn read_at_random(
    system: &System,
    tenant: &Tenant<'_>,
    signals: u32,
    seconds: u32,
) -> anyhow::Result<Vec<Duration>> {
    fill(system.db.pool(), tenant.id, signals).await?;
    let cursors = Arc::new(places(tenant).await);
    eprintln!("  reading at {} places", cursors.len());
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (cursors, key) = (Arc::clone(&cursors), tenant.key.clone());
        let host = system.api.trim_start_matches("http://").to_owned();
        readers.spawn(async move {
            let mut line = Line::open(&host).await?;
            let mut took = Vec::new();
            while Instant::now() < end {
                let cursor = &cursors[rand::random_range(0..cursors.len())];
                let request = format!(
                    "GET /v1/signals?limit=50&cursor={cursor} HTTP/1.1\r\nhost: {host}\r\n\
                     authorization: Bearer {key}\r\n\r\n"
                );
                let started = Instant::now();
                line.send(request.as_bytes()).await?;
                took.push(started.elapsed());
            }
            anyhow::Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(of_one) = readers.join_next().await {
        took.extend(of_one??);
    }
    Ok(took)
}

fn per_second(pages: usize, seconds: u32) -> anyhow::Result<f64> {
    Ok(f64::from(u32::try_from(pages)?) / f64::from(seconds))
}

/// Pages per second of a feed of so many Signals, and how long they took.
pub(crate) async fn sample(signals: u32, seconds: u32) -> anyhow::Result<(f64, Vec<Duration>)> {
    let system = System::builder().outside().workers(0).start().await;
    let tenant = system.tenant("Bench").await;
    let took = read_at_random(&system, &tenant, signals, seconds).await?;
    Ok((per_second(took.len(), seconds)?, took))
}

/// Pages of 50 at random places, and how long they took.
pub(crate) async fn pages(pgbench: &Pgbench, signals: u32) -> anyhow::Result<Vec<Row>> {
    let system = System::builder().outside().workers(0).start().await;
    let tenant = system.tenant("Bench").await;
    let took = read_at_random(&system, &tenant, signals, pgbench.seconds).await?;
    let rate = per_second(took.len(), pgbench.seconds)?;
    let first: String = sqlx::query_scalar("SELECT min(tx_id)::text FROM signals")
        .fetch_one(system.db.pool())
        .await?;
    let variables = [
        ("tenant", tenant.id.to_string()),
        ("first", first),
        ("top", CHUNK.to_string()),
    ];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let clients = u32::try_from(READERS)?;
    let plain = pgbench
        .run(system.db.url(), clients, PLAIN_PAGE, &variables)
        .await?;
    Ok(vec![
        Row::new("pages of the feed", "/s, 50 Signals, 16 readers", rate, "").beside(Beside::new(
            "pgbench, the statement alone, 16 clients",
            plain,
            "",
        )),
        Row::new("page of the feed, p50", "ms", milliseconds(&took, 50), ""),
        Row::new(
            "page of the feed, p95",
            "ms",
            milliseconds(&took, 95),
            "10 (at 10 million)",
        ),
    ])
}

async fn fill(pool: &PgPool, tenant: Uuid, signals: u32) -> anyhow::Result<()> {
    eprintln!("  writing {signals} Signals");
    let mut chunks = stream::iter(0..signals / CHUNK)
        .map(|chunk| write(pool, tenant, chunk))
        .buffer_unordered(WRITERS);
    while chunks.try_next().await?.is_some() {}
    sqlx::query("VACUUM ANALYZE signals").execute(pool).await?;
    Ok(())
}

async fn write(pool: &PgPool, tenant: Uuid, chunk: u32) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO signals (tenant_id, id, connection_id, source, kind, dedupe_key, \
             occurred_at, received_at, schema_version, body, raw) \
         SELECT $1, gen_random_uuid(), $1, 'github', 'issue_created', 'issue:' || $2 || ':' || n, \
             now() - n * interval '1 second', now(), 1, \
             json_build_object('actor', json_build_object('id', n::text, 'name', 'octocat', 'type', 'user'), \
                 'subject', json_build_object('type', 'issue', 'id', n::text, 'key', 'octo/repo#' || n, \
                     'title', 'Something that happened', 'url', 'https://example.com/octo/repo/issues/' || n), \
                 'context', json_build_object('type', 'repository', 'id', '1', 'name', 'octo/repo'), \
                 'normalized', json_build_object('number', n, 'state', 'open', 'labels', '[]'::json)), \
             json_build_object('id', n, 'body', repeat('some words ', 100)) \
         FROM generate_series(1, $3) n",
    )
    .bind(tenant)
    .bind(i64::from(chunk))
    .bind(i64::from(CHUNK))
    .execute(pool)
    .await?;
    Ok(())
}

/// Places all over a feed: where pages end that pass over everything.
async fn places(tenant: &Tenant<'_>) -> Vec<String> {
    let mut cursors: Vec<String> = Vec::new();
    loop {
        let after = cursors
            .last()
            .map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let page = tenant
            .get(&format!("/v1/signals?kind=release_published{after}"))
            .await;
        if page["has_more"] == false {
            return cursors;
        }
        cursors.extend(page["next_cursor"].as_str().map(str::to_owned));
    }
}
