//! Row `scale`: the same work in a small and in a large database, in turn.

use std::sync::Arc;
use std::time::Instant;

use tests::harness::{Process, System, free_address};
use uuid::Uuid;

use crate::installation;
use crate::load::{self, Webhooks};
use crate::queue::{self, Queue};
use crate::reads::{Feed, per_second};
use crate::report::{Comparison, Row, milliseconds};
use crate::seed::seed;

/// Number of Signals in the small feed.
const SMALL: u32 = 10_000;
/// First tenant of the queue's jobs.
const TENANT: Uuid = Uuid::from_u128(0x7000_8000_0000_0000_0000);

const FINISHED_JOB: &str = "INSERT INTO job_history (tenant_id, id, kind, provider, state, priority, \
         attempts, max_attempts, payload, created_at) \
     SELECT $1, id, 'redeliver_webhooks', 'any', 'succeeded', 60, 1, 3, \
         '{\"kind\":\"redeliver_webhooks\"}', now() \
     FROM unnest($2::uuid[], $3::bigint[]) AS chunk(id, n)";

/// Deliveries with the ids of arrivals a quarter of a second apart.
const PROCESSED_DELIVERY: &str = "WITH chunk AS (SELECT id, \
             lpad(to_hex(n * 2500000 % 4294967296), 8, '0') || substr(md5(n::text)::uuid::text, 9) \
                 AS dedupe_id \
         FROM unnest($2::uuid[], $3::bigint[]) AS chunk(id, n)), \
     seen AS (INSERT INTO delivery_dedup SELECT $1, 'github', dedupe_id, now() FROM chunk) \
     INSERT INTO deliveries (tenant_id, received_at, id, provider, dedupe_id, event, headers, body, \
         outcome, processed_at) \
     SELECT $1, now(), id, 'github', dedupe_id, 'issues', '{}', '\\x7b7d', 'processed', now() \
     FROM chunk";

/// The two environments.
pub(crate) struct Scale {
    small: Environment,
    large: Environment,
}

impl Scale {
    pub(crate) async fn create() -> anyhow::Result<Self> {
        let mut small = Environment::create().await?;
        small.feed.grow(&small.system, SMALL).await?;
        Ok(Self {
            small,
            large: Environment::create().await?,
        })
    }

    /// Grows the large environment to this number of jobs, deliveries and Signals.
    pub(crate) async fn grow(&mut self, done: u32) -> anyhow::Result<()> {
        self.large.grow(done).await
    }

    /// Measures jobs, webhooks and pages of the feed in both environments.
    pub(crate) async fn round(&self, seconds: u32) -> anyhow::Result<Vec<Row>> {
        let done = self.large.done;
        let jobs = compare(
            format!("jobs, with {done} finished"),
            queue::measure_capacity(&self.large.queue).await?,
            queue::measure_capacity(&self.small.queue).await?,
        );
        let (large, small) = (
            self.large.measure_webhooks(seconds).await?,
            self.small.measure_webhooks(seconds).await?,
        );
        let acknowledged = compare(
            format!("webhooks acknowledged, with {done} processed"),
            large.acknowledged,
            small.acknowledged,
        );
        let processed = compare(
            format!("webhooks to Signals, with {done} of both"),
            large.processed,
            small.processed,
        );
        let (large, small) = (
            self.large.feed.read(seconds).await?,
            self.small.feed.read(seconds).await?,
        );
        let pages = compare(
            format!("pages of a feed of {done}"),
            per_second(&large, seconds)?,
            per_second(&small, seconds)?,
        );
        let baseline = Comparison::new(BASELINE, milliseconds(&small, 95), "10 ms at 10 million");
        let name = format!("page of a feed of {done}, p95");
        let p95 = Row::new(name, "ms", milliseconds(&large, 95), "").compare_with(baseline);
        Ok(vec![jobs, acknowledged, processed, pages, p95])
    }
}

const BASELINE: &str = "with few rows";

fn compare(name: String, large: f64, small: f64) -> Row {
    Row::new(name, "/s", large, "").compare_with(Comparison::new(BASELINE, small, "1x"))
}

/// A system and a separate queue, with their finished work.
struct Environment {
    queue: Arc<Queue>,
    system: System,
    /// Tenant of the webhooks.
    tenant: Uuid,
    webhooks: Arc<Webhooks>,
    feed: Feed,
    done: u32,
}

impl Environment {
    async fn create() -> anyhow::Result<Self> {
        let system = installation::fast().workers(0).start().await;
        let tenant = system.tenant("Webhooks").await;
        Ok(Self {
            queue: Arc::new(Queue::open().await?),
            tenant: tenant.id,
            webhooks: Arc::new(Webhooks::prepare(&system, &tenant).await?),
            feed: Feed::open(&system).await,
            done: 0,
            system,
        })
    }

    async fn grow(&mut self, done: u32) -> anyhow::Result<()> {
        let more = self.done..done;
        let (jobs, pool) = (self.queue.pool(), self.system.db.pool());
        seed(jobs, "finished jobs", FINISHED_JOB, TENANT, more.clone()).await?;
        sqlx::raw_sql("VACUUM ANALYZE job_history")
            .execute(jobs)
            .await?;
        seed(
            pool,
            "processed deliveries",
            PROCESSED_DELIVERY,
            self.tenant,
            more,
        )
        .await?;
        sqlx::raw_sql("VACUUM ANALYZE deliveries, delivery_dedup")
            .execute(pool)
            .await?;
        self.feed.grow(&self.system, done).await?;
        // Without the checkpoint, the rounds would measure the write-back of these rows.
        sqlx::raw_sql("CHECKPOINT").execute(pool).await?;
        self.done = done;
        Ok(())
    }

    /// Sends webhooks without a worker, then starts a worker and waits until all are Signals.
    async fn measure_webhooks(&self, seconds: u32) -> anyhow::Result<WebhookRates> {
        let (sent, acknowledged) = load::closed_loop(Arc::clone(&self.webhooks), seconds).await?;
        let mut worker = self.system.processes().await;
        worker.start(Process::Worker, free_address()).await;
        let started = Instant::now();
        load::wait_until_drained(self.system.db.pool()).await?;
        let processed = f64::from(sent) / started.elapsed().as_secs_f64();
        let status = worker.terminate(Process::Worker).await;
        anyhow::ensure!(status.success(), "the worker ended with {status}");
        Ok(WebhookRates {
            acknowledged,
            processed,
        })
    }
}

/// Webhooks per second.
struct WebhookRates {
    acknowledged: f64,
    /// Until they are Signals.
    processed: f64,
}
