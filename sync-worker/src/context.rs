//! What every job is given.

use std::sync::Arc;

use shared::clock::{DatabaseClock, SharedClock};
use shared::config::WorkerConfig;
use shared::connectors::Registry;
use shared::credentials::Credentials;
use shared::db::Db;
use shared::ids::WorkerId;
use shared::queue::JobQueue;
use tokio_util::sync::CancellationToken;

use crate::heart::{Leases, Pulse};

/// The worker's own things; one per process.
pub(crate) struct Context {
    pub(crate) worker: WorkerId,
    pub(crate) db: Db,
    pub(crate) queue: Arc<dyn JobQueue>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) credentials: Credentials,
    pub(crate) clock: SharedClock,
    /// The same clock, for whoever sets it.
    pub(crate) database_clock: Arc<DatabaseClock>,
    pub(crate) pulse: Pulse,
    pub(crate) leases: Leases,
    /// Cancelled once everything in hand has ended and been given back.
    pub(crate) rested: CancellationToken,
    pub(crate) config: WorkerConfig,
}
