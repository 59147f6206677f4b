//! The scheduler: enqueues due jobs, rescues lost ones, reviews health, writes periodic events and
//! measures the queue.
//!
//! Every worker runs it; Postgres makes sure that one worker enqueues each due job.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::gauge;
use shared::db::connections::{self, Reviewer};
use shared::db::transactions::{self, TransactionSnapshot};
use shared::db::{DbError, periodic, subscriptions};
use shared::model::{ApplyRetention, JobKind, JobPayload, NewJob, RedeliverWebhooks, TenantId};
use shared::queue::DueWork;
use shared::service::Lifecycle;
use shared::telemetry::names;
use strum::VariantArray;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::context::Context;
use crate::periodic_events;

const RESCUE_INTERVAL: Duration = Duration::from_secs(2);
const ENQUEUE_INTERVAL: Duration = Duration::from_millis(500);
const PERIODIC_INTERVAL: Duration = Duration::from_secs(2);
const REVIEW_INTERVAL: Duration = Duration::from_secs(1);
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);
/// Snapshots that are kept to measure the watermark's lag.
const MAX_SNAPSHOTS: usize = 1000;
/// The interval between requests for redelivery.
const REDELIVERY_INTERVAL_SECONDS: f64 = 3600.0;
/// The interval between applications of the retention.
const RETENTION_INTERVAL_SECONDS: f64 = 3600.0;

/// Runs the scheduler's steps until all jobs have drained.
///
/// Then it stops within a step, which may wait for Postgres.
pub(crate) async fn run(context: Arc<Context>, lifecycle: Lifecycle) {
    tokio::select! {
        () = lifecycle.aborted().cancelled() => {}
        () = context.drained.cancelled() => {}
        never = run_steps(&context, &lifecycle) => match never {},
    }
}

async fn run_steps(context: &Context, lifecycle: &Lifecycle) -> Infallible {
    let mut rescue = ticks(RESCUE_INTERVAL);
    let mut enqueue = ticks(ENQUEUE_INTERVAL);
    let mut periodic = ticks(PERIODIC_INTERVAL);
    let mut events = ticks(PERIODIC_INTERVAL);
    let mut review = ticks(REVIEW_INTERVAL);
    let mut measure = ticks(MEASURE_INTERVAL);
    let mut lag = WatermarkLag::default();
    loop {
        let (step, result) = tokio::select! {
            // At the start all are due: lost jobs come first, measurements last.
            biased;
            _ = rescue.tick() => {
                let held = context.leases.tokens();
                ("rescue", context.queue.rescue(context.worker, &held).await.map(log_rescued))
            }
            _ = enqueue.tick(), if !lifecycle.draining().is_cancelled() => {
                ("enqueue", enqueue_due(context).await)
            }
            _ = periodic.tick(), if !lifecycle.draining().is_cancelled() => {
                ("periodic", enqueue_periodic(context).await)
            }
            _ = events.tick(), if !lifecycle.draining().is_cancelled() => {
                ("events", periodic_events::write_due(context).await)
            }
            _ = review.tick(), if !lifecycle.draining().is_cancelled() => {
                let reviewed = connections::review_health(&context.db, Reviewer::Worker).await;
                ("review health", reviewed.map(drop))
            }
            _ = measure.tick() => ("measure", measure_all(context, &mut lag).await),
        };
        if let Err(error) = result {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                scheduler.step = step,
                "scheduler step failed"
            );
        }
    }
}

fn ticks(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn log_rescued(jobs: u64) {
    if jobs > 0 {
        tracing::warn!(jobs.count = jobs, "rescued jobs of lost workers");
    }
}

async fn enqueue_due(context: &Context) -> Result<(), DbError> {
    let mut due = 0;
    for work in DueWork::ALL {
        due += context.queue.enqueue_due(work).await?;
    }
    if due > 0 {
        context.queue.notify().await?;
    }
    Ok(())
}

/// A job that one worker enqueues per period.
struct PeriodicTask {
    /// The window of the job.
    name: String,
    job: NewJob,
    period_seconds: f64,
}

impl PeriodicTask {
    fn new(provider: &str, payload: impl Into<JobPayload>, period_seconds: f64) -> Self {
        let job = NewJob::new(TenantId::UNASSIGNED, provider, None, payload);
        Self {
            name: job.cursor_window.clone().unwrap_or_default(),
            job,
            period_seconds,
        }
    }
}

fn periodic_tasks(context: &Context) -> Vec<PeriodicTask> {
    let providers = context.registry.iter();
    let redelivery =
        providers.filter(|(provider, configured)| *configured && provider.needs_redelivery);
    let mut tasks: Vec<_> = redelivery
        .map(|(provider, _)| {
            let interval = REDELIVERY_INTERVAL_SECONDS;
            PeriodicTask::new(provider.slug, RedeliverWebhooks {}, interval)
        })
        .collect();
    let retention = PeriodicTask::new("", ApplyRetention {}, RETENTION_INTERVAL_SECONDS);
    tasks.push(retention);
    tasks
}

/// Enqueues the jobs of the periodic tasks that are due.
async fn enqueue_periodic(context: &Context) -> Result<(), DbError> {
    let mut tasks = periodic_tasks(context);
    let names: Vec<_> = tasks.iter().map(|task| task.name.clone()).collect();
    let due = periodic::find_due(&context.db, &names).await?;
    tasks.retain(|task| due.contains(&task.name));
    for task in tasks {
        let mut tx = context.db.begin_unscoped().await?;
        if !periodic::claim_periodic_task(&mut tx, &task.name, task.period_seconds).await? {
            tx.end_read();
            continue;
        }
        context.queue.enqueue(&mut tx, &task.job).await?;
        tx.commit().await?;
        context.queue.notify().await?;
    }
    Ok(())
}

async fn measure_all(context: &Context, lag: &mut WatermarkLag) -> Result<(), DbError> {
    measure_queue(context).await?;
    measure_subscriptions(context).await?;
    let snapshot = transactions::snapshot(&context.db).await?;
    let seconds = lag.measure(&snapshot, Instant::now());
    gauge!(names::FEED_WATERMARK_LAG_SECONDS).set(seconds);
    transactions::record_lag(&context.db, context.worker, seconds).await
}

/// Measures how long the oldest transaction has held back the feed's watermark.
///
/// The worker's role cannot see when other transactions began. A transaction id that was the next
/// one at some snapshot and is not yet below the watermark bounds that time.
#[derive(Default)]
struct WatermarkLag(VecDeque<(Instant, u64)>);

impl WatermarkLag {
    fn measure(&mut self, snapshot: &TransactionSnapshot, now: Instant) -> f64 {
        while self
            .0
            .front()
            .is_some_and(|(_, next)| *next <= snapshot.oldest_running)
        {
            self.0.pop_front();
        }
        // While no transaction id is assigned, a further snapshot has no new information.
        if self.0.back().is_none_or(|(_, next)| *next < snapshot.next) {
            self.0.push_back((now, snapshot.next));
        }
        self.0.truncate(MAX_SNAPSHOTS);
        let held_since = self
            .0
            .front()
            .filter(|_| snapshot.oldest_running < snapshot.next);
        held_since.map_or(0.0, |(since, _)| (now - *since).as_secs_f64())
    }
}

async fn measure_queue(context: &Context) -> Result<(), DbError> {
    let depths = context.queue.depths().await?;
    for kind in JobKind::VARIANTS {
        let name = kind.as_str();
        let depth = depths.iter().find(|depth| depth.kind == *kind);
        let (queued, running, oldest) = depth.map_or((0, 0, 0.0), |depth| {
            (depth.queued, depth.running, depth.oldest_seconds)
        });
        gauge!(names::QUEUE_DEPTH, "kind" => name, "state" => "queued").set(to_gauge(queued));
        gauge!(names::QUEUE_DEPTH, "kind" => name, "state" => "running").set(to_gauge(running));
        gauge!(names::QUEUE_OLDEST_AGE_SECONDS, "kind" => name).set(oldest);
    }
    Ok(())
}

/// Measures the time until the first subscription expires and the number of pending ones.
///
/// A time below the provider's alert time means that renewals fail.
async fn measure_subscriptions(context: &Context) -> Result<(), DbError> {
    let stats = subscriptions::stats(&context.db).await?;
    for (provider, _) in context.registry.iter() {
        let Some(policy) = provider.subscriptions else {
            continue;
        };
        let slug = provider.slug;
        let stats = stats.iter().find(|stats| stats.provider == slug);
        let expiry = stats.and_then(|stats| stats.soonest_seconds);
        gauge!(names::SUBSCRIPTION_EXPIRY_SECONDS, "provider" => slug)
            .set(expiry.unwrap_or(f64::INFINITY));
        gauge!(names::SUBSCRIPTION_ALERT_SECONDS, "provider" => slug)
            .set(policy.alert_before.as_secs_f64());
        gauge!(names::SUBSCRIPTIONS_PENDING, "provider" => slug)
            .set(to_gauge(stats.map_or(0, |stats| stats.pending)));
        if expiry.is_some_and(|seconds| seconds < policy.alert_before.as_secs_f64()) {
            tracing::error!(
                provider = slug,
                subscription.expiry_seconds = expiry,
                "subscription expires soon and was not renewed"
            );
        }
    }
    Ok(())
}

/// Converts a count to a gauge's value; saturates at `u32::MAX`.
fn to_gauge(count: i64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_time_since_the_watermark_stopped() {
        let mut lag = WatermarkLag::default();
        let start = Instant::now();
        let mut at = |seconds, oldest_running, next| {
            let snapshot = TransactionSnapshot {
                oldest_running,
                next,
            };
            lag.measure(&snapshot, start + Duration::from_secs(seconds))
        };
        let is = |measured: f64, seconds: f64| assert!((measured - seconds).abs() < 0.001);
        is(at(0, 100, 100), 0.0);
        is(at(5, 104, 110), 0.0);
        // 104 still runs while later transactions end.
        is(at(10, 104, 150), 5.0);
        is(at(60, 104, 900), 55.0);
        // 104 has ended; the current oldest transaction began after the snapshot at 10 s.
        is(at(65, 170, 950), 5.0);
        is(at(70, 950, 950), 0.0);
        is(at(900, 950, 950), 0.0);
    }
}
