//! Row `storage`: bytes on disk per Signal.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgPool};
use tests::harness::eventually_within;

use crate::installation;
use crate::report::Row;

/// Past facts per repository, channel and project.
const HISTORY: usize = 2_000;
/// Time limit of the first sync.
const READ_TIMEOUT: Duration = Duration::from_mins(10);

/// Copies the Signals to a table without raw payloads.
const WITHOUT_RAW: [&str; 3] = [
    "CREATE TABLE bare (LIKE signals INCLUDING ALL)",
    "INSERT INTO bare (tenant_id, id, connection_id, source, kind, dedupe_key, occurred_at, \
         received_at, tx_id, seq, schema_version, body, raw, traceparent) \
     OVERRIDING SYSTEM VALUE \
     SELECT tenant_id, id, connection_id, source, kind, dedupe_key, occurred_at, received_at, \
         tx_id, seq, schema_version, body, 'null', traceparent FROM signals ORDER BY tx_id, seq",
    "VACUUM ANALYZE signals, bare",
];

/// Measures bytes per Signal with its indexes, over an account of every provider.
pub(crate) async fn rows() -> anyhow::Result<Vec<Row>> {
    let system = installation::fast()
        .simulator(|simulator| {
            (simulator.accounts, simulator.history) = (1, HISTORY);
            (
                simulator.providers.github.repositories,
                simulator.providers.slack.channels,
                simulator.providers.jira.projects,
            ) = (2, 2, 2);
        })
        .start()
        .await;
    let tenant = system.tenant("Bench").await;
    let listed = tenant.get("/v1/providers").await;
    let providers = listed["providers"].as_array().into_iter().flatten();
    for provider in providers.filter_map(|provider| provider["slug"].as_str()) {
        let (account, person) = system.accounts_at(provider).await.swap_remove(0);
        tenant.connect_to(provider, &account, &person).await;
    }
    eventually_within(READ_TIMEOUT, "all backfills are done", async || {
        let listed = tenant.get("/v1/connections").await;
        let connections = listed["connections"].as_array();
        connections.is_some_and(|all| all.iter().all(|one| one["backfilled_at"].is_string()))
    })
    .await;
    system.drain_within(READ_TIMEOUT).await;
    let pool = system.db.pool();
    for statement in WITHOUT_RAW {
        sqlx::raw_sql(statement).execute(pool).await?;
    }
    let (with, without) = (
        bytes_per_row(pool, "signals").await?,
        bytes_per_row(pool, "bare").await?,
    );
    Ok(vec![
        Row::new("stored per Signal", "bytes", with, ""),
        Row::new("stored per Signal without its raw", "bytes", without, "700"),
    ])
}

/// Bytes of a table and its indexes per row.
async fn bytes_per_row(pool: &PgPool, table: &str) -> anyhow::Result<f64> {
    let statement = format!(
        "SELECT count(*)::float8, pg_total_relation_size('{table}')::float8, \
             pg_indexes_size('{table}')::float8 FROM {table}"
    );
    let (rows, all, indexes): (f64, f64, f64) = sqlx::query_as(AssertSqlSafe(statement))
        .fetch_one(pool)
        .await?;
    eprintln!(
        "  {table}: {rows} rows, {:.0} bytes of indexes each",
        indexes / rows
    );
    Ok(all / rows)
}
