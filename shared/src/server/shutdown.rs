//! The shutdown of a process, as its servers follow it.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The steps of a shutdown and the tasks that it waits for; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled when the process accepts no more work.
    pub draining: CancellationToken,
    /// Cancelled when work in flight must stop.
    pub aborted: CancellationToken,
    /// The tasks that the shutdown waits for.
    pub tasks: TaskTracker,
}
