//! Client of the simulator's control API.

use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

/// Time limit until a server is ready.
const READY_TIMEOUT: Duration = Duration::from_mins(1);
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Account of a simulated provider and its administrator.
#[derive(Debug, Deserialize)]
pub(crate) struct Account {
    pub(crate) login: String,
    pub(crate) admin: String,
    /// Display name, if it differs from the login.
    name: Option<String>,
}

impl Account {
    /// Display name.
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.login)
    }
}

#[derive(Deserialize)]
struct Accounts {
    accounts: Vec<Account>,
}

/// Variables with which a process uses the simulator, one assignment per line.
pub(crate) async fn settings(simulator: &Url) -> anyhow::Result<String> {
    wait_until_ready(simulator, "/_sim/env").await
}

/// Lists a provider's accounts.
pub(crate) async fn accounts(simulator: &Url, provider: &str) -> anyhow::Result<Vec<Account>> {
    let body = wait_until_ready(simulator, &format!("/_sim/{provider}/accounts")).await?;
    let accounts: Accounts =
        serde_json::from_str(&body).context("failed to parse the simulator's accounts")?;
    Ok(accounts.accounts)
}

/// Retries a GET request until it succeeds, and returns the body.
pub(crate) async fn wait_until_ready(base: &Url, path: &str) -> anyhow::Result<String> {
    let url = base.join(path)?;
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .build()?;
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        let response = match client.get(url.clone()).send().await {
            Ok(response) => response.error_for_status(),
            Err(error) => Err(error),
        };
        match response {
            Ok(response) => return Ok(response.text().await?),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| {
                    format!("{url} is not ready after {} s", READY_TIMEOUT.as_secs())
                });
            }
            Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
        }
    }
}
