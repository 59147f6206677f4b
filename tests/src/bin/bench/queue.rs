//! Rows about the queue: jobs per second, and how soon a job starts when nothing else runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::db::Db;
use shared::ids::{TenantId, WorkerId};
use shared::queue::{
    ClaimRequest, ClaimedJob, Finished, JobOutcome, JobPayload, JobQueue, Lane, NewJob, PgJobQueue,
    enqueue, listen, notify,
};
use sqlx::PgPool;
use tests::harness::TestDb;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;

use crate::peers::Peers;
use crate::pgbench::Pgbench;
use crate::report::{Beside, Row, milliseconds};

/// Jobs that run at once.
const CONCURRENT: u32 = 24;
/// How long a job runs, where it is no no-op.
const MILLISECOND: Duration = Duration::from_millis(1);
/// Jobs of a run, over this many tenants.
const JOBS: u32 = 40_000;
const TENANTS: u32 = 8;
/// Most jobs of one claim and of one completion.
const BATCH: usize = 200;

/// One job at a time, as a table and a loop do it.
const PLAIN_CLAIM: &str = "DELETE FROM plain_jobs WHERE id = \
     (SELECT id FROM plain_jobs ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1);\n";

pub(crate) struct Queue {
    test: TestDb,
    db: Db,
    jobs: PgJobQueue,
    worker: WorkerId,
}

impl Queue {
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let test = TestDb::create().await;
        let db = test.as_worker(8);
        let jobs = PgJobQueue::new(db.clone());
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

    /// Says that the worker lives.
    pub(crate) async fn stay(&self) -> anyhow::Result<()> {
        self.jobs.heartbeat(self.worker).await?;
        Ok(())
    }

    async fn claim(&self, limit: usize) -> anyhow::Result<Vec<ClaimedJob>> {
        let limit = i64::try_from(limit)?;
        let request = ClaimRequest {
            worker: self.worker,
            lane: Lane::Others,
            limit,
            per_tenant: limit,
            saturated: Vec::new(),
        };
        Ok(self.jobs.claim(&request).await?)
    }
}

/// The same with jobs that do nothing: a millisecond hides what the queue costs.
pub(crate) async fn no_op(pgbench: &Pgbench, peers: &Peers) -> anyhow::Result<Vec<Row>> {
    let (name, unit) = ("no-op jobs through the queue", "/s, 24 at once");
    compared(pgbench, peers, Duration::ZERO, "1.5x", (name, unit)).await
}

/// Jobs per second with claims and completions in batches, as the lane of deliveries works;
/// beside it what plain Postgres and other queues do, in the same round.
pub(crate) async fn throughput(pgbench: &Pgbench, peers: &Peers) -> anyhow::Result<Vec<Row>> {
    let (name, unit) = ("jobs through the queue", "/s, 24 of 1 ms at once");
    compared(pgbench, peers, MILLISECOND, "", (name, unit)).await
}

async fn compared(
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
        row = row.beside(peer);
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
    Ok(vec![row.beside(Beside::new(
        "pgbench, claim and delete one by one, 24 clients, no job",
        plain,
        "",
    ))])
}

/// Jobs of a millisecond per second when there is much to do.
pub(crate) async fn capacity(queue: &Arc<Queue>) -> anyhow::Result<f64> {
    Ok(measure(queue, MILLISECOND).await?.0)
}

/// Jobs per second, and how long they ran, together. They wait in a table that Postgres knows.
async fn measure(queue: &Arc<Queue>, job: Duration) -> anyhow::Result<(f64, Duration)> {
    add_many(queue, JOBS).await?;
    sqlx::query("VACUUM ANALYZE jobs")
        .execute(queue.pool())
        .await?;
    queue.stay().await?;
    let started = Instant::now();
    let busy = run(queue, job).await?;
    Ok((f64::from(JOBS) / started.elapsed().as_secs_f64(), busy))
}

/// Jobs that wait, of all tenants alike.
pub(crate) async fn add_many(queue: &Queue, jobs: u32) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO jobs (tenant_id, id, kind, provider, priority, payload) \
         SELECT ('00000000-0000-7000-8000-' || lpad((n % $2)::text, 12, '0'))::uuid, \
             gen_random_uuid(), 'sweep_deliveries', 'any', 60, '{\"kind\":\"sweep_deliveries\"}' \
         FROM generate_series(1, $1) n",
    )
    .bind(i32::try_from(jobs)?)
    .bind(i32::try_from(TENANTS)?)
    .execute(queue.pool())
    .await?;
    Ok(())
}

/// The job: a time in which nothing happens. The runtime's own timer counts whole milliseconds
/// and would make two of one.
async fn rest(job: Duration) -> anyhow::Result<Duration> {
    if job.is_zero() {
        return Ok(job);
    }
    let started = Instant::now();
    tokio::task::spawn_blocking(move || std::thread::sleep(job)).await?;
    Ok(started.elapsed())
}

/// Works through what waits, a millisecond a job.
pub(crate) async fn work(queue: &Arc<Queue>) -> anyhow::Result<()> {
    run(queue, MILLISECOND).await.map(drop)
}

/// One claims ahead, 24 run, one completes what has ended. Answers how long jobs ran, together.
async fn run(queue: &Arc<Queue>, job: Duration) -> anyhow::Result<Duration> {
    let (give, take) = mpsc::channel::<ClaimedJob>(BATCH);
    let (done, mut ended) = mpsc::channel::<Finished>(BATCH * 4);
    let take = Arc::new(Mutex::new(take));
    let mut tasks = JoinSet::new();
    let claimer = Arc::clone(queue);
    tasks.spawn(async move {
        loop {
            let jobs = claimer.claim(BATCH).await?;
            if jobs.is_empty() {
                return anyhow::Ok(Duration::ZERO);
            }
            for job in jobs {
                give.send(job).await?;
            }
        }
    });
    for _ in 0..CONCURRENT {
        let (take, done) = (Arc::clone(&take), done.clone());
        tasks.spawn(async move {
            let mut busy = Duration::ZERO;
            loop {
                let next = take.lock().await.recv().await;
                let Some(taken) = next else {
                    return Ok(busy);
                };
                busy += rest(job).await?;
                let finished = Finished {
                    job: taken,
                    outcome: JobOutcome::Succeeded,
                };
                done.send(finished).await?;
            }
        });
    }
    drop(done);
    let finisher = Arc::clone(queue);
    tasks.spawn(async move {
        let mut batch = Vec::new();
        while ended.recv_many(&mut batch, BATCH).await > 0 {
            let lost = finisher.jobs.finish(&batch).await?;
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

/// How soon a job is claimed that is enqueued while nothing else happens.
pub(crate) async fn idle(seconds: u32) -> anyhow::Result<Vec<Row>> {
    let queue = Queue::open().await?;
    let (wake, mut woken) = watch::channel(());
    let listener = tokio::spawn(listen(queue.db.clone(), wake));
    // The first word that is heard says that somebody listens.
    while tokio::time::timeout(Duration::from_millis(100), woken.changed())
        .await
        .is_err()
    {
        notify(&queue.db).await?;
    }
    let mut took = Vec::new();
    for _ in 0..seconds * 20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        woken.mark_unchanged();
        let started = Instant::now();
        add(&queue.db).await?;
        let mut claimed = Vec::new();
        while claimed.is_empty() {
            tokio::time::timeout(Duration::from_millis(500), woken.changed())
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
    Ok(vec![
        Row::new(
            "idle enqueue to start, p50",
            "ms",
            milliseconds(&took, 50),
            "5",
        ),
        Row::new(
            "idle enqueue to start, p99",
            "ms",
            milliseconds(&took, 99),
            "25",
        ),
    ])
}

async fn add(db: &Db) -> anyhow::Result<()> {
    let job = NewJob {
        tenant_id: TenantId::UNASSIGNED,
        provider: "any".to_owned(),
        connection_id: None,
        cursor_window: None,
        payload: JobPayload::SweepDeliveries,
        traceparent: None,
    };
    let mut tx = db.begin_unscoped().await?;
    enqueue(&mut tx, &job).await?;
    tx.commit().await?;
    notify(db).await?;
    Ok(())
}
