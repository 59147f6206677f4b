//! The streams of a run and their progress.

use shared::db::cursors::{self, StreamCursor, StreamProgress};
use shared::db::{DbError, Tx, connections};
use shared::model::{JobError, StreamSpec};

use super::run::Run;
use super::slice::MAX_STREAMS;
use super::stream_queue::{Pass, StreamTask};
use crate::failure::JobFailure;

/// Maximum number of streams that one slice begins to reconcile.
const MAX_RECONCILED: i64 = 200;
/// Code of a denial of permission.
const DENIED: &str = "permission";
/// Maximum number of denied streams that a connection's problem names.
const MAX_NAMED: i64 = 20;

impl Run<'_> {
    /// Creates the task of the root stream.
    pub(super) async fn root_task(&self) -> Result<StreamTask, JobFailure> {
        let spec = StreamSpec {
            key: self.root().to_owned(),
            resource_id: None,
            target: serde_json::Value::Null,
        };
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let mut tx = self.begin().await?;
        let mut root =
            cursors::get_or_create_root(&mut tx, scope, connection, &spec, self.backfill_from)
                .await?;
        tx.commit().await.map_err(DbError::from)?;
        // The list is a snapshot and not a history, so another run's position in it is useless.
        if root
            .pending_upper_bound
            .is_some_and(|bound| bound != self.upper_bound)
        {
            root.cursor = None;
        }
        Ok(StreamTask::new(root, Pass::Root))
    }

    /// Lists the streams that this run has not read to its upper bound.
    pub(super) async fn list_unread(&self) -> Result<Vec<StreamCursor>, JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let mut tx = self.context.db.begin(scope).await?;
        let streams = cursors::list_unread(
            &mut tx,
            scope,
            connection,
            self.root(),
            self.upper_bound,
            self.requested_only,
            MAX_STREAMS,
        )
        .await?;
        self.verify_account(&mut tx).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(streams)
    }

    /// Lists the streams whose reconciliation is due.
    pub(super) async fn list_unreconciled(&self) -> Result<Vec<StreamCursor>, JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let mut tx = self.context.db.begin(scope).await?;
        let streams =
            cursors::list_unreconciled(&mut tx, scope, connection, self.root(), MAX_RECONCILED)
                .await?;
        self.verify_account(&mut tx).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(streams)
    }

    /// Fails with [`JobFailure::CursorConflict`] if the account changed since the run began.
    ///
    /// Dedupe keys depend on the account's description. A later change of the account changes the
    /// cursor versions of the listed streams.
    async fn verify_account(&self, tx: &mut Tx) -> Result<(), JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let now = connections::get(tx, scope, connection).await?;
        if now.and_then(|now| now.account).as_ref() == Some(&self.session.account) {
            Ok(())
        } else {
            Err(JobFailure::CursorConflict)
        }
    }

    /// The progress of the connection's streams.
    ///
    /// `waiting` is the reason why the run does not read the others, unless its slice has ended.
    pub(super) async fn measure_progress(
        &self,
        tx: &mut Tx,
        waiting: Option<&JobError>,
    ) -> Result<StreamProgress, JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let (root, upper_bound) = (self.root(), self.upper_bound);
        Ok(cursors::measure_progress(tx, scope, connection, root, upper_bound, waiting).await?)
    }

    /// Names all denied streams in a problem, if there are several.
    pub(super) async fn name_denied(
        &self,
        tx: &mut Tx,
        mut problem: JobError,
    ) -> Result<JobError, JobFailure> {
        if problem.code != DENIED {
            return Ok(problem);
        }
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let streams = cursors::list_failing(tx, scope, connection, DENIED, MAX_NAMED).await?;
        if streams.len() > 1 {
            let streams = streams.join(", ");
            problem.message = format!("{} Denied streams: {streams}.", problem.message);
        }
        Ok(problem)
    }

    pub(super) fn root(&self) -> &'static str {
        self.session.connector.descriptor().root_stream
    }
}
