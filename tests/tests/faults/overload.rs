//! A sustained overload: twice the deliveries per second that the service can process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Row;
use tests::harness::{
    Cluster, Endpoints, FeedReader, Load, Pace, Process, System, Tenant, TestDb, Webhooks,
    eventually, eventually_within, free_address,
};

use super::{alone, assert_no_job_finished_twice, assert_nothing_lost, can_start_servers, setting};

const MIB: u64 = 1 << 20;
/// Maximum memory of each process.
const MAX_MEMORY: u64 = 400 * MIB;
/// Maximum disk space per acknowledged delivery, with its Signals and jobs.
const MAX_DISK_PER_DELIVERY: u64 = 32 * 1024;
/// Time before the measurement, because new processes are slower.
const WARM_UP: Duration = Duration::from_secs(6);

/// One measurement of the backlog, the disk and the memory.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    backlog: u64,
    database: u64,
    wal: u64,
    memory: [u64; 3],
}

impl Sample {
    async fn take(system: &System) -> Self {
        let row = sqlx::query(
            "SELECT (SELECT coalesce(sum(bytes), 0)::bigint FROM jobs WHERE state = 'queued') AS backlog, \
                 pg_database_size(current_database()) AS database, \
                 (SELECT sum(size)::bigint FROM pg_ls_waldir()) AS wal",
        )
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
        let bytes = |name: &str| u64::try_from(row.get::<i64, _>(name)).expect("a size");
        let processes = system.processes().await;
        Self {
            backlog: bytes("backlog"),
            database: bytes("database"),
            wal: bytes("wal"),
            memory: [Process::Api, Process::Ingress, Process::Worker]
                .map(|process| processes.resident(process)),
        }
    }

    /// The maximum of each value.
    fn max(self, other: Self) -> Self {
        let memory = |at: usize| self.memory[at].max(other.memory[at]);
        Self {
            backlog: self.backlog.max(other.backlog),
            database: self.database.max(other.database),
            wal: self.wal.max(other.wal),
            memory: [memory(0), memory(1), memory(2)],
        }
    }
}

/// Measures the sustained rate in Signals per second, and returns the keys of the deliveries.
async fn measure_sustained_rate(
    tenant: &Tenant<'_>,
    webhooks: &Arc<Webhooks>,
    endpoints: &Endpoints,
    measured: Duration,
) -> (u32, Vec<String>) {
    let load = Load::start(webhooks, endpoints, Pace::Connections(64));
    tokio::time::sleep(WARM_UP).await;
    let (began, before) = (Instant::now(), tenant.count_signals().await);
    tokio::time::sleep(measured).await;
    let count = tenant.count_signals().await - before;
    let rate = u64::from(u32::try_from(count).expect("a rate")) * 1000
        / u64::try_from(began.elapsed().as_millis()).expect("a duration");
    let record = load.stop().await;
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    (u32::try_from(rate).expect("a rate").max(1), record.keys())
}

/// Asserts that without a worker the backlog grows to its limit and no further.
async fn assert_backlog_limit_without_worker(
    system: &System,
    webhooks: &Arc<Webhooks>,
    endpoints: &Endpoints,
    max_backlog: u64,
) -> Vec<String> {
    let status = system.processes().await.terminate(Process::Worker).await;
    assert!(status.success(), "{status}");
    let load = Load::start(webhooks, endpoints, Pace::Connections(8));
    // Processed deliveries count until the ingress measures the backlog again.
    eventually("the backlog is large", async || {
        Sample::take(system).await.backlog >= max_backlog / 2
    })
    .await;
    let before = load.record().rejected;
    eventually("deliveries are rejected", async || {
        load.record().rejected > before + 200
    })
    .await;
    let backlog = Sample::take(system).await.backlog;
    let record = load.stop().await;
    eprintln!(
        "overload: without a worker {} acknowledged, {} rejected; backlog of {} KiB",
        record.acknowledged.len(),
        record.rejected,
        backlog / 1024
    );
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    assert!(backlog <= max_backlog + MIB, "backlog of {backlog} bytes");
    assert!(backlog >= max_backlog / 2, "rejected at {backlog} bytes");
    system
        .processes()
        .await
        .start(Process::Worker, free_address())
        .await;
    record.keys()
}

/// Waits until the backlog is empty.
async fn drain_backlog(system: &System) {
    eventually_within(
        Duration::from_mins(10),
        "the backlog is empty",
        async || Sample::take(system).await.backlog == 0,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_is_rejected_before_anything_overflows() {
    let _alone = alone().await;
    if !can_start_servers("overload") {
        return;
    }
    let duration = Duration::from_secs(setting("POBLYSH_FAULTS_OVERLOAD_SECONDS", 10));
    let max_backlog = setting("POBLYSH_FAULTS_OVERLOAD_MIB", 2) * MIB;
    let cluster = Cluster::start().await;
    let system = System::with_fast_provider()
        .database(TestDb::create_in(&cluster).await)
        .env(
            "POBLYSH_INGRESS_MAX_BACKLOG_MIB",
            (max_backlog / MIB).to_string(),
        )
        // The only tenant may use the whole backlog.
        .env(
            "POBLYSH_INGRESS_TENANT_BACKLOG_MIB",
            (max_backlog / MIB).to_string(),
        )
        .out_of_process()
        .start()
        .await;
    let tenant = system.tenant("Acme").await;
    let (account, admin) = system.accounts().await.remove(0);
    let webhooks = Arc::new(Webhooks::prepare(&system, &tenant, (&account, &admin)).await);
    let endpoints = Endpoints::only(&system.ingress);
    let reader = FeedReader::start(&tenant, &Endpoints::only(&system.api));
    let measured = (duration / 60).max(Duration::from_secs(4));
    let (rate, mut keys) = measure_sustained_rate(&tenant, &webhooks, &endpoints, measured).await;
    drain_backlog(&system).await;

    let initial = Sample::take(&system).await;
    let load = Load::start(&webhooks, &endpoints, Pace::PerSecond(rate * 2));
    let began = Instant::now();
    let mut halves = [Sample::default(); 2];
    while began.elapsed() < duration {
        let half = usize::from(began.elapsed() > duration / 2);
        halves[half] = halves[half].max(Sample::take(&system).await);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let record = load.stop().await;
    let peak = halves[0].max(halves[1]);
    eprintln!(
        "overload: {rate}/s sustained, {}/s offered for {duration:?}: {} acknowledged, {} rejected, \
         {} unsent; peak backlog of {} KiB; MiB of API, ingress, worker: {:?}, of the database {} to {}, of WAL {}",
        rate * 2,
        record.acknowledged.len(),
        record.rejected,
        record.unsent,
        peak.backlog / 1024,
        peak.memory.map(|bytes| bytes / MIB),
        initial.database / MIB,
        peak.database / MIB,
        peak.wal / MIB
    );
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    let acknowledged = u64::try_from(record.acknowledged.len()).expect("a count");
    let sent = acknowledged + record.rejected;
    assert!(
        sent * 2 >= u64::from(rate) * duration.as_secs() * 3,
        "no overload: {sent} sent, {} unsent",
        record.unsent
    );
    assert!(
        record.rejected * 20 >= acknowledged,
        "no overload: nearly all deliveries were acknowledged"
    );
    // The senders and the ingress share the processors with the worker.
    assert!(
        acknowledged * 3 >= u64::from(rate) * duration.as_secs(),
        "far fewer deliveries were acknowledged than the sustained rate"
    );
    assert!(
        peak.backlog <= max_backlog + MIB,
        "backlog of {} bytes",
        peak.backlog
    );
    let growth = acknowledged * MAX_DISK_PER_DELIVERY + 4 * max_backlog + 32 * MIB;
    let allowed = initial.database + growth;
    assert!(
        peak.database <= allowed,
        "{} of {allowed} bytes",
        peak.database
    );
    for (process, bytes) in ["API", "ingress", "worker"].iter().zip(peak.memory) {
        assert!(bytes < MAX_MEMORY, "{process}: {bytes} bytes");
    }
    for (first, second) in halves[0].memory.iter().zip(halves[1].memory) {
        assert!(
            second < first + first / 4 + 32 * MIB,
            "memory grows: {halves:?}"
        );
    }
    drain_backlog(&system).await;
    keys.extend(record.keys());
    let unprocessed =
        assert_backlog_limit_without_worker(&system, &webhooks, &endpoints, max_backlog).await;
    keys.extend(unprocessed);
    drain_backlog(&system).await;
    assert_nothing_lost(&system, &tenant, &keys).await;
    assert_no_job_finished_twice(&system).await;
    reader.assert_read_every_signal(&tenant).await;
}
