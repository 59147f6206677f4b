//! Group commit: many requests, one transaction.
//!
//! A writer takes what has gathered while the commit before was under way. Under load batches
//! grow by themselves; alone, a request waits for nobody. A commit that takes long is waited for
//! a moment only: then another writer commits beside it. The line is bounded: when it is full, a
//! request is refused at once instead of waiting for its time-out.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, histogram};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::{Backlog, Stored, VerifiedDelivery, store};
use crate::db::{Db, DbError};
use crate::queue::Waker;
use crate::telemetry::names;

/// Between two tries to commit a batch whose connection died.
const RETRY: Duration = Duration::from_millis(10);

/// How deliveries are gathered.
#[derive(Debug, Clone, Copy)]
pub struct InboxConfig {
    /// Most deliveries of one transaction.
    pub max_batch: usize,
    /// Most bytes of bodies of one transaction.
    pub max_bytes: usize,
    /// Transactions under way at the same time, at the most.
    pub writers: usize,
    /// How long a batch gathers while another is being committed.
    pub linger: Duration,
    /// Deliveries that may wait; beyond, requests are refused.
    pub backlog: usize,
    /// How long a request waits for its commit before it is refused.
    pub patience: Duration,
}

impl Default for InboxConfig {
    fn default() -> Self {
        Self {
            max_batch: 128,
            max_bytes: 32 << 20,
            writers: 2,
            linger: Duration::from_millis(2),
            backlog: 2048,
            patience: Duration::from_millis(900),
        }
    }
}

/// Why a delivery was not taken. The provider is to try again.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// Too many requests wait for their commit already.
    #[error("the inbox is full")]
    Full,
    /// Too many deliveries wait for their processing already.
    #[error("too much waits to be processed")]
    Backlogged,
    /// The commit failed or its outcome is unknown.
    #[error("the delivery was not committed")]
    NotCommitted,
    /// The process is shutting down.
    #[error("the inbox is closed")]
    Closed,
}

/// An acknowledged delivery.
pub type Accept = Stored;

type Waiting = (
    VerifiedDelivery,
    oneshot::Sender<Result<Stored, InboxError>>,
);

/// Where verified deliveries are handed in.
#[derive(Debug, Clone)]
pub struct Inbox {
    line: mpsc::Sender<Waiting>,
    backlog: Arc<Backlog>,
    patience: Duration,
}

impl Inbox {
    /// Starts the writers. They end when every `Inbox` is dropped, after the last commit.
    pub fn start(
        db: &Db,
        waker: &Waker,
        backlog: Arc<Backlog>,
        config: InboxConfig,
        tasks: &TaskTracker,
    ) -> Self {
        let (line, waiting) = mpsc::channel(config.backlog);
        let shared = Arc::new(Line {
            waiting: Mutex::new(waiting),
            turn: Semaphore::new(1),
        });
        for _ in 0..config.writers {
            tasks.spawn(write(
                db.clone(),
                waker.clone(),
                config,
                Arc::clone(&shared),
            ));
        }
        Self {
            line,
            backlog,
            patience: config.patience,
        }
    }

    /// Hands a delivery in and waits until it is durable.
    pub async fn accept(&self, delivery: VerifiedDelivery) -> Result<Accept, InboxError> {
        if !self.backlog.admit(&delivery) {
            return Err(InboxError::Backlogged);
        }
        let (answer, answered) = oneshot::channel();
        self.line
            .try_send((delivery, answer))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => InboxError::Full,
                mpsc::error::TrySendError::Closed(_) => InboxError::Closed,
            })?;
        match tokio::time::timeout(self.patience, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(InboxError::Closed),
            Err(_) => Err(InboxError::NotCommitted),
        }
    }
}

async fn write(db: Db, waker: Waker, config: InboxConfig, line: Arc<Line>) {
    let mut carried = None;
    loop {
        let Some(batch) = gather(&line, &config, &mut carried).await else {
            return;
        };
        histogram!(names::INGRESS_BATCH_SIZE)
            .record(f64::from(u32::try_from(batch.deliveries.len()).unwrap_or(0)));
        let committed = commit(&db, &batch).await;
        let Batch { answers, turn, .. } = batch;
        drop(turn);
        match committed {
            Ok(stored) => {
                waker.wake();
                for (answer, stored) in answers.into_iter().zip(stored) {
                    // A request that gave up meanwhile is sent again and found in the ledger.
                    answer.send(Ok(stored)).ok();
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    deliveries.count = answers.len(),
                    "a batch of deliveries was not committed"
                );
                for answer in answers {
                    answer.send(Err(InboxError::NotCommitted)).ok();
                }
            }
        }
    }
}

/// Where writers meet.
struct Line {
    waiting: Mutex<mpsc::Receiver<Waiting>>,
    /// Held while a batch is committed.
    turn: Semaphore,
}

struct Batch<'a> {
    deliveries: Vec<VerifiedDelivery>,
    answers: Vec<oneshot::Sender<Result<Stored, InboxError>>>,
    /// None while another batch is still being committed.
    turn: Option<SemaphorePermit<'a>>,
}

impl Batch<'_> {
    fn is_awaited(&self) -> bool {
        self.answers.iter().any(|answer| !answer.is_closed())
    }
}

/// Waits for one delivery, then for its turn, and takes whatever else is there, up to the
/// batch's bounds.
async fn gather<'a>(
    line: &'a Line,
    config: &InboxConfig,
    carried: &mut Option<Waiting>,
) -> Option<Batch<'a>> {
    let mut waiting = line.waiting.lock().await;
    let (first, answer) = match carried.take() {
        Some(waiting) => waiting,
        None => waiting.recv().await?,
    };
    let turn = tokio::time::timeout(config.linger, line.turn.acquire()).await;
    let mut bytes = first.body.len();
    let mut batch = Batch {
        deliveries: vec![first],
        answers: vec![answer],
        turn: turn.ok().and_then(Result::ok),
    };
    while batch.deliveries.len() < config.max_batch {
        let Ok((delivery, answer)) = waiting.try_recv() else {
            break;
        };
        bytes += delivery.body.len();
        if bytes > config.max_bytes {
            *carried = Some((delivery, answer));
            break;
        }
        batch.deliveries.push(delivery);
        batch.answers.push(answer);
    }
    Some(batch)
}

/// Commits a batch. Where connections die on the way it tries again, for as long as somebody
/// waits for it: storing is idempotent through the ledger, and a try that was committed after
/// all only makes the next one find duplicates, which are acknowledged as well.
async fn commit(db: &Db, batch: &Batch<'_>) -> Result<Vec<Stored>, DbError> {
    loop {
        match store(db, &batch.deliveries).await {
            Err(error) if error.is_lost() && batch.is_awaited() => {
                counter!(names::INBOX_RETRIES_TOTAL).increment(1);
                tokio::time::sleep(RETRY).await;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_line_ends_its_writer() {
        let (sender, receiver) = mpsc::channel::<Waiting>(1);
        drop(sender);
        let line = Line {
            waiting: Mutex::new(receiver),
            turn: Semaphore::new(1),
        };
        assert!(
            gather(&line, &InboxConfig::default(), &mut None)
                .await
                .is_none()
        );
    }
}
