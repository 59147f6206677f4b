//! Webhooks: registering them, and how they are delivered.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::hmac;
use axum::http::StatusCode;
use jsonwebtoken::{EncodingKey, Header};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use super::jql::{Asker, Jql};
use super::rest::{Ask, Reply};
use super::settings::Settings;
use super::world::{Hook, World};
use crate::simulator::clock::Clock;
use crate::simulator::faults::Effect;
use crate::simulator::forge::must_be_refused;
use crate::simulator::outbox::{Courier, Letter, Outcome, Try};

/// Webhooks that a person may have for an app at a site.
const MOST: usize = 5;
/// How long one lives.
const LIFE: i64 = 30 * 24 * 3_600;
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
    fn is_forged(&self, letter: &Letter, effect: Effect) -> bool {
        // Administrators' webhooks are signed without a time, and are never too old.
        let has_time = letter.body.get("matchedWebhookIds").is_some();
        must_be_refused(effect) && (has_time || effect != Effect::OldSignature)
    }

    fn request(&self, client: &Client, attempt: &Try<'_>) -> RequestBuilder {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        let mut request = client
            .post(&attempt.letter.url)
            .header("content-type", "application/json")
            .header("x-atlassian-webhook-identifier", &attempt.letter.id);
        if attempt.number > 0 {
            request = request.header("x-atlassian-webhook-retry", attempt.number);
        }
        if attempt.effect == Some(Effect::NoSignature) {
            return request;
        }
        let wrong = attempt.effect == Some(Effect::WrongSignature);
        if attempt.letter.body.get("matchedWebhookIds").is_none() {
            // The URL may have got a query since.
            let mut own = settings.admin_webhooks.iter();
            let own = own.find(|webhook| attempt.letter.url.starts_with(&webhook.url));
            let secret = match own {
                Some(webhook) if !wrong => &webhook.secret,
                _ => "nobody's",
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

/// Registers webhooks, or says for each why not: the answer is 200 even if none was.
pub(super) fn register(ask: &Ask<'_>, world: &mut World, now: i64) -> Reply {
    expire(world, now);
    let wanted = ask.given["webhooks"].as_array().cloned();
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        return Reply::bad("At least one webhook must be given.");
    };
    let url = ask.given["url"].as_str().unwrap_or_default();
    let mut results = Vec::new();
    for one in &wanted {
        let checked = check(ask, world, one, url, now);
        let Some(site) = world.sites.get_mut(ask.site) else {
            return Reply::not_found();
        };
        results.push(match checked {
            Err(why) => json!({ "errors": [why] }),
            Ok(hook) => {
                site.last_hook += 1;
                let id = site.last_hook;
                site.hooks.insert(id, Hook { id, ..hook });
                json!({ "createdWebhookId": id })
            }
        });
    }
    Reply::ok(json!({ "webhookRegistrationResult": results }))
}

fn texts(value: &Value) -> Vec<String> {
    let values = value.as_array().into_iter().flatten();
    values
        .filter_map(|one| Some(one.as_str()?.to_owned()))
        .collect()
}

fn check(ask: &Ask<'_>, world: &World, one: &Value, url: &str, now: i64) -> Result<Hook, String> {
    let mut all = world.sites.values().flat_map(|site| site.hooks.values());
    if !url.starts_with("http") || all.any(|hook| hook.url != url) {
        return Err(
            "Only a single URL per app is allowed to be registered via REST API.".to_owned(),
        );
    }
    let owner = &ask.caller.person;
    let held = ask.place(world).hooks.values();
    if held.filter(|hook| hook.owner == *owner).count() >= MOST {
        return Err("The maximum number of webhooks for this user and app is reached.".to_owned());
    }
    let events = texts(&one["events"]);
    if events.is_empty() {
        return Err("Events must not be empty.".to_owned());
    }
    let refused = ask.hub.settings().refused_events.clone();
    if let Some(event) = events
        .iter()
        .find(|event| !ALLOWED.contains(&event.as_str()) || refused.contains(event))
    {
        return Err(format!("The event {event} is not supported."));
    }
    let filter = one["jqlFilter"].as_str().unwrap_or_default().to_owned();
    let asker = Asker {
        person: &world.people[owner],
        now: now * 1_000,
    };
    let question = Jql::parse(&filter, &asker)?;
    question.fits_webhooks()?;
    Ok(Hook {
        id: 0,
        owner: owner.clone(),
        url: url.to_owned(),
        events,
        filter,
        question,
        fields: texts(&one["fieldIdsFilter"]),
        expires: now + LIFE,
    })
}

/// A page of the caller's webhooks.
pub(super) fn list(ask: &Ask<'_>, world: &mut World, now: i64) -> Reply {
    expire(world, now);
    let all = ask
        .place(world)
        .hooks
        .values()
        .filter(|hook| hook.owner == ask.caller.person)
        .map(|hook| {
            json!({
                "id": hook.id, "jqlFilter": hook.filter, "events": hook.events,
                "expirationDate": super::render::time(hook.expires * 1_000), "url": hook.url,
            })
        })
        .collect();
    ask.window(all, "values", 100)
}

/// The caller's webhooks that a body names; others are passed over.
fn named<'w>(ask: &Ask<'_>, world: &'w mut World) -> Vec<&'w mut Hook> {
    let ids: Vec<u64> = ask.given["webhookIds"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect();
    let hooks = world.sites.get_mut(ask.site).map(|site| &mut site.hooks);
    hooks
        .into_iter()
        .flatten()
        .map(|(_, hook)| hook)
        .filter(|hook| hook.owner == ask.caller.person && ids.contains(&hook.id))
        .collect()
}

/// Lets webhooks live for another thirty days.
pub(super) fn refresh(ask: &Ask<'_>, world: &mut World, now: i64) -> Reply {
    expire(world, now);
    let until = now + LIFE;
    for hook in named(ask, world) {
        hook.expires = until;
    }
    Reply::ok(json!({ "expirationDate": until * 1_000 }))
}

pub(super) fn delete(ask: &Ask<'_>, world: &mut World) -> Reply {
    let gone: Vec<u64> = named(ask, world).iter().map(|hook| hook.id).collect();
    if let Some(site) = world.sites.get_mut(ask.site) {
        site.hooks.retain(|id, _| !gone.contains(id));
    }
    Reply::empty(StatusCode::ACCEPTED)
}

/// Webhooks whose time is over are gone.
pub(super) fn expire(world: &mut World, now: i64) {
    for site in world.sites.values_mut() {
        site.hooks.retain(|_, hook| hook.expires > now);
    }
}
