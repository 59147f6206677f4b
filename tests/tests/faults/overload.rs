//! Twice the load that can be sustained, for as long as anybody likes to wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Row;
use tests::harness::{
    Cluster, Doors, Follower, Load, Pace, Process, System, Tenant, TestDb, Webhooks, eventually,
    eventually_within, free_address,
};

use super::{alone, assert_no_job_ended_twice, assert_nothing_lost, can_start_servers, setting};

const MIB: u64 = 1 << 20;
/// Memory that no process may pass, whatever comes.
const MEMORY: u64 = 400 * MIB;
/// Disk that an acknowledged delivery takes at the most, with everything that is kept of it.
const DISK_PER_DELIVERY: u64 = 32 * 1024;
/// What has just been started is slower.
const WARM_UP: Duration = Duration::from_secs(6);

/// What is measured again and again.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    waiting: u64,
    database: u64,
    wal: u64,
    memory: [u64; 3],
}

impl Sample {
    async fn take(system: &System) -> Self {
        let row = sqlx::query(
            "SELECT (SELECT coalesce(sum(bytes), 0)::bigint FROM jobs WHERE state = 'queued') AS waiting, \
                 pg_database_size(current_database()) AS database, \
                 (SELECT sum(size)::bigint FROM pg_ls_waldir()) AS wal",
        )
        .fetch_one(system.db.pool())
        .await
        .expect("Postgres answers");
        let bytes = |name: &str| u64::try_from(row.get::<i64, _>(name)).expect("a size");
        let processes = system.processes().await;
        Self {
            waiting: bytes("waiting"),
            database: bytes("database"),
            wal: bytes("wal"),
            memory: [Process::Api, Process::Ingress, Process::Worker]
                .map(|process| processes.resident(process)),
        }
    }

    /// The greater of each.
    fn max(self, other: Self) -> Self {
        let memory = |at: usize| self.memory[at].max(other.memory[at]);
        Self {
            waiting: self.waiting.max(other.waiting),
            database: self.database.max(other.database),
            wal: self.wal.max(other.wal),
            memory: [memory(0), memory(1), memory(2)],
        }
    }
}

/// Signals per second that come out while more goes in than can.
async fn sustainable(
    tenant: &Tenant<'_>,
    webhooks: &Arc<Webhooks>,
    doors: &Doors,
    measured: Duration,
) -> (u32, Vec<String>) {
    let load = Load::start(webhooks, doors, Pace::Connections(64));
    tokio::time::sleep(WARM_UP).await;
    let (began, before) = (Instant::now(), tenant.stored().await);
    tokio::time::sleep(measured).await;
    let made = tenant.stored().await - before;
    let rate = u64::from(u32::try_from(made).expect("a rate")) * 1000
        / u64::try_from(began.elapsed().as_millis()).expect("a while");
    let record = load.stop().await;
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    (u32::try_from(rate).expect("a rate").max(1), record.keys())
}

/// The same without anybody who works: the queue fills up to its bound, and stays there.
async fn without_a_worker(
    system: &System,
    webhooks: &Arc<Webhooks>,
    doors: &Doors,
    bound: u64,
) -> Vec<String> {
    let status = system.processes().await.terminate(Process::Worker).await;
    assert!(status.success(), "{status}");
    let load = Load::start(webhooks, doors, Pace::Connections(8));
    // What was taken in before, and worked off, counts until what waits is measured again.
    eventually("much waits", async || {
        Sample::take(system).await.waiting >= bound / 2
    })
    .await;
    let before = load.record().refused;
    eventually("no more is taken", async || {
        load.record().refused > before + 200
    })
    .await;
    let waiting = Sample::take(system).await.waiting;
    let record = load.stop().await;
    eprintln!(
        "overload: without a worker {} were acknowledged, {} refused; {} KiB waited",
        record.acknowledged.len(),
        record.refused,
        waiting / 1024
    );
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    assert!(waiting <= bound + MIB, "{waiting} bytes waited");
    assert!(waiting >= bound / 2, "refused with {waiting} bytes waiting");
    system
        .processes()
        .await
        .start(Process::Worker, free_address())
        .await;
    record.keys()
}

/// Everything that was acknowledged has been worked on.
async fn worked_off(system: &System) {
    eventually_within(Duration::from_mins(10), "the queue is empty", async || {
        Sample::take(system).await.waiting == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_is_refused_before_anything_overflows() {
    let _alone = alone().await;
    if !can_start_servers("overload") {
        return;
    }
    let lasts = Duration::from_secs(setting("POBLYSH_FAULTS_OVERLOAD_SECONDS", 10));
    let bound = setting("POBLYSH_FAULTS_OVERLOAD_MIB", 2) * MIB;
    let cluster = Cluster::start().await;
    let system = System::with_fast_provider()
        .database(TestDb::within(&cluster).await)
        .env("POBLYSH_INGRESS_BACKLOG_MIB", (bound / MIB).to_string())
        // There is one tenant only.
        .env(
            "POBLYSH_INGRESS_TENANT_BACKLOG_MIB",
            (bound / MIB).to_string(),
        )
        .outside()
        .start()
        .await;
    let tenant = system.tenant("Acme").await;
    let (account, admin) = system.accounts().await.remove(0);
    let webhooks = Arc::new(Webhooks::prepare(&system, &tenant, (&account, &admin)).await);
    let doors = Doors::only(&system.ingress);
    let follower = Follower::start(&tenant, &Doors::only(&system.api));
    let measured = (lasts / 60).max(Duration::from_secs(4));
    let (rate, mut keys) = sustainable(&tenant, &webhooks, &doors, measured).await;
    worked_off(&system).await;

    let begun_with = Sample::take(&system).await;
    let load = Load::start(&webhooks, &doors, Pace::PerSecond(rate * 2));
    let began = Instant::now();
    let mut halves = [Sample::default(); 2];
    while began.elapsed() < lasts {
        let half = usize::from(began.elapsed() > lasts / 2);
        halves[half] = halves[half].max(Sample::take(&system).await);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let record = load.stop().await;
    let most = halves[0].max(halves[1]);
    eprintln!(
        "overload: {rate}/s sustained, {}/s offered for {lasts:?}: {} acknowledged, {} refused, \
         {} unsent; at most {} KiB waited; MiB of API, ingress, worker: {:?}, of the database {} to {}, of WAL {}",
        rate * 2,
        record.acknowledged.len(),
        record.refused,
        record.unsent,
        most.waiting / 1024,
        most.memory.map(|bytes| bytes / MIB),
        begun_with.database / MIB,
        most.database / MIB,
        most.wal / MIB
    );
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    let acknowledged = u64::try_from(record.acknowledged.len()).expect("a count");
    let sent = acknowledged + record.refused;
    assert!(
        sent * 2 >= u64::from(rate) * lasts.as_secs() * 3,
        "{sent} were sent, {} were not: that is no overload",
        record.unsent
    );
    assert!(
        record.refused * 20 >= acknowledged,
        "nearly all was taken: that is no overload"
    );
    // Whoever sends and whoever refuses share the processors with those that work.
    assert!(
        acknowledged * 3 >= u64::from(rate) * lasts.as_secs(),
        "much less was taken than can be sustained"
    );
    assert!(most.waiting <= bound + MIB, "{} bytes waited", most.waiting);
    let allowed = begun_with.database + acknowledged * DISK_PER_DELIVERY + 4 * bound + 32 * MIB;
    assert!(
        most.database <= allowed,
        "{} of {allowed} bytes",
        most.database
    );
    for (process, bytes) in ["API", "ingress", "worker"].iter().zip(most.memory) {
        assert!(bytes < MEMORY, "{process}: {bytes} bytes");
    }
    for (first, second) in halves[0].memory.iter().zip(halves[1].memory) {
        assert!(
            second < first + first / 4 + 32 * MIB,
            "memory grows: {halves:?}"
        );
    }
    worked_off(&system).await;
    keys.extend(record.keys());
    keys.extend(without_a_worker(&system, &webhooks, &doors, bound).await);
    worked_off(&system).await;
    assert_nothing_lost(&system, &tenant, &keys).await;
    assert_no_job_ended_twice(&system).await;
    follower.assert_saw_everything(&tenant).await;
}
