//! Row `push-to-feed`: from an act at a provider to its Signal, with the requests it costs.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;
use tests::harness::{System, Tenant};

use crate::installation;
use crate::load::due;
use crate::report::{Row, percentiles};

/// Providers, each with the act that is measured.
///
/// A push of Google's has no content: the Signal comes from the read that it causes.
const ACTS: [(&str, &str); 6] = [
    ("github", "issues.opened"),
    ("slack", "message.posted"),
    ("jira", "issue.created"),
    ("google_drive", "file.created"),
    ("google_calendar", "event.created"),
    ("gmail", "mail.received"),
];
/// Acts per second.
const RATE: u32 = 2;
/// Number of acts that follow each other without a pause.
const BURST: u32 = 50;
/// Time limit for the Signals after the last act.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// Measures latencies and requests, one provider after the other.
pub(crate) async fn rows(seconds: u32) -> anyhow::Result<Vec<Row>> {
    let system = installation::fast()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 0))
        .start()
        .await;
    // Gmail drops the pushes of a mailbox beyond one per second, and later ones read their mail.
    system
        .simulator
        .change_gmail(|gmail| gmail.notification_milliseconds = 0);
    let mut rows = Vec::new();
    for (provider, action) in ACTS {
        let account = Account::connect(&system, provider, action).await?;
        let took = account.measure(RATE * seconds, Some(RATE)).await?;
        let name = format!("{provider}: act to feed at {RATE}/s");
        rows.extend(percentiles(&name, &took, [(50, ""), (99, "")]));
        let before = account.requests();
        account.measure(BURST, None).await?;
        system.drain().await;
        let requests = u32::try_from(account.requests() - before)?;
        let name = format!("{provider}: {BURST} acts at once");
        let figure = f64::from(requests) / f64::from(BURST);
        rows.push(Row::new(name, "requests per act", figure, ""));
    }
    Ok(rows)
}

/// A connected account at which acts happen.
struct Account<'s> {
    system: &'s System,
    tenant: Tenant<'s>,
    provider: &'static str,
    action: &'static str,
    login: String,
}

impl<'s> Account<'s> {
    async fn connect(
        system: &'s System,
        provider: &'static str,
        action: &'static str,
    ) -> anyhow::Result<Self> {
        let accounts = system.accounts_at(provider).await;
        let (account, person) = accounts.into_iter().next().context("there is no account")?;
        let tenant = system.tenant(provider).await;
        tenant.connect_to(provider, &account, &person).await;
        // The first read and the subscriptions.
        system.drain().await;
        Ok(Self {
            system,
            tenant,
            provider,
            action,
            login: account,
        })
    }

    /// The requests to the provider with the account's tokens so far.
    fn requests(&self) -> u64 {
        let usage = self.system.simulator.usage(self.provider, &self.login);
        usage.requests
    }

    /// Performs the act; returns the dedupe key of its fact.
    async fn act(&self) -> anyhow::Result<String> {
        let act = json!({ "account": self.login, "action": self.action });
        let path = format!("{}/act", self.provider);
        let done = self.system.sim(&path, act).await;
        let mut facts = done["facts"].as_array().into_iter().flatten();
        let own = facts.find(|fact| fact["account"] == self.login.as_str());
        let key = own.and_then(|fact| fact["dedupe_key"].as_str());
        Ok(key.context("the act has no fact")?.to_owned())
    }

    /// Performs acts, at a rate or without a pause; returns the times from each to its Signal.
    async fn measure(&self, count: u32, rate: Option<u32>) -> anyhow::Result<Vec<Duration>> {
        let expected = RefCell::new(HashMap::new());
        let last_act = Cell::new(None);
        let acts = async {
            let started = Instant::now();
            for number in 0..count {
                let at = match rate {
                    Some(rate) => due(started, number.into(), rate),
                    None => Instant::now(),
                };
                tokio::time::sleep_until(at.into()).await;
                let key = self.act().await?;
                expected.borrow_mut().insert(key, at);
            }
            last_act.set(Some(Instant::now()));
            anyhow::Ok(())
        };
        let is_over = |seen: &HashMap<String, Instant>| {
            last_act.get().is_some_and(|at: Instant| {
                let expected = expected.borrow();
                at.elapsed() > MAX_DELAY
                    || expected.keys().all(|key: &String| seen.contains_key(key))
            })
        };
        let (done, seen) = tokio::join!(acts, self.follow(is_over));
        done?;
        let expected = expected.into_inner();
        let took: Vec<Duration> = expected
            .iter()
            .filter_map(|(key, at)| Some(seen.get(key)?.saturating_duration_since(*at)))
            .collect();
        if took.len() < expected.len() {
            let (seen, all) = (took.len(), expected.len());
            eprintln!(
                "  {}: only {seen} of {all} Signals were seen",
                self.provider
            );
        }
        Ok(took)
    }

    /// Polls the feed until `is_over`; returns when each Signal was first on a page.
    async fn follow(
        &self,
        is_over: impl Fn(&HashMap<String, Instant>) -> bool,
    ) -> HashMap<String, Instant> {
        let (mut cursor, mut seen) = (String::new(), HashMap::new());
        while !is_over(&seen) {
            let path = format!("/v1/signals?limit=200{cursor}");
            let page = self.tenant.get(&path).await;
            let now = Instant::now();
            let signals = page["signals"].as_array().into_iter().flatten();
            for key in signals.filter_map(|signal| signal["dedupe_key"].as_str()) {
                seen.entry(key.to_owned()).or_insert(now);
            }
            if let Some(next) = page["next_cursor"].as_str() {
                cursor = format!("&cursor={next}");
            }
            if page["has_more"] == false {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        seen
    }
}
