//! Webhooks: registering them, and how they are delivered.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::hmac;
use jsonwebtoken::{EncodingKey, Header};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use super::jql::values;
use super::settings::Settings;
use super::world::{Hook, Site};
use crate::simulator::clock::Clock;
use crate::simulator::faults::Effect;
use crate::simulator::outbox::{Courier, Outcome, Try};

/// Webhooks that a person may have for an app at a site.
const MOST: usize = 5;
/// How long one lives.
pub(crate) const LIFE: i64 = 30 * 24 * 3_600;
/// Events that an app may ask for.
const ALLOWED: [&str; 20] = [
    "jira:issue_created",
    "jira:issue_updated",
    "jira:issue_deleted",
    "comment_created",
    "comment_updated",
    "comment_deleted",
    "issue_property_set",
    "issue_property_deleted",
    "sprint_created",
    "sprint_updated",
    "sprint_started",
    "sprint_closed",
    "sprint_deleted",
    "jira:version_created",
    "jira:version_updated",
    "jira:version_released",
    "jira:version_unreleased",
    "jira:version_moved",
    "jira:version_merged",
    "jira:version_deleted",
];

/// Delivers as Atlassian does.
pub(crate) struct Atlassian {
    pub(crate) settings: Arc<RwLock<Settings>>,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

impl Courier for Atlassian {
    fn request(&self, client: &Client, attempt: &Try<'_>) -> RequestBuilder {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        let mut request = client
            .post(&attempt.letter.url)
            .header("content-type", "application/json")
            .header("x-atlassian-webhook-identifier", &attempt.letter.id)
            .header("x-atlassian-webhook-flow", "Primary");
        if attempt.number > 0 {
            request = request.header("x-atlassian-webhook-retry", attempt.number);
        }
        if attempt.effect == Some(Effect::NoSignature) {
            return request;
        }
        let wrong = attempt.effect == Some(Effect::WrongSignature);
        if attempt.letter.body.get("matchedWebhookIds").is_none() {
            let secret = if wrong {
                "nobody's"
            } else {
                &settings.webhook_secret
            };
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            let signature = hex::encode(hmac::sign(&key, attempt.body));
            return request.header("x-hub-signature", format!("sha256={signature}"));
        }
        let secret = if wrong {
            "nobody's"
        } else {
            &self.client_secret
        };
        // The receiver judges by the machine's clock, whatever the simulated one shows.
        let mut now = Clock::system_seconds();
        if attempt.effect == Some(Effect::OldSignature) {
            now -= 3_600;
        }
        let claims = json!({ "iss": self.client_id, "iat": now, "exp": now + 180 });
        let key = EncodingKey::from_secret(secret.as_bytes());
        match jsonwebtoken::encode(&Header::default(), &claims, &key) {
            Ok(token) => request.bearer_auth(token),
            Err(_) => request,
        }
    }

    fn pauses(&self) -> Vec<f64> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        settings.retry_seconds.clone()
    }

    fn retries(&self, outcome: &Outcome) -> bool {
        matches!(outcome.status, 0 | 408 | 409 | 425 | 429 | 500..)
    }

    fn counters(&self) -> [&'static str; 3] {
        ["jira.events", "jira.delivered", "jira.given_up"]
    }
}

/// Registers webhooks, or says for each why not.
pub(crate) fn register(site: &mut Site, owner: &str, body: &Value, url: &str, now: i64) -> Value {
    let wanted = body["webhooks"].as_array().cloned().unwrap_or_default();
    let results: Vec<Value> = wanted
        .iter()
        .map(
            |one| match check(site, owner, one, body["url"].as_str(), url) {
                Err(why) => json!({ "errors": [why] }),
                Ok((events, filter, projects)) => {
                    site.last_hook += 1;
                    let id = site.last_hook;
                    site.hooks.insert(
                        id,
                        Hook {
                            id,
                            owner: owner.to_owned(),
                            events,
                            filter,
                            projects,
                            expires: now + LIFE,
                        },
                    );
                    json!({ "createdWebhookId": id })
                }
            },
        )
        .collect();
    json!({ "webhookRegistrationResult": results })
}

type Checked = (Vec<String>, String, Vec<String>);

fn check(
    site: &Site,
    owner: &str,
    one: &Value,
    given: Option<&str>,
    allowed: &str,
) -> Result<Checked, String> {
    if given != Some(allowed) {
        return Err(
            "Only a single URL per app is allowed to be registered via REST API.".to_owned(),
        );
    }
    if site
        .hooks
        .values()
        .filter(|hook| hook.owner == owner)
        .count()
        >= MOST
    {
        return Err("The maximum number of webhooks for this user and app is reached.".to_owned());
    }
    let events: Vec<String> = one["events"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|event| Some(event.as_str()?.to_owned()))
        .collect();
    if events.is_empty() {
        return Err("Events must not be empty.".to_owned());
    }
    if let Some(event) = events
        .iter()
        .find(|event| !ALLOWED.contains(&event.as_str()))
    {
        return Err(format!("The event {event} is not supported."));
    }
    let filter = one["jqlFilter"].as_str().unwrap_or_default().to_owned();
    let lower = filter.to_ascii_lowercase();
    let projects = ["project in", "project ="].iter().find_map(|prefix| {
        lower
            .starts_with(prefix)
            .then(|| values(&filter[prefix.len()..]))
    });
    match projects {
        Some(projects) if !projects.is_empty() => Ok((events, filter, projects)),
        _ => Err("The JQL filter uses a field or operator that is not supported.".to_owned()),
    }
}

/// A page of a person's webhooks.
pub(crate) fn list(site: &Site, owner: &str, start: usize, most: usize) -> Value {
    let all: Vec<&Hook> = site
        .hooks
        .values()
        .filter(|hook| hook.owner == owner)
        .collect();
    let values: Vec<Value> = all
        .iter()
        .skip(start)
        .take(most)
        .map(|hook| {
            json!({
                "id": hook.id, "jqlFilter": hook.filter, "events": hook.events,
                "expirationDate": super::render::time(hook.expires * 1_000),
            })
        })
        .collect();
    json!({
        "startAt": start, "maxResults": most, "total": all.len(),
        "isLast": start + values.len() >= all.len(), "values": values,
    })
}

/// Ids that a body names.
pub(crate) fn ids(body: &Value) -> Vec<u64> {
    body["webhookIds"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect()
}
