//! The shared state of a worker process.

use std::sync::Arc;

use shared::clock::{DatabaseClock, SharedClock};
use shared::config::WorkerConfig;
use shared::connectors::Registry;
use shared::credentials::Credentials;
use shared::db::Db;
use shared::model::WorkerId;
use shared::queue::JobQueue;
use tokio_util::sync::CancellationToken;

use crate::leases::{LeaseClock, Leases};

/// The state that all jobs and background tasks of a worker share.
pub(crate) struct Context {
    pub(crate) worker: WorkerId,
    pub(crate) db: Db,
    pub(crate) queue: Arc<dyn JobQueue>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) credentials: Credentials,
    pub(crate) clock: SharedClock,
    /// The same clock; the heartbeat sets it.
    pub(crate) database_clock: Arc<DatabaseClock>,
    pub(crate) lease_clock: LeaseClock,
    pub(crate) leases: Leases,
    /// Cancelled once all jobs have ended and their leases are released.
    pub(crate) drained: CancellationToken,
    pub(crate) config: WorkerConfig,
}
