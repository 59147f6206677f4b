//! Tells open streams when the feed may have grown.
//!
//! A Signal can be read once no transaction older than its own is running, and that border
//! is one number for all tenants. One task watches it while anybody listens, so a thousand
//! streams cost one small statement, and each reads the feed only when it may have moved.

use std::time::Duration;

use shared::db::{Db, DbError};
use shared::telemetry::Lifecycle;
use tokio::sync::watch;

/// How often the border is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Where streams wait.
#[derive(Debug)]
pub(crate) struct News {
    border: watch::Sender<String>,
}

impl News {
    /// Watches this database until the process takes nothing more.
    pub(crate) fn start(db: Db, lifecycle: &Lifecycle) -> Self {
        let (border, _) = watch::channel(String::new());
        let sender = border.clone();
        let stop = lifecycle.soft().clone();
        lifecycle.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = look(&db, &sender) => {}
            }
        });
        Self { border }
    }

    /// Changes whenever the feed may have grown.
    pub(crate) fn subscribe(&self) -> watch::Receiver<String> {
        self.border.subscribe()
    }
}

async fn look(db: &Db, border: &watch::Sender<String>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if border.receiver_count() == 0 {
            continue;
        }
        match oldest_running(db).await {
            Ok(seen) => {
                border.send_if_modified(|known| {
                    let moved = *known != seen;
                    *known = seen;
                    moved
                });
            }
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the border is unseen"
                );
            }
        }
    }
}

async fn oldest_running(db: &Db) -> Result<String, DbError> {
    Ok(
        sqlx::query_scalar("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
            .fetch_one(db)
            .await?,
    )
}
