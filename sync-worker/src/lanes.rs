//! Claiming and running: one lane for deliveries, in batches, and one for everything else,
//! a slot per job. A long backfill can fill the second lane and never the first.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use metrics::{counter, histogram};
use shared::ids::{JobId, TenantId};
use shared::queue::{ClaimRequest, ClaimedJob, Finished, JobError, JobKind, JobOutcome, Lane};
use shared::telemetry::{Lifecycle, link_traceparent, names, set_parent};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::context::Context;
use crate::jobs;

/// How often a lane looks without being woken.
const LOOK: Duration = Duration::from_millis(500);
/// Delivery jobs of one batch, and batches under way.
const BATCH: i64 = 64;
const BATCHES: usize = 2;

/// Runs both lanes until the process drains, then gives the leases back.
pub(crate) async fn run(context: Arc<Context>, woken: watch::Receiver<()>, life: Lifecycle) {
    let _rested = context.rested.clone().drop_guard();
    let mut lanes = JoinSet::new();
    for _ in 0..BATCHES {
        let lane = deliveries(Arc::clone(&context), woken.clone(), life.clone());
        lanes.spawn(life.clone().watch("delivery lane", lane));
    }
    let lane = others(Arc::clone(&context), woken, life.clone());
    lanes.spawn(life.watch("job lane", lane));
    while lanes.join_next().await.is_some() {}
    match context.queue.release(context.worker).await {
        Ok(0) => {}
        Ok(jobs) => tracing::info!(jobs.count = jobs, "jobs were put back"),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "leases will expire by themselves"
            );
        }
    }
}

async fn deliveries(context: Arc<Context>, mut woken: watch::Receiver<()>, life: Lifecycle) {
    while may_claim(&context, &life).await {
        let request = ClaimRequest {
            worker: context.worker,
            lane: Lane::Deliveries,
            limit: BATCH,
            per_tenant: BATCH / 2,
            saturated: Vec::new(),
        };
        let jobs = claim(&context, &request).await;
        if jobs.is_empty() {
            wait(&mut woken, &life).await;
            continue;
        }
        let _held = context.leases.hold(&jobs);
        let work = jobs::process_deliveries::run(&context, jobs);
        tokio::select! {
            ended = AssertUnwindSafe(work).catch_unwind() => if let Err(panic) = ended {
                // Its jobs are rescued, which is bounded; the lane lives on.
                jobs::count_panic(JobKind::ProcessDeliveries, &*panic);
            },
            () = context.pulse.stops() => {}
            () = life.hard().cancelled() => return,
        }
    }
}

async fn others(context: Arc<Context>, mut woken: watch::Receiver<()>, life: Lifecycle) {
    let mut slots = Slots::new(context.config.concurrency);
    let mut look_for_cancellations = tokio::time::interval(Duration::from_secs(1));
    while may_claim(&context, &life).await {
        let request = slots.request(&context);
        let claimed = if request.limit > 0 {
            claim(&context, &request).await
        } else {
            Vec::new()
        };
        let full = bound(claimed.len()) == request.limit && request.limit > 0;
        for job in claimed {
            slots.start(&context, job, &life);
        }
        if full && slots.free() > 0 {
            continue;
        }
        tokio::select! {
            () = wait(&mut woken, &life), if slots.free() > 0 => {}
            Some(ended) = slots.running.join_next_with_id() => slots.ended(ended),
            _ = look_for_cancellations.tick() => slots.cancel(&context).await,
            () = life.soft().cancelled() => {}
        }
    }
    // Jobs see the soft signal and stop at their next page; the hard one ends them.
    loop {
        tokio::select! {
            ended = slots.running.join_next_with_id() => match ended {
                Some(ended) => slots.ended(ended),
                None => return,
            },
            () = life.hard().cancelled() => {
                slots.running.abort_all();
                return;
            }
        }
    }
}

/// Waits until a lease would hold; `false` once nothing more may be taken.
async fn may_claim(context: &Context, life: &Lifecycle) -> bool {
    tokio::select! {
        biased;
        () = life.soft().cancelled() => false,
        () = context.pulse.beats() => true,
    }
}

async fn claim(context: &Context, request: &ClaimRequest) -> Vec<ClaimedJob> {
    match context.queue.claim(request).await {
        Ok(jobs) => jobs,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "no jobs were claimed"
            );
            Vec::new()
        }
    }
}

async fn wait(woken: &mut watch::Receiver<()>, life: &Lifecycle) {
    tokio::select! {
        // An error means that nobody will wake us any more; the timer still does.
        Ok(()) = woken.changed() => {}
        () = tokio::time::sleep(LOOK) => {}
        () = life.soft().cancelled() => {}
    }
}

/// A number of places as the queue counts them.
fn bound(places: usize) -> i64 {
    i64::try_from(places).unwrap_or(i64::MAX)
}

/// The second lane's places.
struct Slots {
    size: usize,
    running: JoinSet<()>,
    tasks: HashMap<Id, (JobId, TenantId)>,
    per_tenant: HashMap<TenantId, usize>,
    cancels: HashMap<JobId, CancellationToken>,
}

impl Slots {
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

    /// One tenant gets three quarters of the slots at the most: another's single job never
    /// waits for a long one to end.
    fn share(&self) -> usize {
        (self.size * 3 / 4).max(1)
    }

    fn request(&self, context: &Context) -> ClaimRequest {
        let share = self.share();
        let saturated = self.per_tenant.iter().filter(|(_, held)| **held >= share);
        let most_held = self
            .per_tenant
            .values()
            .copied()
            .filter(|held| *held < share)
            .max();
        ClaimRequest {
            worker: context.worker,
            lane: Lane::Others,
            limit: bound(self.free()),
            per_tenant: bound((share - most_held.unwrap_or(0)).max(1)),
            saturated: saturated.map(|(tenant, _)| *tenant).collect(),
        }
    }

    fn start(&mut self, context: &Arc<Context>, job: ClaimedJob, life: &Lifecycle) {
        let key = (job.id, job.tenant_id);
        *self.per_tenant.entry(job.tenant_id).or_default() += 1;
        let cancel = CancellationToken::new();
        self.cancels.insert(job.id, cancel.clone());
        let context = Arc::clone(context);
        let draining = life.soft().clone();
        let held = context.leases.hold(std::slice::from_ref(&job));
        let task = self.running.spawn(async move {
            let _held = held;
            tokio::select! {
                () = run_one(&context, job, cancel, draining) => {}
                () = context.pulse.stops() => tracing::warn!("a job was given up: its lease is over"),
            }
        });
        self.tasks.insert(task.id(), key);
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let task = match ended {
            Ok((task, ())) => task,
            Err(error) => error.id(),
        };
        let Some((job, tenant)) = self.tasks.remove(&task) else {
            return;
        };
        self.cancels.remove(&job);
        if let Some(held) = self.per_tenant.get_mut(&tenant) {
            *held -= 1;
            if *held == 0 {
                self.per_tenant.remove(&tenant);
            }
        }
    }

    async fn cancel(&self, context: &Context) {
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
    let span = span(&job);
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
    report(kind, &outcome, started);
    let finished = Finished { job, outcome };
    let _entered = span.clone();
    async {
        match context.queue.finish(std::slice::from_ref(&finished)).await {
            Ok(lost) if lost.is_empty() => {}
            Ok(_) => tracing::warn!("the lease had passed on; the outcome changes nothing"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the outcome was not written; the job will be put back"
            ),
        }
    }
    .instrument(span)
    .await;
}

/// A span that continues the trace of whoever enqueued the job; a retry links to it instead,
/// because it is a story of its own.
pub(crate) fn span(job: &ClaimedJob) -> tracing::Span {
    let span = tracing::info_span!(
        "job",
        otel.kind = "consumer",
        job.id = %job.id,
        job.kind = job.payload.kind().as_str(),
        job.attempt = job.attempts,
        tenant.id = %job.tenant_id,
    );
    if let Some(traceparent) = &job.traceparent {
        if job.attempts > 1 {
            link_traceparent(&span, traceparent);
        } else {
            set_parent(&span, traceparent);
        }
    }
    span
}

pub(crate) fn report(kind: &'static str, outcome: &JobOutcome, started: Instant) {
    let (word, error): (_, Option<&JobError>) = match outcome {
        JobOutcome::Succeeded => ("succeeded", None),
        JobOutcome::Postponed { error, .. } => ("postponed", Some(error)),
        JobOutcome::Failed(error) => ("failed", Some(error)),
        JobOutcome::Interrupted(error) => ("interrupted", Some(error)),
        JobOutcome::Dead(error) => ("dead", Some(error)),
        JobOutcome::Cancelled => ("cancelled", None),
    };
    counter!(names::JOBS_TOTAL, "kind" => kind, "outcome" => word).increment(1);
    histogram!(names::JOB_DURATION_SECONDS, "kind" => kind).record(started.elapsed().as_secs_f64());
    match error {
        Some(error) if word != "postponed" => {
            tracing::warn!(
                job.outcome = word,
                error.code = error.code,
                "a job did not succeed"
            );
        }
        _ => tracing::debug!(job.outcome = word, "a job ended"),
    }
}
