//! A provider under load: signed webhooks over connections that stay open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use shared::clock::{Clock, SystemClock};
use sqlx::PgPool;
use tests::harness::webhooks::EVENT;
use tests::harness::{System, Tenant, Webhooks as Pattern};
use tokio::task::JoinSet;
use uuid::Uuid;

pub(crate) use tests::harness::webhooks::number_of;

use crate::line::Line;

/// How often is looked whether everything is done.
const LOOK: Duration = Duration::from_millis(100);
/// Connections that are kept open.
const CONNECTIONS: usize = 64;

/// What every webhook of a load is made from.
pub(crate) struct Webhooks {
    host: String,
    pattern: Pattern,
    next: AtomicU64,
}

impl Webhooks {
    /// Connects a tenant and takes a real delivery of the simulated provider as the pattern.
    pub(crate) async fn prepare(system: &System, tenant: &Tenant<'_>) -> anyhow::Result<Self> {
        let accounts = system.accounts().await;
        let (account, person) = accounts.first().context("the simulator has an account")?;
        Ok(Self {
            host: system.ingress.trim_start_matches("http://").to_owned(),
            pattern: Pattern::prepare(system, tenant, (account, person)).await,
            next: AtomicU64::new(0),
        })
    }

    /// A body as text, for whoever stores it otherwise.
    pub(crate) fn example(&self) -> String {
        String::from_utf8_lossy(&self.pattern.body(0)).into_owned()
    }

    /// A request as it goes over the wire.
    fn request(&self, number: u64) -> Vec<u8> {
        let (body, signature) = self.pattern.signed(number);
        let head = format!(
            "POST /webhooks/github HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nx-github-event: {EVENT}\r\nx-github-delivery: {}\r\n\
             x-hub-signature-256: {signature}\r\n\r\n",
            self.host,
            body.len(),
            delivery_id(),
        );
        [head.as_bytes(), &body].concat()
    }

    async fn connection(&self) -> anyhow::Result<Line> {
        Line::open(&self.host).await
    }
}

/// As GitHub makes them, of the time: ids of the same moment lie together in an index.
fn delivery_id() -> Uuid {
    let micros = u128::try_from(SystemClock.now().timestamp_micros()).unwrap_or_default();
    let ticks = micros * 10;
    let (low, middle) = (ticks & 0xffff_ffff, ticks >> 32 & 0xffff);
    let rest = u128::from(rand::random::<u64>());
    uuid::Builder::from_u128(low << 96 | middle << 80 | rest)
        .with_version(uuid::Version::Mac)
        .into_uuid()
}

/// Sends as fast as answers come, and answers how many were acknowledged, and how many per second.
pub(crate) async fn closed(webhooks: Arc<Webhooks>, seconds: u32) -> anyhow::Result<(u32, f64)> {
    let started = Instant::now();
    let end = started + Duration::from_secs(seconds.into());
    let sent = send_while(webhooks, move |_| Instant::now() < end).await?;
    Ok((sent, f64::from(sent) / started.elapsed().as_secs_f64()))
}

/// Waits until nothing waits to be processed.
pub(crate) async fn worked_off(pool: &PgPool) -> anyhow::Result<()> {
    let waiting = "SELECT EXISTS (SELECT FROM jobs WHERE kind = 'process_deliveries')";
    while sqlx::query_scalar(waiting).fetch_one(pool).await? {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Sends `count` as fast as answers come.
pub(crate) async fn burst(webhooks: Arc<Webhooks>, count: u32) -> anyhow::Result<()> {
    let first = webhooks.next.load(Ordering::Relaxed);
    let end = first + u64::from(count);
    send_while(webhooks, move |number| number < end).await?;
    Ok(())
}

/// Sends while there is `more`, given a webhook's number; answers how many were acknowledged.
async fn send_while(
    webhooks: Arc<Webhooks>,
    more: impl Fn(u64) -> bool + Copy + Send + 'static,
) -> anyhow::Result<u32> {
    let mut lines = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let webhooks = Arc::clone(&webhooks);
        lines.spawn(async move {
            let mut line = webhooks.connection().await?;
            let mut sent = 0_u32;
            loop {
                let number = webhooks.next.fetch_add(1, Ordering::Relaxed);
                if !more(number) {
                    return anyhow::Ok(sent);
                }
                line.send(&webhooks.request(number)).await?;
                sent += 1;
            }
        });
    }
    let mut all = 0_u32;
    while let Some(sent) = lines.join_next().await {
        all += sent??;
    }
    Ok(all)
}

/// What an open load did.
pub(crate) struct Open {
    /// From the scheduled moment to the acknowledgement.
    pub(crate) acknowledged: Vec<Duration>,
    /// When the first one was due.
    pub(crate) started: Instant,
}

/// When the webhook of this number is due.
pub(crate) fn due(started: Instant, number: u64, rate: u32) -> Instant {
    started + Duration::from_secs(1) * u32::try_from(number).unwrap_or(u32::MAX) / rate
}

/// Sends `rate` per second on schedule, whether or not answers come.
pub(crate) async fn open(webhooks: Arc<Webhooks>, rate: u32, seconds: u32) -> anyhow::Result<Open> {
    let first = webhooks.next.load(Ordering::Relaxed);
    let end = first + u64::from(rate) * u64::from(seconds);
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(webhooks.connection().await?);
    }
    let started = Instant::now() + Duration::from_millis(100);
    let mut lines = JoinSet::new();
    for mut line in connections {
        let webhooks = Arc::clone(&webhooks);
        lines.spawn(async move {
            let mut took = Vec::new();
            loop {
                let number = webhooks.next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return anyhow::Ok(took);
                }
                let due = due(started, number - first, rate);
                tokio::time::sleep_until(due.into()).await;
                line.send(&webhooks.request(number)).await?;
                took.push(due.elapsed());
            }
        });
    }
    let mut acknowledged = Vec::new();
    while let Some(took) = lines.join_next().await {
        acknowledged.extend(took??);
    }
    Ok(Open {
        acknowledged,
        started,
    })
}
