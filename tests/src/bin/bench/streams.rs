//! Rows about streams that stay open: whether readers of another tenant notice them, and what they
//! ask of PostgreSQL.

use std::time::Duration;

use sqlx::PgPool;
use tests::harness::{Cluster, Process, System, SystemBuilder, Tenant, TestDb, write_signals};
use tokio::task::JoinSet;

use crate::installation;
use crate::line::Line;
use crate::reads::Feed;
use crate::report::{Beside, Row, milliseconds};

/// Streams that one key of one tenant asks for.
const STREAMS: usize = 1000;
/// How long streams are left alone before they are measured.
const SETTLE: Duration = Duration::from_secs(3);
/// Between two Signals that all streams are sent.
const SIGNAL_INTERVAL: Duration = Duration::from_secs(1);
const WITHOUT: &str = "without them";

/// Pages of one tenant's feed beside another tenant's streams, and the statements of idle ones.
pub(crate) async fn rows(seconds: u32, signals: u32) -> anyhow::Result<Vec<Row>> {
    let (admitted, mut rows) = pages(installation::fast(), seconds, signals).await?;
    rows.push(Row::new(
        "streams of a key that default settings admit",
        "of 1,000",
        f64::from(u32::try_from(admitted)?),
        "",
    ));
    if admitted < STREAMS {
        rows.extend(pages(without_limit(), seconds, signals).await?.1);
    }
    rows.extend(statements(seconds).await?);
    Ok(rows)
}

/// As many streams are admitted as are asked for.
fn without_limit() -> SystemBuilder {
    let system = installation::fast();
    let limits = [
        "POBLYSH_API_KEY_MAX_STREAMS",
        "POBLYSH_API_TENANT_MAX_STREAMS",
    ];
    let streams = STREAMS.to_string();
    limits
        .into_iter()
        .fold(system, |system, limit| system.env(limit, streams.clone()))
}

/// How long pages take without streams, beside streams that are idle, and beside streams that
/// get Signals; and how many streams were admitted.
async fn pages(
    builder: SystemBuilder,
    seconds: u32,
    signals: u32,
) -> anyhow::Result<(usize, Vec<Row>)> {
    let system = builder.workers(0).start().await;
    let mut feed = Feed::open(&system).await;
    feed.grow(&system, signals).await?;
    let tenant = system.tenant("Streams").await;
    let before = milliseconds(&feed.read(seconds).await?, 95);
    let streams = Streams::open(&system, &tenant).await?;
    tokio::time::sleep(SETTLE).await;
    let idle = milliseconds(&feed.read(seconds).await?, 95);
    let woken = tokio::select! {
        took = feed.read(seconds) => milliseconds(&took?, 95),
        never = send_signals(system.db.pool(), &tenant) => match never {},
    };
    let count = streams.count();
    streams.report();
    let row = |what: &str, p95| {
        let name = format!("page of the feed, p95, another tenant has {count} {what}");
        Row::new(name, "ms, 16 readers", p95, "20").beside(Beside::new(WITHOUT, before, ""))
    };
    let rows = vec![
        row("idle streams", idle),
        row("streams that get a Signal a second", woken),
    ];
    Ok((count, rows))
}

/// A Signal for all streams of a tenant, again and again.
async fn send_signals(pool: &PgPool, tenant: &Tenant<'_>) -> std::convert::Infallible {
    let mut seed = 0;
    loop {
        write_signals(pool.clone(), tenant.id, seed, 1, 1).await;
        seed += 1;
        tokio::time::sleep(SIGNAL_INTERVAL).await;
    }
}

/// Statements per second of a system without load, without streams and with them. They are
/// counted in a server of their own, because counting them slows a server down.
async fn statements(seconds: u32) -> anyhow::Result<Vec<Row>> {
    let is_countable: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements')",
    )
    .fetch_one(TestDb::empty().await.pool())
    .await?;
    if !is_countable {
        eprintln!("  pg_stat_statements is not installed: statements are not counted");
        return Ok(Vec::new());
    }
    let cluster = Cluster::start_with("shared_preload_libraries = 'pg_stat_statements'\n").await;
    let database = TestDb::within(&cluster).await;
    sqlx::raw_sql("CREATE EXTENSION pg_stat_statements")
        .execute(database.pool())
        .await?;
    let system = without_limit().database(database).start().await;
    let tenant = system.tenant("Streams").await;
    let before = statement_rate(system.db.pool(), seconds).await?;
    let streams = Streams::open(&system, &tenant).await?;
    let with = statement_rate(system.db.pool(), seconds).await?;
    streams.report();
    let processes = system.processes().await;
    let mebibytes = processes.resident(Process::Api) >> 20;
    eprintln!("  the api-server holds {mebibytes} MiB with them");
    Ok(vec![
        Row::new(
            format!("statements of the idle system with {STREAMS} idle streams"),
            "/s",
            with,
            "50",
        )
        .beside(Beside::new(WITHOUT, before, "")),
    ])
}

/// The most frequent statements of this database since they were counted anew.
const MOST_FREQUENT: &str = "SELECT calls::float8, left(regexp_replace(query, '\\s+', ' ', 'g'), 100) \
     FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid \
     WHERE d.datname = current_database() ORDER BY calls DESC LIMIT 6";

/// Statements per second of this database, from a moment after now.
async fn statement_rate(pool: &PgPool, seconds: u32) -> anyhow::Result<f64> {
    tokio::time::sleep(SETTLE).await;
    sqlx::raw_sql("SELECT pg_stat_statements_reset()")
        .execute(pool)
        .await?;
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    let calls: f64 = sqlx::query_scalar(
        "SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements s \
         JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = current_database()",
    )
    .fetch_one(pool)
    .await?;
    let frequent: Vec<(f64, String)> = sqlx::query_as(MOST_FREQUENT).fetch_all(pool).await?;
    for (calls, statement) in frequent {
        eprintln!("  {:.1}/s {statement}", calls / f64::from(seconds));
    }
    Ok(calls / f64::from(seconds))
}

/// Streams that are open, and read.
struct Streams {
    /// One task for each, which ends with it.
    readers: JoinSet<anyhow::Result<()>>,
    admitted: usize,
}

impl Streams {
    /// Asks for all streams, with one key.
    async fn open(system: &System, tenant: &Tenant<'_>) -> anyhow::Result<Self> {
        let host = system.api.trim_start_matches("http://");
        let request = format!(
            "GET /v1/signals/stream HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\r\n",
            tenant.key
        );
        let mut readers = JoinSet::new();
        for _ in 0..STREAMS {
            let mut line = Line::open(host).await?;
            match line.begin(request.as_bytes()).await? {
                200 => {
                    readers.spawn(line.discard());
                }
                429 => {}
                status => anyhow::bail!("a stream was answered {status}"),
            }
        }
        let admitted = readers.len();
        Ok(Self { readers, admitted })
    }

    /// How many were admitted.
    const fn count(&self) -> usize {
        self.admitted
    }

    /// Says when some have ended meanwhile.
    fn report(mut self) {
        while self.readers.try_join_next().is_some() {}
        let (open, admitted) = (self.readers.len(), self.admitted);
        if open < admitted {
            eprintln!("  {} of {admitted} streams have ended", admitted - open);
        }
    }
}
