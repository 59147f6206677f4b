//! A check of one provider with one account: connect, backfill, webhook, poll.
//!
//! It uses the public API only, so it runs against a real provider (`scripts/verify-live`) and in the
//! tests against the simulated one. A [`Person`] does the steps at the provider.

mod api;
mod feed;
mod person;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use reqwest::Method;
use serde_json::json;

pub use person::{ConnectionWebhook, Person, Terminal};

use self::feed::Feed;
use crate::api::{Api, Provider};

/// Interval between two questions to the API.
const INTERVAL: Duration = Duration::from_millis(500);
/// The longest poll interval that the API accepts, so that no poll finds the fact first.
const POLL_INTERVAL_SECONDS: u32 = 86_400;

/// Time limits of the steps.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the link to the connection: a person consents.
    pub consent: Duration,
    /// From the connection to the end of the backfill.
    pub backfill: Duration,
    /// From an action at the provider to its Signal.
    pub webhook: Duration,
}

/// Result of a check.
#[derive(Debug)]
pub struct Report {
    /// Signals of the backfill.
    pub backfilled: usize,
    /// Time that the backfill took.
    pub backfill: Duration,
    /// Dedupe keys of the facts that arrived with a webhook.
    pub reported_by_webhook: Vec<String>,
    /// Dedupe keys of the facts that only the last poll found.
    pub found_by_poll: Vec<String>,
}

/// Checks a provider, and disconnects the account at the end.
///
/// # Errors
///
/// When a step fails or takes too long, or when webhook and poll give one fact two keys.
pub async fn verify(
    api: &Api,
    provider: &Provider,
    person: &dyn Person,
    limits: Limits,
) -> anyhow::Result<Report> {
    let key = api.create_tenant("Live check").await?;
    person
        .consent(&api.connect(&key, &provider.slug).await?)
        .await?;
    let started = Instant::now();
    let connection = wait("no connection is active", limits.consent, async || {
        api::active_connection(api, &key).await
    })
    .await?;
    let outcome = check(api, &key, provider, person, limits, &connection).await;
    let ended = api.disconnect(&key, &connection).await;
    let report = outcome.with_context(|| format!("after {:?}", started.elapsed()))?;
    ended.context("the check passed, but the account could not be disconnected")?;
    Ok(report)
}

async fn check(
    api: &Api,
    key: &str,
    provider: &Provider,
    person: &dyn Person,
    limits: Limits,
    connection: &str,
) -> anyhow::Result<Report> {
    let path = format!("/v1/connections/{connection}");
    let interval = json!({ "poll_interval_seconds": POLL_INTERVAL_SECONDS });
    api.send(Method::PATCH, &path, key, Some(&interval)).await?;
    register_webhook(api, key, &path, person).await?;
    let started = Instant::now();
    wait("the backfill has not ended", limits.backfill, async || {
        let state = api.send(Method::GET, &path, key, None).await?;
        Ok(state["backfilled_at"].is_string().then_some(()))
    })
    .await?;
    let backfill = started.elapsed();
    wait("no webhook is registered", limits.webhook, async || {
        let state = api.send(Method::GET, &path, key, None).await?;
        Ok((state["webhooks"]["state"] != "unsubscribed").then_some(()))
    })
    .await?;
    let mut feed = Feed::default();
    let backfilled = feed.read(api, key).await?.len();

    person.act().await?;
    let reported = wait("no Signal has arrived", limits.webhook, async || {
        let signals = feed.read(api, key).await?;
        Ok((!signals.is_empty()).then_some(signals))
    })
    .await?;
    if provider.webhooks {
        ensure!(
            api::has_delivery(api, key, connection).await?,
            "Signals arrived, but no webhook did: {:?}",
            feed::keys(&reported)
        );
    }

    sync_fully(api, key, &path, limits).await?;
    let found = feed.read(api, key).await?;
    let repeated = feed::reported_twice(&reported, &found);
    ensure!(
        repeated.is_empty(),
        "webhook and poll give one fact two dedupe keys: {repeated:?}"
    );
    Ok(Report {
        backfilled,
        backfill,
        reported_by_webhook: feed::keys(&reported),
        found_by_poll: feed::keys(&found),
    })
}

/// Exchanges the key of the connection's own webhook, if the provider has such webhooks.
///
/// It is the provider's public key, or a secret of either side.
async fn register_webhook(
    api: &Api,
    key: &str,
    path: &str,
    person: &dyn Person,
) -> anyhow::Result<()> {
    let path = format!("{path}/webhook");
    let Some(created) = api::post_if_allowed(api, &path, key, &json!({})).await? else {
        return Ok(());
    };
    let webhook: ConnectionWebhook = serde_json::from_value(created)?;
    if let Some(public_key) = person.register_webhook(&webhook).await? {
        let body = json!({ "public_key": public_key });
        api.send(Method::POST, &path, key, Some(&body)).await?;
    }
    Ok(())
}

/// Reads everything again by polling.
async fn sync_fully(api: &Api, key: &str, path: &str, limits: Limits) -> anyhow::Result<()> {
    let body = json!({ "mode": "full" });
    let started = api
        .send(Method::POST, &format!("{path}/sync"), key, Some(&body))
        .await?;
    let job = started["job"]["id"].as_str().context("no job")?.to_owned();
    wait("the full sync has not ended", limits.backfill, async || {
        let job = api
            .send(Method::GET, &format!("/v1/jobs/{job}"), key, None)
            .await?;
        let state = job["state"].as_str().unwrap_or_default();
        ensure!(
            !matches!(state, "dead" | "cancelled"),
            "the full sync is {state}: {}",
            job["error"]
        );
        Ok((state == "succeeded").then_some(()))
    })
    .await
}

/// Asks until there is an answer.
async fn wait<T>(
    problem: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        ensure!(started.elapsed() < limit, "{problem} after {limit:?}");
        tokio::time::sleep(INTERVAL).await;
    }
}
