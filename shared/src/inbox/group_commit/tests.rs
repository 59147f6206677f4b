//! Tests of the intake queue and of its load shedding.

use super::*;
use crate::inbox::backlog::backlog_quota;
use crate::inbox::delivery;

#[tokio::test]
async fn closed_queue_ends_its_writer() {
    let (sender, receiver) = mpsc::channel::<QueuedDelivery>(1);
    drop(sender);
    let queue = IntakeQueue::new(receiver, Arc::new(Backlog::empty(backlog_quota(1))));
    assert!(
        gather(&queue, &InboxConfig::default(), &mut None)
            .await
            .is_none()
    );
}

/// A queue and a backlog that hold at most three deliveries of a hundred bytes.
struct SmallQueue {
    config: InboxConfig,
    sender: mpsc::Sender<QueuedDelivery>,
    queue: Arc<IntakeQueue>,
}

impl SmallQueue {
    fn empty() -> Self {
        let (sender, receiver) = mpsc::channel(3);
        let quota = backlog_quota(3 * delivery::with_body_size(100).size());
        let backlog = Arc::new(Backlog::empty(quota));
        Self {
            config: InboxConfig::default(),
            sender,
            queue: Arc::new(IntakeQueue::new(receiver, backlog)),
        }
    }

    fn inbox(&self) -> Inbox {
        Inbox {
            sender: self.sender.clone(),
            queue: Arc::clone(&self.queue),
            max_wait: self.config.max_wait,
        }
    }

    /// A queue that was last empty this long ago.
    fn not_empty_for(mut self, time: Duration) -> Self {
        let queue = Arc::get_mut(&mut self.queue).expect("the only reference");
        queue.shedder = LoadShedder::not_empty_for(time);
        self
    }

    /// Queues a delivery that has waited this long.
    fn enqueue(&self, waited: Duration) -> oneshot::Receiver<Result<StoreOutcome, InboxError>> {
        let delivery = delivery::with_body_size(100);
        assert!(self.queue.backlog.admit(&delivery));
        let (responder, response) = oneshot::channel();
        let queued_at = Instant::now().checked_sub(waited);
        let queued = QueuedDelivery {
            delivery,
            responder,
            queued_at: queued_at.expect("the clock runs for a while"),
        };
        assert!(self.sender.try_send(queued).is_ok());
        response
    }

    async fn gather(&self) -> usize {
        let batch = gather(&self.queue, &self.config, &mut None).await;
        batch.expect("a batch").deliveries.len()
    }

    /// The number of further deliveries that the backlog admits.
    fn room(&self) -> usize {
        let is_admitted = |_: &u8| self.queue.backlog.admit(&delivery::with_body_size(100));
        (0..10).take_while(is_admitted).count()
    }
}

const LONG: Duration = Duration::from_mins(1);

#[tokio::test]
async fn overloaded_queue_sheds_late_deliveries() {
    let queue = SmallQueue::empty().not_empty_for(LONG);
    let late = queue.enqueue(queue.config.max_wait / 2);
    let in_time = queue.enqueue(Duration::ZERO);
    assert_eq!(queue.gather().await, 1);
    assert!(matches!(late.await, Ok(Err(InboxError::Full))));
    assert!(in_time.await.is_err(), "it was in the batch");
    assert_eq!(queue.room(), 2, "the shed delivery leaves the backlog");
}

#[tokio::test]
async fn late_delivery_of_a_burst_is_committed() {
    let queue = SmallQueue::empty();
    let late = queue.enqueue(queue.config.max_wait / 2);
    assert_eq!(queue.gather().await, 1);
    assert!(late.await.is_err(), "it was in the batch");
}

#[tokio::test]
async fn abandoned_delivery_is_not_committed() {
    let queue = SmallQueue::empty();
    drop(queue.enqueue(Duration::ZERO));
    let in_time = queue.enqueue(Duration::ZERO);
    assert_eq!(queue.gather().await, 1);
    assert!(in_time.await.is_err(), "it was in the batch");
    assert_eq!(queue.room(), 2);
}

#[tokio::test]
async fn slow_overloaded_queue_has_no_room() {
    let queue = SmallQueue::empty().not_empty_for(LONG);
    queue.queue.shedder.record_wait(queue.config.max_wait / 4);
    assert!(queue.inbox().has_room().is_ok(), "the queue is empty");
    drop(queue.enqueue(Duration::ZERO));
    assert!(matches!(queue.inbox().has_room(), Err(InboxError::Full)));
    queue.queue.shedder.record_wait(Duration::ZERO);
    assert!(queue.inbox().has_room().is_ok(), "deliveries do not wait");
}

#[tokio::test]
async fn burst_has_room_until_the_backlog_is_full() {
    let queue = SmallQueue::empty();
    queue.queue.shedder.record_wait(queue.config.max_wait / 4);
    drop(queue.enqueue(Duration::ZERO));
    assert!(queue.inbox().has_room().is_ok());
    assert_eq!(queue.room(), 2);
    let result = queue.inbox().has_room();
    assert!(matches!(result, Err(InboxError::Backlogged)));
}
