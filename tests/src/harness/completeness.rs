//! Feed reader that checks the completeness promises of its pages against the ledger.
//!
//! A page without `has_more` promises that the feed up to it has every fact before
//! `complete_through` that a list shows as it happens, and every fact before
//! `reconciled_through` that only the reconciliation pass finds. It promises nothing about facts
//! that no list shows: their deliveries may be in flight. A fact with an older time than its
//! appearance, such as an event that was moved to another calendar, counts from its appearance.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use provider_sim::{Entry, Filter};
use reqwest::StatusCode;
use serde_json::Value;

use super::Tenant;

/// Precision of the ledger's times: a fact happens at most this much later than its row says.
const LEDGER_PRECISION: TimeDelta = TimeDelta::seconds(1);

/// Reader of the feed of a tenant with at most one connection per provider.
pub struct CompletenessReader<'a> {
    tenant: &'a Tenant<'a>,
    /// The connected accounts, as the ledger names them.
    accounts: Vec<String>,
    cursor: Option<String>,
    /// Dedupe keys of the Signals so far.
    seen: HashSet<String>,
    compared: usize,
}

impl<'a> CompletenessReader<'a> {
    /// Starts at the beginning of the feed.
    pub fn new(tenant: &'a Tenant<'a>, accounts: &[&str]) -> Self {
        Self {
            tenant,
            accounts: accounts.iter().map(|&account| account.to_owned()).collect(),
            cursor: None,
            seen: HashSet::new(),
            compared: 0,
        }
    }

    /// Number of compared facts; a fact counts once per page that promises it.
    pub const fn compared(&self) -> usize {
        self.compared
    }

    /// Reads the feed to its end and checks the last page's promise against the ledger.
    ///
    /// Compares nothing while the API is down.
    ///
    /// # Panics
    ///
    /// When the feed lacks a fact that the page promises.
    pub async fn assert_completeness_holds(&mut self) {
        let broken = self.broken_promises().await;
        assert!(broken.is_empty(), "promised, not in the feed: {broken:#?}");
    }

    /// Returns the facts that the feed lacks although its last page promises them.
    ///
    /// # Panics
    ///
    /// When the API responds with neither a page nor 503.
    pub async fn broken_promises(&mut self) -> Vec<String> {
        let Some(completeness) = self.read_to_the_end().await else {
            return Vec::new();
        };
        let connections = completeness["connections"].as_array().expect("a list");
        let simulator = &self.tenant.system().simulator;
        let mut broken = Vec::new();
        for connection in connections {
            let source = connection["source"].as_str().expect("a provider");
            let complete_through = time(&connection["complete_through"]);
            let reconciled_through = time(&connection["reconciled_through"]);
            for entry in self.visible_facts(source) {
                let through = if simulator.is_listed(&entry.kind, &entry.dedupe_key) {
                    complete_through
                } else {
                    reconciled_through
                };
                let Some(through) = through else { continue };
                let at = visible_since(&entry);
                if at + LEDGER_PRECISION > through {
                    continue;
                }
                self.compared += 1;
                if !self.seen.contains(&entry.dedupe_key) {
                    let stored = self.stored_at(&entry.dedupe_key).await;
                    broken.push(format!(
                        "{} {} of {at}, through {through}, stored at {stored:?}: {connection}",
                        entry.kind, entry.dedupe_key
                    ));
                }
            }
        }
        broken
    }

    /// Facts of a provider that its API shows now.
    fn visible_facts(&self, source: &str) -> Vec<Entry> {
        let mut facts = Vec::new();
        for account in &self.accounts {
            let filter = Filter {
                source: Some(source.to_owned()),
                account: Some(account.clone()),
                ..Filter::default()
            };
            facts.extend(self.tenant.system().simulator.ledger(&filter));
        }
        facts.retain(|entry| entry.poll);
        facts
    }

    /// When the tenant's Signal with this key was received, if it is stored.
    async fn stored_at(&self, dedupe_key: &str) -> Option<DateTime<Utc>> {
        sqlx::query_scalar(
            "SELECT received_at FROM signals WHERE tenant_id = $1 AND dedupe_key = $2",
        )
        .bind(self.tenant.id)
        .bind(dedupe_key)
        .fetch_optional(self.tenant.system().db.pool())
        .await
        .expect("Postgres answers")
    }

    /// Reads to the end of the feed and returns the last page's completeness.
    ///
    /// Returns `None` while the API is down.
    async fn read_to_the_end(&mut self) -> Option<Value> {
        loop {
            let mut page = self.page().await?;
            let signals = page["signals"].as_array().expect("a list");
            let keys = signals.iter().map(|signal| signal["dedupe_key"].as_str());
            self.seen
                .extend(keys.map(|key| key.expect("a key").to_owned()));
            let next = page["next_cursor"].as_str().expect("a cursor");
            self.cursor = Some(next.to_owned());
            if page["has_more"] == Value::Bool(false) {
                return Some(page["completeness"].take());
            }
        }
    }

    async fn page(&self) -> Option<Value> {
        let system = self.tenant.system();
        let mut url = format!("{}/v1/signals?limit=200", system.api);
        if let Some(cursor) = &self.cursor {
            url = format!("{url}&cursor={cursor}");
        }
        let request = system.client.get(url).bearer_auth(&self.tenant.key);
        let response = request.send().await.ok()?;
        let status = response.status();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return None;
        }
        assert_eq!(status, StatusCode::OK, "a page of the feed");
        response.json().await.ok()
    }
}

/// The time since which the API shows a fact.
///
/// It happened then, or a copy of an older resource appeared.
fn visible_since(entry: &Entry) -> DateTime<Utc> {
    let times = std::iter::once(&entry.time).chain(&entry.shown_since);
    let times = times.map(|time| time.parse().expect("RFC 3339"));
    times.max().unwrap_or_default()
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    let text = value.as_str()?;
    Some(text.parse().expect("RFC 3339"))
}
