//! Transactions that are valid only under a job's lease.

use shared::db::Tx;
use shared::queue::ClaimedJob;

use crate::context::Context;
use crate::failure::JobFailure;

/// Begins a transaction that is valid only under the job's lease.
pub(crate) async fn begin(context: &Context, job: &ClaimedJob) -> Result<Tx, JobFailure> {
    let mut tx = context.db.begin(&job.scope()).await?;
    verify_lease(context, &mut tx, job).await?;
    Ok(tx)
}

/// Fails with [`JobFailure::LeaseLost`] unless the worker still holds the job's lease.
pub(crate) async fn verify_lease(
    context: &Context,
    tx: &mut Tx,
    job: &ClaimedJob,
) -> Result<(), JobFailure> {
    if context.queue.verify_lease(tx, job).await? {
        Ok(())
    } else {
        Err(JobFailure::LeaseLost)
    }
}
