//! Creates future partitions and drops expired ones.

use std::time::Duration;

use shared::db::retention::{self, Retention};
use shared::db::{DbError, unmatched};
use shared::model::ApplyRetention;

use super::{Attempt, Job};
use crate::failure::JobFailure;
use crate::job_transaction::begin;

impl Job for ApplyRetention {
    async fn run(&self, Attempt { context, job, .. }: Attempt<'_>) -> Result<(), JobFailure> {
        let retention = Retention {
            delivery_days: days(context.config.delivery_retention),
            job_days: days(context.config.job_retention),
        };
        let removed = retention::apply(|| Box::pin(begin(context, job)), retention).await?;
        let mut tx = begin(context, job).await?;
        unmatched::recount(&mut tx).await?;
        tx.commit().await.map_err(DbError::from)?;
        tracing::info!(removed.count = removed, "retention applied");
        Ok(())
    }
}

fn days(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs() / 86_400)
        .unwrap_or(i32::MAX)
        .max(1)
}
