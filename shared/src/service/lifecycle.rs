//! The graceful shutdown of a process.
//!
//! Readiness fails first, then the process accepts no more work, work in flight drains, and tasks
//! that still run after 30 s are aborted. A shutdown begins on a signal, or when a supervised task
//! ends.

use std::any::Any;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Health;
use crate::server::Shutdown;

/// The durations of a shutdown's steps.
#[derive(Debug, Clone, Copy)]
struct Steps {
    /// The time between failing readiness and accepting no more work.
    ///
    /// Load balancers notice within it, before sockets are refused.
    notice: Duration,
    /// The maximum time for work in flight to end.
    drain: Duration,
    /// The maximum time for aborted tasks to end.
    abort: Duration,
}

/// The maximum number of characters of a panic's message that are kept.
const MAX_MESSAGE_CHARS: usize = 500;

const STEPS: Steps = Steps {
    notice: Duration::from_millis(500),
    drain: Duration::from_secs(30),
    abort: Duration::from_secs(5),
};

/// The failure of a supervised task, which ends the process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// The task returned while the process was still running.
    #[error("task {0} ended early")]
    Ended(&'static str),
    /// The task panicked.
    #[error("task {task} panicked: {message}")]
    Panicked {
        /// The task's name.
        task: &'static str,
        /// The panic's message.
        message: String,
    },
}

/// The lifecycle of a process; clones share it.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    health: Health,
    shutdown: Shutdown,
    /// The first task that failed.
    failure: Arc<OnceLock<LifecycleError>>,
    steps: Steps,
}

impl Lifecycle {
    /// The lifecycle of a process that starts.
    pub fn new(health: Health) -> Self {
        Self {
            health,
            shutdown: Shutdown::default(),
            failure: Arc::default(),
            steps: STEPS,
        }
    }

    /// The readiness, which fails first.
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// The steps of the shutdown and the tasks that it waits for.
    pub const fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Cancelled when the process accepts no more work.
    pub const fn draining(&self) -> &CancellationToken {
        &self.shutdown.draining
    }

    /// Cancelled when work in flight must stop.
    pub const fn aborted(&self) -> &CancellationToken {
        &self.shutdown.aborted
    }

    /// The tasks that the shutdown waits for.
    pub const fn tasks(&self) -> &TaskTracker {
        &self.shutdown.tasks
    }

    /// Spawns a task that the shutdown waits for.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks().spawn(task)
    }

    /// Spawns a task that the process depends on and that the shutdown waits for.
    ///
    /// If it ends before the drain begins, or panics, the process shuts down with an error.
    pub fn supervise<F>(&self, name: &'static str, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks().spawn(self.clone().watch(name, task))
    }

    /// Like [`Lifecycle::supervise`], for a task without an end.
    ///
    /// It runs until [`Lifecycle::aborted`], and the shutdown does not wait for it.
    pub fn supervise_background<F>(&self, name: &'static str, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let aborted = self.aborted().clone();
        tokio::spawn(self.clone().watch(name, async move {
            tokio::select! {
                () = aborted.cancelled() => {}
                () = task => {}
            }
        }))
    }

    /// Supervises a task that the caller spawns.
    pub async fn watch(self, name: &'static str, task: impl Future<Output = ()>) {
        let error = match AssertUnwindSafe(task).catch_unwind().await {
            Ok(()) if self.draining().is_cancelled() || self.aborted().is_cancelled() => return,
            Ok(()) => LifecycleError::Ended(name),
            Err(panic) => LifecycleError::Panicked {
                task: name,
                message: panic_message(&*panic),
            },
        };
        tracing::error!(
            error = &error as &dyn std::error::Error,
            task.name = name,
            "supervised task failed, shutting down"
        );
        self.failure.set(error).ok();
        self.health.begin_drain();
        self.draining().cancel();
    }

    /// The failure of the first supervised task that failed.
    pub fn failure(&self) -> Option<&LifecycleError> {
        self.failure.get()
    }

    /// Waits for SIGTERM, SIGINT or the failure of a supervised task, then shuts down.
    ///
    /// A second signal ends the drain. Returns whether all tasks ended without an abort.
    pub async fn run(&self) -> Result<bool, LifecycleError> {
        tokio::select! {
            () = shutdown_signal() => tracing::info!("shutting down"),
            () = self.draining().cancelled() => {}
        }
        let drained = self.shut_down_or_abort().await;
        match self.failure() {
            Some(failure) => Err(failure.clone()),
            None => Ok(drained),
        }
    }

    async fn shut_down_or_abort(&self) -> bool {
        let second_signal = async {
            shutdown_signal().await;
            tracing::warn!("received a second signal, aborting work in flight");
            self.aborted().cancel();
            pending::<()>().await;
        };
        tokio::select! {
            drained = self.shut_down() => drained,
            () = second_signal => false,
        }
    }

    /// Shuts down now. Returns whether all tasks ended within 30 s, without an abort.
    pub async fn shut_down(&self) -> bool {
        self.health.begin_drain();
        if !self.draining().is_cancelled() {
            sleep(self.steps.notice).await;
            self.draining().cancel();
        }
        self.tasks().close();
        let drained = tokio::select! {
            // First, because tasks that end after an abort have not drained.
            biased;
            () = self.aborted().cancelled() => false,
            ended = timeout(self.steps.drain, self.tasks().wait()) => ended.is_ok(),
        };
        if !drained {
            tracing::warn!(
                tasks = self.tasks().len(),
                "drain timed out, aborting work in flight"
            );
        }
        self.aborted().cancel();
        if timeout(self.steps.abort, self.tasks().wait())
            .await
            .is_err()
        {
            tracing::error!(
                tasks = self.tasks().len(),
                "tasks did not end after the abort"
            );
        }
        drained
    }
}

/// The message of a caught panic, in a form that Postgres can store.
///
/// It has at most 500 characters and no NUL.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("panic without a message")
        .chars()
        .filter(|character| *character != '\0')
        .take(MAX_MESSAGE_CHARS)
        .collect()
}

/// Waits for SIGTERM or SIGINT (Ctrl-C).
async fn shutdown_signal() {
    let wait = async |kind| match signal(kind) {
        Ok(mut signals) => {
            signals.recv().await;
        }
        Err(error) => {
            tracing::error!(%error, "failed to register a signal handler");
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
        let (notice, abort) = (Duration::from_millis(50), Duration::from_millis(100));
        Lifecycle {
            steps: Steps {
                notice,
                drain,
                abort,
            },
            ..Lifecycle::new(health)
        }
    }

    const LONG: Duration = Duration::from_mins(10);
    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn readiness_fails_before_the_drain_begins() {
        let lifecycle = lifecycle(LONG);
        assert!(lifecycle.health().is_ready().await);
        let watch = tokio::spawn({
            let lifecycle = lifecycle.clone();
            async move {
                lifecycle.draining().cancelled().await;
                lifecycle.health().is_draining()
            }
        });
        let started = Instant::now();
        assert!(lifecycle.shut_down().await, "nothing was in flight");
        assert!(started.elapsed() >= lifecycle.steps.notice);
        assert!(watch.await.expect("no panic"));
        assert!(!lifecycle.health().is_ready().await);
    }

    #[tokio::test]
    async fn work_in_flight_drains() {
        let lifecycle = lifecycle(LONG);
        let work = lifecycle.spawn({
            let lifecycle = lifecycle.clone();
            async move {
                lifecycle.draining().cancelled().await;
                sleep(SHORT).await;
                lifecycle.aborted().is_cancelled()
            }
        });
        assert!(lifecycle.shut_down().await);
        assert!(!work.await.expect("no panic"), "it ended before the abort");
    }

    #[tokio::test]
    async fn work_is_aborted_after_the_drain() {
        let lifecycle = lifecycle(SHORT);
        let work = lifecycle.spawn({
            let lifecycle = lifecycle.clone();
            async move { lifecycle.aborted().cancelled().await }
        });
        assert!(!lifecycle.shut_down().await);
        assert!(work.is_finished());
    }

    #[tokio::test]
    async fn task_that_ignores_the_abort_is_left() {
        let lifecycle = lifecycle(SHORT);
        let work = lifecycle.spawn(pending::<()>());
        assert!(!lifecycle.shut_down().await);
        assert!(!work.is_finished());
    }

    #[tokio::test]
    async fn abort_ends_the_drain() {
        let lifecycle = lifecycle(LONG);
        lifecycle.spawn({
            let lifecycle = lifecycle.clone();
            async move { lifecycle.aborted().cancelled().await }
        });
        lifecycle.aborted().cancel();
        assert!(!lifecycle.shut_down().await);
    }

    #[tokio::test]
    async fn supervised_task_that_panics_ends_the_process() {
        let lifecycle = lifecycle(LONG);
        lifecycle.supervise("runner", async { panic!("attempt {}", 7) });
        let error = lifecycle.run().await.expect_err("it failed");
        let message = "attempt 7".to_owned();
        assert_eq!(
            error,
            LifecycleError::Panicked {
                task: "runner",
                message
            }
        );
        assert!(!lifecycle.health().is_ready().await);
    }

    #[tokio::test]
    async fn supervised_task_that_ends_early_ends_the_process() {
        for background in [false, true] {
            let lifecycle = lifecycle(LONG);
            if background {
                lifecycle.supervise_background("clock", async {});
            } else {
                lifecycle.supervise("clock", async {});
            }
            assert_eq!(lifecycle.run().await, Err(LifecycleError::Ended("clock")));
            assert!(!lifecycle.health().is_ready().await);
        }
    }

    #[tokio::test]
    async fn supervised_task_may_end_while_draining() {
        let lifecycle = lifecycle(LONG);
        let draining = lifecycle.draining().clone();
        lifecycle.supervise("server", async move { draining.cancelled().await });
        lifecycle.supervise_background("clock", pending());
        assert!(
            lifecycle.shut_down().await,
            "the shutdown does not wait for background tasks"
        );
        assert_eq!(lifecycle.failure(), None);
    }

    #[tokio::test]
    async fn panic_while_draining_is_a_failure() {
        let lifecycle = lifecycle(LONG);
        let draining = lifecycle.draining().clone();
        lifecycle.supervise("server", async move {
            draining.cancelled().await;
            panic!("in the middle");
        });
        lifecycle.shut_down().await;
        assert!(lifecycle.failure().is_some());
    }

    #[test]
    fn panic_messages_can_be_stored() {
        let message = format!("a\0b{}", "c".repeat(1_000));
        let kept = panic_message(&message);
        assert!(kept.starts_with("abc") && kept.len() == MAX_MESSAGE_CHARS);
        assert_eq!(panic_message(&7), "panic without a message");
    }

    #[test]
    fn work_has_thirty_seconds_to_drain() {
        assert_eq!(STEPS.drain, Duration::from_secs(30));
    }
}
