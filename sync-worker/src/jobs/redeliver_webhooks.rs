//! Requests redelivery of the deliveries that a provider failed to send.

use chrono::TimeDelta;
use shared::model::RedeliverWebhooks;

use super::{Attempt, Job, connector_of};
use crate::failure::JobFailure;

/// The age up to which failed deliveries are redelivered: the retention of providers' delivery
/// logs.
const REDELIVERY_WINDOW: TimeDelta = TimeDelta::days(3);

impl Job for RedeliverWebhooks {
    async fn run(&self, Attempt { context, job, .. }: Attempt<'_>) -> Result<(), JobFailure> {
        let connector = connector_of(context, job)?;
        let requested = connector
            .redeliver_webhooks(context.clock.now() - REDELIVERY_WINDOW)
            .await?;
        if requested > 0 {
            tracing::info!(
                deliveries.count = requested,
                provider = job.provider,
                "requested redelivery of failed deliveries"
            );
        }
        Ok(())
    }
}
