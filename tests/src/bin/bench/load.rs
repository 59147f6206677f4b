//! Webhook load: signed deliveries over keep-alive sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use shared::clock::{Clock, SystemClock};
use sqlx::PgPool;
use tests::harness::{System, Tenant, Webhooks as Template};
use tokio::task::JoinSet;
use uuid::Uuid;

pub(crate) use tests::harness::webhooks::delivery_number;

use crate::http_client::HttpClient;

/// Interval of checking whether all deliveries are processed.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Number of concurrent sockets.
const SOCKETS: usize = 64;

/// Template of a load's webhooks, and the number of the next one.
pub(crate) struct Webhooks {
    host: String,
    path: String,
    template: Template,
    next: AtomicU64,
}

impl Webhooks {
    /// Connects an account and uses one of its deliveries as the template.
    pub(crate) async fn prepare(system: &System, tenant: &Tenant<'_>) -> anyhow::Result<Self> {
        let accounts = system.accounts().await;
        let (account, person) = accounts.first().context("the simulator has no account")?;
        Ok(Self {
            host: system.ingress.trim_start_matches("http://").to_owned(),
            path: Template::path(),
            template: Template::prepare(system, tenant, (account, person)).await,
            next: AtomicU64::new(0),
        })
    }

    /// A body as text, for comparisons that store it elsewhere.
    pub(crate) fn example(&self) -> String {
        String::from_utf8_lossy(&self.template.body(0)).into_owned()
    }

    /// Encodes a request.
    fn request(&self, number: u64) -> Vec<u8> {
        let (headers, body) = self.template.signed(number, delivery_id());
        let mut head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n",
            self.path,
            self.host,
            body.len(),
        );
        for (name, value) in headers {
            head.extend([name, ": ", value.as_str(), "\r\n"]);
        }
        head.push_str("\r\n");
        [head.as_bytes(), &body].concat()
    }

    async fn client(&self) -> anyhow::Result<HttpClient> {
        HttpClient::open(&self.host).await
    }
}

/// Generates a time-based id, as providers do.
///
/// Ids of the same time are adjacent in an index.
fn delivery_id() -> Uuid {
    let micros = u128::try_from(SystemClock.now().timestamp_micros()).unwrap_or_default();
    let ticks = micros * 10;
    let (low, middle) = (ticks & 0xffff_ffff, ticks >> 32 & 0xffff);
    let rest = u128::from(rand::random::<u64>());
    uuid::Builder::from_u128(low << 96 | middle << 80 | rest)
        .with_version(uuid::Version::Mac)
        .into_uuid()
}

/// Sends the next webhook after each response; returns the acknowledged number and rate.
pub(crate) async fn closed_loop(
    webhooks: Arc<Webhooks>,
    seconds: u32,
) -> anyhow::Result<(u32, f64)> {
    let started = Instant::now();
    let end = started + Duration::from_secs(seconds.into());
    let sent = send_while(webhooks, move |_| Instant::now() < end).await?;
    Ok((sent, f64::from(sent) / started.elapsed().as_secs_f64()))
}

/// Waits until all deliveries are processed.
pub(crate) async fn wait_until_drained(pool: &PgPool) -> anyhow::Result<()> {
    let pending = "SELECT EXISTS (SELECT FROM jobs WHERE kind = 'process_deliveries')";
    while sqlx::query_scalar(pending).fetch_one(pool).await? {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// Sends `count` webhooks, the next after each response.
pub(crate) async fn burst(webhooks: Arc<Webhooks>, count: u32) -> anyhow::Result<()> {
    let first = webhooks.next.load(Ordering::Relaxed);
    let end = first + u64::from(count);
    send_while(webhooks, move |number| number < end).await?;
    Ok(())
}

/// Sends while `has_more` holds for a webhook's number; returns how many were acknowledged.
async fn send_while(
    webhooks: Arc<Webhooks>,
    has_more: impl Fn(u64) -> bool + Copy + Send + 'static,
) -> anyhow::Result<u32> {
    let mut clients = JoinSet::new();
    for _ in 0..SOCKETS {
        let webhooks = Arc::clone(&webhooks);
        clients.spawn(async move {
            let mut client = webhooks.client().await?;
            let mut sent = 0_u32;
            loop {
                let number = webhooks.next.fetch_add(1, Ordering::Relaxed);
                if !has_more(number) {
                    return anyhow::Ok(sent);
                }
                client.send(&webhooks.request(number)).await?;
                sent += 1;
            }
        });
    }
    let mut all = 0_u32;
    while let Some(sent) = clients.join_next().await {
        all += sent??;
    }
    Ok(all)
}

/// Result of an open-loop load.
pub(crate) struct OpenLoop {
    /// Times from the schedule to the acknowledgement.
    pub(crate) acknowledged: Vec<Duration>,
    /// Schedule of the first webhook.
    pub(crate) started: Instant,
}

/// Schedule of the webhook with this number.
pub(crate) fn due(started: Instant, number: u64, rate: u32) -> Instant {
    started + Duration::from_secs(1) * u32::try_from(number).unwrap_or(u32::MAX) / rate
}

/// Sends `rate` webhooks per second on schedule, independent of the responses.
pub(crate) async fn open_loop(
    webhooks: Arc<Webhooks>,
    rate: u32,
    seconds: u32,
) -> anyhow::Result<OpenLoop> {
    let first = webhooks.next.load(Ordering::Relaxed);
    let end = first + u64::from(rate) * u64::from(seconds);
    let mut clients = Vec::new();
    for _ in 0..SOCKETS {
        clients.push(webhooks.client().await?);
    }
    let started = Instant::now() + Duration::from_millis(100);
    let mut senders = JoinSet::new();
    for mut client in clients {
        let webhooks = Arc::clone(&webhooks);
        senders.spawn(async move {
            let mut took = Vec::new();
            loop {
                let number = webhooks.next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return anyhow::Ok(took);
                }
                let due = due(started, number - first, rate);
                tokio::time::sleep_until(due.into()).await;
                client.send(&webhooks.request(number)).await?;
                took.push(due.elapsed());
            }
        });
    }
    let mut acknowledged = Vec::new();
    while let Some(took) = senders.join_next().await {
        acknowledged.extend(took??);
    }
    Ok(OpenLoop {
        acknowledged,
        started,
    })
}
