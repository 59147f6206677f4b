//! Starts everything a test needs, for real: Postgres, the simulator, the three processes.
//!
//! One cluster per run, one template with the schema, one database per test cloned from it.
//! Tests go in by the front door: HTTP in, Signals out, compared with the simulator's
//! ledger.

pub mod at_limits;
mod cluster;
mod completeness;
mod database;
mod doors;
mod follower;
mod load;
mod pooler;
mod postgres;
mod processes;
mod proxy;
mod rest;
mod system;
mod tenant;
pub mod webhooks;
mod writers;

pub use cluster::PostgresContainer;
pub use completeness::{CompletenessReader, is_listed};
pub use database::TestDb;
pub use doors::Doors;
pub use follower::Follower;
pub use load::{Load, Pace, Record};
pub use pooler::Pooler;
pub use postgres::Cluster;
pub use processes::{Process, Processes, Variation, free_address, processor_time};
pub use proxy::Proxy;
pub use system::{Identities, OPERATOR_TOKEN, System, SystemBuilder};
pub use tenant::Tenant;
pub use webhooks::Webhooks;
pub use writers::{Writers, write_signals};

use std::str::FromStr;
use std::time::Duration;

use tokio::time::Instant;

/// How long anything in a test may take before the test fails.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A number that the environment may set for a longer run.
///
/// # Panics
///
/// When it is set to something else.
#[expect(
    clippy::disallowed_methods,
    reason = "a test run is told its length by the environment"
)]
pub fn setting<T: FromStr>(name: &str, otherwise: T) -> T {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
        Err(_) => otherwise,
    }
}

/// A time limit, lengthened so that it lasts as long in real time under a fake clock.
///
/// `scripts/test --clock-factor` makes time faster, but no work. Limits that only end a test
/// that hangs need it; limits that are a promise of the system do not.
///
/// # Panics
///
/// When the factor in the environment is not a number.
pub fn real_time(limit: Duration) -> Duration {
    limit * setting("POBLYSH_TEST_CLOCK_FACTOR", 1)
}

/// Asks `condition` again and again until it holds; fails the test after [`PATIENCE`].
///
/// # Panics
///
/// When it does not come to hold in time.
pub async fn eventually(what: &str, condition: impl AsyncFnMut() -> bool) {
    eventually_within(PATIENCE, what, condition).await;
}

/// [`eventually`] with a time of its own.
///
/// # Panics
///
/// When it does not come to hold in time.
pub async fn eventually_within(
    patience: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) {
    let deadline = Instant::now() + real_time(patience);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
