//! Notification of workers about new jobs, through LISTEN and NOTIFY.
//!
//! A process notifies after its commit, not in it, and at most once every two milliseconds. A
//! worker that misses a notification finds the job at its next poll.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::{Notify, watch};

use crate::db::{Db, DbError};
use crate::service::Lifecycle;

const CHANNEL: &str = "poblysh_jobs";
/// The minimum time between two notifications of a process.
const DEBOUNCE: Duration = Duration::from_millis(2);

/// Sends one notification for all commits within two milliseconds.
#[derive(Debug, Clone)]
pub struct Notifier {
    pending: Arc<Notify>,
}

impl Notifier {
    /// Starts the background task that notifies.
    pub fn start(db: Db, lifecycle: &Lifecycle) -> Self {
        let pending = Arc::new(Notify::new());
        let requested = Arc::clone(&pending);
        lifecycle.supervise_background("job notifier", async move {
            loop {
                requested.notified().await;
                if let Err(error) = notify(&db).await {
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

/// Notifies the workers now.
pub async fn notify(db: &Db) -> Result<(), DbError> {
    sqlx::query("SELECT pg_notify($1, '')")
        .bind(CHANNEL)
        .execute(db)
        .await?;
    Ok(())
}

/// Listens for notifications and forwards them to `notified`; never returns.
///
/// A lost session is reopened and counts as a notification, because one may have been missed.
pub async fn listen(db: Db, notified: watch::Sender<()>) {
    loop {
        if let Err(error) = listen_once(&db, &notified).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "lost the listening session, reconnecting");
        }
        notified.send_replace(());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn listen_once(db: &Db, notified: &watch::Sender<()>) -> Result<(), DbError> {
    let mut listener = PgListener::connect_with(db.pool()).await?;
    listener.listen(CHANNEL).await?;
    loop {
        // `None` means a session that was lost and reopened.
        listener.try_recv().await?;
        notified.send_replace(());
    }
}
