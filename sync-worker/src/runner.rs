//! The claim loops of a worker, one per work class.
//!
//! Deliveries run in batches; background jobs run in a [`WorkerPool`], one task per job. The loops
//! are separate, so that long backfills cannot use up the capacity for deliveries.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use shared::model::{JobId, JobKind, TenantId};
use shared::queue::{ClaimRequest, ClaimedJob, Finished, JobOutcome, WorkClass};
use shared::service::Lifecycle;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::context::Context;
use crate::failure::count_panic;
use crate::{attempt, jobs};

/// The interval at which a loop claims without a notification.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Maximum number of delivery jobs per batch.
const BATCH_SIZE: i64 = 64;
/// Batches that run at the same time.
const CONCURRENT_BATCHES: usize = 2;
/// The interval between checks for cancellations of running jobs.
const CANCELLATION_INTERVAL: Duration = Duration::from_secs(1);

/// Runs all claim loops until the process drains, then releases the leases.
pub(crate) async fn run(
    context: Arc<Context>,
    notified: watch::Receiver<()>,
    lifecycle: Lifecycle,
) {
    let _drained = context.drained.clone().drop_guard();
    let mut loops = JoinSet::new();
    for _ in 0..CONCURRENT_BATCHES {
        let deliveries = run_deliveries(Arc::clone(&context), notified.clone(), lifecycle.clone());
        loops.spawn(lifecycle.clone().watch("delivery runner", deliveries));
    }
    let background = run_background(Arc::clone(&context), notified, lifecycle.clone());
    loops.spawn(lifecycle.watch("background runner", background));
    while loops.join_next().await.is_some() {}
    match context.queue.release(context.worker).await {
        Ok(0) => {}
        Ok(jobs) => tracing::info!(jobs.count = jobs, "released the leases of unfinished jobs"),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "failed to release the leases, they will expire"
            );
        }
    }
}

async fn run_deliveries(
    context: Arc<Context>,
    mut notified: watch::Receiver<()>,
    lifecycle: Lifecycle,
) {
    while may_claim(&context, &lifecycle).await {
        let request = ClaimRequest {
            worker: context.worker,
            class: WorkClass::Deliveries,
            limit: BATCH_SIZE,
            per_tenant: BATCH_SIZE / 2,
            saturated: Vec::new(),
        };
        let jobs = claim(&context, &request).await;
        if jobs.is_empty() {
            wait(&mut notified, &lifecycle).await;
            continue;
        }
        let _leases = context.leases.register(&jobs);
        let work = jobs::process_deliveries::run(&context, jobs);
        tokio::select! {
            ended = AssertUnwindSafe(work).catch_unwind() => if let Err(panic) = ended {
                // The jobs are rescued, a limited number of times; the loop continues.
                count_panic(JobKind::ProcessDeliveries, &*panic);
            },
            () = context.lease_clock.expired() => {}
            () = lifecycle.aborted().cancelled() => return,
        }
    }
}

async fn run_background(
    context: Arc<Context>,
    mut notified: watch::Receiver<()>,
    lifecycle: Lifecycle,
) {
    let mut pool = WorkerPool::new(context.config.concurrency);
    let mut cancellations = tokio::time::interval(CANCELLATION_INTERVAL);
    while may_claim(&context, &lifecycle).await {
        let request = pool.request(&context);
        let claimed = if request.limit > 0 {
            claim(&context, &request).await
        } else {
            Vec::new()
        };
        let full = to_limit(claimed.len()) == request.limit && request.limit > 0;
        for job in claimed {
            pool.start(&context, job, &lifecycle);
        }
        if full && pool.free() > 0 {
            continue;
        }
        tokio::select! {
            () = wait(&mut notified, &lifecycle), if pool.free() > 0 => {}
            Some(ended) = pool.running.join_next_with_id() => pool.remove(ended),
            _ = cancellations.tick() => pool.cancel_requested(&context).await,
            () = lifecycle.draining().cancelled() => {}
        }
    }
    // Draining jobs stop at their next page; an abort ends the others.
    loop {
        tokio::select! {
            ended = pool.running.join_next_with_id() => match ended {
                Some(ended) => pool.remove(ended),
                None => return,
            },
            () = lifecycle.aborted().cancelled() => {
                pool.running.abort_all();
                return;
            }
        }
    }
}

/// Waits until leases are valid; `false` once the process drains.
async fn may_claim(context: &Context, lifecycle: &Lifecycle) -> bool {
    tokio::select! {
        biased;
        () = lifecycle.draining().cancelled() => false,
        () = context.lease_clock.valid() => true,
    }
}

async fn claim(context: &Context, request: &ClaimRequest) -> Vec<ClaimedJob> {
    match context.queue.claim(request).await {
        Ok(jobs) => jobs,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "failed to claim jobs"
            );
            Vec::new()
        }
    }
}

/// Waits for a notification, the next poll or the drain.
async fn wait(notified: &mut watch::Receiver<()>, lifecycle: &Lifecycle) {
    tokio::select! {
        // An error means that the listener has ended; the poll interval remains.
        Ok(()) = notified.changed() => {}
        () = tokio::time::sleep(POLL_INTERVAL) => {}
        () = lifecycle.draining().cancelled() => {}
    }
}

/// Converts a number of jobs to the type of a claim's limits.
fn to_limit(jobs: usize) -> i64 {
    i64::try_from(jobs).unwrap_or(i64::MAX)
}

/// The tasks that run background jobs, with a limit in total and per tenant.
struct WorkerPool {
    size: usize,
    running: JoinSet<()>,
    tasks: HashMap<Id, (JobId, TenantId)>,
    per_tenant: HashMap<TenantId, usize>,
    cancels: HashMap<JobId, CancellationToken>,
}

impl WorkerPool {
    fn new(size: usize) -> Self {
        Self {
            size,
            running: JoinSet::new(),
            tasks: HashMap::new(),
            per_tenant: HashMap::new(),
            cancels: HashMap::new(),
        }
    }

    fn free(&self) -> usize {
        self.size - self.running.len()
    }

    /// Maximum number of jobs per tenant: three quarters of the pool.
    ///
    /// The rest stays free for the other tenants, whose jobs need not wait for long ones.
    fn max_per_tenant(&self) -> usize {
        (self.size * 3 / 4).max(1)
    }

    fn request(&self, context: &Context) -> ClaimRequest {
        let max = self.max_per_tenant();
        let saturated = self
            .per_tenant
            .iter()
            .filter(|(_, running)| **running >= max);
        let most_running = self
            .per_tenant
            .values()
            .copied()
            .filter(|running| *running < max)
            .max();
        ClaimRequest {
            worker: context.worker,
            class: WorkClass::Background,
            limit: to_limit(self.free()),
            per_tenant: to_limit((max - most_running.unwrap_or(0)).max(1)),
            saturated: saturated.map(|(tenant, _)| *tenant).collect(),
        }
    }

    fn start(&mut self, context: &Arc<Context>, job: ClaimedJob, lifecycle: &Lifecycle) {
        let (id, tenant) = (job.id, job.tenant_id);
        *self.per_tenant.entry(tenant).or_default() += 1;
        let cancel = CancellationToken::new();
        self.cancels.insert(id, cancel.clone());
        let context = Arc::clone(context);
        let draining = lifecycle.draining().clone();
        let lease = context.leases.register(std::slice::from_ref(&job));
        let task = self.running.spawn(async move {
            let _lease = lease;
            tokio::select! {
                () = run_one(&context, job, cancel, draining) => {}
                () = context.lease_clock.expired() => {
                    tracing::warn!(job.id = %id, "lease expired, aborting job");
                }
            }
        });
        self.tasks.insert(task.id(), (id, tenant));
    }

    fn remove(&mut self, ended: Result<(Id, ()), JoinError>) {
        let task = match ended {
            Ok((task, ())) => task,
            Err(error) => error.id(),
        };
        let Some((job, tenant)) = self.tasks.remove(&task) else {
            return;
        };
        self.cancels.remove(&job);
        if let Some(running) = self.per_tenant.get_mut(&tenant) {
            *running -= 1;
            if *running == 0 {
                self.per_tenant.remove(&tenant);
            }
        }
    }

    /// Cancels the jobs whose cancellation was requested.
    async fn cancel_requested(&self, context: &Context) {
        if self.cancels.is_empty() {
            return;
        }
        for job in context
            .queue
            .cancellations(context.worker)
            .await
            .unwrap_or_default()
        {
            if let Some(cancel) = self.cancels.get(&job) {
                cancel.cancel();
            }
        }
    }
}

async fn run_one(
    context: &Context,
    job: ClaimedJob,
    cancel: CancellationToken,
    draining: CancellationToken,
) {
    let span = attempt::span(&job);
    let kind = job.payload.kind().as_str();
    let started = Instant::now();
    let outcome = async {
        tokio::select! {
            outcome = jobs::run(context, &job, &draining) => outcome,
            () = cancel.cancelled() => JobOutcome::Cancelled,
        }
    }
    .instrument(span.clone())
    .await;
    span.in_scope(|| attempt::report(kind, &outcome, started));
    let finished = Finished { job, outcome };
    async {
        match context.queue.finish(std::slice::from_ref(&finished)).await {
            Ok(lost) if lost.is_empty() => {}
            Ok(_) => tracing::warn!("lease lost, discarding job result"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "failed to record the job's outcome, the job will be rescued"
            ),
        }
    }
    .instrument(span)
    .await;
}
