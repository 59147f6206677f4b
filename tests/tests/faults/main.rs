//! Fault tests: one module per fault of the environment, with the guarantees under it.
//!
//! Each test runs in a short form; `scripts/test --faults` sets the variables for the long form.
//! `POBLYSH_FAULTS_SEED` repeats the random choices of a run.

mod backend_termination;
mod clock_skew;
mod containers;
mod disk_full;
mod fairness;
mod graceful_shutdown;
mod kills;
mod network_partition;
mod next_release;
mod overload;
mod pooler;
mod replica;
mod restart;
mod upgrade;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tests::harness::{Cluster, FeedReader, Record, System, Tenant, setting};
use tokio::sync::{Mutex, MutexGuard};

/// Serializes the fault tests, so that they do not disturb each other's measurements.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}

/// Whether an environment variable is set to a true value.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment configures a test run"
)]
fn is_set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|text| matches!(text.as_str(), "1" | "true"))
}

/// The seed of this run, and its random number generator.
fn seeded(fault: &str) -> (u64, StdRng) {
    let seed = setting("POBLYSH_FAULTS_SEED", rand::random_range(1..1_000_000));
    eprintln!("{fault}: POBLYSH_FAULTS_SEED={seed} repeats this run");
    (seed, StdRng::seed_from_u64(seed))
}

/// Reports a skipped test and its reason. Continuous integration must not skip any.
fn skip(fault: &str, why: &str) {
    eprintln!("{fault}: SKIPPED, because {why} (scripts/test installs missing programs as root)");
    assert!(!is_set("CI"), "{fault}: CI must not skip this test");
}

/// Whether PostgreSQL servers can be started here; reports the skip otherwise.
fn can_start_servers(fault: &str) -> bool {
    if !Cluster::is_available() {
        skip(fault, "the PostgreSQL server programs are not installed");
    }
    Cluster::is_available()
}

/// Asserts that every acknowledged delivery became a Signal.
///
/// The check of the feed reader covers duplicates.
async fn assert_nothing_lost(system: &System, tenant: &Tenant<'_>, keys: &[String]) {
    system.drain().await;
    let known: Vec<String> = sqlx::query_scalar(
        "SELECT dedupe_key FROM signals WHERE tenant_id = $1 AND dedupe_key = ANY ($2)",
    )
    .bind(tenant.id)
    .bind(keys)
    .fetch_all(system.db.pool())
    .await
    .expect("the query result");
    let known: std::collections::HashSet<String> = known.into_iter().collect();
    let lost: Vec<_> = keys.iter().filter(|key| !known.contains(*key)).collect();
    if lost.is_empty() {
        return;
    }
    let unprocessed: Vec<String> = sqlx::query_scalar(
        "SELECT format('%s delivery %s, received at %s: %s', outcome, id, received_at, outcome_detail) \
             FROM deliveries WHERE outcome <> 'processed' \
         UNION ALL \
         SELECT format('%s job %s after %s attempts: %s', state, kind, attempts, last_error) \
             FROM job_history WHERE state = 'dead'",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("the query result");
    panic!("acknowledged and not in the feed: {lost:?}; unprocessed: {unprocessed:#?}");
}

/// Asserts that a load lost nothing, finished no job twice, and reached the reader.
async fn assert_guarantees(
    system: &System,
    tenant: &Tenant<'_>,
    record: &Record,
    reader: FeedReader,
) {
    assert_nothing_lost(system, tenant, &record.keys()).await;
    assert_no_job_finished_twice(system).await;
    reader.assert_read_every_signal(tenant).await;
}

/// Asserts that no job was finished twice.
async fn assert_no_job_finished_twice(system: &System) {
    let twice: Vec<String> = sqlx::query_scalar(
        "SELECT format('%s %s, %s times', min(kind::text), id, count(*)) FROM job_history \
         GROUP BY id HAVING count(*) > 1",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("the query result");
    assert_eq!(twice, Vec::<String>::new());
}
