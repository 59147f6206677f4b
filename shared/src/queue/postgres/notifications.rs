//! Notifications through LISTEN and NOTIFY.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::watch;

use crate::db::{Db, DbError};

const CHANNEL: &str = "poblysh_jobs";

/// Notifies the workers now.
pub(super) async fn notify(db: &Db) -> Result<(), DbError> {
    sqlx::query("SELECT pg_notify($1, '')")
        .bind(CHANNEL)
        .execute(db)
        .await?;
    Ok(())
}

/// Listens for notifications and forwards them to `notified`; never returns.
///
/// A lost session is reopened and counts as a notification, because one may have been missed.
pub(super) async fn listen(db: &Db, notified: watch::Sender<()>) {
    loop {
        if let Err(error) = listen_once(db, &notified).await {
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
