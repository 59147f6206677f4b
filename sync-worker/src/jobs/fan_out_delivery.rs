//! Copies a delivery to every further connection that the provider sent it for.

use shared::db::{DbError, TenantScope, routes};
use shared::inbox;
use shared::model::DeliveryId;
use shared::queue::{self, ClaimedJob};

use super::connector_of;
use crate::context::Context;
use crate::failure::JobFailure;
use crate::job_transaction::verify_lease;

pub(super) async fn run(
    context: &Context,
    job: &ClaimedJob,
    id: DeliveryId,
) -> Result<(), JobFailure> {
    let mut tx = context.db.begin(&job.scope()).await?;
    let delivery = inbox::load_one(&mut tx, job.tenant_id, id).await?;
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
    verify_lease(&mut tx, job).await?;
    for recipient in &recipients {
        if delivery.connection_id != Some(recipient.connection) {
            inbox::fan_out(&mut tx, &delivery, recipient).await?;
        }
    }
    tx.commit().await.map_err(DbError::from)?;
    queue::notify(&context.db).await?;
    Ok(())
}
