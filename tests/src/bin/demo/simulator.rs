//! What the demo asks of the simulator's control API.

use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

/// How long a server may take to come up.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(50);

/// An account of a simulated provider, and who may connect it.
#[derive(Debug, Deserialize)]
pub(crate) struct Account {
    pub(crate) login: String,
    pub(crate) admin: String,
    /// What people call it, where that is not its login.
    name: Option<String>,
}

impl Account {
    /// What people call it.
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.login)
    }
}

#[derive(Deserialize)]
struct Accounts {
    accounts: Vec<Account>,
}

/// The variables that lead a process to the simulator, one assignment per line.
pub(crate) async fn settings(simulator: &Url) -> anyhow::Result<String> {
    ready(simulator, "/_sim/env").await
}

/// The accounts that exist at a provider.
pub(crate) async fn accounts(simulator: &Url, provider: &str) -> anyhow::Result<Vec<Account>> {
    let body = ready(simulator, &format!("/_sim/{provider}/accounts")).await?;
    let accounts: Accounts =
        serde_json::from_str(&body).context("the simulator's list of accounts is unreadable")?;
    Ok(accounts.accounts)
}

/// The body of the first successful answer: servers need a moment until they listen, and
/// longer until they are ready.
pub(crate) async fn ready(base: &Url, path: &str) -> anyhow::Result<String> {
    let url = base.join(path)?;
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .build()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = match client.get(url.clone()).send().await {
            Ok(response) => response.error_for_status(),
            Err(error) => Err(error),
        };
        match answer {
            Ok(response) => return Ok(response.text().await?),
            Err(error) if Instant::now() >= deadline => {
                return Err(error)
                    .with_context(|| format!("{url} is not ready after {} s", PATIENCE.as_secs()));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
