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

/// How long each step of a shutdown may take.
#[derive(Debug, Clone, Copy)]
struct Steps {
    /// Between failing readiness and taking nothing more, so that whoever spreads the load
    /// notices before connections are refused.
    notice: Duration,
    /// How long what is in flight may take to end by itself.
    drain: Duration,
    /// How long what was told to stop may take to do so.
    stop: Duration,
}

const STEPS: Steps = Steps {
    notice: Duration::from_millis(500),
    drain: Duration::from_secs(30),
    stop: Duration::from_secs(5),
};

/// The life of a process. Clones speak of the same one.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    health: Health,
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    steps: Steps,
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
            steps: STEPS,
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
            sleep(self.steps.notice).await;
            self.soft.cancel();
        }
        self.tasks.close();
        let drained = tokio::select! {
            // First, because what was told to stop has not ended by itself.
            biased;
            () = self.hard.cancelled() => false,
            ended = timeout(self.steps.drain, self.tasks.wait()) => ended.is_ok(),
        };
        if !drained {
            tracing::warn!(tasks = self.tasks.len(), "work in flight is stopped");
        }
        self.hard.cancel();
        if timeout(self.steps.stop, self.tasks.wait()).await.is_err() {
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

    fn lifecycle(drain: Duration) -> Lifecycle {
        let metrics = MetricsHandle::global().expect("a recorder");
        let health = Health::new(metrics, || async { Ok::<_, std::io::Error>(()) });
        let (notice, stop) = (Duration::from_millis(50), Duration::from_millis(100));
        Lifecycle {
            steps: Steps {
                notice,
                drain,
                stop,
            },
            ..Lifecycle::new(health)
        }
    }

    const LONG: Duration = Duration::from_mins(10);
    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn readiness_fails_before_nothing_new_is_taken() {
        let life = lifecycle(LONG);
        assert!(life.health().is_ready().await);
        let watch = tokio::spawn({
            let life = life.clone();
            async move {
                life.soft().cancelled().await;
                life.health().is_draining()
            }
        });
        let started = Instant::now();
        assert!(life.shut_down().await, "nothing was in flight");
        assert!(started.elapsed() >= life.steps.notice);
        assert!(watch.await.expect("no panic"));
        assert!(!life.health().is_ready().await);
    }

    #[tokio::test]
    async fn work_in_flight_drains() {
        let life = lifecycle(LONG);
        let work = life.spawn({
            let life = life.clone();
            async move {
                life.soft().cancelled().await;
                sleep(SHORT).await;
                life.hard().is_cancelled()
            }
        });
        assert!(life.shut_down().await);
        assert!(
            !work.await.expect("no panic"),
            "it ended before the hard stop"
        );
    }

    #[tokio::test]
    async fn work_that_does_not_end_by_itself_is_stopped() {
        let life = lifecycle(SHORT);
        let work = life.spawn({
            let life = life.clone();
            async move { life.hard().cancelled().await }
        });
        assert!(!life.shut_down().await);
        assert!(work.is_finished());
    }

    #[tokio::test]
    async fn a_task_that_ignores_everything_does_not_hold_the_process() {
        let life = lifecycle(SHORT);
        let work = life.spawn(pending::<()>());
        assert!(!life.shut_down().await);
        assert!(!work.is_finished());
    }

    #[tokio::test]
    async fn a_hard_stop_ends_the_drain() {
        let life = lifecycle(LONG);
        life.spawn({
            let life = life.clone();
            async move { life.hard().cancelled().await }
        });
        life.hard().cancel();
        assert!(!life.shut_down().await);
    }

    #[test]
    fn work_has_thirty_seconds_to_drain() {
        assert_eq!(STEPS.drain, Duration::from_secs(30));
    }
}
