//! Termination of all Postgres backends of the service, twice per second.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Client;
use tests::harness::{Endpoints, FeedReader, Load, Pace, System, Tenant, Webhooks};
use tokio::task::JoinSet;

use super::{alone, assert_guarantees, setting};

/// Deliveries per second; low enough for any machine.
const RATE: u32 = 40;
/// Readers of the feed, each with fifty reads per second.
const READERS: usize = 2;
const READ_INTERVAL: Duration = Duration::from_millis(20);
/// Minimum ratio of the throughput during and before the terminations.
const MIN_RATIO: f64 = 0.95;
/// Minimum duration of a run to which [`MIN_RATIO`] applies.
const MIN_DURATION: Duration = Duration::from_secs(30);
/// The minimum ratio of shorter runs, which have too few deliveries for a precise measurement.
const MIN_SHORT_RATIO: f64 = 0.6;

/// Counters of successful and failed reads of the feed.
#[derive(Default)]
struct Reads {
    pages: AtomicU64,
    failures: AtomicU64,
    errors: Mutex<BTreeSet<String>>,
}

impl Reads {
    /// The ratio of successful reads since the last call.
    fn take_ratio(&self) -> f64 {
        let pages = self.pages.swap(0, Ordering::AcqRel);
        let failures = self.failures.swap(0, Ordering::AcqRel);
        ratio(pages, pages + failures)
    }

    fn record_failure(&self, error: &reqwest::Error) {
        self.failures.fetch_add(1, Ordering::AcqRel);
        let mut errors = self.errors.lock().expect("no reader panics");
        errors.insert(error.to_string());
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    let exact = |number: u64| f64::from(u32::try_from(number).expect("a small number"));
    exact(part) / exact(whole.max(1))
}

fn start_readers(tenant: &Tenant<'_>, system: &System, reads: &Arc<Reads>) -> JoinSet<()> {
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let url = format!("{}/v1/signals?limit=10&order=recent", system.api);
        let (key, reads) = (tenant.key.clone(), Arc::clone(reads));
        let client: Client = system.client.clone();
        readers.spawn(async move {
            loop {
                let response = client.get(&url).bearer_auth(&key).send().await;
                match response.and_then(reqwest::Response::error_for_status) {
                    Ok(_) => drop(reads.pages.fetch_add(1, Ordering::AcqRel)),
                    Err(error) => reads.record_failure(&error),
                }
                tokio::time::sleep(READ_INTERVAL).await;
            }
        });
    }
    readers
}

async fn terminate_all(system: &System) -> u64 {
    let ended = sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name LIKE 'poblysh\\_%'",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("the query result");
    u64::try_from(ended.len()).expect("a small number")
}

/// Deliveries acknowledged per second while `action` runs.
async fn rate_during(load: &Load, action: impl Future<Output = ()>) -> f64 {
    let began = Instant::now();
    action.await;
    let now = Instant::now();
    let count = load.record().acknowledged_between(began, now);
    ratio(u64::try_from(count).expect("small"), 1) / (now - began).as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_backends_cost_little_throughput() {
    let _alone = alone().await;
    let duration = Duration::from_secs(setting("POBLYSH_FAULTS_TERMINATE_SECONDS", 6));
    let system = System::with_fast_provider()
        .workers(2)
        .out_of_process()
        .start()
        .await;
    let tenant = system.tenant("Acme").await;
    let (account, admin) = system.accounts().await.remove(0);
    let webhooks = Webhooks::prepare(&system, &tenant, (&account, &admin)).await;
    let reader = FeedReader::start(&tenant, &Endpoints::only(&system.api));
    let reads = Arc::new(Reads::default());
    let _readers = start_readers(&tenant, &system, &reads);
    let endpoints = Endpoints::only(&system.ingress);
    let load = Load::start(&Arc::new(webhooks), &endpoints, Pace::PerSecond(RATE));

    let before = rate_during(&load, tokio::time::sleep(duration / 2)).await;
    let read_before = reads.take_ratio();
    let mut terminated = 0;
    let during = rate_during(&load, async {
        let mut ticks = tokio::time::interval(Duration::from_millis(500));
        let end = Instant::now() + duration;
        while Instant::now() < end {
            ticks.tick().await;
            terminated += terminate_all(&system).await;
        }
    })
    .await;
    let read_during = reads.take_ratio();
    eprintln!(
        "backends: {terminated} terminated in {duration:?}; {before:.1}/s acknowledged before, \
         {during:.1}/s during ({:.1} %); reads succeeded: {:.1} % before, {:.1} % during",
        during / before * 100.0,
        read_before * 100.0,
        read_during * 100.0
    );
    let record = load.stop().await;
    let rejected = record.rejected;
    eprintln!("backends: {rejected} deliveries were rejected with Retry-After");
    let min_ratio = if duration < MIN_DURATION {
        MIN_SHORT_RATIO
    } else {
        MIN_RATIO
    };
    assert!(
        during >= before * min_ratio,
        "deliveries: {:?}",
        record.failed
    );
    assert!(read_during >= read_before * min_ratio, "{:?}", reads.errors);
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    assert_guarantees(&system, &tenant, &record, reader).await;
}
