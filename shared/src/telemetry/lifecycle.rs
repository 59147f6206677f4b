//! How a process ends: readiness fails first, then nothing new is taken, what is in flight
//! drains, and what has not ended after 30 s is stopped.
//!
//! A process ends on a signal, or because a task ended that it cannot do without.

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

/// Characters of a panic's message that are kept.
const MAX_MESSAGE_CHARS: usize = 500;

const STEPS: Steps = Steps {
    notice: Duration::from_millis(500),
    drain: Duration::from_secs(30),
    stop: Duration::from_secs(5),
};

/// A process that ended because a task of its own did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// The task returned while the process was still taking work.
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

/// The life of a process. Clones speak of the same one.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    health: Health,
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    /// The first task that failed.
    failure: Arc<OnceLock<LifecycleError>>,
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
            failure: Arc::default(),
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

    /// Spawns a task that the process cannot do without and whose end the shutdown waits for.
    /// If it ends before the drain begins, or panics, the process shuts down with an error.
    pub fn supervise<F>(&self, name: &'static str, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(self.clone().watch(name, task))
    }

    /// Like [`Lifecycle::supervise`], for a task that has no end of its own: it runs until
    /// [`Lifecycle::hard`], and the shutdown does not wait for it.
    pub fn supervise_background<F>(&self, name: &'static str, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let hard = self.hard.clone();
        tokio::spawn(self.clone().watch(name, async move {
            tokio::select! {
                () = hard.cancelled() => {}
                () = task => {}
            }
        }))
    }

    /// Runs a task that the process cannot do without, where the caller spawns it.
    pub async fn watch(self, name: &'static str, task: impl Future<Output = ()>) {
        let error = match AssertUnwindSafe(task).catch_unwind().await {
            Ok(()) if self.soft.is_cancelled() || self.hard.is_cancelled() => return,
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
        self.soft.cancel();
    }

    /// Why the process must end, once a supervised task has failed.
    pub fn failure(&self) -> Option<&LifecycleError> {
        self.failure.get()
    }

    /// Waits for SIGTERM or SIGINT, or for a supervised task to fail, then shuts down. A second
    /// signal cuts the drain short. Answers whether everything ended by itself.
    pub async fn run(&self) -> Result<bool, LifecycleError> {
        tokio::select! {
            () = shutdown_signal() => tracing::info!("shutting down"),
            () = self.soft.cancelled() => {}
        }
        let drained = self.end_on_request().await;
        match self.failure() {
            Some(failure) => Err(failure.clone()),
            None => Ok(drained),
        }
    }

    async fn end_on_request(&self) -> bool {
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

/// The message of a caught panic, as far as it can be kept with a job: at most 500 characters,
/// without NUL.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("the panic carries no message")
        .chars()
        .filter(|character| *character != '\0')
        .take(MAX_MESSAGE_CHARS)
        .collect()
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

    #[tokio::test]
    async fn supervised_task_that_panics_ends_the_process() {
        let life = lifecycle(LONG);
        life.supervise("lanes", async { panic!("no slot {}", 7) });
        let error = life.run().await.expect_err("it failed");
        let message = "no slot 7".to_owned();
        assert_eq!(
            error,
            LifecycleError::Panicked {
                task: "lanes",
                message
            }
        );
        assert!(!life.health().is_ready().await);
    }

    #[tokio::test]
    async fn supervised_task_that_ends_early_ends_the_process() {
        for background in [false, true] {
            let life = lifecycle(LONG);
            if background {
                life.supervise_background("clock", async {});
            } else {
                life.supervise("clock", async {});
            }
            assert_eq!(life.run().await, Err(LifecycleError::Ended("clock")));
            assert!(!life.health().is_ready().await);
        }
    }

    #[tokio::test]
    async fn supervised_task_that_drains_is_no_failure() {
        let life = lifecycle(LONG);
        let soft = life.soft().clone();
        life.supervise("server", async move { soft.cancelled().await });
        life.supervise_background("clock", pending());
        assert!(life.shut_down().await, "nobody waits for the background");
        assert_eq!(life.failure(), None);
    }

    #[tokio::test]
    async fn panic_while_draining_is_a_failure() {
        let life = lifecycle(LONG);
        let soft = life.soft().clone();
        life.supervise("server", async move {
            soft.cancelled().await;
            panic!("in the middle");
        });
        life.shut_down().await;
        assert!(life.failure().is_some());
    }

    #[test]
    fn panic_messages_can_be_stored() {
        let message = format!("a\0b{}", "c".repeat(1_000));
        let kept = panic_message(&message);
        assert!(kept.starts_with("abc") && kept.len() == MAX_MESSAGE_CHARS);
        assert_eq!(panic_message(&7), "the panic carries no message");
    }

    #[test]
    fn work_has_thirty_seconds_to_drain() {
        assert_eq!(STEPS.drain, Duration::from_secs(30));
    }
}
