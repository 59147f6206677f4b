//! Group commit: many requests, one transaction.
//!
//! A writer takes the deliveries that have queued up during the previous commit. Batches grow
//! under load, and a single request does not wait for others. While a commit is slow, another
//! writer commits beside it after a short wait. The queue is bounded: a full queue rejects a
//! request immediately instead of letting it wait for its timeout.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit, mpsc, oneshot};

use super::load_shedding::LoadShedder;
use super::{Backlog, StoreOutcome, VerifiedDelivery, store};
use crate::db::{Db, DbError};
use crate::queue::Notifier;
use crate::service::Lifecycle;
use crate::telemetry::names;

/// The pause before a failed batch is committed again.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// The bounds of batches and of the intake queue.
#[derive(Debug, Clone, Copy)]
pub struct InboxConfig {
    /// The maximum number of deliveries of one transaction.
    pub max_batch: usize,
    /// The maximum number of bytes of bodies of one transaction.
    pub max_batch_bytes: usize,
    /// The maximum number of transactions at the same time.
    pub writers: usize,
    /// The time for which a batch gathers deliveries while another is being committed.
    pub linger: Duration,
    /// The maximum number of deliveries in the queue; if it is full, requests are rejected.
    pub max_queued: usize,
    /// The maximum time that a request waits for its commit before it is rejected.
    pub max_wait: Duration,
}

impl Default for InboxConfig {
    fn default() -> Self {
        Self {
            max_batch: 128,
            max_batch_bytes: 32 << 20,
            writers: 2,
            linger: Duration::from_millis(2),
            max_queued: 2048,
            max_wait: Duration::from_millis(900),
        }
    }
}

/// The error of a delivery that was not accepted; the provider may send it again.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// The queue is full or overloaded.
    #[error("intake queue is full")]
    Full,
    /// Too many bytes of deliveries wait to be processed.
    #[error("delivery backlog is full")]
    Backlogged,
    /// The commit failed or its outcome is unknown.
    #[error("failed to commit the delivery")]
    NotCommitted,
    /// The process is shutting down.
    #[error("inbox is closed")]
    Closed,
}

type Responder = oneshot::Sender<Result<StoreOutcome, InboxError>>;

/// A delivery that waits for its commit.
#[derive(Debug)]
struct QueuedDelivery {
    delivery: VerifiedDelivery,
    responder: Responder,
    queued_at: Instant,
}

/// The entry point of verified deliveries.
#[derive(Debug, Clone)]
pub struct Inbox {
    sender: mpsc::Sender<QueuedDelivery>,
    queue: Arc<IntakeQueue>,
    max_wait: Duration,
}

impl Inbox {
    /// Starts the writers. They end after the last commit, once every `Inbox` is dropped.
    pub fn start(
        db: &Db,
        notifier: &Notifier,
        backlog: Arc<Backlog>,
        config: InboxConfig,
        lifecycle: &Lifecycle,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(config.max_queued);
        let queue = Arc::new(IntakeQueue::new(receiver, backlog));
        for _ in 0..config.writers {
            let task = write(db.clone(), notifier.clone(), config, Arc::clone(&queue));
            lifecycle.supervise("inbox writer", task);
        }
        Self {
            sender,
            queue,
            max_wait: config.max_wait,
        }
    }

    /// Checks whether a delivery would be accepted now.
    ///
    /// Callers check before they verify a delivery: under overload, work on deliveries that are
    /// rejected takes capacity from those that are accepted.
    pub fn has_room(&self) -> Result<(), InboxError> {
        if self.queue.backlog.is_full() {
            return Err(InboxError::Backlogged);
        }
        let (shedder, now) = (&self.queue.shedder, Instant::now());
        let is_empty = self.sender.capacity() == self.sender.max_capacity();
        if !is_empty && shedder.is_overloaded(now) && shedder.is_wait_at_least(self.max_wait / 4) {
            shedder.record_shed(now);
            return Err(InboxError::Full);
        }
        Ok(())
    }

    /// Queues a delivery and waits until it is durable.
    pub async fn accept(&self, delivery: VerifiedDelivery) -> Result<StoreOutcome, InboxError> {
        if !self.queue.backlog.admit(&delivery) {
            return Err(InboxError::Backlogged);
        }
        let (responder, response) = oneshot::channel();
        let queued = QueuedDelivery {
            delivery,
            responder,
            queued_at: Instant::now(),
        };
        self.sender.try_send(queued).map_err(|error| match error {
            mpsc::error::TrySendError::Full(queued) => {
                self.queue.backlog.release(&queued.delivery);
                InboxError::Full
            }
            mpsc::error::TrySendError::Closed(_) => InboxError::Closed,
        })?;
        match tokio::time::timeout(self.max_wait, response).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(InboxError::Closed),
            Err(_) => Err(InboxError::NotCommitted),
        }
    }
}

async fn write(db: Db, notifier: Notifier, config: InboxConfig, queue: Arc<IntakeQueue>) {
    let mut carried = None;
    loop {
        let Some(batch) = gather(&queue, &config, &mut carried).await else {
            return;
        };
        histogram!(names::INGRESS_BATCH_SIZE).record(f64::from(
            u32::try_from(batch.deliveries.len()).unwrap_or(0),
        ));
        let committed = commit(&db, &batch, &queue.backlog).await;
        let Batch {
            responders,
            commit_permit,
            ..
        } = batch;
        drop(commit_permit);
        match committed {
            Ok(outcomes) => {
                notifier.notify();
                for (responder, outcome) in responders.into_iter().zip(outcomes) {
                    let response = match outcome {
                        StoreOutcome::Rejected => Err(InboxError::Backlogged),
                        outcome => Ok(outcome),
                    };
                    // A request that has timed out is sent again and found to be a duplicate.
                    responder.send(response).ok();
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    deliveries.count = responders.len(),
                    "failed to commit a batch of deliveries"
                );
                for responder in responders {
                    responder.send(Err(InboxError::NotCommitted)).ok();
                }
            }
        }
    }
}

/// The queue between requests and writers.
#[derive(Debug)]
struct IntakeQueue {
    receiver: Mutex<mpsc::Receiver<QueuedDelivery>>,
    /// One permit: held while a batch is committed.
    commit_permit: Semaphore,
    backlog: Arc<Backlog>,
    shedder: LoadShedder,
}

impl IntakeQueue {
    fn new(receiver: mpsc::Receiver<QueuedDelivery>, backlog: Arc<Backlog>) -> Self {
        Self {
            receiver: Mutex::new(receiver),
            commit_permit: Semaphore::new(1),
            backlog,
            shedder: LoadShedder::new(),
        }
    }

    /// Returns the delivery if a commit can acknowledge it in time, and rejects it otherwise.
    ///
    /// Without this check an overloaded queue would be full of deliveries whose requests time out
    /// before their commit, and fewer would be acknowledged the slower commits are.
    fn admit(&self, queued: QueuedDelivery, config: &InboxConfig) -> Option<QueuedDelivery> {
        let now = Instant::now();
        let is_late = now.saturating_duration_since(queued.queued_at) >= config.max_wait / 2;
        let is_shed = is_late && self.shedder.is_overloaded(now);
        if !is_shed && !queued.responder.is_closed() {
            return Some(queued);
        }
        if is_shed {
            self.shedder.record_shed(now);
        }
        self.backlog.release(&queued.delivery);
        queued.responder.send(Err(InboxError::Full)).ok();
        None
    }
}

struct Batch<'a> {
    deliveries: Vec<VerifiedDelivery>,
    responders: Vec<Responder>,
    /// `None` while another batch is still being committed.
    commit_permit: Option<SemaphorePermit<'a>>,
}

impl Batch<'_> {
    fn is_awaited(&self) -> bool {
        self.responders
            .iter()
            .any(|responder| !responder.is_closed())
    }
}

/// Waits for a delivery and for the commit permit, then fills a batch from the queue.
async fn gather<'a>(
    queue: &'a IntakeQueue,
    config: &InboxConfig,
    carried: &mut Option<QueuedDelivery>,
) -> Option<Batch<'a>> {
    let mut receiver = queue.receiver.lock().await;
    let first = loop {
        let next = match carried.take() {
            Some(next) => next,
            None => receiver.recv().await?,
        };
        queue.shedder.record_wait(next.queued_at.elapsed());
        if let Some(first) = queue.admit(next, config) {
            break first;
        }
    };
    let permit = tokio::time::timeout(config.linger, queue.commit_permit.acquire()).await;
    let mut bytes = first.delivery.body.len();
    let mut batch = Batch {
        deliveries: vec![first.delivery],
        responders: vec![first.responder],
        commit_permit: permit.ok().and_then(Result::ok),
    };
    while batch.deliveries.len() < config.max_batch {
        let Ok(next) = receiver.try_recv() else {
            queue.shedder.record_empty(Instant::now());
            break;
        };
        let Some(next) = queue.admit(next, config) else {
            continue;
        };
        bytes += next.delivery.body.len();
        if bytes > config.max_batch_bytes {
            *carried = Some(next);
            break;
        }
        batch.deliveries.push(next.delivery);
        batch.responders.push(next.responder);
    }
    Some(batch)
}

/// Commits a batch, and retries on a lost session or a conflict while a request waits for it.
///
/// Storing is idempotent through the dedupe rows: if a failed attempt was committed after all, the
/// next one finds duplicates, which are acknowledged as well.
async fn commit(
    db: &Db,
    batch: &Batch<'_>,
    backlog: &Backlog,
) -> Result<Vec<StoreOutcome>, DbError> {
    loop {
        match store(db, &batch.deliveries, &backlog.limits()).await {
            Err(error) if (error.is_lost() || error.is_conflict()) && batch.is_awaited() => {
                counter!(names::INBOX_RETRIES_TOTAL).increment(1);
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;
