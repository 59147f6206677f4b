//! Dynamic webhooks: one subscription per connection, for all its projects.
//!
//! They expire after thirty days unless they are renewed, cannot be changed, and are limited to
//! five per person, app and site ("Webhooks" at developer.atlassian.com).

mod registration;

use chrono::{DateTime, Duration, TimeZone, Utc};
use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use self::registration::Registration;
use super::client::{Call, Client};
use crate::connectors::error::permanent_error;
use crate::connectors::wire::{id, or_default, read, rows};
use crate::connectors::{Access, ConnectorError, SubscribeRequest};
use crate::crypto::sha256;
use crate::model::{Subscription, SubscriptionSpec};

/// Subscribed events. Dynamic webhooks do not support worklogs, projects and boards.
const EVENTS: [&str; 14] = [
    "jira:issue_created",
    "jira:issue_updated",
    "jira:issue_deleted",
    "comment_created",
    "comment_updated",
    "comment_deleted",
    "sprint_created",
    "sprint_started",
    "sprint_closed",
    "sprint_updated",
    "sprint_deleted",
    "jira:version_created",
    "jira:version_released",
    "jira:version_deleted",
];

/// The event that every webhook needs. If Jira rejects it alone, the event is not the cause.
const CORE_EVENT: &str = "jira:issue_updated";

/// Lifetime of a subscription if the list does not state its expiry.
const TTL: Duration = Duration::days(30);
const PATH: &[&str] = &["rest", "api", "3", "webhook"];

/// The desired subscription of these projects; none without projects.
pub(super) fn desired_subscriptions(mut projects: Vec<String>) -> Vec<SubscriptionSpec> {
    projects.sort_unstable();
    projects.dedup();
    if projects.is_empty() {
        return Vec::new();
    }
    vec![SubscriptionSpec {
        resource: resource_id(&projects, &EVENTS),
        target: json!({ "projects": projects }),
    }]
}

/// Identity of a subscription, derived from its projects and events.
fn resource_id(projects: &[String], events: &[&str]) -> String {
    let mut events = events.to_vec();
    events.sort_unstable();
    let identity = json!([projects, events]).to_string();
    format!("issues:{}", hex::encode(&sha256(identity.as_bytes())[..8]))
}

/// The route of a webhook's deliveries: site and id, because ids are unique per site only.
pub(super) fn route(origin: &str, id: &str) -> String {
    format!("{origin}#{id}")
}

fn origin(access: &Access) -> &str {
    access.account.settings["url"].as_str().unwrap_or_default()
}

fn filter(projects: &[String]) -> String {
    let quoted: Vec<String> = projects
        .iter()
        .map(|key| format!("\"{}\"", key.replace(['"', '\\'], "")))
        .collect();
    format!("project in ({})", quoted.join(", "))
}

/// Parses the projects of a filter that [`filter`] built; `None` for other filters.
fn parse_filter(filter: &str) -> Option<Vec<String>> {
    let list = filter
        .strip_prefix("project in (")?
        .strip_suffix(')')?
        .split(", ");
    let mut keys: Vec<String> = list
        .map(|key| Some(key.strip_prefix('"')?.strip_suffix('"')?.to_owned()))
        .collect::<Option<_>>()?;
    keys.sort_unstable();
    Some(keys)
}

/// Lists the webhooks of this person and app at the site.
pub(super) async fn list(
    client: &Client,
    access: &Access,
) -> Result<Vec<Subscription>, ConnectorError> {
    #[derive(Deserialize)]
    struct Page {
        values: Vec<Box<RawValue>>,
        #[serde(default, rename = "isLast", deserialize_with = "or_default")]
        is_last: bool,
    }
    #[derive(Deserialize)]
    struct Listed {
        #[serde(default, deserialize_with = "id")]
        id: Option<String>,
        #[serde(default, rename = "jqlFilter", deserialize_with = "or_default")]
        filter: String,
        #[serde(default, deserialize_with = "rows")]
        events: Vec<String>,
        #[serde(default, rename = "expirationDate", deserialize_with = "or_default")]
        expires: Value,
    }
    let mut found = Vec::new();
    let mut listed_count = 0;
    loop {
        let start = listed_count.to_string();
        let call = Call::new(access, "list_webhooks");
        let query = [("startAt", start.as_str()), ("maxResults", "100")];
        let response = client.get(&call, PATH, &query).await?;
        let page: Page = response.json()?;
        client.record_cost(&call, page.values.len()).await;
        let last = page.is_last || page.values.is_empty();
        listed_count += page.values.len();
        // A row without an id can be neither renewed nor deleted.
        found.extend(page.values.iter().filter_map(|raw| {
            let listed: Listed = read("webhook", raw).ok()?;
            let external_id = listed.id?;
            let (resource, refused_events) = classify_webhook(&listed.filter, &listed.events);
            Some(Subscription {
                resource,
                route: Some(route(origin(access), &external_id)),
                external_id,
                state: Value::Null,
                expires_at: parse_expiry(&listed.expires),
                refused_events,
            })
        }));
        if last {
            return Ok(found);
        }
    }
}

/// The resource of a listed webhook, and those of our events that it lacks.
///
/// A registration has the core event and others; a probe has either the core event or others.
fn classify_webhook(filter: &str, events: &[String]) -> (String, Vec<String>) {
    let Some(projects) = parse_filter(filter) else {
        return (String::new(), Vec::new());
    };
    if events.iter().any(|event| !EVENTS.contains(&event.as_str())) {
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        return (resource_id(&projects, &events), Vec::new());
    }
    let (accepted, rejected): (Vec<&str>, Vec<&str>) = EVENTS
        .into_iter()
        .partition(|event| events.iter().any(|listed| listed == event));
    let resource = resource_id(&projects, &EVENTS);
    if accepted.len() > 1 && accepted.contains(&CORE_EVENT) {
        (resource, rejected.into_iter().map(str::to_owned).collect())
    } else {
        (Subscription::leftover_of(&resource), Vec::new())
    }
}

/// Registers a webhook with the events that Jira accepts, and reports the rejected ones.
pub(super) async fn create(
    client: &Client,
    access: &Access,
    request: &SubscribeRequest,
) -> Result<Subscription, ConnectorError> {
    #[derive(Deserialize)]
    struct Target {
        projects: Vec<String>,
    }
    let target: Target = serde_json::from_value(request.spec.target.clone())
        .map_err(|error| ConnectorError::Permanent(error.into()))?;
    let registration = Registration {
        client,
        access,
        url: &request.webhook_url,
        filter: filter(&target.projects),
    };
    let (id, rejected) = registration.register_accepted_events().await?;
    Ok(Subscription {
        resource: request.spec.resource.clone(),
        route: Some(route(origin(access), &id)),
        external_id: id,
        state: Value::Null,
        expires_at: client.now().checked_add_signed(TTL),
        refused_events: rejected.into_iter().map(str::to_owned).collect(),
    })
}

/// Renews a webhook for thirty days.
///
/// Jira ignores unknown ids, so the list afterwards shows whether the webhook still exists.
pub(super) async fn renew(
    client: &Client,
    access: &Access,
    subscription: &Subscription,
) -> Result<Subscription, ConnectorError> {
    let ids = json!({ "webhookIds": [parse_id(&subscription.external_id)?] });
    let call = Call::new(access, "refresh_webhook");
    let path: Vec<&str> = PATH.iter().copied().chain(["refresh"]).collect();
    client.send_json(&call, Method::PUT, &path, &ids).await?;
    list(client, access)
        .await?
        .into_iter()
        .find(|listed| listed.external_id == subscription.external_id)
        .map(|listed| Subscription {
            resource: subscription.resource.clone(),
            refused_events: subscription.refused_events.clone(),
            expires_at: listed
                .expires_at
                .or_else(|| client.now().checked_add_signed(TTL)),
            ..listed
        })
        .ok_or_else(|| ConnectorError::denied("the webhook no longer exists at the site"))
}

/// Deletes a webhook. Jira ignores unknown ids.
pub(super) async fn unsubscribe(
    client: &Client,
    access: &Access,
    subscription: &Subscription,
) -> Result<(), ConnectorError> {
    delete(client, access, &subscription.external_id).await
}

async fn delete(client: &Client, access: &Access, id: &str) -> Result<(), ConnectorError> {
    let ids = json!({ "webhookIds": [parse_id(id)?] });
    let call = Call::new(access, "delete_webhook");
    client.send_json(&call, Method::DELETE, PATH, &ids).await?;
    Ok(())
}

fn parse_id(id: &str) -> Result<u64, ConnectorError> {
    id.parse()
        .map_err(|_| permanent_error("a webhook's id is not a number"))
}

/// Parses an expiry: a text, or milliseconds since 1970; Jira documents both.
fn parse_expiry(value: &Value) -> Option<DateTime<Utc>> {
    match value {
        Value::String(text) => super::wire::Timestamp::parse(text).map(|timestamp| timestamp.0),
        Value::Number(milliseconds) => Utc.timestamp_millis_opt(milliseconds.as_i64()?).single(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_is_independent_of_project_order() {
        let resource = |keys: &[&str]| {
            desired_subscriptions(keys.iter().map(|key| (*key).to_owned()).collect())[0]
                .resource
                .clone()
        };
        assert_eq!(resource(&["ENG", "OPS"]), resource(&["OPS", "ENG", "ENG"]));
        assert_ne!(resource(&["ENG"]), resource(&["ENG", "OPS"]));
        assert!(desired_subscriptions(Vec::new()).is_empty());
    }

    #[test]
    fn filter_round_trips() {
        let keys = vec!["ENG".to_owned(), "OPS".to_owned()];
        assert_eq!(parse_filter(&filter(&keys)), Some(keys));
        for other in [
            "",
            "project = ENG",
            "project in (ENG)",
            "assignee in (\"ENG\")",
        ] {
            assert_eq!(parse_filter(other), None, "{other}");
        }
    }

    #[test]
    fn reduced_registration_is_kept_and_probe_is_leftover() {
        let projects = vec!["ENG".to_owned()];
        let desired = desired_subscriptions(projects.clone()).remove(0).resource;
        let listed = |events: &[&str]| {
            let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
            classify_webhook(&filter(&projects), &events)
        };
        assert_eq!(listed(&EVENTS), (desired.clone(), Vec::new()));
        let reduced: Vec<&str> = EVENTS
            .into_iter()
            .filter(|event| *event != "sprint_deleted")
            .collect();
        let rejected = vec!["sprint_deleted".to_owned()];
        assert_eq!(listed(&reduced), (desired.clone(), rejected));
        for probe in [&[CORE_EVENT][..], &["comment_created", "sprint_created"]] {
            let leftover = Subscription::leftover_of(&desired);
            assert_eq!(listed(probe), (leftover, Vec::new()));
        }
        let other = listed(&["jira:issue_updated", "user_created"]).0;
        assert!(other != desired && other != Subscription::leftover_of(&desired));
    }

    #[test]
    fn expiry_is_text_or_milliseconds() {
        for input in [
            json!("2026-12-23T10:00:00.000+0000"),
            json!(1_798_020_000_000_i64),
        ] {
            let at = parse_expiry(&input).expect("a timestamp");
            assert_eq!(at.to_rfc3339(), "2026-12-23T10:00:00+00:00");
        }
        assert_eq!(parse_expiry(&json!(null)), None);
    }
}
