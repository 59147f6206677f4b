//! What every job is given.

use std::sync::Arc;

use shared::clock::SharedClock;
use shared::config::WorkerConfig;
use shared::connectors::Registry;
use shared::credentials::Credentials;
use shared::db::Db;
use shared::ids::WorkerId;
use shared::queue::JobQueue;

/// The worker's own things; one per process.
pub(crate) struct Context {
    pub(crate) worker: WorkerId,
    pub(crate) db: Db,
    pub(crate) queue: Arc<dyn JobQueue>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) credentials: Credentials,
    pub(crate) clock: SharedClock,
    pub(crate) config: WorkerConfig,
}
