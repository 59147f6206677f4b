//! Rows about what piles up: the same work at a place where little was done and at one where much
//! was, in turn.

use std::sync::Arc;
use std::time::Instant;

use tests::harness::{Process, System, free_address};
use uuid::Uuid;

use crate::fill::fill;
use crate::installation;
use crate::load::{self, Webhooks};
use crate::queue::{self, Queue};
use crate::reads::{Feed, per_second};
use crate::report::{Beside, Row, milliseconds};

/// Signals of a feed that is small.
const FEW: u32 = 10_000;
/// The first tenant of the queue's jobs.
const TENANT: Uuid = Uuid::from_u128(0x7000_8000_0000_0000_0000);

const FINISHED_JOB: &str = "INSERT INTO job_history (tenant_id, id, kind, provider, state, priority, \
         attempts, max_attempts, payload, created_at) \
     SELECT $1, id, 'sweep_deliveries', 'any', 'succeeded', 60, 1, 3, \
         '{\"kind\":\"sweep_deliveries\"}', now() \
     FROM unnest($2::uuid[], $3::bigint[]) AS chunk(id, n)";

/// Their ids are those of deliveries that came a quarter of a second one after the other.
const FILED_DELIVERY: &str = "WITH chunk AS (SELECT id, \
             lpad(to_hex(n * 2500000 % 4294967296), 8, '0') || substr(md5(n::text)::uuid::text, 9) \
                 AS dedupe_id \
         FROM unnest($2::uuid[], $3::bigint[]) AS chunk(id, n)), \
     seen AS (INSERT INTO delivery_ledger SELECT $1, 'github', dedupe_id, now() FROM chunk) \
     INSERT INTO deliveries (tenant_id, received_at, id, provider, dedupe_id, event, headers, body, \
         outcome, processed_at) \
     SELECT $1, now(), id, 'github', dedupe_id, 'issues', '{}', '\\x7b7d', 'processed', now() \
     FROM chunk";

/// The two places.
pub(crate) struct Growth {
    few: Place,
    many: Place,
}

impl Growth {
    pub(crate) async fn begin() -> anyhow::Result<Self> {
        let mut few = Place::open().await?;
        few.feed.grow(&few.system, FEW).await?;
        Ok(Self {
            few,
            many: Place::open().await?,
        })
    }

    /// Lets so many jobs, deliveries and Signals pile up.
    pub(crate) async fn grow(&mut self, done: u32) -> anyhow::Result<()> {
        self.many.grow(done).await
    }

    /// Jobs, webhooks and pages of the feed, at the one place and at the other.
    pub(crate) async fn round(&self, seconds: u32) -> anyhow::Result<Vec<Row>> {
        let done = self.many.done;
        let jobs = compared(
            format!("jobs, beside {done} that are done"),
            queue::capacity(&self.many.queue).await?,
            queue::capacity(&self.few.queue).await?,
        );
        let (many, few) = (
            self.many.webhooks(seconds).await?,
            self.few.webhooks(seconds).await?,
        );
        let taken = compared(
            format!("webhooks acknowledged, beside {done} that are filed"),
            many.acknowledged,
            few.acknowledged,
        );
        let told = compared(
            format!("webhooks to Signals, beside {done} of both"),
            many.told,
            few.told,
        );
        let (many, few) = (
            self.many.feed.read(seconds).await?,
            self.few.feed.read(seconds).await?,
        );
        let pages = compared(
            format!("pages of a feed of {done}"),
            per_second(&many, seconds)?,
            per_second(&few, seconds)?,
        );
        let short = Beside::new(WHERE_FEW, milliseconds(&few, 95), "10 ms at 10 million");
        let name = format!("page of a feed of {done}, p95");
        let p95 = Row::new(name, "ms", milliseconds(&many, 95), "").beside(short);
        Ok(vec![jobs, taken, told, pages, p95])
    }
}

const WHERE_FEW: &str = "where there are few";

fn compared(name: String, many: f64, few: f64) -> Row {
    Row::new(name, "/s", many, "").beside(Beside::new(WHERE_FEW, few, "1x"))
}

/// An installation, and a queue by itself, with what was done there.
struct Place {
    queue: Arc<Queue>,
    system: System,
    /// Whose webhooks come.
    tenant: Uuid,
    webhooks: Arc<Webhooks>,
    feed: Feed,
    done: u32,
}

impl Place {
    async fn open() -> anyhow::Result<Self> {
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
        fill(jobs, "finished jobs", FINISHED_JOB, TENANT, more.clone()).await?;
        sqlx::raw_sql("VACUUM ANALYZE job_history")
            .execute(jobs)
            .await?;
        fill(pool, "filed deliveries", FILED_DELIVERY, self.tenant, more).await?;
        sqlx::raw_sql("VACUUM ANALYZE deliveries, delivery_ledger")
            .execute(pool)
            .await?;
        self.feed.grow(&self.system, done).await?;
        // What is still to be written back is not the rounds' to wait for.
        sqlx::raw_sql("CHECKPOINT").execute(pool).await?;
        self.done = done;
        Ok(())
    }

    /// Webhooks come while no worker runs; then one does until all have become Signals.
    async fn webhooks(&self, seconds: u32) -> anyhow::Result<Webhook> {
        let (sent, acknowledged) = load::closed(Arc::clone(&self.webhooks), seconds).await?;
        let mut processes = self.system.processes().await;
        processes.start(Process::Worker, free_address()).await;
        let started = Instant::now();
        load::worked_off(self.system.db.pool()).await?;
        let told = f64::from(sent) / started.elapsed().as_secs_f64();
        let status = processes.terminate(Process::Worker).await;
        anyhow::ensure!(status.success(), "the worker ended with {status}");
        Ok(Webhook { acknowledged, told })
    }
}

/// What becomes of webhooks, per second.
struct Webhook {
    acknowledged: f64,
    /// As Signals.
    told: f64,
}
