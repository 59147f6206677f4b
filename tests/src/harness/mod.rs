//! Harness that starts Postgres, the simulator and the three processes for a test.
//!
//! One cluster per run, one template with the schema, one database per test cloned from it.
//! Tests use the public HTTP interfaces only and compare the Signals with the simulator's ledger.

mod added_providers;
mod background_writers;
mod browser;
mod cluster;
mod command;
mod completeness;
mod database;
mod endpoints;
mod feed_reader;
pub mod large_accounts;
mod load;
mod pooler;
mod postgres;
mod processes;
pub mod provider;
mod proxy;
mod quiesce;
mod system;
mod tenant;
pub mod webhooks;

pub use added_providers::AddedProviders;
pub use background_writers::{BackgroundWriters, write_signals};
pub use cluster::PostgresContainer;
pub use command::{CommandOutput, Poblysh};
pub use completeness::CompletenessReader;
pub use database::TestDb;
pub use endpoints::Endpoints;
pub use feed_reader::FeedReader;
pub use load::{Load, Pace, Record};
pub use pooler::Pooler;
pub use postgres::Cluster;
pub use processes::{Process, ProcessOverrides, Processes, free_address, processor_time};
pub use provider::DEFAULT_PROVIDER;
pub use proxy::Proxy;
pub use system::{Identities, OPERATOR_TOKEN, System, SystemBuilder};
pub use tenant::{Tenant, open_connect_link};
pub use webhooks::Webhooks;

use std::str::FromStr;
use std::time::Duration;

use tokio::time::Instant;

/// Default time limit of a wait in a test.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// Returns a number from the environment, or the default if it is not set.
///
/// # Panics
///
/// When the variable is not a number.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment sets the length of a test run"
)]
pub fn setting<T: FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
        Err(_) => default,
    }
}

/// Scales a time limit so that it lasts equally long in real time under a fake clock.
///
/// `scripts/test --clock-factor` speeds up time but not work. Limits that only end a hanging test
/// need this; limits that the system promises do not.
///
/// # Panics
///
/// When the factor in the environment is not a number.
pub fn real_time(limit: Duration) -> Duration {
    limit * setting("POBLYSH_TEST_CLOCK_FACTOR", 1)
}

/// Polls `condition` until it holds; fails the test after [`DEFAULT_TIMEOUT`].
///
/// # Panics
///
/// When the condition does not hold in time.
pub async fn eventually(what: &str, condition: impl AsyncFnMut() -> bool) {
    eventually_within(DEFAULT_TIMEOUT, what, condition).await;
}

/// [`eventually`] with an explicit time limit.
///
/// # Panics
///
/// When the condition does not hold in time.
pub async fn eventually_within(
    timeout: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) {
    let deadline = Instant::now() + real_time(timeout);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {timeout:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
