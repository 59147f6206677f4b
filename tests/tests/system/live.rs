//! The check with a real account (`scripts/verify-live`), here with simulated ones.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tests::api::Api;
use tests::harness::{OPERATOR_TOKEN, System, open_connect_link};
use tests::live::{ConnectionWebhook, Limits, Person, verify};
use url::Url;

/// Time limits of the steps.
const LIMITS: Limits = Limits {
    consent: Duration::from_secs(30),
    backfill: Duration::from_mins(2),
    webhook: Duration::from_mins(2),
};

/// A person with an account at a simulated provider.
struct SimulatedPerson<'s> {
    system: &'s System,
    provider: String,
    account: String,
    login: String,
}

#[async_trait(?Send)]
impl Person for SimulatedPerson<'_> {
    async fn consent(&self, link: &Url) -> anyhow::Result<()> {
        let response =
            open_connect_link(self.system, link.as_str(), &self.account, &self.login).await;
        response.error_for_status()?;
        Ok(())
    }

    async fn register_webhook(
        &self,
        webhook: &ConnectionWebhook,
    ) -> anyhow::Result<Option<String>> {
        let body = json!({ "account": self.account, "url": webhook.url });
        let command = match self.provider.as_str() {
            "zoho_cliq" => "zoho/cliq/extension",
            "zoho_mail" => "zoho/mail/webhook",
            // The app's own webhooks suffice.
            _ => return Ok(None),
        };
        let registered: Value = self.system.sim(command, body).await;
        Ok(registered["public_key"].as_str().map(str::to_owned))
    }

    async fn act(&self) -> anyhow::Result<()> {
        let action = match self.provider.as_str() {
            "github" => "issues.opened",
            "slack" => "message.posted",
            "jira" => "issue.created",
            "google_drive" => "file.created",
            "google_calendar" => "event.created",
            "gmail" | "zoho_mail" => "mail.received",
            // Its deliveries reach channels with the bot only.
            "zoho_cliq" => "bot.messaged",
            provider => panic!("no action of {provider} is known"),
        };
        // Every container of the account has its subscription.
        self.system.drain().await;
        let body = json!({ "account": self.account, "action": action });
        let path = format!("{}/act", self.provider);
        self.system.sim(&path, body).await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_passes_the_live_check() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 5))
        .start()
        .await;
    let base = system.api.parse().expect("a URL");
    let api = Api::new(base, OPERATOR_TOKEN.into()).expect("a client");
    let providers = api.providers().await.expect("the providers");
    assert_eq!(providers.len(), system.simulator.slugs().len());
    for provider in &providers {
        let (account, login) = system.accounts_at(&provider.slug).await.swap_remove(0);
        let person = SimulatedPerson {
            system: &system,
            provider: provider.slug.clone(),
            account,
            login,
        };
        let report = verify(&api, provider, &person, LIMITS).await;
        let report = report.unwrap_or_else(|error| panic!("{}: {error:#}", provider.slug));
        assert!(report.backfilled > 0, "{}", provider.slug);
        assert!(!report.reported_by_webhook.is_empty(), "{}", provider.slug);
        assert_eq!(
            report.found_by_poll,
            Vec::<String>::new(),
            "{}: the webhook reported everything",
            provider.slug
        );
    }
}
