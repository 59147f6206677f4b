//! Postgres ends the backends of all our connections, twice a second.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Client;
use tests::harness::{Doors, Follower, Load, Pace, System, Tenant, Webhooks};
use tokio::task::JoinSet;

use super::{alone, assert_kept, setting};

/// Deliveries a second; little enough for any machine.
const RATE: u32 = 40;
/// Readers, each with fifty reads a second.
const READERS: usize = 2;
const PAUSE: Duration = Duration::from_millis(20);
/// What must be kept of the throughput.
const PROMISE: f64 = 0.95;
/// A run of fewer seconds has too few deliveries to tell the promise from a hiccup of the
/// machine; it must keep this much.
const PROMISED_FROM: Duration = Duration::from_secs(30);
const SHORT: f64 = 0.6;

/// Reads of the feed that gave a page, and those that did not.
#[derive(Default)]
struct Reads {
    pages: AtomicU64,
    failures: AtomicU64,
    answers: Mutex<BTreeSet<String>>,
}

impl Reads {
    /// The share of pages since the last time it was asked for.
    fn share(&self) -> f64 {
        let pages = self.pages.swap(0, Ordering::AcqRel);
        let failures = self.failures.swap(0, Ordering::AcqRel);
        ratio(pages, pages + failures)
    }

    fn failed(&self, error: &reqwest::Error) {
        self.failures.fetch_add(1, Ordering::AcqRel);
        let mut answers = self.answers.lock().expect("no reader panics");
        answers.insert(error.to_string());
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    let exact = |number: u64| f64::from(u32::try_from(number).expect("a small number"));
    exact(part) / exact(whole.max(1))
}

fn read(tenant: &Tenant<'_>, system: &System, reads: &Arc<Reads>) -> JoinSet<()> {
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let url = format!("{}/v1/signals?limit=10&order=recent", system.api);
        let (key, reads) = (tenant.key.clone(), Arc::clone(reads));
        let client: Client = system.client.clone();
        readers.spawn(async move {
            loop {
                let answer = client.get(&url).bearer_auth(&key).send().await;
                match answer.and_then(reqwest::Response::error_for_status) {
                    Ok(_) => drop(reads.pages.fetch_add(1, Ordering::AcqRel)),
                    Err(error) => reads.failed(&error),
                }
                tokio::time::sleep(PAUSE).await;
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
    .expect("Postgres answers");
    u64::try_from(ended.len()).expect("a small number")
}

/// Deliveries acknowledged per second while `something` goes on.
async fn rate_during(load: &Load, something: impl Future<Output = ()>) -> f64 {
    let began = Instant::now();
    something.await;
    let now = Instant::now();
    let count = load.record().acknowledged_between(began, now);
    ratio(u64::try_from(count).expect("small"), 1) / (now - began).as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_backends_cost_little_throughput_and_no_delivery() {
    let _alone = alone().await;
    let lasts = Duration::from_secs(setting("POBLYSH_FAULTS_TERMINATE_SECONDS", 6));
    let system = System::with_fast_provider()
        .workers(2)
        .outside()
        .start()
        .await;
    let tenant = system.tenant("Acme").await;
    let (account, admin) = system.accounts().await.remove(0);
    let webhooks = Webhooks::prepare(&system, &tenant, (&account, &admin)).await;
    let follower = Follower::start(&tenant, &Doors::only(&system.api));
    let reads = Arc::new(Reads::default());
    let _readers = read(&tenant, &system, &reads);
    let doors = Doors::only(&system.ingress);
    let load = Load::start(&Arc::new(webhooks), &doors, Pace::PerSecond(RATE));

    let before = rate_during(&load, tokio::time::sleep(lasts / 2)).await;
    let read_before = reads.share();
    let mut ended = 0;
    let during = rate_during(&load, async {
        let mut ticks = tokio::time::interval(Duration::from_millis(500));
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            ticks.tick().await;
            ended += terminate_all(&system).await;
        }
    })
    .await;
    let read_during = reads.share();
    eprintln!(
        "backends: {ended} terminated in {lasts:?}; {before:.1}/s acknowledged before, \
         {during:.1}/s meanwhile ({:.1} %); reads answered: {:.1} % before, {:.1} % meanwhile",
        during / before * 100.0,
        read_before * 100.0,
        read_during * 100.0
    );
    let record = load.stop().await;
    let refused = record.refused;
    eprintln!("backends: {refused} deliveries were refused with Retry-After");
    let kept = if lasts < PROMISED_FROM {
        SHORT
    } else {
        PROMISE
    };
    assert!(during >= before * kept, "deliveries: {:?}", record.failed);
    assert!(read_during >= read_before * kept, "{:?}", reads.answers);
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    assert_kept(&system, &tenant, &record, follower).await;
}
