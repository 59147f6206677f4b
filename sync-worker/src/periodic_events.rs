//! The events that no change of a row causes: subscriptions that expire, and rejected deliveries.

use shared::db::events::{self, ExpiryNotice};
use shared::db::{DbError, periodic};

use crate::context::Context;

/// The name of the periodic task.
const TASK: &str = "events";
/// The interval between two runs, of all workers together.
const INTERVAL_SECONDS: f64 = 10.0;

/// Writes the events that are due, if no other worker does.
pub(crate) async fn write_due(context: &Context) -> Result<(), DbError> {
    let due = periodic::find_due(&context.db, &[TASK.to_owned()]).await?;
    if due.is_empty() {
        return Ok(());
    }
    let mut tx = context.db.begin_unscoped().await?;
    if !periodic::claim_periodic_task(&mut tx, TASK, INTERVAL_SECONDS).await? {
        tx.end_read();
        return Ok(());
    }
    events::announce_expiries(&mut tx, &expiry_notices(context)).await?;
    events::report_rejections(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}

/// The time before its expiry at which each provider's subscription must have been renewed.
fn expiry_notices(context: &Context) -> Vec<ExpiryNotice> {
    let providers = context.registry.iter();
    let notices = providers.filter_map(|(provider, _)| {
        Some(ExpiryNotice {
            provider: provider.slug,
            seconds: provider.subscriptions?.alert_before.as_secs_f64(),
        })
    });
    notices.collect()
}
