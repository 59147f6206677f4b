//! Reads a connection: first which streams there are, then each stream page by page.
//!
//! A page's Signals and the cursor behind it commit together, under the job's lease and over
//! the version the page was read at. A run that is killed goes on where its last page ended;
//! a run that takes long gives its slot back between two pages and comes again.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::StreamExt;
use shared::connectors::{
    Connector, ConnectorError, ExternalAccount, StreamSpec, SyncPage, SyncRequest,
};
use shared::credentials::CredentialError;
use shared::db::connections::{self, Connection, ConnectionStatus};
use shared::db::cursors::{self, StreamCursor};
use shared::db::{DbError, TenantScope};
use shared::ids::ConnectionId;
use shared::queue::{self, ClaimedJob, JobOutcome, SyncMode};
use shared::signals::{self, NewSignal};
use tokio_util::sync::CancellationToken;

use super::{JobFailure, error};
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
    let connector = context
        .registry
        .get(&job.provider)
        .map_err(|error| ConnectorError::Permanent(Box::new(error)))?;
    let Some((connection, account)) = readable(context, job, id).await? else {
        return Err(JobFailure::Outcome(JobOutcome::Cancelled));
    };
    let run = Run {
        context,
        job,
        scope: job.scope(),
        connector: &*connector,
        connection: id,
        account,
        until: begin(context, job, id, mode, until).await?,
        started: Instant::now(),
        draining,
    };
    let result = run.read_everything().await;
    if let Err(failure) = &result {
        run.note(failure).await?;
    } else {
        let mut tx = context.db.begin(&run.scope).await?;
        let backfilled = connection.backfilled_at.is_none();
        connections::record_sync(&mut tx, &run.scope, id, None, backfilled).await?;
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
    scope: TenantScope,
    connector: &'a dyn Connector,
    connection: ConnectionId,
    account: ExternalAccount,
    until: DateTime<Utc>,
    started: Instant,
    draining: &'a CancellationToken,
}

impl Run<'_> {
    async fn read_everything(&self) -> Result<(), JobFailure> {
        self.find_streams().await?;
        let mut tx = self.context.db.begin(&self.scope).await?;
        let streams = cursors::active(&mut tx, &self.scope, self.connection).await?;
        tx.commit().await.map_err(DbError::from)?;
        let width = self
            .connector
            .descriptor()
            .limits
            .account_concurrency
            .max(1);
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
            key: self.connector.descriptor().root_stream.to_owned(),
            resource_id: None,
            target: serde_json::Value::Null,
        };
        let mut cursor = None;
        let mut found = Vec::new();
        loop {
            let page = self
                .fetch(&root, cursor, horizon(self.context, self.until))
                .await?;
            found.extend(page.streams);
            if !page.more {
                break;
            }
            cursor = Some(page.cursor);
        }
        let mut tx = self.context.db.begin(&self.scope).await?;
        let horizon = horizon(self.context, self.until);
        cursors::replace_streams(&mut tx, &self.scope, self.connection, &found, horizon).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    async fn read_stream(&self, mut stream: StreamCursor) -> Result<(), JobFailure> {
        let mut restarted = false;
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
            if !more {
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

    /// Reads a page; a token that is refused is renewed once.
    async fn fetch(
        &self,
        stream: &StreamSpec,
        cursor: Option<serde_json::Value>,
        horizon: DateTime<Utc>,
    ) -> Result<SyncPage, JobFailure> {
        let mut refused = None;
        loop {
            let token = self
                .context
                .credentials
                .access_token(
                    &self.scope,
                    self.connection,
                    &self.account,
                    self.connector,
                    refused,
                )
                .await?;
            let request = SyncRequest {
                account: self.account.clone(),
                access_token: token.token,
                stream: stream.clone(),
                cursor: cursor.clone(),
                horizon,
                until: self.until,
            };
            match self.connector.sync(request).await {
                Err(ConnectorError::Unauthorized(_)) if refused.is_none() => {
                    refused = Some(token.version);
                }
                other => return Ok(other?),
            }
        }
    }

    async fn commit(&self, stream: &mut StreamCursor, page: SyncPage) -> Result<(), JobFailure> {
        let unchanged = page.signals.is_empty() && stream.cursor.as_ref() == Some(&page.cursor);
        if unchanged {
            return Ok(());
        }
        let received_at = self.context.clock.now();
        let source = self.connector.descriptor().slug;
        let traceparent = shared::telemetry::current_traceparent();
        let new = page
            .signals
            .into_iter()
            .map(|draft| NewSignal {
                tenant_id: self.job.tenant_id,
                connection_id: self.connection,
                source,
                received_at,
                traceparent: traceparent.clone(),
                draft,
            })
            .collect();
        let mut tx = self.context.db.begin(&self.scope).await?;
        if !queue::hold(&mut tx, self.job).await?
            || !cursors::advance(&mut tx, &self.scope, self.connection, stream, &page.cursor)
                .await?
        {
            return Err(JobFailure::Overtaken);
        }
        signals::store(&mut tx, new).await?;
        tx.commit().await.map_err(DbError::from)?;
        stream.version += 1;
        stream.cursor = Some(page.cursor);
        Ok(())
    }

    async fn restart(&self, stream: &mut StreamCursor) -> Result<(), JobFailure> {
        let horizon = horizon(self.context, self.until);
        let mut tx = self.context.db.begin(&self.scope).await?;
        if !queue::hold(&mut tx, self.job).await? {
            return Err(JobFailure::Overtaken);
        }
        let key = stream.spec.key.as_str();
        cursors::restart(&mut tx, &self.scope, self.connection, Some(key), horizon).await?;
        tx.commit().await.map_err(DbError::from)?;
        tracing::info!(
            stream = key,
            "the cursor had expired; the stream is read again"
        );
        stream.cursor = None;
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
                changes::note_refused_grant(self.context, &self.scope, self.connection, cause)
                    .await?;
            }
            JobFailure::Outcome(_) | JobFailure::Overtaken | JobFailure::Db(_) => return Ok(()),
            JobFailure::Provider(_) | JobFailure::Credential(_) => {}
        }
        let code = match failure {
            JobFailure::Provider(cause)
            | JobFailure::Credential(CredentialError::Provider(cause)) => cause.code(),
            _ => "no_token",
        };
        let problem = error(
            code,
            "The last read did not end well; the job has the details.",
        );
        let mut tx = self.context.db.begin(&self.scope).await?;
        connections::record_sync(&mut tx, &self.scope, self.connection, Some(&problem), false)
            .await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }
}
