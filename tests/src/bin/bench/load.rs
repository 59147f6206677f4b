//! A provider under load: signed webhooks over connections that stay open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tests::harness::webhooks::EVENT;
use tests::harness::{System, Tenant, Webhooks as Pattern};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use uuid::Uuid;

pub(crate) use tests::harness::webhooks::number_of;

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

    fn request(&self, number: u64) -> anyhow::Result<Request<Full<Bytes>>> {
        let (body, signature) = self.pattern.signed(number);
        Ok(Request::builder()
            .method(Method::POST)
            .uri("/webhooks/github")
            .header("host", &self.host)
            .header("content-type", "application/json")
            .header("x-github-event", EVENT)
            .header("x-github-delivery", Uuid::new_v4().to_string())
            .header("x-hub-signature-256", signature)
            .body(Full::new(body))?)
    }

    async fn connection(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.host).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn send(&self, line: &mut SendRequest<Full<Bytes>>, number: u64) -> anyhow::Result<()> {
        line.ready().await?;
        let answer = line.send_request(self.request(number)?).await?;
        let status = answer.status();
        answer.into_body().collect().await?;
        ensure!(status.is_success(), "the ingress answered {status}");
        Ok(())
    }
}

/// Sends as fast as answers come, and answers how many per second were acknowledged.
pub(crate) async fn closed(webhooks: Arc<Webhooks>, seconds: u32) -> anyhow::Result<f64> {
    let mut lines = JoinSet::new();
    let started = Instant::now();
    let end = started + Duration::from_secs(seconds.into());
    for _ in 0..CONNECTIONS {
        let webhooks = Arc::clone(&webhooks);
        lines.spawn(async move {
            let mut line = webhooks.connection().await?;
            let mut sent = 0_u32;
            while Instant::now() < end {
                let number = webhooks.next.fetch_add(1, Ordering::Relaxed);
                webhooks.send(&mut line, number).await?;
                sent += 1;
            }
            anyhow::Ok(sent)
        });
    }
    let mut all = 0_u32;
    while let Some(sent) = lines.join_next().await {
        all += sent??;
    }
    Ok(f64::from(all) / started.elapsed().as_secs_f64())
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
    let count = u64::from(rate) * u64::from(seconds);
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
                if number >= count {
                    return anyhow::Ok(took);
                }
                let due = due(started, number, rate);
                tokio::time::sleep_until(due.into()).await;
                webhooks.send(&mut line, number).await?;
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
