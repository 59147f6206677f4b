//! The app at each configured provider, checked by its connector.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use shared::clock::{DatabaseClock, SharedClock};
use shared::config::{Env, Reader, public_api_url, public_webhook_url};
use shared::connectors::{
    AppCheckRequest, ConnectorDeps, ConnectorSettings, Finding, ProviderActivity, Registry,
};
use shared::db::installation::{self, DailyCount};
use url::Url;

use super::database::{Database, chain};
use super::limiter::OneAtATime;
use super::report::Report;

const AREA: &str = "providers";

/// Results of webhook requests that mean a wrong or missing secret.
const REJECTED: &[&str] = &["mismatch", "stale", "not_configured"];

/// Activity and webhook results of all providers, from the database.
#[derive(Default)]
struct Seen {
    activity: Option<HashMap<String, ProviderActivity>>,
    results: Vec<DailyCount>,
}

/// Checks the app of each configured provider.
pub(super) async fn check(env: &Env, database: &Database, report: &mut Report) -> io::Result<()> {
    let mut reader = Reader::new(env);
    let api = public_api_url(&mut reader);
    let webhooks = public_webhook_url(&mut reader);
    let settings = ConnectorSettings::from_reader(&mut reader);
    if reader.finish().is_err() {
        let finding = Finding::failure(
            "settings",
            "not checked, because settings of the providers or public URLs are invalid",
            "Correct them first; `poblysh doctor --only settings` names them.",
        );
        return report.add(AREA, finding);
    }
    let clock = Arc::new(DatabaseClock::default());
    if let Some(server) = database.server() {
        // Providers see the processes' clock, which is the database's.
        let age = chrono::TimeDelta::from_std(server.read_at.elapsed()).unwrap_or_default();
        clock.set(server.time + age);
    }
    let clock: SharedClock = clock;
    let deps = ConnectorDeps {
        clock: Arc::clone(&clock),
        rate_limiter: Arc::new(OneAtATime::default()),
    };
    let registry = match Registry::new(settings, &deps) {
        Ok(registry) => registry,
        Err(error) => {
            let message = format!("a connector cannot be built: {}", chain(&error));
            let cure = "Check the providers' _BASE_URL settings.";
            return report.add(AREA, Finding::failure("connectors", message, cure));
        }
    };
    let seen = read(database).await;
    for (descriptor, _) in registry.iter() {
        let slug = descriptor.slug;
        let Ok(connector) = registry.get(slug) else {
            report.add(slug, Finding::ok("app", "not configured"))?;
            continue;
        };
        let request = AppCheckRequest {
            callback_url: below(&api, &["v1", "connect", slug, "callback"]),
            webhook_url: below(&webhooks, &["webhooks", slug]),
            now: clock.now(),
            activity: seen.activity(slug),
        };
        let findings = connector.check_app(&request).await;
        if findings.is_empty() {
            let name = descriptor.display_name;
            report.add(
                slug,
                Finding::ok("app", format!("{name} has no check of its app")),
            )?;
        }
        for finding in findings {
            report.add(slug, finding)?;
        }
        if let Some(finding) = seen.rejected(slug) {
            report.add(slug, finding)?;
        }
    }
    Ok(())
}

/// Reads what the database has seen of all providers; nothing without it.
async fn read(database: &Database) -> Seen {
    let Some(db) = database.api() else {
        return Seen::default();
    };
    let activity = installation::read_activity(db).await.ok().map(|rows| {
        let by_provider = rows.into_iter().map(|row| {
            let activity = ProviderActivity {
                connections: row.connections,
                subscriptions: row.subscriptions,
                subscribed_at: row.subscribed_at,
                delivered_at: row.delivered_at,
            };
            (row.provider, activity)
        });
        by_provider.collect()
    });
    Seen {
        activity,
        results: installation::read_webhook_results(db)
            .await
            .unwrap_or_default(),
    }
}

impl Seen {
    fn activity(&self, slug: &str) -> Option<ProviderActivity> {
        let by_provider = self.activity.as_ref()?;
        Some(by_provider.get(slug).cloned().unwrap_or_default())
    }

    /// A finding about rejected webhooks, if the last request was one.
    fn rejected(&self, slug: &str) -> Option<Finding> {
        let of_provider = || self.results.iter().filter(|count| count.provider == slug);
        let last = of_provider().max_by_key(|count| count.last_at)?;
        if !REJECTED.contains(&last.result.as_str()) {
            return None;
        }
        let requests: i64 = of_provider()
            .filter(|count| REJECTED.contains(&count.result.as_str()))
            .map(|count| count.requests)
            .sum();
        Some(Finding::failure(
            "webhooks",
            format!(
                "{requests} webhooks were rejected in 24 h, the last one at {} ({})",
                last.last_at, last.result
            ),
            "Set the provider's webhook secret for the webhook-ingress as the app has it, or find \
             the stranger who sends them (docs/operations.md).",
        ))
    }
}

fn below(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}
