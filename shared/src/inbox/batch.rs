//! Group commit: many requests, one transaction.
//!
//! A writer takes what has gathered while the commit before was under way. Under load batches
//! grow by themselves; alone, a request waits for nobody. A commit that takes long is waited for
//! a moment only: then another writer commits beside it. The line is bounded: when it is full, a
//! request is refused at once instead of waiting for its time-out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit, mpsc, oneshot};

use super::congestion::Congestion;
use super::{Backlog, Stored, VerifiedDelivery, store};
use crate::db::{Db, DbError};
use crate::queue::Waker;
use crate::telemetry::{Lifecycle, names};

/// Between two tries to commit a batch.
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
    /// Too many requests wait for their commit already, or for too long.
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

type Answer = oneshot::Sender<Result<Stored, InboxError>>;

/// A delivery that waits for its commit.
#[derive(Debug)]
struct Waiting {
    delivery: VerifiedDelivery,
    answer: Answer,
    since: Instant,
}

/// Where verified deliveries are handed in.
#[derive(Debug, Clone)]
pub struct Inbox {
    entrance: mpsc::Sender<Waiting>,
    line: Arc<Line>,
    patience: Duration,
}

impl Inbox {
    /// Starts the writers. They end when every `Inbox` is dropped, after the last commit.
    pub fn start(
        db: &Db,
        waker: &Waker,
        backlog: Arc<Backlog>,
        config: InboxConfig,
        lifecycle: &Lifecycle,
    ) -> Self {
        let (entrance, waiting) = mpsc::channel(config.backlog);
        let line = Arc::new(Line::new(waiting, backlog));
        for _ in 0..config.writers {
            let task = write(db.clone(), waker.clone(), config, Arc::clone(&line));
            lifecycle.supervise("inbox writer", task);
        }
        Self {
            entrance,
            line,
            patience: config.patience,
        }
    }

    /// Whether a delivery would be taken now: to be asked before anything is spent on it. Under
    /// too much load, what is spent on those that are refused is missing to those that are taken.
    pub fn has_room(&self) -> Result<(), InboxError> {
        if self.line.backlog.is_full() {
            return Err(InboxError::Backlogged);
        }
        let (congestion, now) = (&self.line.congestion, Instant::now());
        let waits = self.entrance.capacity() < self.entrance.max_capacity();
        if waits && congestion.stands(now) && congestion.takes(self.patience / 4) {
            congestion.turned_away(now);
            return Err(InboxError::Full);
        }
        Ok(())
    }

    /// Hands a delivery in and waits until it is durable.
    pub async fn accept(&self, delivery: VerifiedDelivery) -> Result<Accept, InboxError> {
        if !self.line.backlog.admit(&delivery) {
            return Err(InboxError::Backlogged);
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            delivery,
            answer,
            since: Instant::now(),
        };
        self.entrance
            .try_send(waiting)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(waiting) => {
                    self.line.backlog.release(&waiting.delivery);
                    InboxError::Full
                }
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
        histogram!(names::INGRESS_BATCH_SIZE).record(f64::from(
            u32::try_from(batch.deliveries.len()).unwrap_or(0),
        ));
        let committed = commit(&db, &batch, &line.backlog).await;
        let Batch { answers, turn, .. } = batch;
        drop(turn);
        match committed {
            Ok(stored) => {
                waker.wake();
                for (answer, stored) in answers.into_iter().zip(stored) {
                    // A request that gave up meanwhile is sent again and found in the ledger.
                    let stored = match stored {
                        Stored::Refused => Err(InboxError::Backlogged),
                        stored => Ok(stored),
                    };
                    answer.send(stored).ok();
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
#[derive(Debug)]
struct Line {
    waiting: Mutex<mpsc::Receiver<Waiting>>,
    /// Held while a batch is committed.
    turn: Semaphore,
    backlog: Arc<Backlog>,
    congestion: Congestion,
}

impl Line {
    fn new(waiting: mpsc::Receiver<Waiting>, backlog: Arc<Backlog>) -> Self {
        Self {
            waiting: Mutex::new(waiting),
            turn: Semaphore::new(1),
            backlog,
            congestion: Congestion::none(),
        }
    }

    /// Whether it is worth committing. A line that stands would otherwise be full of deliveries
    /// whose requests are refused before their commit is over, and the slower it moved, the less
    /// would be acknowledged.
    fn admits(&self, waiting: Waiting, config: &InboxConfig) -> Option<Waiting> {
        let now = Instant::now();
        let late = now.saturating_duration_since(waiting.since) >= config.patience / 2;
        let turned_away = late && self.congestion.stands(now);
        if !turned_away && !waiting.answer.is_closed() {
            return Some(waiting);
        }
        if turned_away {
            self.congestion.turned_away(now);
        }
        self.backlog.release(&waiting.delivery);
        waiting.answer.send(Err(InboxError::Full)).ok();
        None
    }
}

struct Batch<'a> {
    deliveries: Vec<VerifiedDelivery>,
    answers: Vec<Answer>,
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
    let first = loop {
        let next = match carried.take() {
            Some(next) => next,
            None => waiting.recv().await?,
        };
        line.congestion.moved(next.since.elapsed());
        if let Some(first) = line.admits(next, config) {
            break first;
        }
    };
    let turn = tokio::time::timeout(config.linger, line.turn.acquire()).await;
    let mut bytes = first.delivery.body.len();
    let mut batch = Batch {
        deliveries: vec![first.delivery],
        answers: vec![first.answer],
        turn: turn.ok().and_then(Result::ok),
    };
    while batch.deliveries.len() < config.max_batch {
        let Ok(next) = waiting.try_recv() else {
            line.congestion.emptied(Instant::now());
            break;
        };
        let Some(next) = line.admits(next, config) else {
            continue;
        };
        bytes += next.delivery.body.len();
        if bytes > config.max_bytes {
            *carried = Some(next);
            break;
        }
        batch.deliveries.push(next.delivery);
        batch.answers.push(next.answer);
    }
    Some(batch)
}

/// Commits a batch. Where connections die on the way, or another transaction is in the way, it
/// tries again for as long as somebody waits for it: storing is idempotent through the ledger,
/// and a try that was committed after all only makes the next one find duplicates, which are
/// acknowledged as well.
async fn commit(db: &Db, batch: &Batch<'_>, backlog: &Backlog) -> Result<Vec<Stored>, DbError> {
    loop {
        match store(db, &batch.deliveries, &backlog.limits()).await {
            Err(error) if (error.is_lost() || error.is_conflict()) && batch.is_awaited() => {
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
    use crate::inbox::backlog::only;
    use crate::inbox::delivery;

    #[tokio::test]
    async fn a_closed_line_ends_its_writer() {
        let (sender, receiver) = mpsc::channel::<Waiting>(1);
        drop(sender);
        let line = Line::new(receiver, Arc::new(Backlog::empty(only(1))));
        assert!(
            gather(&line, &InboxConfig::default(), &mut None)
                .await
                .is_none()
        );
    }

    /// Line and backlog with three deliveries of a hundred bytes, which are all it may have.
    struct Three {
        config: InboxConfig,
        entrance: mpsc::Sender<Waiting>,
        line: Arc<Line>,
    }

    impl Three {
        fn empty() -> Self {
            let (entrance, receiver) = mpsc::channel(3);
            let backlog = Backlog::empty(only(3 * delivery::of_bytes(100).size()));
            Self {
                config: InboxConfig::default(),
                entrance,
                line: Arc::new(Line::new(receiver, Arc::new(backlog))),
            }
        }

        fn inbox(&self) -> Inbox {
            Inbox {
                entrance: self.entrance.clone(),
                line: Arc::clone(&self.line),
                patience: self.config.patience,
            }
        }

        /// The line was last empty so long ago.
        fn not_empty_for(mut self, time: Duration) -> Self {
            let line = Arc::get_mut(&mut self.line).expect("nobody else has it");
            line.congestion = Congestion::since(time);
            self
        }

        fn stand(&self, waited: Duration) -> oneshot::Receiver<Result<Stored, InboxError>> {
            let delivery = delivery::of_bytes(100);
            assert!(self.line.backlog.admit(&delivery));
            let (answer, answered) = oneshot::channel();
            let since = Instant::now().checked_sub(waited);
            let waiting = Waiting {
                delivery,
                answer,
                since: since.expect("the clock runs for a while"),
            };
            assert!(self.entrance.try_send(waiting).is_ok());
            answered
        }

        async fn gather(&self) -> usize {
            let batch = gather(&self.line, &self.config, &mut None).await;
            batch.expect("a batch").deliveries.len()
        }

        fn room(&self) -> usize {
            let admitted = |_: &u8| self.line.backlog.admit(&delivery::of_bytes(100));
            (0..10).take_while(admitted).count()
        }
    }

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn what_waited_for_long_in_a_line_that_stands_gives_way() {
        let three = Three::empty().not_empty_for(LONG);
        let late = three.stand(three.config.patience / 2);
        let in_time = three.stand(Duration::ZERO);
        assert_eq!(three.gather().await, 1);
        assert!(matches!(late.await, Ok(Err(InboxError::Full))));
        assert!(in_time.await.is_err(), "it was in the batch");
        assert_eq!(three.room(), 2, "its room is given back");
    }

    #[tokio::test]
    async fn what_waited_for_long_because_of_a_pause_is_committed() {
        let three = Three::empty();
        let late = three.stand(three.config.patience / 2);
        assert_eq!(three.gather().await, 1);
        assert!(late.await.is_err(), "it was in the batch");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_gives_way() {
        let three = Three::empty();
        drop(three.stand(Duration::ZERO));
        let in_time = three.stand(Duration::ZERO);
        assert_eq!(three.gather().await, 1);
        assert!(in_time.await.is_err(), "it was in the batch");
        assert_eq!(three.room(), 2);
    }

    #[tokio::test]
    async fn there_is_no_room_in_a_slow_line_that_stands() {
        let three = Three::empty().not_empty_for(LONG);
        three.line.congestion.moved(three.config.patience / 4);
        assert!(three.inbox().has_room().is_ok(), "nothing waits");
        drop(three.stand(Duration::ZERO));
        assert!(matches!(three.inbox().has_room(), Err(InboxError::Full)));
        three.line.congestion.moved(Duration::ZERO);
        assert!(three.inbox().has_room().is_ok(), "it moves well");
    }

    #[tokio::test]
    async fn there_is_room_in_a_line_that_was_empty_just_now_until_too_much_waits_elsewhere() {
        let three = Three::empty();
        three.line.congestion.moved(three.config.patience / 4);
        drop(three.stand(Duration::ZERO));
        assert!(three.inbox().has_room().is_ok());
        assert_eq!(three.room(), 2);
        let answer = three.inbox().has_room();
        assert!(matches!(answer, Err(InboxError::Backlogged)));
    }
}
