//! Reads a connection: first which streams there are, then each stream page by page.
//!
//! A page's Signals and the cursor behind it commit together, under the job's lease and over
//! the version the page was read at. A run that is killed goes on where its last page ended;
//! a run that takes long gives its slot back between two pages and comes again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::StreamExt;
use shared::connectors::{
    ConnectorError, Directory, ExternalAccount, StreamSpec, SyncPage, SyncRequest,
};
use shared::credentials::CredentialError;
use shared::db::connections::{self, Connection, ConnectionStatus};
use shared::db::cursors::{self, StreamCursor};
use shared::db::{DbError, directory, subscriptions};
use shared::ids::ConnectionId;
use shared::queue::{self, ClaimedJob, JobOutcome, SyncMode};
use shared::signals::{self, NewSignal};
use tokio_util::sync::CancellationToken;

use super::{JobFailure, connector_of, error};
use crate::access::Caller;
use crate::changes;
use crate::context::Context;

/// How long a run keeps its slot.
const SLICE: Duration = Duration::from_secs(20);

pub(super) async fn run(
    context: &Context,
    job: &ClaimedJob,
    mode: SyncMode,
    until: Option<DateTime<Utc>>,
    draining: &CancellationToken,
) -> Result<(), JobFailure> {
    let Some(id) = job.connection_id else {
        return Ok(());
    };
    let connector = connector_of(context, job)?;
    let Some((connection, account)) = readable(context, job, id).await? else {
        return Err(JobFailure::Outcome(JobOutcome::Cancelled));
    };
    let run = Run {
        context,
        job,
        caller: Caller {
            context,
            scope: job.scope(),
            connector: &*connector,
            connection: id,
            account,
        },
        bulk: mode == SyncMode::Full || connection.backfilled_at.is_none(),
        directory: Arc::new(known_names(context, job, id).await?),
        until: begin(context, job, id, mode, until).await?,
        started: Instant::now(),
        draining,
    };
    let result = run.read_everything().await;
    if let Err(failure) = &result {
        run.note(failure).await?;
    } else {
        let mut tx = context.db.begin(&job.scope()).await?;
        let through = run.until - connector.descriptor().visible_after;
        connections::record_sync(&mut tx, &job.scope(), id, through, run.bulk).await?;
        tx.commit().await.map_err(DbError::from)?;
    }
    result
}

/// The connection, if it can be read now. One that is paused or gone ends the job quietly:
/// resuming it enqueues another.
async fn readable(
    context: &Context,
    job: &ClaimedJob,
    id: ConnectionId,
) -> Result<Option<(Connection, ExternalAccount)>, JobFailure> {
    let mut tx = context.db.begin(&job.scope()).await?;
    let connection = connections::get(&mut tx, &job.scope(), id).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(connection
        .filter(|c| c.status == ConnectionStatus::Active)
        .and_then(|connection| {
            let account = connection.account.clone()?;
            Some((connection, account))
        }))
}

/// What is known of the connection's people and places.
async fn known_names(
    context: &Context,
    job: &ClaimedJob,
    id: ConnectionId,
) -> Result<Directory, JobFailure> {
    let mut tx = context.db.begin(&job.scope()).await?;
    let known = directory::load_all(&mut tx, &job.scope(), id).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(Directory::of(known))
}

/// Freezes the run's upper bound at its first try; a full run forgets the cursors in the
/// same transaction, so that a second try does not forget them again.
async fn begin(
    context: &Context,
    job: &ClaimedJob,
    id: ConnectionId,
    mode: SyncMode,
    until: Option<DateTime<Utc>>,
) -> Result<DateTime<Utc>, JobFailure> {
    if let Some(until) = until {
        return Ok(until);
    }
    let until = context.clock.now();
    let mut tx = context.db.begin(&job.scope()).await?;
    if !queue::freeze_until(&mut tx, job, mode, until).await? {
        return Err(JobFailure::Overtaken);
    }
    if mode == SyncMode::Full {
        cursors::restart(&mut tx, &job.scope(), id, None, horizon(context, until)).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    Ok(until)
}

fn horizon(context: &Context, until: DateTime<Utc>) -> DateTime<Utc> {
    until - context.config.backfill
}

/// One run over a connection.
struct Run<'a> {
    context: &'a Context,
    job: &'a ClaimedJob,
    caller: Caller<'a>,
    /// Whether the past is being read.
    bulk: bool,
    directory: Arc<Directory>,
    until: DateTime<Utc>,
    started: Instant,
    draining: &'a CancellationToken,
}

impl Run<'_> {
    async fn read_everything(&self) -> Result<(), JobFailure> {
        self.find_streams().await?;
        let mut tx = self.context.db.begin(&self.caller.scope).await?;
        let streams = cursors::active(&mut tx, &self.caller.scope, self.caller.connection).await?;
        tx.commit().await.map_err(DbError::from)?;
        let limits = &self.caller.connector.descriptor().limits;
        // While some pages are asked for, as many are written.
        let width = limits.account_concurrency.saturating_mul(2).max(1);
        let mut reading = futures::stream::iter(streams)
            .map(|stream| self.read_stream(stream))
            .buffer_unordered(width);
        // A stream that cannot be read holds up no other; what ends the whole run ends it now.
        let mut worst = None;
        while let Some(result) = reading.next().await {
            match result {
                Ok(()) => {}
                Err(JobFailure::Provider(
                    error @ (ConnectorError::Permission(_)
                    | ConnectorError::Permanent(_)
                    | ConnectorError::Transient(_)),
                )) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a stream was not read"
                    );
                    if !matches!(error, ConnectorError::Permission(_)) {
                        worst.get_or_insert(JobFailure::Provider(error));
                    }
                }
                Err(other) => return Err(other),
            }
        }
        worst.map_or(Ok(()), Err)
    }

    /// Reads the root stream whole and takes its list over. It has no cursor of its own: the
    /// list is a state, not a history.
    async fn find_streams(&self) -> Result<(), JobFailure> {
        let root = StreamSpec {
            key: self.caller.connector.descriptor().root_stream.to_owned(),
            resource_id: None,
            target: serde_json::Value::Null,
        };
        let mut cursor = None;
        let (mut found, mut wanted, mut learned) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let page = self
                .fetch(&root, cursor, horizon(self.context, self.until))
                .await?;
            found.extend(page.streams);
            wanted.extend(page.subscriptions);
            learned.extend(page.learned);
            if !page.more {
                break;
            }
            cursor = Some(page.cursor);
        }
        let mut tx = self.context.db.begin(&self.caller.scope).await?;
        let horizon = horizon(self.context, self.until);
        let (scope, connection) = (&self.caller.scope, self.caller.connection);
        cursors::replace_streams(&mut tx, scope, connection, &found, horizon).await?;
        if self.caller.connector.descriptor().subscriptions.is_some() {
            subscriptions::want(&mut tx, scope, connection, &wanted).await?;
        }
        directory::save(&mut tx, scope, connection, &learned).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    /// Reads a stream to its end. Where an earlier run was given up on its way, its cursor goes
    /// on to that run's bound; this run then begins anew, for what has come since.
    async fn read_stream(&self, mut stream: StreamCursor) -> Result<(), JobFailure> {
        let mut restarted = false;
        let mut left_behind = stream
            .unfinished_until
            .is_some_and(|bound| bound != self.until);
        loop {
            self.give_way()?;
            let page = match self
                .fetch(&stream.spec, stream.cursor.clone(), stream.horizon)
                .await
            {
                // Once per run: a fresh cursor that is expired too is the provider's fault.
                Err(JobFailure::Provider(ConnectorError::CursorExpired(_))) if !restarted => {
                    restarted = true;
                    self.restart(&mut stream).await?;
                    continue;
                }
                other => other?,
            };
            let more = page.more;
            self.commit(&mut stream, page).await?;
            if !more && !std::mem::take(&mut left_behind) {
                return Ok(());
            }
        }
    }

    /// Lets others have the slot after a while, and ends early when the process drains.
    fn give_way(&self) -> Result<(), JobFailure> {
        if self.draining.is_cancelled() || self.started.elapsed() > SLICE {
            return Err(JobFailure::Outcome(JobOutcome::Postponed {
                at: self.context.clock.now(),
                error: error("time_slice", "The run goes on in its next time slice."),
            }));
        }
        Ok(())
    }

    async fn fetch(
        &self,
        stream: &StreamSpec,
        cursor: Option<serde_json::Value>,
        horizon: DateTime<Utc>,
    ) -> Result<SyncPage, JobFailure> {
        let connector = self.caller.connector;
        self.caller
            .call(|access| {
                let request = SyncRequest {
                    access,
                    stream: stream.clone(),
                    cursor: cursor.clone(),
                    horizon,
                    until: self.until,
                    bulk: self.bulk.then_some(self.job.tenant_id),
                    directory: Arc::clone(&self.directory),
                };
                Box::pin(connector.sync(request))
            })
            .await
    }

    async fn commit(&self, stream: &mut StreamCursor, page: SyncPage) -> Result<(), JobFailure> {
        let unfinished_until = page.more.then_some(self.until);
        let unchanged = page.signals.is_empty()
            && page.learned.is_empty()
            && stream.cursor.as_ref() == Some(&page.cursor)
            && stream.unfinished_until == unfinished_until;
        if unchanged {
            return Ok(());
        }
        let received_at = self.context.clock.now();
        let source = self.caller.connector.descriptor().slug;
        let traceparent = shared::telemetry::current_traceparent();
        let new = page
            .signals
            .into_iter()
            .map(|draft| NewSignal {
                tenant_id: self.job.tenant_id,
                connection_id: self.caller.connection,
                source,
                received_at,
                traceparent: traceparent.clone(),
                draft,
            })
            .collect();
        let mut tx = self.context.db.begin(&self.caller.scope).await?;
        if !queue::hold(&mut tx, self.job).await?
            || !cursors::advance(
                &mut tx,
                &self.caller.scope,
                self.caller.connection,
                stream,
                &page.cursor,
                unfinished_until,
            )
            .await?
        {
            return Err(JobFailure::Overtaken);
        }
        let (scope, connection) = (&self.caller.scope, self.caller.connection);
        directory::save(&mut tx, scope, connection, &page.learned).await?;
        signals::store(&mut tx, new).await?;
        tx.commit().await.map_err(DbError::from)?;
        stream.version += 1;
        stream.cursor = Some(page.cursor);
        stream.unfinished_until = unfinished_until;
        Ok(())
    }

    async fn restart(&self, stream: &mut StreamCursor) -> Result<(), JobFailure> {
        let horizon = horizon(self.context, self.until);
        let mut tx = self.context.db.begin(&self.caller.scope).await?;
        if !queue::hold(&mut tx, self.job).await? {
            return Err(JobFailure::Overtaken);
        }
        let key = stream.spec.key.as_str();
        cursors::restart(
            &mut tx,
            &self.caller.scope,
            self.caller.connection,
            Some(key),
            horizon,
        )
        .await?;
        tx.commit().await.map_err(DbError::from)?;
        tracing::info!(
            stream = key,
            "the cursor had expired; the stream is read again"
        );
        stream.cursor = None;
        stream.unfinished_until = None;
        stream.version += 1;
        stream.horizon = horizon;
        Ok(())
    }

    /// Writes down what a failed run says about the connection.
    async fn note(&self, failure: &JobFailure) -> Result<(), JobFailure> {
        match failure {
            JobFailure::Provider(cause @ ConnectorError::Unauthorized(_))
            | JobFailure::Credential(CredentialError::Provider(
                cause @ (ConnectorError::Unauthorized(_) | ConnectorError::Permission(_)),
            )) => {
                changes::note_refused_grant(
                    self.context,
                    &self.caller.scope,
                    self.caller.connection,
                    cause,
                )
                .await?;
            }
            JobFailure::Credential(CredentialError::RotationLost(cause)) => {
                changes::note_lost_rotation(
                    self.context,
                    &self.caller.scope,
                    self.caller.connection,
                    cause,
                )
                .await?;
            }
            JobFailure::Outcome(_) | JobFailure::Overtaken | JobFailure::Db(_) => return Ok(()),
            JobFailure::Provider(_) | JobFailure::Credential(_) => {}
        }
        let code = match failure {
            JobFailure::Provider(cause)
            | JobFailure::Credential(CredentialError::Provider(cause)) => cause.code(),
            JobFailure::Credential(CredentialError::RotationLost(_)) => "rotation_lost",
            _ => "no_token",
        };
        let problem = error(
            code,
            "The last read did not end well; the job has the details.",
        );
        let mut tx = self.context.db.begin(&self.caller.scope).await?;
        let (scope, connection) = (&self.caller.scope, self.caller.connection);
        connections::record_failed_sync(&mut tx, scope, connection, &problem).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }
}
