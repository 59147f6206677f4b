//! Assigns unmatched deliveries to the connection that now matches them.

use shared::db::TenantScope;
use shared::inbox;
use shared::model::{RematchDeliveries, TenantId};

use super::{Attempt, Job};
use crate::failure::JobFailure;
use crate::job_transaction::verify_lease;

impl Job for RematchDeliveries {
    async fn run(&self, Attempt { context, job, .. }: Attempt<'_>) -> Result<(), JobFailure> {
        let Some(connection) = job.connection_id else {
            return Ok(());
        };
        loop {
            let mut tx = context
                .db
                .begin_many(&[job.scope(), TenantScope::unassigned()])
                .await?;
            verify_lease(context, &mut tx, job).await?;
            let has_more = inbox::rematch(
                &*context.queue,
                &mut tx,
                job.tenant_id,
                connection,
                &job.provider,
                &self.account_id,
            )
            .await?;
            tx.commit().await.map_err(shared::db::DbError::from)?;
            context.queue.notify().await?;
            if !has_more {
                tracing::debug!(tenant.id = %TenantId::UNASSIGNED, "rematched deliveries");
                return Ok(());
            }
        }
    }
}
