//! What only a person can do at a provider.

use std::io::{BufRead, Write};

use async_trait::async_trait;
use serde::Deserialize;
use url::Url;

/// A connection's own webhook, to be entered at the provider.
#[derive(Debug, Deserialize)]
pub struct ConnectionWebhook {
    /// Its URL.
    pub url: String,
    /// The secret that signs deliveries, if this service makes it.
    pub secret: Option<String>,
    /// The time until which the URL accepts a secret of the provider's.
    pub armed_until: Option<String>,
}

/// A person with an account at the provider.
#[async_trait(?Send)]
pub trait Person {
    /// Opens the connect link in a browser and consents.
    async fn consent(&self, link: &Url) -> anyhow::Result<()>;

    /// Enters a webhook at the provider; returns the provider's public key if it signs with one.
    async fn register_webhook(&self, webhook: &ConnectionWebhook)
    -> anyhow::Result<Option<String>>;

    /// Does something at the provider that gives a Signal.
    async fn act(&self) -> anyhow::Result<()>;
}

/// A person at the terminal.
pub struct Terminal<'p> {
    /// The provider's name.
    pub provider: &'p str,
}

impl Terminal<'_> {
    /// Asks for a line of text.
    async fn ask(&self, text: String) -> anyhow::Result<String> {
        let prompt = format!("\n[{}] {text} ", self.provider);
        let read = move || {
            let mut terminal = std::io::stderr();
            terminal.write_all(prompt.as_bytes())?;
            terminal.flush()?;
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            anyhow::Ok(line.trim().to_owned())
        };
        tokio::task::spawn_blocking(read).await?
    }
}

#[async_trait(?Send)]
impl Person for Terminal<'_> {
    async fn consent(&self, link: &Url) -> anyhow::Result<()> {
        let text = format!(
            "Open this link in a browser and connect the account:\n{link}\nThen press Enter:"
        );
        self.ask(text).await.map(drop)
    }

    async fn register_webhook(
        &self,
        webhook: &ConnectionWebhook,
    ) -> anyhow::Result<Option<String>> {
        let ConnectionWebhook {
            url,
            secret,
            armed_until,
        } = webhook;
        let mut text = format!("If this provider's guide says so, set a webhook up for\n{url}\n");
        if let Some(secret) = secret {
            text += &format!("with the secret {secret}\n");
        }
        if let Some(armed_until) = armed_until {
            text += &format!("before {armed_until}\n");
        }
        text += "Paste the provider's public key, if it shows one, and press Enter:";
        let key = self.ask(text).await?;
        Ok(Some(key).filter(|key| !key.is_empty()))
    }

    async fn act(&self) -> anyhow::Result<()> {
        let text = "Now cause one Signal there, with a message, an issue, a file or an event, and \
                    press Enter:";
        self.ask(text.to_owned()).await.map(drop)
    }
}
