//! Waking workers without a notification inside anybody's commit.
//!
//! A process that has enqueued says so after its commit, at most once every few
//! milliseconds however many commits there were; a worker that misses a word finds the job
//! at its next look, a moment later.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::{Notify, watch};

use crate::db::{Db, DbError};
use crate::telemetry::Lifecycle;

const CHANNEL: &str = "poblysh_jobs";
/// At most one notification in this time per process.
const DEBOUNCE: Duration = Duration::from_millis(2);

/// Sends one notification for all commits of a moment.
#[derive(Debug, Clone)]
pub struct Waker {
    pending: Arc<Notify>,
}

impl Waker {
    /// Starts the task that notifies; it ends with the process.
    pub fn start(db: Db, life: &Lifecycle) -> Self {
        let pending = Arc::new(Notify::new());
        let waiting = Arc::clone(&pending);
        life.supervise_background("job notifier", async move {
            loop {
                waiting.notified().await;
                if let Err(error) = notify(&db).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "no notification");
                }
                tokio::time::sleep(DEBOUNCE).await;
            }
        });
        Self { pending }
    }

    /// Says that there is work; returns at once.
    pub fn wake(&self) {
        self.pending.notify_one();
    }
}

/// Wakes the workers now.
pub async fn notify(db: &Db) -> Result<(), DbError> {
    sqlx::query("SELECT pg_notify($1, '')")
        .bind(CHANNEL)
        .execute(db)
        .await?;
    Ok(())
}

/// Passes every notification on to `wake`, without end. A lost session is made anew, and
/// counts as a notification, because one may have been missed.
pub async fn listen(db: Db, wake: watch::Sender<()>) {
    loop {
        if let Err(error) = listen_once(&db, &wake).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "listening again");
        }
        wake.send_replace(());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn listen_once(db: &Db, wake: &watch::Sender<()>) -> Result<(), DbError> {
    let mut listener = PgListener::connect_with(db.pool()).await?;
    listener.listen(CHANNEL).await?;
    loop {
        // Nothing instead of a notification: the connection was lost and made anew.
        listener.try_recv().await?;
        wake.send_replace(());
    }
}
