//! The streams of a run: which there are, and how far they have been read.

use shared::connectors::StreamSpec;
use shared::db::cursors::{self, Reached, StreamCursor};
use shared::db::{DbError, Tx, connections};
use shared::queue::JobError;

use super::run::Run;
use super::stream_queue::{Pass, StreamTask};
use crate::jobs::JobFailure;

/// Most streams of one slice.
pub(super) const MAX_STREAMS: i64 = 2_000;
/// Most streams that one slice begins to reconcile.
const MAX_RECONCILED: i64 = 200;

impl Run<'_> {
    /// The stream that lists the others.
    pub(super) async fn root_task(&self) -> Result<StreamTask, JobFailure> {
        let spec = StreamSpec {
            key: self.root().to_owned(),
            resource_id: None,
            target: serde_json::Value::Null,
        };
        let (scope, connection) = (&self.caller.scope, self.caller.connection);
        let mut tx = self.begin().await?;
        let mut root = cursors::root(&mut tx, scope, connection, &spec, self.backfill_from).await?;
        tx.commit().await.map_err(DbError::from)?;
        // The list is a state, not a history: another run's place in it is worth nothing.
        if root
            .pending_upper_bound
            .is_some_and(|bound| bound != self.upper_bound)
        {
            root.cursor = None;
        }
        Ok(StreamTask::new(root, Pass::Root))
    }

    /// The streams that this run has not finished.
    pub(super) async fn list_unread(&self) -> Result<Vec<StreamCursor>, JobFailure> {
        let (scope, connection) = (&self.caller.scope, self.caller.connection);
        let mut tx = self.context.db.begin(scope).await?;
        let streams = cursors::list_unread(
            &mut tx,
            scope,
            connection,
            self.root(),
            self.upper_bound,
            MAX_STREAMS,
        )
        .await?;
        self.verify_account(&mut tx).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(streams)
    }

    /// The streams that are due to be reconciled.
    pub(super) async fn list_unreconciled(&self) -> Result<Vec<StreamCursor>, JobFailure> {
        let (scope, connection) = (&self.caller.scope, self.caller.connection);
        let mut tx = self.context.db.begin(scope).await?;
        let streams =
            cursors::list_unreconciled(&mut tx, scope, connection, self.root(), MAX_RECONCILED)
                .await?;
        self.verify_account(&mut tx).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(streams)
    }

    /// Ends a run whose account is described otherwise than when it began: keys follow the
    /// description. What changes later changes the versions of the streams that were listed before.
    async fn verify_account(&self, tx: &mut Tx) -> Result<(), JobFailure> {
        let (scope, connection) = (&self.caller.scope, self.caller.connection);
        let now = connections::get(tx, scope, connection).await?;
        if now.and_then(|now| now.account).as_ref() == Some(&self.caller.account) {
            Ok(())
        } else {
            Err(JobFailure::Overtaken)
        }
    }

    /// How far the connection's streams have been read. `waiting` says why the run does not read
    /// the others, where that is not the end of its slice.
    pub(super) async fn reached(
        &self,
        tx: &mut Tx,
        waiting: Option<&JobError>,
    ) -> Result<Reached, JobFailure> {
        let (scope, connection) = (&self.caller.scope, self.caller.connection);
        let (root, upper_bound) = (self.root(), self.upper_bound);
        Ok(cursors::reached(tx, scope, connection, root, upper_bound, waiting).await?)
    }

    pub(super) fn root(&self) -> &'static str {
        self.caller.connector.descriptor().root_stream
    }
}
