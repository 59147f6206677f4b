//! Makes partitions ahead of time and drops what has expired.

use std::time::Duration;

use shared::db::schedule;

use super::JobFailure;
use crate::context::Context;

pub(super) async fn run(context: &Context) -> Result<(), JobFailure> {
    let gone = schedule::apply_retention(
        &context.db,
        days(context.config.delivery_retention),
        days(context.config.job_retention),
    )
    .await?;
    tracing::info!(gone.count = gone, "retention was applied");
    Ok(())
}

fn days(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs() / 86_400)
        .unwrap_or(i32::MAX)
        .max(1)
}
