//! Probes whether a suspended or rejected grant works again.

use shared::credentials::CredentialError;
use shared::db::DbError;
use shared::queue::JobOutcome;

use super::run::Run;
use super::stream_queue::StreamTask;
use crate::account_events;
use crate::failure::JobFailure;

impl Run<'_> {
    /// Fetches the first page of the root stream and reactivates the connection if that works.
    ///
    /// The run then begins with this page. Otherwise the job is cancelled and the connection keeps
    /// its status.
    pub(super) async fn probe(&self) -> Result<StreamTask, JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let mut root = self.root_task().await?;
        root.stream.cursor = None;
        let failure = match self.fetch(&mut root).await {
            Ok(page) => {
                root.fetched = Some(page);
                let mut tx = self.begin().await?;
                account_events::record_recovery(&mut tx, scope, connection).await?;
                tx.commit().await.map_err(DbError::from)?;
                return Ok(root);
            }
            Err(failure @ (JobFailure::Provider(_) | JobFailure::Credential(_))) => failure,
            Err(other) => return Err(other),
        };
        if let JobFailure::Provider(cause)
        | JobFailure::Credential(CredentialError::Provider(cause)) = &failure
        {
            account_events::record_grant_error(self.context, self.job, connection, cause).await?;
        }
        tracing::info!(
            error = &failure as &dyn std::error::Error,
            connection.id = %connection,
            "probe failed, the grant does not work yet"
        );
        Err(JobOutcome::Cancelled.into())
    }
}
