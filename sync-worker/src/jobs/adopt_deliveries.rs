//! Hands deliveries that waited for their connection over to it.

use shared::db::TenantScope;
use shared::ids::TenantId;
use shared::inbox;
use shared::queue::{self, ClaimedJob};

use super::{JobFailure, hold};
use crate::context::Context;

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
        hold(&mut tx, job).await?;
        let more = inbox::adopt(
            &mut tx,
            job.tenant_id,
            connection,
            &job.provider,
            account_id,
        )
        .await?;
        tx.commit().await.map_err(shared::db::DbError::from)?;
        queue::notify(&context.db).await?;
        if !more {
            tracing::debug!(tenant.id = %TenantId::UNASSIGNED, "waiting deliveries were handed over");
            return Ok(());
        }
    }
}
