//! Copies a delivery to every further connection that the provider sent it for.

use shared::db::{DbError, TenantScope, routes};
use shared::inbox;
use shared::model::FanOutDelivery;

use super::{Attempt, Job, connector_of};
use crate::failure::JobFailure;
use crate::job_transaction::verify_lease;

impl Job for FanOutDelivery {
    async fn run(&self, Attempt { context, job, .. }: Attempt<'_>) -> Result<(), JobFailure> {
        let mut tx = context.db.begin(&job.scope()).await?;
        let delivery = inbox::load_one(&mut tx, job.tenant_id, self.delivery).await?;
        tx.commit().await.map_err(DbError::from)?;
        let Some(delivery) = delivery else {
            return Ok(());
        };
        let connector = connector_of(context, job)?;
        let routes = connector.list_recipients(&delivery.delivery).await?;
        let recipients = routes::find_recipients(&context.db, &job.provider, &routes).await?;
        let mut scopes: Vec<TenantScope> = vec![job.scope()];
        scopes.extend(recipients.iter().map(|recipient| recipient.scope));
        let mut tx = context.db.begin_many(&scopes).await?;
        verify_lease(context, &mut tx, job).await?;
        for recipient in &recipients {
            if delivery.connection_id != Some(recipient.connection) {
                inbox::fan_out(&*context.queue, &mut tx, &delivery, recipient).await?;
            }
        }
        tx.commit().await.map_err(DbError::from)?;
        context.queue.notify().await?;
        Ok(())
    }
}
