//! Asks a provider to send again what it failed to deliver.

use chrono::TimeDelta;
use shared::queue::ClaimedJob;

use super::{JobFailure, connector_of};
use crate::context::Context;

/// How far back is looked: as long as providers keep their log of deliveries.
const LOOK_BACK: TimeDelta = TimeDelta::days(3);

pub(super) async fn run(context: &Context, job: &ClaimedJob) -> Result<(), JobFailure> {
    let connector = connector_of(context, job)?;
    let asked = connector
        .recover_deliveries(context.clock.now() - LOOK_BACK)
        .await?;
    if asked > 0 {
        tracing::info!(
            deliveries.count = asked,
            provider = job.provider,
            "lost deliveries were asked for"
        );
    }
    Ok(())
}
