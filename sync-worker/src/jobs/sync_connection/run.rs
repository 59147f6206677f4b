//! One time slice of a run, which reads pages of many streams concurrently.
//!
//! A slice ends when everything is read, when its time is over, or at a rate limit that lasts
//! longer than [`MAX_WAIT`].
//!
//! Progress is stored as it is made, so the next slice resumes with the rest: the root stream at
//! its cursor, and the streams that are not yet read to the run's upper bound.
//!
//! All futures of a slice that wait for Postgres or the provider are polled together, because a
//! page that is being committed holds locks and a Postgres session and must make progress.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use shared::connectors::{ConnectorError, Directory};
use shared::db::cursors::StreamCursor;
use shared::model::{LimitScope, PushWays};
use shared::queue::ClaimedJob;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::slice::{Slice, SliceEnd, SliceReport};
use super::stream_queue::{LimitGroup, Pass, StreamTask};
use crate::context::Context;
use crate::failure::JobFailure;
use crate::provider_session::ProviderSession;

/// The duration of one slice of a run.
const TIME_SLICE: Duration = Duration::from_secs(20);
/// Longest wait for a rate limit; the next slice could not begin much earlier.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// Consecutive failures of a page after which the reconciliation pass ends.
const MAX_RECONCILE_FAILURES: u32 = 4;
/// Consecutive streams whose calls the provider rejects with a new token, after which the run ends.
const MAX_REJECTIONS: u32 = 3;
/// Number of unchanged streams that are marked as read together.
const MARK_BATCH: usize = 100;

/// One sync run of a connection.
pub(super) struct Run<'a> {
    pub(super) context: &'a Context,
    pub(super) job: &'a ClaimedJob,
    pub(super) session: ProviderSession<'a>,
    /// Whether this run is the backfill or a full sync.
    pub(super) is_backfill: bool,
    /// Whether only the streams that deliveries requested are read.
    pub(super) requested_only: bool,
    /// The scopes of the connection's grant.
    pub(super) granted_scopes: Vec<String>,
    /// Whether an earlier slice of this run has read every stream.
    ///
    /// Then only the reconciliation pass is left.
    pub(super) was_read: bool,
    /// Whether the list of streams is incomplete because a part of it could not be read.
    pub(super) has_partial_list: AtomicBool,
    /// Since when deliveries should report every fact; `None` before the backfill has ended.
    pub(super) webhooks_since: Option<DateTime<Utc>>,
    /// The ways by which deliveries reach the connection, beside the app's URL.
    pub(super) push_ways: PushWays,
    pub(super) directory: Arc<Directory>,
    /// The time at which the run began; later facts belong to the next run.
    pub(super) upper_bound: DateTime<Utc>,
    /// The floor of new streams.
    pub(super) backfill_from: DateTime<Utc>,
    pub(super) started: Instant,
    pub(super) draining: &'a CancellationToken,
}

/// The state of a stream after a page.
pub(super) enum PageEnd {
    HasMore,
    /// The stream is read to the upper bound, and that is stored.
    Complete,
    /// The stream is read to the upper bound and had nothing new.
    Unchanged,
}

/// A future of a slice.
type Work<'r> = BoxFuture<'r, Result<Step, JobFailure>>;

/// The result of a future of a slice.
enum Step {
    /// A page of a stream was read.
    Page(StreamTask, PageEnd),
    /// A stream's call is rate limited.
    Limited {
        group: LimitGroup,
        task: StreamTask,
        scope: LimitScope,
        operation: &'static str,
        retry_at: DateTime<Utc>,
    },
    /// A stream's page must be fetched again, with other parameters.
    Retry(StreamTask),
    /// A stream cannot be read.
    Failed(ConnectorError),
    /// The unread streams of the run were listed.
    Listed(Vec<StreamCursor>),
    /// Progress was stored.
    Stored,
}

impl Run<'_> {
    /// Reads until the slice ends; an error ends the whole run.
    ///
    /// `probed` is the root stream, if a probe has fetched its first page.
    pub(super) async fn read_slice(
        &self,
        probed: Option<StreamTask>,
    ) -> Result<SliceReport, JobFailure> {
        let mut slice = Slice::default();
        let result = self.read(&mut slice, probed).await;
        // Store the progress even if the slice failed.
        let marked = self.mark_read(&slice.unchanged).await;
        let end = result?;
        marked?;
        Ok(SliceReport {
            end,
            progress: slice.progress,
            failure: slice.failure,
            reconciled: slice.reconciled,
        })
    }

    async fn read(
        &self,
        slice: &mut Slice,
        probed: Option<StreamTask>,
    ) -> Result<SliceEnd, JobFailure> {
        // The root stream comes first: it provides the names for Signals of the other streams, and
        // it shows which of them need no read.
        if self.requested_only || !self.queue_root(slice, probed).await? {
            slice.queue_streams(self.list_unread().await?, self.upper_bound);
        }
        let limits = &self.session.connector.descriptor().limits;
        // As many pages may be committed as are being fetched.
        let width = limits.account_concurrency.saturating_mul(2).max(1);
        let mut working: FuturesUnordered<Work<'_>> = FuturesUnordered::new();
        loop {
            let time_is_up = self.time_is_up();
            while !time_is_up && working.len() < width {
                let Some((group, task)) = slice.queue.pop(self.context.clock.now()) else {
                    break;
                };
                working.push(Box::pin(self.read_page(group, task)));
            }
            let resumes_at = slice.queue.resumes_at(self.context.clock.now());
            if working.is_empty() {
                let Some(at) = resumes_at else {
                    if slice.is_partial {
                        return Ok(SliceEnd::TimeIsUp);
                    }
                    if self.is_backfill || self.requested_only {
                        return Ok(SliceEnd::Complete);
                    }
                    // Streams that this slice has reconciled are no longer due.
                    let due = self.list_unreconciled().await?;
                    if due.is_empty() {
                        return Ok(SliceEnd::Complete);
                    }
                    if time_is_up {
                        return Ok(SliceEnd::Reconciling(self.context.clock.now()));
                    }
                    slice.is_reconciling = true;
                    slice.queue_unreconciled(due);
                    continue;
                };
                let wait = self.duration_until(at);
                if !time_is_up && wait <= MAX_WAIT {
                    sleep(wait).await;
                    continue;
                }
                return Ok(match (slice.is_reconciling, time_is_up) {
                    (true, true) => SliceEnd::Reconciling(self.context.clock.now()),
                    (true, false) => SliceEnd::Reconciling(at),
                    (false, true) => SliceEnd::TimeIsUp,
                    (false, false) => SliceEnd::Limited(at),
                });
            }
            let is_waiting = !time_is_up && working.len() < width;
            let next = resumes_at.filter(|_| is_waiting);
            tokio::select! {
                Some(step) = working.next() => {
                    if self.record_step(slice, step?)? {
                        working.push(Box::pin(async { self.list_unread().await.map(Step::Listed) }));
                    }
                }
                () = sleep(next.map_or(MAX_WAIT, |at| self.duration_until(at))), if next.is_some() => {}
            }
            if slice.unchanged.len() >= MARK_BATCH {
                let streams = std::mem::take(&mut slice.unchanged);
                working.push(Box::pin(async move {
                    self.mark_read(&streams).await.map(|()| Step::Stored)
                }));
            }
        }
    }

    fn duration_until(&self, at: DateTime<Utc>) -> Duration {
        (at - self.context.clock.now()).to_std().unwrap_or_default()
    }

    fn time_is_up(&self) -> bool {
        self.draining.is_cancelled() || self.started.elapsed() > TIME_SLICE
    }

    /// Queues the root stream unless this run has read it; returns whether it was queued.
    async fn queue_root(
        &self,
        slice: &mut Slice,
        probed: Option<StreamTask>,
    ) -> Result<bool, JobFailure> {
        let root = match probed {
            Some(root) => root,
            None => self.root_task().await?,
        };
        if root.stream.read_through >= Some(self.upper_bound) {
            return Ok(false);
        }
        slice.queue.push_fresh(root);
        Ok(true)
    }

    /// Records a step in the slice; returns whether the unread streams must be listed.
    ///
    /// An error ends the whole run.
    fn record_step(&self, slice: &mut Slice, step: Step) -> Result<bool, JobFailure> {
        if matches!(step, Step::Page(..)) {
            slice.rejections = 0;
        }
        match step {
            Step::Page(task, end) if task.pass == Pass::Reconciliation => {
                slice.progress += 1;
                slice.reconciled += 1;
                if matches!(end, PageEnd::HasMore) {
                    slice.queue.push_started(task);
                }
            }
            Step::Page(task, PageEnd::HasMore) => {
                slice.progress += 1;
                slice.queue.push_started(task);
            }
            Step::Page(mut task, end) => {
                slice.progress += 1;
                if std::mem::take(&mut task.is_left_behind) {
                    // The earlier run's part is finished; this run reads the newer facts.
                    slice.queue.push_started(task);
                } else if task.pass == Pass::Root {
                    return Ok(true);
                } else if matches!(end, PageEnd::Unchanged) {
                    slice.unchanged.push(task.stream.spec.key);
                }
            }
            Step::Limited {
                group,
                task,
                scope,
                operation,
                retry_at,
            } => slice
                .queue
                .push_limited(group, task, scope, operation, retry_at),
            Step::Retry(task) => slice.queue.push_started(task),
            Step::Failed(error) => {
                if matches!(error, ConnectorError::Unauthorized(_)) {
                    slice.rejections += 1;
                    // Then the token is rejected, and not these streams.
                    if slice.rejections >= MAX_REJECTIONS {
                        return Err(error.into());
                    }
                }
                slice.record_failure(error);
            }
            Step::Listed(streams) => slice.queue_streams(streams, self.upper_bound),
            Step::Stored => {}
        }
        Ok(false)
    }

    /// Fetches and commits one page; an error ends the whole run.
    ///
    /// A stream that cannot be read does not delay the others.
    async fn read_page(&self, group: LimitGroup, mut task: StreamTask) -> Result<Step, JobFailure> {
        match self.fetch_and_commit(&mut task).await {
            Ok(end) => Ok(Step::Page(task, end)),
            Err(JobFailure::Provider(ConnectorError::RateLimited {
                retry_at,
                scope,
                operation,
                ..
            })) => Ok(Step::Limited {
                group,
                task,
                scope,
                operation,
                retry_at,
            }),
            // Once per run: a new cursor that has expired too is an error of the provider.
            Err(JobFailure::Provider(ConnectorError::CursorExpired(_)))
                if !task.has_restarted && task.pass != Pass::Reconciliation =>
            {
                task.has_restarted = true;
                self.restart(&mut task.stream).await?;
                Ok(Step::Retry(task))
            }
            // The provider may not support pages of this size. A failed trial of a larger size has
            // no consequence, and the reconciliation pass uses smaller pages immediately.
            Err(JobFailure::Provider(ConnectorError::Transient(_)))
                if task.stream.page_size.is_trial()
                    || (task.pass == Pass::Reconciliation
                        && task.stream.page_size.failures < MAX_RECONCILE_FAILURES) =>
            {
                task.stream.page_size = task.stream.page_size.after_failure();
                Ok(Step::Retry(task))
            }
            Err(JobFailure::Provider(error)) if is_of_stream(&error, task.pass) => {
                self.record_failed_read(task, error).await
            }
            Err(other) => Err(other),
        }
    }

    /// Records why a stream could not be read.
    async fn record_failed_read(
        &self,
        task: StreamTask,
        error: ConnectorError,
    ) -> Result<Step, JobFailure> {
        let key = &task.stream.spec.key;
        match task.pass {
            // It ends the run; after a temporary failure, the retry uses smaller pages.
            Pass::Root => {
                self.record_stream_failure(self.root(), &error, task.last_call)
                    .await?;
                Err(error.into())
            }
            Pass::Incremental => {
                tracing::warn!(
                    stream.key = key,
                    error = &error as &dyn std::error::Error,
                    "failed to read a stream"
                );
                self.record_stream_failure(key, &error, task.last_call)
                    .await?;
                Ok(Step::Failed(error))
            }
            // The pass restarts later; reads of the stream's new facts continue.
            Pass::Reconciliation => {
                tracing::warn!(
                    stream.key = key,
                    error = &error as &dyn std::error::Error,
                    "failed to reconcile a stream"
                );
                self.abandon_reconciliation(&task.stream, &error, task.last_call)
                    .await?;
                Ok(Step::Stored)
            }
        }
    }
}

/// Whether an error concerns the stream that was read, and not the whole connection.
fn is_of_stream(error: &ConnectorError, pass: Pass) -> bool {
    match error {
        ConnectorError::Denied { .. }
        | ConnectorError::Permanent(_)
        | ConnectorError::CursorExpired(_)
        | ConnectorError::Transient(_) => true,
        // One list may reject every token. If the root does, the token itself is rejected.
        ConnectorError::Unauthorized(_) => pass != Pass::Root,
        _ => false,
    }
}
