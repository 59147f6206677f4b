//! Webhooks: registration and delivery.

use aws_lc_rs::hmac;
use axum::http::StatusCode;
use jsonwebtoken::{EncodingKey, Header};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use super::jql::{Jql, JqlContext};
use super::rest::{Reply, SiteRequest};
use super::settings::Settings;
use super::world::{Webhook, World};
use crate::clock::Clock;
use crate::faults::Effect;
use crate::forgery::must_be_rejected;
use crate::lock::Shared;
use crate::webhook_sender::{Attempt, Delivery, DeliveryPolicy, Outcome};

/// Webhooks of a person for an app in a site.
const MAX_WEBHOOKS: usize = 5;
/// Lifetime of a webhook.
const WEBHOOK_TTL_SECONDS: i64 = 30 * 24 * 3_600;
/// Events to which an app may subscribe.
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

/// Atlassian's delivery policy.
pub(crate) struct Atlassian {
    pub(crate) settings: Shared<Settings>,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

impl DeliveryPolicy for Atlassian {
    fn is_forged(&self, delivery: &Delivery, effect: Effect) -> bool {
        // The signature of administrators' webhooks has no time, so it cannot be too old.
        let has_time = delivery.body.get("matchedWebhookIds").is_some();
        must_be_rejected(effect) && (has_time || effect != Effect::OldSignature)
    }

    fn request(&self, client: &Client, attempt: &Attempt<'_>) -> RequestBuilder {
        let settings = self.settings.read();
        let mut request = client
            .post(&attempt.delivery.url)
            .header("content-type", "application/json")
            .header("x-atlassian-webhook-identifier", &attempt.delivery.id);
        if attempt.number > 0 {
            request = request.header("x-atlassian-webhook-retry", attempt.number);
        }
        if attempt.effect == Some(Effect::NoSignature) {
            return request;
        }
        let wrong = attempt.effect == Some(Effect::WrongSignature);
        if attempt.delivery.body.get("matchedWebhookIds").is_none() {
            // The delivery's URL may have an additional query.
            let mut admin_webhooks = settings.admin_webhooks.iter();
            let admin_webhook =
                admin_webhooks.find(|webhook| attempt.delivery.url.starts_with(&webhook.url));
            let secret = match admin_webhook {
                Some(webhook) if !wrong => &webhook.secret,
                _ => "wrong-secret",
            };
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            let signature = hex::encode(hmac::sign(&key, attempt.body));
            return request.header("x-hub-signature", format!("sha256={signature}"));
        }
        let secret = if wrong {
            "wrong-secret"
        } else {
            &self.client_secret
        };
        // The receiver compares the time with the system clock, not with the simulated one.
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

    fn retry_delays(&self) -> Vec<f64> {
        let settings = self.settings.read();
        settings.retry_seconds.clone()
    }

    fn should_retry(&self, outcome: &Outcome) -> bool {
        matches!(outcome.status, 0 | 408 | 409 | 425 | 429 | 500..)
    }

    fn counters(&self) -> [&'static str; 3] {
        ["jira.events", "jira.delivered", "jira.given_up"]
    }
}

/// Registers webhooks.
///
/// The status is 200 even if none is valid; the body has an id or an error for each.
pub(super) fn register(request: &SiteRequest<'_>, world: &mut World, now: i64) -> Reply {
    expire(world, now);
    let entries = request.body["webhooks"].as_array().cloned();
    let Some(entries) = entries.filter(|entries| !entries.is_empty()) else {
        return Reply::bad_request("At least one webhook must be given.");
    };
    let url = request.body["url"].as_str().unwrap_or_default();
    let mut results = Vec::new();
    for entry in &entries {
        let validated = validate(request, world, entry, url, now);
        let Some(site) = world.sites.get_mut(request.site) else {
            return Reply::not_found();
        };
        results.push(match validated {
            Err(reason) => json!({ "errors": [reason] }),
            Ok(webhook) => {
                site.last_webhook_id += 1;
                let id = site.last_webhook_id;
                site.webhooks.insert(id, Webhook { id, ..webhook });
                json!({ "createdWebhookId": id })
            }
        });
    }
    Reply::ok(json!({ "webhookRegistrationResult": results }))
}

fn texts(value: &Value) -> Vec<String> {
    let values = value.as_array().into_iter().flatten();
    values
        .filter_map(|value| Some(value.as_str()?.to_owned()))
        .collect()
}

fn validate(
    request: &SiteRequest<'_>,
    world: &World,
    entry: &Value,
    url: &str,
    now: i64,
) -> Result<Webhook, String> {
    let mut all = world.sites.values().flat_map(|site| site.webhooks.values());
    if !url.starts_with("http") || all.any(|webhook| webhook.url != url) {
        return Err(
            "Only a single URL per app is allowed to be registered via REST API.".to_owned(),
        );
    }
    let owner = &request.caller.person;
    let existing = request.find_site(world).webhooks.values();
    if existing.filter(|webhook| webhook.owner == *owner).count() >= MAX_WEBHOOKS {
        return Err("The maximum number of webhooks for this user and app is reached.".to_owned());
    }
    let events = texts(&entry["events"]);
    if events.is_empty() {
        return Err("Events must not be empty.".to_owned());
    }
    let rejected = request.service.settings().refused_events.clone();
    if let Some(event) = events
        .iter()
        .find(|event| !ALLOWED.contains(&event.as_str()) || rejected.contains(event))
    {
        return Err(format!("The event {event} is not supported."));
    }
    let filter = entry["jqlFilter"].as_str().unwrap_or_default().to_owned();
    let context = JqlContext {
        person: &world.people[owner],
        now: now * 1_000,
    };
    let jql = Jql::parse(&filter, &context)?;
    jql.check_webhook_filter()?;
    Ok(Webhook {
        id: 0,
        owner: owner.clone(),
        url: url.to_owned(),
        events,
        filter,
        jql,
        fields: texts(&entry["fieldIdsFilter"]),
        expires: now + WEBHOOK_TTL_SECONDS,
    })
}

/// Lists the caller's webhooks.
pub(super) fn list(request: &SiteRequest<'_>, world: &mut World, now: i64) -> Reply {
    expire(world, now);
    let all = request
        .find_site(world)
        .webhooks
        .values()
        .filter(|webhook| webhook.owner == request.caller.person)
        .map(|webhook| {
            json!({
                "id": webhook.id, "jqlFilter": webhook.filter, "events": webhook.events,
                "expirationDate": super::render::time(webhook.expires * 1_000), "url": webhook.url,
            })
        })
        .collect();
    request.page(all, "values", 100)
}

/// The caller's webhooks with the ids of the request; other ids are ignored.
fn requested_webhooks<'w>(request: &SiteRequest<'_>, world: &'w mut World) -> Vec<&'w mut Webhook> {
    let ids: Vec<u64> = request.body["webhookIds"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect();
    let webhooks = world
        .sites
        .get_mut(request.site)
        .map(|site| &mut site.webhooks);
    webhooks
        .into_iter()
        .flatten()
        .map(|(_, webhook)| webhook)
        .filter(|webhook| webhook.owner == request.caller.person && ids.contains(&webhook.id))
        .collect()
}

/// Extends webhooks for another thirty days.
pub(super) fn refresh(request: &SiteRequest<'_>, world: &mut World, now: i64) -> Reply {
    expire(world, now);
    let expires_at = now + WEBHOOK_TTL_SECONDS;
    for webhook in requested_webhooks(request, world) {
        webhook.expires = expires_at;
    }
    Reply::ok(json!({ "expirationDate": expires_at * 1_000 }))
}

pub(super) fn delete(request: &SiteRequest<'_>, world: &mut World) -> Reply {
    let deleted: Vec<u64> = requested_webhooks(request, world)
        .iter()
        .map(|webhook| webhook.id)
        .collect();
    if let Some(site) = world.sites.get_mut(request.site) {
        site.webhooks.retain(|id, _| !deleted.contains(id));
    }
    Reply::empty(StatusCode::ACCEPTED)
}

/// Removes expired webhooks.
pub(super) fn expire(world: &mut World, now: i64) {
    for site in world.sites.values_mut() {
        site.webhooks.retain(|_, webhook| webhook.expires > now);
    }
}
