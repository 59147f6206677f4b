//! Notification of workers about new jobs.
//!
//! A process notifies after its commit, not in it, and at most once every two milliseconds. A
//! worker that misses a notification finds the job at its next poll.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::job_queue::JobQueue;
use crate::service::Lifecycle;

/// The minimum time between two notifications of a process.
const DEBOUNCE: Duration = Duration::from_millis(2);

/// Sends one notification for all commits within two milliseconds.
#[derive(Debug, Clone)]
pub struct Notifier {
    pending: Arc<Notify>,
}

impl Notifier {
    /// Starts the background task that notifies.
    pub fn start(queue: Arc<dyn JobQueue>, lifecycle: &Lifecycle) -> Self {
        let pending = Arc::new(Notify::new());
        let requested = Arc::clone(&pending);
        lifecycle.supervise_background("job notifier", async move {
            loop {
                requested.notified().await;
                if let Err(error) = queue.notify().await {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, "failed to notify workers");
                }
                tokio::time::sleep(DEBOUNCE).await;
            }
        });
        Self { pending }
    }

    /// Requests a notification; returns immediately.
    pub fn notify(&self) {
        self.pending.notify_one();
    }
}
