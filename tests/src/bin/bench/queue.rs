//! Rows `queue`, `queue-noop` and `queue-idle`: jobs per second, and latency of an idle queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::db::Db;
use shared::model::{NewJob, RedeliverWebhooks, TenantId, WorkerId};
use shared::queue::{
    ClaimRequest, ClaimedJob, Finished, JobOutcome, JobQueue, PgJobQueue, WorkClass,
};
use sqlx::PgPool;
use tests::harness::TestDb;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;

use crate::peers::Peers;
use crate::pgbench::Pgbench;
use crate::report::{Comparison, Row, percentiles};

/// Number of jobs that run concurrently.
const CONCURRENT: u32 = 24;
/// Duration of a job that is no no-op.
const MILLISECOND: Duration = Duration::from_millis(1);
/// Number of jobs of a run over all tenants.
const JOBS: u32 = 40_000;
const TENANTS: u32 = 8;
/// Maximum number of jobs per claim and per completion.
const BATCH: usize = 200;

/// Baseline that claims and deletes one job at a time.
const PLAIN_CLAIM: &str = "DELETE FROM plain_jobs WHERE id = \
     (SELECT id FROM plain_jobs ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1);\n";

/// Job queue in a separate database, with one worker.
pub(crate) struct Queue {
    test: TestDb,
    db: Db,
    jobs: PgJobQueue,
    worker: WorkerId,
}

impl Queue {
    /// Creates the database and registers the worker.
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let test = TestDb::create().await;
        let db = test.as_worker(8);
        let jobs = PgJobQueue::new(db.clone()).listening(Some(db.clone()));
        let worker = WorkerId::generate();
        jobs.heartbeat(worker).await?;
        Ok(Self {
            test,
            db,
            jobs,
            worker,
        })
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.test.pool()
    }

    pub(crate) fn url(&self) -> &str {
        self.test.url()
    }

    /// Renews the worker's leases.
    pub(crate) async fn heartbeat(&self) -> anyhow::Result<()> {
        self.jobs.heartbeat(self.worker).await?;
        Ok(())
    }

    async fn claim(&self, limit: usize) -> anyhow::Result<Vec<ClaimedJob>> {
        let limit = i64::try_from(limit)?;
        let request = ClaimRequest {
            worker: self.worker,
            class: WorkClass::Background,
            limit,
            per_tenant: limit,
            saturated: Vec::new(),
        };
        Ok(self.jobs.claim(&request).await?)
    }
}

/// Measures no-op jobs per second: a job of a millisecond hides the queue's own cost.
pub(crate) async fn no_op(pgbench: &Pgbench, peers: &Peers) -> anyhow::Result<Vec<Row>> {
    let (name, unit) = ("no-op jobs through the queue", "/s, 24 at once");
    measure_with_peers(pgbench, peers, Duration::ZERO, "1.5x", (name, unit)).await
}

/// Measures jobs per second with batched claims and completions, as for deliveries.
///
/// Compares them with plain Postgres and other queues in the same round.
pub(crate) async fn throughput(pgbench: &Pgbench, peers: &Peers) -> anyhow::Result<Vec<Row>> {
    let (name, unit) = ("jobs through the queue", "/s, 24 of 1 ms at once");
    measure_with_peers(pgbench, peers, MILLISECOND, "", (name, unit)).await
}

/// Measures our queue, its peers and plain Postgres, one after the other.
async fn measure_with_peers(
    pgbench: &Pgbench,
    peers: &Peers,
    job: Duration,
    target: &'static str,
    (name, unit): (&str, &'static str),
) -> anyhow::Result<Vec<Row>> {
    let queue = Arc::new(Queue::open().await?);
    let (ours, busy) = measure(&queue, job).await?;
    let job_ms = busy.as_secs_f64() * 1000.0 / f64::from(JOBS);
    eprintln!("  ours: {ours:.0}/s, a job took {job_ms:.2} ms");
    let mut row = Row::new(name, unit, ours, "");
    for peer in peers.run(JOBS, CONCURRENT, job, target).await? {
        row = row.compare_with(peer);
    }
    sqlx::raw_sql(
        "CREATE TABLE plain_jobs (id bigserial PRIMARY KEY, payload json NOT NULL); \
         INSERT INTO plain_jobs (payload) SELECT '{}' FROM generate_series(1, 2000000)",
    )
    .execute(queue.pool())
    .await?;
    let plain = pgbench
        .run(queue.url(), CONCURRENT, PLAIN_CLAIM, &[])
        .await?;
    Ok(vec![row.compare_with(Comparison::new(
        "pgbench, claim and delete one by one, 24 clients, no job",
        plain,
        "",
    ))])
}

/// Measures jobs of a millisecond per second with a full queue.
pub(crate) async fn measure_capacity(queue: &Arc<Queue>) -> anyhow::Result<f64> {
    Ok(measure(queue, MILLISECOND).await?.0)
}

/// Measures jobs per second and their total run time, with an analyzed table.
async fn measure(queue: &Arc<Queue>, job: Duration) -> anyhow::Result<(f64, Duration)> {
    enqueue_many(queue, JOBS).await?;
    sqlx::query("VACUUM ANALYZE jobs")
        .execute(queue.pool())
        .await?;
    queue.heartbeat().await?;
    let started = Instant::now();
    let busy = run(queue, job).await?;
    Ok((f64::from(JOBS) / started.elapsed().as_secs_f64(), busy))
}

/// Enqueues jobs, evenly over all tenants.
pub(crate) async fn enqueue_many(queue: &Queue, jobs: u32) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO jobs (tenant_id, id, kind, provider, priority, payload) \
         SELECT ('00000000-0000-7000-8000-' || lpad((n % $2)::text, 12, '0'))::uuid, \
             gen_random_uuid(), 'redeliver_webhooks', 'any', 60, '{\"kind\":\"redeliver_webhooks\"}' \
         FROM generate_series(1, $1) n",
    )
    .bind(i32::try_from(jobs)?)
    .bind(i32::try_from(TENANTS)?)
    .execute(queue.pool())
    .await?;
    Ok(())
}

/// Runs a job: a blocking sleep, because the runtime's timer would round 1 ms up to 2 ms.
async fn run_job(job: Duration) -> anyhow::Result<Duration> {
    if job.is_zero() {
        return Ok(job);
    }
    let started = Instant::now();
    tokio::task::spawn_blocking(move || std::thread::sleep(job)).await?;
    Ok(started.elapsed())
}

/// Runs all waiting jobs, a millisecond each.
pub(crate) async fn run_waiting(queue: &Arc<Queue>) -> anyhow::Result<()> {
    run(queue, MILLISECOND).await.map(drop)
}

/// Runs all waiting jobs and returns their total run time.
///
/// One task claims, 24 run jobs, and one completes them.
async fn run(queue: &Arc<Queue>, job: Duration) -> anyhow::Result<Duration> {
    let (claimed, jobs) = mpsc::channel::<ClaimedJob>(BATCH);
    let (done, mut finished) = mpsc::channel::<Finished>(BATCH * 4);
    let jobs = Arc::new(Mutex::new(jobs));
    let mut tasks = JoinSet::new();
    let source = Arc::clone(queue);
    tasks.spawn(async move {
        loop {
            let batch = source.claim(BATCH).await?;
            if batch.is_empty() {
                return anyhow::Ok(Duration::ZERO);
            }
            for job in batch {
                claimed.send(job).await?;
            }
        }
    });
    for _ in 0..CONCURRENT {
        let (jobs, done) = (Arc::clone(&jobs), done.clone());
        tasks.spawn(async move {
            let mut busy = Duration::ZERO;
            loop {
                let next = jobs.lock().await.recv().await;
                let Some(next) = next else {
                    return Ok(busy);
                };
                busy += run_job(job).await?;
                let finished = Finished {
                    job: next,
                    outcome: JobOutcome::Succeeded,
                };
                done.send(finished).await?;
            }
        });
    }
    drop(done);
    let completer = Arc::clone(queue);
    tasks.spawn(async move {
        let mut batch = Vec::new();
        while finished.recv_many(&mut batch, BATCH).await > 0 {
            let lost = completer.jobs.finish(&batch).await?;
            anyhow::ensure!(lost.is_empty(), "a lease was lost");
            batch.clear();
        }
        Ok(Duration::ZERO)
    });
    let mut busy = Duration::ZERO;
    while let Some(task) = tasks.join_next().await {
        busy += task??;
    }
    Ok(busy)
}

/// Measures the time from enqueueing a job to its claim in an idle queue.
pub(crate) async fn idle(seconds: u32) -> anyhow::Result<Vec<Row>> {
    let queue = Queue::open().await?;
    let (sender, mut notified) = watch::channel(());
    let jobs = queue.jobs.clone();
    let listener = tokio::spawn(async move { jobs.listen(sender).await });
    // The first notification shows that the listener is connected.
    while tokio::time::timeout(Duration::from_millis(100), notified.changed())
        .await
        .is_err()
    {
        queue.jobs.notify().await?;
    }
    let mut took = Vec::new();
    for _ in 0..seconds * 20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        notified.mark_unchanged();
        let started = Instant::now();
        enqueue_one(&queue).await?;
        let mut claimed = Vec::new();
        while claimed.is_empty() {
            tokio::time::timeout(Duration::from_millis(500), notified.changed())
                .await
                .ok();
            claimed = queue.claim(BATCH).await?;
        }
        took.push(started.elapsed());
        let finished: Vec<Finished> = claimed
            .into_iter()
            .map(|job| Finished {
                job,
                outcome: JobOutcome::Succeeded,
            })
            .collect();
        queue.jobs.finish(&finished).await?;
        queue.jobs.heartbeat(queue.worker).await?;
    }
    listener.abort();
    let name = "idle enqueue to start";
    Ok(percentiles(name, &took, [(50, "5"), (99, "25")]).into())
}

/// Enqueues a job and notifies workers, as a process does.
async fn enqueue_one(queue: &Queue) -> anyhow::Result<()> {
    let job = NewJob {
        cursor_window: None,
        ..NewJob::new(TenantId::UNASSIGNED, "any", None, RedeliverWebhooks {})
    };
    let mut tx = queue.db.begin_unscoped().await?;
    queue.jobs.enqueue(&mut tx, &job).await?;
    tx.commit().await?;
    queue.jobs.notify().await?;
    Ok(())
}
