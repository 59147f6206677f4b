//! Row `streams`: effect of open SSE streams on another tenant's reads and on PostgreSQL.

use std::time::Duration;

use sqlx::PgPool;
use tests::harness::{Cluster, Process, System, SystemBuilder, Tenant, TestDb, write_signals};
use tokio::task::JoinSet;

use crate::http_client::HttpClient;
use crate::installation;
use crate::reads::Feed;
use crate::report::{Comparison, Row, milliseconds};

/// Number of streams that one key requests.
const STREAMS: usize = 1000;
/// Pause before a measurement.
const SETTLE_TIME: Duration = Duration::from_secs(3);
/// Interval of Signals to all streams.
const SIGNAL_INTERVAL: Duration = Duration::from_secs(1);
const WITHOUT_STREAMS: &str = "without streams";

/// Measures pages of a feed with another tenant's streams, and the statements of idle streams.
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

/// Builder of a system that admits all requested streams.
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

/// Measures pages without streams, with idle streams, and with streams that get Signals.
///
/// Also returns the number of admitted streams.
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
    tokio::time::sleep(SETTLE_TIME).await;
    let idle = milliseconds(&feed.read(seconds).await?, 95);
    let active = tokio::select! {
        took = feed.read(seconds) => milliseconds(&took?, 95),
        never = send_signals(system.db.pool(), &tenant) => match never {},
    };
    let count = streams.count();
    streams.report();
    let row = |what: &str, p95| {
        let name = format!("page of the feed, p95, another tenant has {count} {what}");
        Row::new(name, "ms, 16 readers", p95, "20").compare_with(Comparison::new(
            WITHOUT_STREAMS,
            before,
            "",
        ))
    };
    let rows = vec![
        row("idle streams", idle),
        row("streams that get a Signal a second", active),
    ];
    Ok((count, rows))
}

/// Sends a Signal to all streams of a tenant at intervals.
async fn send_signals(pool: &PgPool, tenant: &Tenant<'_>) -> std::convert::Infallible {
    let mut seed = 0;
    loop {
        write_signals(pool.clone(), tenant.id, seed, 1, 1).await;
        seed += 1;
        tokio::time::sleep(SIGNAL_INTERVAL).await;
    }
}

/// Measures statements per second of an idle system without streams and with them.
///
/// They are counted in a separate server, because counting slows a server down.
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
    let database = TestDb::create_in(&cluster).await;
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
    eprintln!("  the api-server uses {mebibytes} MiB with them");
    Ok(vec![
        Row::new(
            format!("statements of the idle system with {STREAMS} idle streams"),
            "/s",
            with,
            "50",
        )
        .compare_with(Comparison::new(WITHOUT_STREAMS, before, "")),
    ])
}

/// Most frequent statements of this database since the last reset.
const MOST_FREQUENT: &str = "SELECT calls::float8, left(regexp_replace(query, '\\s+', ' ', 'g'), 100) \
     FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid \
     WHERE d.datname = current_database() ORDER BY calls DESC LIMIT 6";

/// Measures statements per second of this database after a pause.
async fn statement_rate(pool: &PgPool, seconds: u32) -> anyhow::Result<f64> {
    tokio::time::sleep(SETTLE_TIME).await;
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

/// Open streams and their readers.
struct Streams {
    /// One task per stream, which ends with it.
    readers: JoinSet<anyhow::Result<()>>,
    admitted: usize,
}

impl Streams {
    /// Requests all streams with one key.
    async fn open(system: &System, tenant: &Tenant<'_>) -> anyhow::Result<Self> {
        let host = system.api.trim_start_matches("http://");
        let request = format!(
            "GET /v1/signals/stream HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\r\n",
            tenant.key
        );
        let mut readers = JoinSet::new();
        for _ in 0..STREAMS {
            let mut client = HttpClient::open(host).await?;
            match client.open_stream(request.as_bytes()).await? {
                200 => {
                    readers.spawn(client.discard());
                }
                429 => {}
                status => anyhow::bail!("the server responded to a stream with {status}"),
            }
        }
        let admitted = readers.len();
        Ok(Self { readers, admitted })
    }

    /// Number of admitted streams.
    const fn count(&self) -> usize {
        self.admitted
    }

    /// Prints the number of streams that have ended, if any.
    fn report(mut self) {
        while self.readers.try_join_next().is_some() {}
        let (open, admitted) = (self.readers.len(), self.admitted);
        if open < admitted {
            eprintln!("  {} of {admitted} streams have ended", admitted - open);
        }
    }
}
