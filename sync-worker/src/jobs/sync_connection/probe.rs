//! Asks a provider whether a grant works again that was suspended or refused.

use shared::credentials::CredentialError;
use shared::db::DbError;
use shared::queue::JobOutcome;

use super::run::Run;
use super::stream_queue::StreamTask;
use crate::changes;
use crate::jobs::JobFailure;

impl Run<'_> {
    /// Fetches the first page of the list of streams, with which the run begins then. Where that
    /// works the connection is active again; otherwise it stays as it is.
    pub(super) async fn probe(&self) -> Result<StreamTask, JobFailure> {
        let (scope, connection) = (&self.caller.scope, self.caller.connection);
        let mut root = self.root_task().await?;
        root.stream.cursor = None;
        let failure = match self.fetch(&root).await {
            Ok(page) => {
                root.fetched = Some(page);
                let mut tx = self.begin().await?;
                changes::note_recovered(&mut tx, scope, connection).await?;
                tx.commit().await.map_err(DbError::from)?;
                return Ok(root);
            }
            Err(failure @ (JobFailure::Provider(_) | JobFailure::Credential(_))) => failure,
            Err(other) => return Err(other),
        };
        if let JobFailure::Provider(cause)
        | JobFailure::Credential(CredentialError::Provider(cause)) = &failure
        {
            changes::note_word_on_grant(self.context, self.job, connection, cause).await?;
        }
        tracing::info!(
            error = &failure as &dyn std::error::Error,
            connection.id = %connection,
            "the grant does not work yet"
        );
        Err(JobFailure::Outcome(JobOutcome::Cancelled))
    }
}
