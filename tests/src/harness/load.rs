//! Load generator: signed deliveries at a steady pace, with the result of each.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, Response, StatusCode};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Endpoints, Webhooks, webhooks};

/// Maximum time that the sender waits for a response, as a provider does.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of requests in flight at a given rate; responses in time never reach it.
const MAX_IN_FLIGHT: usize = 2048;

/// Results of the deliveries so far.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Time and number of each acknowledged delivery.
    pub acknowledged: Vec<(Instant, u64)>,
    /// Responses 503 with `Retry-After`.
    pub rejected: u64,
    /// Counts of all other responses and errors.
    pub failed: BTreeMap<String, u64>,
    /// Deliveries that were due and not sent, because too many were in flight.
    pub unsent: u64,
}

impl Record {
    /// Number of deliveries acknowledged in an interval.
    pub fn acknowledged_between(&self, from: Instant, to: Instant) -> usize {
        let within = |at: &&(Instant, u64)| (from..to).contains(&at.0);
        self.acknowledged.iter().filter(within).count()
    }

    /// Dedupe keys of the Signals of all acknowledged deliveries.
    pub fn keys(&self) -> Vec<String> {
        let numbers = self.acknowledged.iter().map(|(_, number)| *number);
        numbers.map(webhooks::dedupe_key_of).collect()
    }
}

/// Pace of the deliveries.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Closed loop: this many senders, each with one delivery in flight.
    Connections(u32),
    /// Open loop: this many deliveries per second, independent of the responses.
    PerSecond(u32),
}

/// Load that runs until it is stopped.
pub struct Load {
    record: Arc<Mutex<Record>>,
    stop: CancellationToken,
    senders: JoinSet<()>,
}

/// Number of the next delivery, shared by all loads of a test.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Load {
    /// Starts the senders.
    ///
    /// # Panics
    ///
    /// When the client cannot be built.
    pub fn start(webhooks: &Arc<Webhooks>, endpoints: &Endpoints, pace: Pace) -> Self {
        let record: Arc<Mutex<Record>> = Arc::default();
        let stop = CancellationToken::new();
        let client = Client::builder()
            .timeout(RESPONSE_TIMEOUT)
            .build()
            .expect("a client");
        let sender = Arc::new(Sender {
            webhooks: Arc::clone(webhooks),
            endpoints: endpoints.clone(),
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

    /// Returns the results so far.
    pub fn record(&self) -> Record {
        lock(&self.record).clone()
    }

    /// Number of deliveries acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        lock(&self.record).acknowledged.len()
    }

    /// Stops sending, waits for the deliveries in flight, and returns all results.
    ///
    /// # Panics
    ///
    /// When a sender panicked.
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
    endpoints: Endpoints,
    client: Client,
    record: Arc<Mutex<Record>>,
}

impl Sender {
    /// Sends on schedule, independent of the responses.
    async fn send_at(self: Arc<Self>, rate: u32, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut in_flight = JoinSet::new();
        while !stop.is_cancelled() {
            ticks.tick().await;
            while in_flight.try_join_next().is_some() {}
            if in_flight.len() < MAX_IN_FLIGHT {
                let sender = Arc::clone(&self);
                in_flight.spawn(async move { sender.send().await });
            } else {
                lock(&self.record).unsent += 1;
            }
        }
        in_flight.join_all().await;
    }

    /// Sends one delivery, without retries: the provider keeps what was not acknowledged.
    async fn send(&self) {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (headers, body) = self.webhooks.signed(number, Uuid::new_v4());
        let url = format!("{}{}", self.endpoints.next().await, Webhooks::path());
        let mut request = self
            .client
            .post(url)
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.body(body).send().await;
        if !self.record_response(number, response) {
            // Without a pause, a closed port would be tried thousands of times a second.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Records a response; returns whether a provider handles it without a pause.
    fn record_response(&self, number: u64, response: reqwest::Result<Response>) -> bool {
        let mut record = lock(&self.record);
        let failure = match response {
            Ok(response) if response.status() == StatusCode::OK => {
                record.acknowledged.push((Instant::now(), number));
                return true;
            }
            Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                if response.headers().contains_key("retry-after") {
                    record.rejected += 1;
                    return true;
                }
                "503 without Retry-After".to_owned()
            }
            Ok(response) => response.status().to_string(),
            Err(error) if error.is_timeout() => "response timeout".to_owned(),
            Err(error) if error.is_connect() => "connect error".to_owned(),
            Err(_) => "connection closed".to_owned(),
        };
        *record.failed.entry(failure).or_default() += 1;
        false
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}
