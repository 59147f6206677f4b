//! The worker's heartbeat, on which its leases hang, and which leases it knows of.
//!
//! A worker that cannot tell Postgres that it lives stops what it runs when its leases are
//! over: somebody else runs it by then. And Postgres may hold leases for it that it knows
//! nothing of, because the answer to a claim was lost or an outcome could not be written;
//! those are put back like a dead worker's.

use std::collections::HashSet;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use shared::db::DbError;
use shared::queue::{ClaimedJob, LEASE_SECONDS};
use shared::telemetry::Lifecycle;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::context::Context;

const BEAT: Duration = Duration::from_secs(3);
/// A beat that takes longer is tried again over another connection.
const ANSWER: Duration = Duration::from_secs(2);

/// Beats until everything has been given back.
pub(crate) async fn run(context: Arc<Context>, life: Lifecycle) {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // While jobs drain their leases must hold.
            () = context.rested.cancelled() => return,
            () = life.hard().cancelled() => return,
            _ = beats.tick() => {}
        }
        match timeout(ANSWER, beat(&context)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "no heartbeat");
                beats.reset_after(BEAT / 3);
            }
            Err(_) => {
                tracing::warn!("a heartbeat was not answered in time");
                beats.reset_immediately();
            }
        }
    }
}

async fn beat(context: &Context) -> Result<(), DbError> {
    let began = Instant::now();
    let postgres = context.queue.heartbeat(context.worker).await?;
    let half = TimeDelta::from_std(began.elapsed() / 2).unwrap_or_default();
    context.database_clock.set(postgres + half);
    context.pulse.beat(began);
    Ok(())
}

/// How long the worker's leases hold, as far as it can know.
#[derive(Debug)]
pub(crate) struct Pulse(watch::Sender<Option<Instant>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Pulse {
    /// A beat that began at this moment has been heard.
    fn beat(&self, began: Instant) {
        self.0
            .send_replace(Some(began + Duration::from_secs_f64(LEASE_SECONDS)));
    }

    /// Waits until leases would hold.
    pub(crate) async fn beats(&self) {
        let mut until = self.0.subscribe();
        let holds = |until: &Option<Instant>| until.is_some_and(|until| until > Instant::now());
        if until.wait_for(holds).await.is_err() {
            pending::<()>().await;
        }
    }

    /// Waits until leases hold no longer.
    pub(crate) async fn stops(&self) {
        let mut until = self.0.subscribe();
        loop {
            let Some(end) = *until.borrow_and_update() else {
                return;
            };
            tokio::select! {
                () = sleep_until(end) => return,
                Ok(()) = until.changed() => {}
            }
        }
    }
}

/// The leases that this worker knows of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases(Arc<Mutex<HashSet<i64>>>);

impl Leases {
    /// Notes jobs that were claimed, for as long as the answer lives.
    pub(crate) fn hold(&self, jobs: &[ClaimedJob]) -> Held {
        let tokens: Vec<i64> = jobs.iter().map(|job| job.lease_token).collect();
        self.lock().extend(&tokens);
        Held {
            leases: self.clone(),
            tokens,
        }
    }

    /// Their tokens.
    pub(crate) fn tokens(&self) -> Vec<i64> {
        self.lock().iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Jobs that are in hand.
#[derive(Debug)]
pub(crate) struct Held {
    leases: Leases,
    tokens: Vec<i64>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut known = self.leases.lock();
        for token in &self.tokens {
            known.remove(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pulse_stops_when_a_lease_would_be_over() {
        let pulse = Pulse::default();
        let soon = Duration::from_millis(80);
        assert!(timeout(soon, pulse.beats()).await.is_err(), "no beat yet");
        let long_ago = Duration::from_secs_f64(LEASE_SECONDS - 0.08);
        let nearly_over = || Instant::now().checked_sub(long_ago).expect("a moment");
        let started = Instant::now();
        pulse.beat(nearly_over());
        pulse.beats().await;
        tokio::join!(pulse.stops(), async {
            tokio::time::sleep(soon / 2).await;
            pulse.beat(nearly_over());
        });
        assert!(started.elapsed() >= soon * 3 / 2, "the second beat counts");
        assert!(timeout(soon, pulse.beats()).await.is_err());
    }
}
