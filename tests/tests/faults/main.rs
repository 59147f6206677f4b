//! What goes wrong around the system, one file per fault, and what holds all the same.
//!
//! Each fault runs in a short form; `scripts/test --faults` sets the variables below for the
//! long one. `POBLYSH_FAULTS_SEED` repeats a run's choices.

mod backends;
mod clocks;
mod containers;
mod cut_off;
mod disk_full;
mod fairness;
mod kills;
mod next_release;
mod overload;
mod pooler;
mod replica;
mod restart;
mod termination;
mod upgrade;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tests::harness::{Cluster, Follower, Record, System, Tenant, setting};
use tokio::sync::{Mutex, MutexGuard};

/// Faults are tried one at a time: what they measure must not be each other.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}

/// Whether a variable says yes.
#[expect(
    clippy::disallowed_methods,
    reason = "a test run is told where it runs by the environment"
)]
fn on(name: &str) -> bool {
    std::env::var(name).is_ok_and(|text| matches!(text.as_str(), "1" | "true"))
}

/// The seed of this run, and choices that follow from it.
fn seeded(fault: &str) -> (u64, StdRng) {
    let seed = setting("POBLYSH_FAULTS_SEED", rand::random_range(1..1_000_000));
    eprintln!("{fault}: POBLYSH_FAULTS_SEED={seed} repeats the choices of this run");
    (seed, StdRng::seed_from_u64(seed))
}

/// Says what was not tried here, and why. Continuous integration tries everything.
fn skip(fault: &str, why: &str) {
    eprintln!("{fault}: SKIPPED, because {why} (scripts/test installs what is missing as root)");
    assert!(!on("CI"), "{fault}: nothing may be skipped here");
}

/// Whether servers can be started here; says so when they cannot.
fn can_start_servers(fault: &str) -> bool {
    if !Cluster::is_possible() {
        skip(fault, "PostgreSQL's server programs are not installed");
    }
    Cluster::is_possible()
}

/// Every acknowledged delivery became a Signal; that there is no second one, the feed's own
/// check says.
async fn assert_nothing_lost(system: &System, tenant: &Tenant<'_>, keys: &[String]) {
    system.drain().await;
    let known: Vec<String> = sqlx::query_scalar(
        "SELECT dedupe_key FROM signals WHERE tenant_id = $1 AND dedupe_key = ANY ($2)",
    )
    .bind(tenant.id)
    .bind(keys)
    .fetch_all(system.db.pool())
    .await
    .expect("Postgres answers");
    let known: std::collections::HashSet<String> = known.into_iter().collect();
    let lost: Vec<_> = keys.iter().filter(|key| !known.contains(*key)).collect();
    if lost.is_empty() {
        return;
    }
    let kept: Vec<String> = sqlx::query_scalar(
        "SELECT format('%s delivery %s, received at %s: %s', outcome, id, received_at, outcome_detail) \
             FROM deliveries WHERE outcome <> 'processed' \
         UNION ALL \
         SELECT format('%s job %s after %s attempts: %s', state, kind, attempts, last_error) \
             FROM job_history WHERE state = 'dead'",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("Postgres answers");
    panic!("acknowledged and not in the feed: {lost:?}; what is not done: {kept:#?}");
}

/// After a load, and whatever went wrong during it: nothing acknowledged is lost, nothing was done
/// twice, and a reader that followed saw it all.
async fn assert_kept(system: &System, tenant: &Tenant<'_>, record: &Record, follower: Follower) {
    assert_nothing_lost(system, tenant, &record.keys()).await;
    assert_no_job_ended_twice(system).await;
    follower.assert_saw_everything(tenant).await;
}

/// No try of any job was ended twice.
async fn assert_no_job_ended_twice(system: &System) {
    let twice: Vec<String> = sqlx::query_scalar(
        "SELECT format('%s %s, %s times', min(kind::text), id, count(*)) FROM job_history \
         GROUP BY id HAVING count(*) > 1",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("Postgres answers");
    assert_eq!(twice, Vec::<String>::new());
}
