//! Row `feed-reads`: pages at random positions of the feed, by 16 readers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tests::harness::{System, Tenant};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::http_client::HttpClient;
use crate::installation;
use crate::pgbench::Pgbench;
use crate::report::{Comparison, Row, percentiles};
use crate::seed::{CHUNK, seed};

const READERS: usize = 16;
/// Signal as a connector writes it.
const SIGNAL: &str = "INSERT INTO signals (tenant_id, id, connection_id, source, kind, dedupe_key, \
         occurred_at, received_at, schema_version, body, raw) \
     SELECT $1, id, $1, 'github', 'issue_created', 'issue:' || n, \
         now() - n % 1000 * interval '1 second', now(), 1, \
         json_build_object('actor', json_build_object('id', n::text, 'name', 'octocat', 'type', 'user'), \
             'subject', json_build_object('type', 'issue', 'id', n::text, 'key', 'octo/repo#' || n, \
                 'title', 'Something that happened', 'url', 'https://example.com/octo/repo/issues/' || n), \
             'context', json_build_object('type', 'repository', 'id', '1', 'name', 'octo/repo'), \
             'normalized', json_build_object('number', n, 'state', 'open', 'labels', '[]'::json)), \
         json_build_object('id', n, 'body', repeat('some words ', 100)) \
     FROM unnest($2::uuid[], $3::bigint[]) AS chunk(id, n)";

/// A page's statement without row-level security, JSON and HTTP.
const PLAIN_PAGE: &str = "\\set at random(1, :top)\n\
     SELECT id, source, kind, occurred_at, received_at, body FROM signals \
     WHERE tenant_id = :tenant::uuid AND (tx_id, seq) > (:first::text::xid8, :at::bigint) \
     ORDER BY tx_id, seq LIMIT 50;\n";

/// Feed of a tenant, and cursors of all its pages.
pub(crate) struct Feed {
    /// Address with port.
    host: String,
    tenant: Uuid,
    key: String,
    signals: u32,
    /// Cursors at the ends of pages.
    cursors: Arc<Vec<String>>,
}

impl Feed {
    /// Creates a tenant with an empty feed.
    pub(crate) async fn open(system: &System) -> Self {
        let tenant = system.tenant("Feed").await;
        Self {
            host: system.api.trim_start_matches("http://").to_owned(),
            tenant: tenant.id,
            key: tenant.key,
            signals: 0,
            cursors: Arc::default(),
        }
    }

    /// Grows the feed to this number of Signals.
    pub(crate) async fn grow(&mut self, system: &System, signals: u32) -> anyhow::Result<()> {
        let (pool, more) = (system.db.pool(), self.signals..signals);
        seed(pool, "Signals", SIGNAL, self.tenant, more).await?;
        sqlx::raw_sql("VACUUM ANALYZE signals")
            .execute(pool)
            .await?;
        self.signals = signals;
        let tenant = Tenant::new(system, self.tenant, self.key.clone());
        let mut cursors = self.cursors.to_vec();
        while let Some(cursor) = next_cursor(&tenant, cursors.last()).await {
            cursors.push(cursor);
        }
        eprintln!("  {} cursors", cursors.len());
        self.cursors = Arc::new(cursors);
        Ok(())
    }

    /// Reads pages of 50 Signals at random positions; returns the time of each.
    pub(crate) async fn read(&self, seconds: u32) -> anyhow::Result<Vec<Duration>> {
        let end = Instant::now() + Duration::from_secs(seconds.into());
        let mut readers = JoinSet::new();
        for _ in 0..READERS {
            let (cursors, key) = (Arc::clone(&self.cursors), self.key.clone());
            let host = self.host.clone();
            readers.spawn(async move {
                let mut client = HttpClient::open(&host).await?;
                let mut took = Vec::new();
                while Instant::now() < end {
                    let cursor = &cursors[rand::random_range(0..cursors.len())];
                    let request = format!(
                        "GET /v1/signals?limit=50&cursor={cursor} HTTP/1.1\r\nhost: {host}\r\n\
                         authorization: Bearer {key}\r\n\r\n"
                    );
                    let started = Instant::now();
                    client.send(request.as_bytes()).await?;
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
}

/// Cursor at the end of a page without matching Signals, unless it is the last.
async fn next_cursor(tenant: &Tenant<'_>, after: Option<&String>) -> Option<String> {
    let after = after.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
    let page = tenant
        .get(&format!("/v1/signals?kind=release_published{after}"))
        .await;
    if page["has_more"] == false {
        return None;
    }
    page["next_cursor"].as_str().map(str::to_owned)
}

/// Rate of pages that took these times.
pub(crate) fn per_second(pages: &[Duration], seconds: u32) -> anyhow::Result<f64> {
    Ok(f64::from(u32::try_from(pages.len())?) / f64::from(seconds))
}

/// Measures pages of 50 Signals at random positions.
pub(crate) async fn pages(pgbench: &Pgbench, signals: u32) -> anyhow::Result<Vec<Row>> {
    let system = installation::fast().workers(0).start().await;
    let mut feed = Feed::open(&system).await;
    feed.grow(&system, signals).await?;
    let took = feed.read(pgbench.seconds).await?;
    let rate = per_second(&took, pgbench.seconds)?;
    let first: String = sqlx::query_scalar("SELECT min(tx_id)::text FROM signals")
        .fetch_one(system.db.pool())
        .await?;
    let variables = [
        ("tenant", feed.tenant.to_string()),
        ("first", first),
        ("top", CHUNK.to_string()),
    ];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let clients = u32::try_from(READERS)?;
    let plain = pgbench
        .run(system.db.url(), clients, PLAIN_PAGE, &variables)
        .await?;
    let pages = Row::new("pages of the feed", "/s, 50 Signals, 16 readers", rate, "");
    let plain = Comparison::new("pgbench, the statement alone, 16 clients", plain, "");
    let mut rows = vec![pages.compare_with(plain)];
    let targets = [(50, ""), (95, "10 (at 10 million)")];
    rows.extend(percentiles("page of the feed", &took, targets));
    Ok(rows)
}
