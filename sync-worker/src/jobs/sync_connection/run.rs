//! One time slice of a run: reads pages of many streams side by side until everything is read, the
//! slice is over, or a limit takes longer than it is worth to wait for.
//!
//! What is finished is written down as it is finished, so the next slice resumes with the rest:
//! the root at its place, and the streams that have not been read to the run's bound.
//!
//! Whatever waits for Postgres or the provider while pages are read is polled together with them:
//! a page that is being written holds locks and a connection, and must get on.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use shared::connectors::{ConnectorError, Directory, LimitScope};
use shared::db::cursors::StreamCursor;
use shared::queue::ClaimedJob;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::stream_queue::{Lane, Pass, StreamQueue, StreamTask};
use super::streams::MAX_STREAMS;
use crate::access::Caller;
use crate::context::Context;
use crate::jobs::JobFailure;

/// How long a run keeps its slot.
const TIME_SLICE: Duration = Duration::from_secs(20);
/// The longest wait for a limit: the next slice could not begin much sooner.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// How often in a row a page of the reconciliation pass may fail, before the pass ends.
const MAX_RECONCILE_FAILURES: u32 = 4;
/// How many streams without news are written down together.
const MARK_BATCH: usize = 100;

/// One run over a connection.
pub(super) struct Run<'a> {
    pub(super) context: &'a Context,
    pub(super) job: &'a ClaimedJob,
    pub(super) caller: Caller<'a>,
    /// Whether the past is being read.
    pub(super) is_backfill: bool,
    /// Whether an earlier slice of this run has read every stream, so that only the reconciliation
    /// pass is left.
    pub(super) was_read: bool,
    /// Whether the list of streams lacks some that could not be read.
    pub(super) has_partial_list: AtomicBool,
    /// Since when deliveries should have told what happens; `None` before the past was read.
    pub(super) webhooks_since: Option<DateTime<Utc>>,
    pub(super) directory: Arc<Directory>,
    /// What happens later belongs to the next run.
    pub(super) upper_bound: DateTime<Utc>,
    /// How far back a stream is read that has no cursor.
    pub(super) backfill_from: DateTime<Utc>,
    pub(super) started: Instant,
    pub(super) draining: &'a CancellationToken,
}

/// How a slice ended.
#[derive(Debug)]
pub(super) struct SliceReport {
    pub(super) end: SliceEnd,
    /// Pages and streams that were finished in it.
    pub(super) progress: usize,
    /// What went wrong with a stream, where another try may go better.
    pub(super) failure: Option<ConnectorError>,
    /// Pages of the reconciliation pass among them.
    pub(super) reconciled: usize,
}

/// Why a slice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SliceEnd {
    /// Every stream has been tried.
    Complete,
    /// The same, but for the reconciliation pass, which can continue at this moment.
    Reconciling(DateTime<Utc>),
    /// Others have their turn; there is more to read.
    TimeIsUp,
    /// No call is allowed before this moment.
    Limited(DateTime<Utc>),
}

/// What a page left of its stream.
pub(super) enum PageEnd {
    HasMore,
    /// It is read to the upper bound, and that is written down.
    Complete,
    /// It is read to the upper bound and had nothing new.
    Unchanged,
}

/// Something that a slice waits for.
type Work<'r> = BoxFuture<'r, Result<Step, JobFailure>>;

/// What has been waited for.
enum Step {
    /// A page of a stream was read.
    Page(StreamTask, PageEnd),
    /// A stream's call is not allowed for now.
    Limited {
        lane: Lane,
        task: StreamTask,
        scope: LimitScope,
        operation: &'static str,
        retry_at: DateTime<Utc>,
    },
    /// A stream's page is to be asked for in another way.
    Again(StreamTask),
    /// A stream cannot be read.
    Failed(ConnectorError),
    /// The streams were listed that the run has still to read.
    Listed(Vec<StreamCursor>),
    /// What has been read was written down.
    Marked,
}

/// What a slice has to do and has done.
#[derive(Default)]
struct Slice {
    queue: StreamQueue,
    /// Streams that have been queued.
    known: HashSet<String>,
    /// Streams that had nothing new, to be written down.
    unchanged: Vec<String>,
    progress: usize,
    failure: Option<ConnectorError>,
    /// There were more streams than one slice takes.
    is_partial: bool,
    /// Every stream has been read; what follows is the reconciliation pass.
    is_reconciling: bool,
    /// Pages of the pass that were read.
    reconciled: usize,
}

impl Run<'_> {
    /// Reads until the slice ends, `probed` being the root where its first page has been fetched.
    /// What ends the whole run is an error.
    pub(super) async fn read_slice(
        &self,
        probed: Option<StreamTask>,
    ) -> Result<SliceReport, JobFailure> {
        let mut slice = Slice::default();
        let result = self.read(&mut slice, probed).await;
        // What is finished stays finished, whatever ended the slice.
        let marked = self.mark(&slice.unchanged).await;
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
        // The streams wait for the root: it brings the names that their Signals need, and says
        // which of them need not be read.
        if !self.queue_root(slice, probed).await? {
            slice.queue_streams(self.list_unread().await?, self.upper_bound);
        }
        let limits = &self.caller.connector.descriptor().limits;
        // While some pages are asked for, as many are written.
        let width = limits.account_concurrency.saturating_mul(2).max(1);
        let mut working: FuturesUnordered<Work<'_>> = FuturesUnordered::new();
        loop {
            let time_is_up = self.time_is_up();
            while !time_is_up && working.len() < width {
                let Some((lane, task)) = slice.queue.pop(self.context.clock.now()) else {
                    break;
                };
                working.push(Box::pin(self.read_page(lane, task)));
            }
            let resumes_at = slice.queue.resumes_at(self.context.clock.now());
            if working.is_empty() {
                let Some(at) = resumes_at else {
                    if slice.is_partial {
                        return Ok(SliceEnd::TimeIsUp);
                    }
                    if self.is_backfill {
                        return Ok(SliceEnd::Complete);
                    }
                    // A stream that was reconciled is not due any more.
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
                let wait = self.until(at);
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
                    if self.settle(slice, step?) {
                        working.push(Box::pin(async { self.list_unread().await.map(Step::Listed) }));
                    }
                }
                () = sleep(next.map_or(MAX_WAIT, |at| self.until(at))), if next.is_some() => {}
            }
            if slice.unchanged.len() >= MARK_BATCH {
                let streams = std::mem::take(&mut slice.unchanged);
                working.push(Box::pin(async move {
                    self.mark(&streams).await.map(|()| Step::Marked)
                }));
            }
        }
    }

    fn until(&self, at: DateTime<Utc>) -> Duration {
        (at - self.context.clock.now()).to_std().unwrap_or_default()
    }

    fn time_is_up(&self) -> bool {
        self.draining.is_cancelled() || self.started.elapsed() > TIME_SLICE
    }

    /// Queues the root, unless this run has read it already; answers whether it did.
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

    /// Takes in what has been waited for. Answers whether there may be streams to read that are
    /// not known yet.
    fn settle(&self, slice: &mut Slice, step: Step) -> bool {
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
                    // The earlier run is finished; this one reads what has come since.
                    slice.queue.push_started(task);
                } else if task.pass == Pass::Root {
                    return true;
                } else if matches!(end, PageEnd::Unchanged) {
                    slice.unchanged.push(task.stream.spec.key);
                }
            }
            Step::Limited {
                lane,
                task,
                scope,
                operation,
                retry_at,
            } => slice
                .queue
                .push_limited(lane, task, scope, operation, retry_at),
            Step::Again(task) => slice.queue.push_started(task),
            Step::Failed(error) => slice.note_failure(error),
            Step::Listed(streams) => slice.queue_streams(streams, self.upper_bound),
            Step::Marked => {}
        }
        false
    }

    /// Reads and writes one page. A stream that cannot be read holds up no other; what concerns
    /// the whole connection is an error.
    async fn read_page(&self, lane: Lane, mut task: StreamTask) -> Result<Step, JobFailure> {
        match self.fetch_and_commit(&mut task).await {
            Ok(end) => Ok(Step::Page(task, end)),
            Err(JobFailure::Provider(ConnectorError::RateLimited {
                retry_at,
                scope,
                operation,
                ..
            })) => Ok(Step::Limited {
                lane,
                task,
                scope,
                operation,
                retry_at,
            }),
            // Once per run: a fresh cursor that is expired too is the provider's fault.
            Err(JobFailure::Provider(ConnectorError::CursorExpired(_)))
                if !task.has_restarted && task.pass != Pass::Reconciliation =>
            {
                task.has_restarted = true;
                self.restart(&mut task.stream).await?;
                Ok(Step::Again(task))
            }
            // The provider may not be able to make pages of this size. A failed trial of a larger one
            // costs nothing, and the pass shrinks its pages at once.
            Err(JobFailure::Provider(ConnectorError::Transient(_)))
                if task.stream.page_size.is_trial()
                    || (task.pass == Pass::Reconciliation
                        && task.stream.page_size.failures < MAX_RECONCILE_FAILURES) =>
            {
                task.stream.page_size = task.stream.page_size.after_failure();
                Ok(Step::Again(task))
            }
            // The pass begins anew after a while; the stream itself can be read.
            Err(JobFailure::Provider(
                error @ (ConnectorError::Permission(_)
                | ConnectorError::Permanent(_)
                | ConnectorError::CursorExpired(_)
                | ConnectorError::Transient(_)),
            )) if task.pass == Pass::Reconciliation => {
                tracing::warn!(
                    stream.key = task.stream.spec.key,
                    error = &error as &dyn std::error::Error,
                    "failed to reconcile a stream"
                );
                self.abandon_reconciliation(&task.stream, &error).await?;
                Ok(Step::Marked)
            }
            Err(JobFailure::Provider(
                error @ (ConnectorError::Permission(_)
                | ConnectorError::Permanent(_)
                | ConnectorError::CursorExpired(_)
                | ConnectorError::Transient(_)),
            )) if task.pass != Pass::Root => {
                let key = task.stream.spec.key;
                tracing::warn!(
                    stream.key = key,
                    error = &error as &dyn std::error::Error,
                    "failed to read a stream"
                );
                self.note_stream_failure(&key, &error).await?;
                Ok(Step::Failed(error))
            }
            // It ends the run; the next try asks for less at once where the failure may pass.
            Err(JobFailure::Provider(
                error @ (ConnectorError::Permission(_)
                | ConnectorError::Permanent(_)
                | ConnectorError::CursorExpired(_)
                | ConnectorError::Transient(_)),
            )) if task.pass == Pass::Root => {
                self.note_stream_failure(self.root(), &error).await?;
                Err(error.into())
            }
            Err(other) => Err(other),
        }
    }
}

impl Slice {
    /// Queues streams that have not been queued before.
    fn queue_streams(&mut self, streams: Vec<StreamCursor>, upper_bound: DateTime<Utc>) {
        self.is_partial = i64::try_from(streams.len()).unwrap_or(i64::MAX) >= MAX_STREAMS;
        for stream in streams {
            if !self.known.insert(stream.spec.key.clone()) {
                continue;
            }
            let is_left_behind = stream
                .pending_upper_bound
                .is_some_and(|bound| bound != upper_bound);
            self.queue.push_fresh(StreamTask {
                is_left_behind,
                ..StreamTask::new(stream, Pass::Incremental)
            });
        }
    }

    /// Queues streams to be reconciled.
    fn queue_unreconciled(&mut self, streams: Vec<StreamCursor>) {
        for stream in streams {
            self.queue
                .push_fresh(StreamTask::new(stream, Pass::Reconciliation));
        }
    }

    /// Keeps the failure that decides how the job ends: one that may pass has it tried again.
    fn note_failure(&mut self, error: ConnectorError) {
        let passes = may_pass(&error);
        if !passes {
            self.progress += 1;
        }
        // It is noted on the stream, and holds up no other.
        if matches!(error, ConnectorError::Permission(_)) {
            return;
        }
        if self.failure.is_none() || passes {
            self.failure = Some(error);
        }
    }
}

/// Whether the job's next try may read a stream that failed like this.
pub(super) const fn may_pass(error: &ConnectorError) -> bool {
    matches!(
        error,
        ConnectorError::Transient(_) | ConnectorError::CursorExpired(_)
    )
}
