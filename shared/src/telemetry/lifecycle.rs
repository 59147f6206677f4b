//! How a process ends: readiness fails first, then nothing new is taken, what is in flight
//! drains, and what has not ended after 30 s is stopped.

use std::future::pending;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Health;

/// Between failing readiness and taking nothing more, so that whoever spreads the load
/// notices before connections are refused.
const NOTICE: Duration = Duration::from_millis(500);
/// How long what is in flight may take to end by itself.
const DRAIN: Duration = Duration::from_secs(30);
/// How long what was told to stop may take to do so.
const STOP: Duration = Duration::from_secs(5);

/// The life of a process. Clones speak of the same one.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    health: Health,
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
}

impl Lifecycle {
    /// A process that has just begun.
    pub fn new(health: Health) -> Self {
        Self {
            health,
            soft: CancellationToken::new(),
            // Cancelled on its own, after `soft`.
            hard: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// The readiness that ends first.
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Cancelled when nothing new may be taken.
    pub const fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when what is in flight must stop.
    pub const fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Tasks whose end the shutdown waits for.
    pub const fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Runs a task whose end the shutdown waits for.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Waits for SIGTERM or SIGINT, or for [`Lifecycle::soft`] to be cancelled by a task
    /// that cannot go on, then shuts down. A second signal cuts the drain short. Answers
    /// whether everything ended by itself.
    pub async fn run(&self) -> bool {
        tokio::select! {
            () = shutdown_signal() => tracing::info!("shutting down"),
            () = self.soft.cancelled() => tracing::error!("shutting down after a failure"),
        }
        let impatient = async {
            shutdown_signal().await;
            tracing::warn!("a second signal: stopping at once");
            self.hard.cancel();
            pending::<()>().await;
        };
        tokio::select! {
            drained = self.shut_down() => drained,
            () = impatient => false,
        }
    }

    /// Shuts down now. Answers whether everything ended by itself within 30 s.
    pub async fn shut_down(&self) -> bool {
        self.health.begin_drain();
        if !self.soft.is_cancelled() {
            sleep(NOTICE).await;
            self.soft.cancel();
        }
        self.tasks.close();
        let drained = tokio::select! {
            ended = timeout(DRAIN, self.tasks.wait()) => ended.is_ok(),
            () = self.hard.cancelled() => false,
        };
        if !drained {
            tracing::warn!(tasks = self.tasks.len(), "work in flight is stopped");
        }
        self.hard.cancel();
        if timeout(STOP, self.tasks.wait()).await.is_err() {
            tracing::error!(
                tasks = self.tasks.len(),
                "some tasks do not stop and are left"
            );
        }
        drained
    }
}

/// Waits for SIGTERM or SIGINT (Ctrl-C).
pub async fn shutdown_signal() {
    let wait = async |kind| match signal(kind) {
        Ok(mut signals) => {
            signals.recv().await;
        }
        Err(error) => {
            tracing::error!(%error, "a signal cannot be waited for");
            pending::<()>().await;
        }
    };
    tokio::select! {
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::interrupt()) => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::telemetry::MetricsHandle;

    fn lifecycle() -> Lifecycle {
        let metrics = MetricsHandle::global().expect("a recorder");
        Lifecycle::new(Health::new(metrics, || async {
            Ok::<_, std::io::Error>(())
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn readiness_fails_before_anything_else_happens() {
        let life = lifecycle();
        let ending = {
            let life = life.clone();
            tokio::spawn(async move { life.shut_down().await })
        };
        tokio::task::yield_now().await;
        assert!(!life.health().is_ready().await);
        assert!(!life.soft().is_cancelled());
        assert!(ending.await.expect("no panic"), "nothing was in flight");
        assert!(life.soft().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn work_in_flight_drains() {
        let life = lifecycle();
        let work = life.spawn({
            let life = life.clone();
            async move {
                life.soft().cancelled().await;
                sleep(Duration::from_secs(29)).await;
                life.hard().is_cancelled()
            }
        });
        assert!(life.shut_down().await);
        assert!(
            !work.await.expect("no panic"),
            "it ended before the hard stop"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_end_is_stopped_after_30_seconds() {
        let life = lifecycle();
        life.spawn({
            let life = life.clone();
            async move { life.hard().cancelled().await }
        });
        let started = Instant::now();
        assert!(!life.shut_down().await);
        assert_eq!(started.elapsed(), NOTICE + DRAIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ignores_everything_does_not_hold_the_process() {
        let life = lifecycle();
        life.spawn(pending::<()>());
        let started = Instant::now();
        assert!(!life.shut_down().await);
        assert_eq!(started.elapsed(), NOTICE + DRAIN + STOP);
    }
}
