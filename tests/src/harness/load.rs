//! A provider that does not stop: signed deliveries at a steady pace, and what became of each.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, Response, StatusCode};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::webhooks::{self, EVENT};
use super::{Doors, Webhooks};

/// How long a provider waits for an answer; GitHub's patience.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests under way at the same time, at a given rate: more than whoever answers in time has.
const AT_ONCE: usize = 2048;

/// What became of the deliveries so far.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// When each was acknowledged, and its number.
    pub acknowledged: Vec<(Instant, u64)>,
    /// 503 with `Retry-After`.
    pub refused: u64,
    /// Whatever else was answered, or why nothing was, and how often.
    pub failed: BTreeMap<String, u64>,
    /// How often one was due and not sent, because too many were under way.
    pub unsent: u64,
}

impl Record {
    /// How many were acknowledged between two moments.
    pub fn acknowledged_between(&self, from: Instant, to: Instant) -> usize {
        let within = |at: &&(Instant, u64)| (from..to).contains(&at.0);
        self.acknowledged.iter().filter(within).count()
    }

    /// Dedupe keys of the Signals that there must be.
    pub fn keys(&self) -> Vec<String> {
        let numbers = self.acknowledged.iter().map(|(_, number)| *number);
        numbers.map(webhooks::key_of).collect()
    }
}

/// How deliveries follow each other.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// So many connections, each with one delivery after the other.
    Connections(u32),
    /// So many a second, whatever the answers are.
    PerSecond(u32),
}

/// A load that goes on until it is stopped.
pub struct Load {
    record: Arc<Mutex<Record>>,
    stop: CancellationToken,
    senders: JoinSet<()>,
}

/// Numbers of deliveries; no two loads of a test share one.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Load {
    /// Begins.
    ///
    /// # Panics
    ///
    /// When no client can be made.
    pub fn start(webhooks: &Arc<Webhooks>, doors: &Doors, pace: Pace) -> Self {
        let record: Arc<Mutex<Record>> = Arc::default();
        let stop = CancellationToken::new();
        let client = Client::builder()
            .timeout(PATIENCE)
            .build()
            .expect("a client");
        let sender = Arc::new(Sender {
            webhooks: Arc::clone(webhooks),
            doors: doors.clone(),
            client,
            record: Arc::clone(&record),
        });
        let mut tasks = JoinSet::new();
        match pace {
            Pace::Connections(connections) => {
                for _ in 0..connections {
                    let (sender, stop) = (Arc::clone(&sender), stop.clone());
                    tasks.spawn(async move {
                        while !stop.is_cancelled() {
                            sender.send().await;
                        }
                    });
                }
            }
            Pace::PerSecond(rate) => {
                tasks.spawn(sender.send_at(rate, stop.clone()));
            }
        }
        Self {
            record,
            stop,
            senders: tasks,
        }
    }

    /// What became of the deliveries so far.
    pub fn record(&self) -> Record {
        lock(&self.record).clone()
    }

    /// How many were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        lock(&self.record).acknowledged.len()
    }

    /// Sends nothing more, waits for what is under way, and answers what became of everything.
    ///
    /// # Panics
    ///
    /// When a sender did.
    pub async fn stop(mut self) -> Record {
        self.stop.cancel();
        while let Some(sender) = self.senders.join_next().await {
            sender.expect("a sender");
        }
        self.record()
    }
}

struct Sender {
    webhooks: Arc<Webhooks>,
    doors: Doors,
    client: Client,
    record: Arc<Mutex<Record>>,
}

impl Sender {
    /// Sends on schedule, whether or not answers come.
    async fn send_at(self: Arc<Self>, rate: u32, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut under_way = JoinSet::new();
        while !stop.is_cancelled() {
            ticks.tick().await;
            while under_way.try_join_next().is_some() {}
            if under_way.len() < AT_ONCE {
                let sender = Arc::clone(&self);
                under_way.spawn(async move { sender.send().await });
            } else {
                lock(&self.record).unsent += 1;
            }
        }
        under_way.join_all().await;
    }

    /// One delivery, sent once. Nothing is sent again: what was not acknowledged is the
    /// provider's to keep.
    async fn send(&self) {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (body, signature) = self.webhooks.signed(number);
        let answer = self
            .client
            .post(format!("{}/webhooks/github", self.doors.next().await))
            .header("content-type", "application/json")
            .header("x-github-event", EVENT)
            .header("x-github-delivery", Uuid::new_v4().to_string())
            .header("x-hub-signature-256", signature)
            .body(body)
            .send()
            .await;
        if !self.note(number, answer) {
            // A door that is shut would otherwise be knocked at thousands of times a second.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether it was an answer that a provider is prepared for.
    fn note(&self, number: u64, answer: reqwest::Result<Response>) -> bool {
        let mut record = lock(&self.record);
        let failure = match answer {
            Ok(answer) if answer.status() == StatusCode::OK => {
                record.acknowledged.push((Instant::now(), number));
                return true;
            }
            Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
                if answer.headers().contains_key("retry-after") {
                    record.refused += 1;
                    return true;
                }
                "503 without Retry-After".to_owned()
            }
            Ok(answer) => answer.status().to_string(),
            Err(error) if error.is_timeout() => "no answer in time".to_owned(),
            Err(error) if error.is_connect() => "no connection".to_owned(),
            Err(_) => "a connection that ended".to_owned(),
        };
        *record.failed.entry(failure).or_default() += 1;
        false
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}
