//! apalis-postgres for `scripts/bench`: enqueues jobs, runs them, prints the duration.
//!
//! It uses the throughput settings of its documentation: a worker fetches a batch of jobs at once,
//! stores the results of all finished jobs in one statement, and runs jobs in separate tasks. The
//! second write that marks a fetched job as running is off, as in its examples.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use apalis::layers::WorkerBuilderExt;
use apalis::prelude::{BoxDynError, Data, ParallelizeExt, TaskSink, WorkerBuilder, WorkerContext};
use apalis_postgres::{Config, PgPool, PostgresStorage};

/// Jobs of one fetch: as many as the other peers fetch.
const BATCH: usize = 500;
/// Jobs of one call of the bulk insert.
const CHUNK: u64 = 1000;

/// Parameters and counters of a run.
#[derive(Default)]
struct Run {
    jobs: u64,
    /// Duration of one job; zero is a no-op.
    job: Duration,
    started: OnceLock<Instant>,
    ended: AtomicU64,
    busy: AtomicU64,
}

/// The job: it waits.
///
/// It sleeps in a blocking thread, because the runtime's timer has a resolution of a millisecond and
/// rounds one up to two. The last job stops the worker, which stores the results of finished jobs
/// before it ends.
async fn job(_: u64, run: Data<Arc<Run>>, worker: WorkerContext) -> Result<(), BoxDynError> {
    let started = Instant::now();
    run.started.get_or_init(|| started);
    let lasts = run.job;
    if !lasts.is_zero() {
        tokio::task::spawn_blocking(move || std::thread::sleep(lasts)).await?;
    }
    let busy = u64::try_from(started.elapsed().as_nanos())?;
    run.busy.fetch_add(busy, Ordering::Relaxed);
    if run.ended.fetch_add(1, Ordering::Relaxed) + 1 == run.jobs {
        worker.stop()?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, jobs, concurrent, milliseconds] = arguments.as_slice() else {
        anyhow::bail!("usage: peer-apalis-postgres DATABASE_URL JOBS CONCURRENT MILLISECONDS");
    };
    let job_lasts = Duration::from_millis(milliseconds.parse()?);
    let (jobs, concurrent): (u64, usize) = (jobs.parse()?, concurrent.parse()?);
    let pool = PgPool::connect(database).await?;
    PostgresStorage::setup(&pool).await?;
    let config = Config::default()
        .queue("job")
        .batch_size(BATCH)
        .lock_tasks(false);
    let mut storage: PostgresStorage<u64> = PostgresStorage::new(&pool).with_config(config);
    for first in (0..jobs).step_by(usize::try_from(CHUNK)?) {
        let chunk = first..jobs.min(first + CHUNK);
        storage.push_bulk(chunk.collect()).await?;
    }
    sqlx::query("VACUUM ANALYZE apalis.jobs")
        .execute(&pool)
        .await?;
    due(&pool).await?;

    let run = Arc::new(Run {
        jobs,
        job: job_lasts,
        ..Run::default()
    });
    let worker = WorkerBuilder::new("worker")
        .backend(storage)
        .data(Arc::clone(&run))
        .concurrency(concurrent)
        .parallelize(tokio::spawn)
        .build(job);
    worker.run().await?;
    let seconds = run
        .started
        .get()
        .context("no job ran")?
        .elapsed()
        .as_secs_f64();

    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM apalis.jobs WHERE status <> 'Done'")
        .fetch_one(&pool)
        .await?;
    let ran = run.ended.load(Ordering::Relaxed);
    anyhow::ensure!(left == 0 && ran == jobs, "{ran} jobs ran, {left} are left");
    let busy = Duration::from_nanos(run.busy.load(Ordering::Relaxed) / jobs);
    let job_ms = busy.as_secs_f64() * 1000.0;
    println!(
        "{}",
        serde_json::json!({ "jobs": jobs, "seconds": seconds, "job_ms": job_ms })
    );
    Ok(())
}

/// Waits until every job is due: due times are stored in whole seconds.
async fn due(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::query("SELECT pg_sleep_until(max(run_at) + interval '1 millisecond') FROM apalis.jobs")
        .execute(pool)
        .await?;
    Ok(())
}
