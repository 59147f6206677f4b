//! The scheduler's steps. Every worker takes them; the database hands each due thing to
//! one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::gauge;
use shared::db::schedule::Snapshot;
use shared::db::{DbError, schedule, subscriptions};
use shared::ids::TenantId;
use shared::queue::{self, JobKind, JobPayload, NewJob};
use shared::telemetry::{Lifecycle, names};
use strum::VariantArray;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::context::Context;

const REAP: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(500);
const MEASURE: Duration = Duration::from_secs(5);
/// Measurements kept to tell the feed's lag: the oldest counts.
const REMEMBERED: usize = 1000;
/// How often undelivered webhooks are asked for, and how often old rows are dropped.
const SWEEP_SECONDS: f64 = 3600.0;
const RETENTION_SECONDS: f64 = 3600.0;

/// Keeps everything due on its way.
pub(crate) async fn run(context: Arc<Context>, life: Lifecycle) {
    let mut reap = every(REAP);
    let mut step = every(STEP);
    let mut measure = every(MEASURE);
    let mut lag = WatermarkLag::default();
    loop {
        let (what, result) = tokio::select! {
            () = life.hard().cancelled() => return,
            () = context.rested.cancelled() => return,
            _ = reap.tick() => {
                let held = context.leases.tokens();
                ("reap", context.queue.reap(context.worker, &held).await.map(reaped))
            }
            _ = step.tick(), if !life.soft().is_cancelled() => ("schedule", enqueue_due(&context).await),
            _ = measure.tick() => ("measure", measure_all(&context, &mut lag).await),
        };
        if let Err(error) = result {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                scheduler.step = what,
                "a step failed"
            );
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn reaped(jobs: u64) {
    if jobs > 0 {
        tracing::warn!(jobs.count = jobs, "jobs that nobody runs were put back");
    }
}

async fn enqueue_due(context: &Context) -> Result<(), DbError> {
    let mut due = schedule::enqueue_due_syncs(&context.db).await?;
    due += schedule::enqueue_due_probes(&context.db).await?;
    due += schedule::enqueue_due_refreshes(&context.db).await?;
    due += schedule::enqueue_due_subscriptions(&context.db).await?;
    due += schedule::enqueue_adoptions(&context.db).await?;
    for (provider, configured) in context.registry.iter() {
        if configured && provider.redelivery_sweep {
            let task = format!("sweep_deliveries:{}", provider.slug);
            let job = JobPayload::SweepDeliveries;
            due += enqueue_periodic(context, provider.slug, task, SWEEP_SECONDS, job).await?;
        }
    }
    let task = "apply_retention".to_owned();
    let job = JobPayload::ApplyRetention;
    due += enqueue_periodic(context, "", task, RETENTION_SECONDS, job).await?;
    if due > 0 {
        queue::notify(&context.db).await?;
    }
    Ok(())
}

/// Enqueues a periodic task's job if it is due; answers how many there were.
async fn enqueue_periodic(
    context: &Context,
    provider: &str,
    task: String,
    period_seconds: f64,
    payload: JobPayload,
) -> Result<u64, DbError> {
    let mut tx = context.db.begin_unscoped().await?;
    if !schedule::take_periodic(&mut tx, &task, period_seconds).await? {
        tx.leave();
        return Ok(0);
    }
    let job = NewJob {
        tenant_id: TenantId::UNASSIGNED,
        provider: provider.to_owned(),
        connection_id: None,
        cursor_window: Some(task),
        payload,
        traceparent: None,
    };
    queue::enqueue(&mut tx, &job).await?;
    tx.commit().await?;
    Ok(1)
}

async fn measure_all(context: &Context, lag: &mut WatermarkLag) -> Result<(), DbError> {
    measure_queue(context).await?;
    measure_subscriptions(context).await?;
    let snapshot = schedule::snapshot(&context.db).await?;
    gauge!(names::FEED_WATERMARK_LAG_SECONDS).set(lag.measure(&snapshot, Instant::now()));
    Ok(())
}

/// How long the oldest running transaction has held the feed back. Who runs it is not for a
/// worker to see, but an id that was the next one to be given out then, and is still not
/// below the watermark, says when at the latest it began.
#[derive(Default)]
struct WatermarkLag(VecDeque<(Instant, u64)>);

impl WatermarkLag {
    fn measure(&mut self, snapshot: &Snapshot, now: Instant) -> f64 {
        while self
            .0
            .front()
            .is_some_and(|(_, next)| *next <= snapshot.oldest_running)
        {
            self.0.pop_front();
        }
        // While nothing is given out, nothing new can be learnt.
        if self.0.back().is_none_or(|(_, next)| *next < snapshot.next) {
            self.0.push_back((now, snapshot.next));
        }
        self.0.truncate(REMEMBERED);
        let held_since = self
            .0
            .front()
            .filter(|_| snapshot.oldest_running < snapshot.next);
        held_since.map_or(0.0, |(since, _)| (now - *since).as_secs_f64())
    }
}

async fn measure_queue(context: &Context) -> Result<(), DbError> {
    let depths = schedule::queue_depth(&context.db).await?;
    for kind in JobKind::VARIANTS {
        let name = kind.as_str();
        let depth = depths.iter().find(|depth| depth.kind == *kind);
        let (queued, running, oldest) = depth.map_or((0, 0, 0.0), |depth| {
            (depth.queued, depth.running, depth.oldest_seconds)
        });
        gauge!(names::QUEUE_DEPTH, "kind" => name, "state" => "queued").set(count(queued));
        gauge!(names::QUEUE_DEPTH, "kind" => name, "state" => "running").set(count(running));
        gauge!(names::QUEUE_OLDEST_AGE_SECONDS, "kind" => name).set(oldest);
    }
    Ok(())
}

/// How long until the first subscription ends: below the provider's alert time, somebody
/// must look.
async fn measure_subscriptions(context: &Context) -> Result<(), DbError> {
    let standing = subscriptions::standing(&context.db).await?;
    for (provider, _) in context.registry.iter() {
        let Some(policy) = provider.subscriptions else {
            continue;
        };
        let slug = provider.slug;
        let one = standing.iter().find(|one| one.provider == slug);
        let soonest = one.and_then(|one| one.soonest_seconds);
        gauge!(names::SUBSCRIPTION_ENDS_IN_SECONDS, "provider" => slug)
            .set(soonest.unwrap_or(f64::INFINITY));
        gauge!(names::SUBSCRIPTIONS_MISSING, "provider" => slug)
            .set(count(one.map_or(0, |one| one.missing)));
        if soonest.is_some_and(|seconds| seconds < policy.alert_before.as_secs_f64()) {
            tracing::error!(
                provider = slug,
                subscription.ends_in_seconds = soonest,
                "a subscription is about to end and was not renewed"
            );
        }
    }
    Ok(())
}

/// A count as metrics carry it; beyond four thousand million, one more says nothing.
fn count(jobs: i64) -> f64 {
    u32::try_from(jobs).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_the_time_since_the_watermark_could_not_follow() {
        let mut lag = WatermarkLag::default();
        let start = Instant::now();
        let mut at = |seconds, oldest_running, next| {
            let snapshot = Snapshot {
                oldest_running,
                next,
            };
            lag.measure(&snapshot, start + Duration::from_secs(seconds))
        };
        let is = |measured: f64, seconds: f64| assert!((measured - seconds).abs() < 0.001);
        is(at(0, 100, 100), 0.0);
        is(at(5, 104, 110), 0.0);
        // 104 runs on while others come and go.
        is(at(10, 104, 150), 5.0);
        is(at(60, 104, 900), 55.0);
        // It has ended; what runs now began after the measurement at 10 s.
        is(at(65, 170, 950), 5.0);
        is(at(70, 950, 950), 0.0);
        is(at(900, 950, 950), 0.0);
    }
}
