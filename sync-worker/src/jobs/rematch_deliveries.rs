//! Assigns unmatched deliveries to the connection that now matches them.

use shared::db::TenantScope;
use shared::inbox;
use shared::model::TenantId;
use shared::queue::{self, ClaimedJob};

use crate::context::Context;
use crate::failure::JobFailure;
use crate::job_transaction::verify_lease;

pub(super) async fn run(
    context: &Context,
    job: &ClaimedJob,
    account_id: &str,
) -> Result<(), JobFailure> {
    let Some(connection) = job.connection_id else {
        return Ok(());
    };
    loop {
        let mut tx = context
            .db
            .begin_many(&[job.scope(), TenantScope::unassigned()])
            .await?;
        verify_lease(&mut tx, job).await?;
        let has_more = inbox::rematch(
            &mut tx,
            job.tenant_id,
            connection,
            &job.provider,
            account_id,
        )
        .await?;
        tx.commit().await.map_err(shared::db::DbError::from)?;
        queue::notify(&context.db).await?;
        if !has_more {
            tracing::debug!(tenant.id = %TenantId::UNASSIGNED, "rematched deliveries");
            return Ok(());
        }
    }
}
