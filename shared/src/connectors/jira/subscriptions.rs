//! Dynamic webhooks: one per connection, over all projects that it sees.
//!
//! They end after thirty days unless they are renewed, cannot be changed, and number at most
//! five per person, app and site ("Webhooks" at developer.atlassian.com).

use chrono::{DateTime, Duration, TimeZone, Utc};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::client::{Call, Client};
use crate::connectors::support::operator_fault;
use crate::connectors::wire::or_default;
use crate::connectors::{Access, ConnectorError, Subscription, SubscriptionSpec};
use crate::crypto::sha256;

/// What is subscribed to. Worklogs, projects and boards are not to be had.
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

/// How long a subscription lives when the list does not say.
const LIFE: Duration = Duration::days(30);
const PATH: &[&str] = &["rest", "api", "3", "webhook"];

/// The subscription over these projects; none without projects.
pub(super) fn over(mut projects: Vec<String>) -> Vec<SubscriptionSpec> {
    projects.sort_unstable();
    projects.dedup();
    if projects.is_empty() {
        return Vec::new();
    }
    vec![SubscriptionSpec {
        resource: resource(&projects, &EVENTS),
        target: json!({ "projects": projects }),
    }]
}

/// A name that says what a subscription does: the same projects and events, the same name.
fn resource(projects: &[String], events: &[&str]) -> String {
    let mut events = events.to_vec();
    events.sort_unstable();
    let said = json!([projects, events]).to_string();
    format!("issues:{}", hex::encode(&sha256(said.as_bytes())[..8]))
}

/// The route of a webhook's deliveries: its number is small, and the site's own.
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

/// The projects of a filter of ours; none of another.
fn projects_of(filter: &str) -> Option<Vec<String>> {
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

/// The webhooks that the site holds for this person and app.
pub(super) async fn list(
    client: &Client,
    access: &Access,
) -> Result<Vec<Subscription>, ConnectorError> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(default)]
        values: Vec<Listed>,
        #[serde(default, rename = "isLast")]
        is_last: bool,
    }
    #[derive(Deserialize)]
    struct Listed {
        id: u64,
        #[serde(default, rename = "jqlFilter")]
        filter: String,
        #[serde(default)]
        events: Vec<String>,
        #[serde(default, rename = "expirationDate")]
        expires: Value,
    }
    let mut found = Vec::new();
    loop {
        let start = found.len().to_string();
        let call = Call::new(access, "list_webhooks");
        let query = [("startAt", start.as_str()), ("maxResults", "100")];
        let answer = client.get(&call, PATH, &query).await?;
        let page: Page = answer.json()?;
        client.spent(&call, page.values.len()).await;
        let last = page.is_last || page.values.is_empty();
        found.extend(page.values.into_iter().map(|listed| {
            let id = listed.id.to_string();
            let (resource, refused_events) = purpose(&listed.filter, &listed.events);
            Subscription {
                resource,
                route: Some(route(origin(access), &id)),
                external_id: id,
                expires_at: moment(&listed.expires),
                refused_events,
            }
        }));
        if last {
            return Ok(found);
        }
    }
}

/// What a listed webhook is for, and which of our events it does without. A registration has the
/// core event and others, a probe has one or the other.
fn purpose(filter: &str, events: &[String]) -> (String, Vec<String>) {
    let Some(projects) = projects_of(filter) else {
        return (String::new(), Vec::new());
    };
    if events.iter().any(|event| !EVENTS.contains(&event.as_str())) {
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        return (resource(&projects, &events), Vec::new());
    }
    let (held, refused): (Vec<&str>, Vec<&str>) = EVENTS
        .into_iter()
        .partition(|event| events.iter().any(|held| held == event));
    let ours = resource(&projects, &EVENTS);
    if held.len() > 1 && held.contains(&CORE_EVENT) {
        (ours, refused.into_iter().map(str::to_owned).collect())
    } else {
        (Subscription::leftover_of(&ours), Vec::new())
    }
}

/// Registers a webhook. One event that Jira refuses loses no other: those that it accepts are
/// registered, and the others are named.
pub(super) async fn create(
    client: &Client,
    access: &Access,
    wanted: &SubscriptionSpec,
    webhook_url: &Url,
) -> Result<Subscription, ConnectorError> {
    #[derive(Deserialize)]
    struct Target {
        projects: Vec<String>,
    }
    let target: Target = serde_json::from_value(wanted.target.clone())
        .map_err(|error| ConnectorError::Permanent(error.into()))?;
    let asking = Registration {
        client,
        access,
        url: webhook_url,
        filter: filter(&target.projects),
    };
    let (id, refused) = asking.register_accepted().await?;
    Ok(Subscription {
        resource: wanted.resource.clone(),
        route: Some(route(origin(access), &id)),
        external_id: id,
        expires_at: client.now().checked_add_signed(LIFE),
        refused_events: refused.into_iter().map(str::to_owned).collect(),
    })
}

/// A webhook that is to be registered.
struct Registration<'a> {
    client: &'a Client,
    access: &'a Access,
    url: &'a Url,
    filter: String,
}

/// What Jira answered to a registration.
enum Answered {
    /// The webhook's number.
    Registered(String),
    /// Why not.
    Refused(String),
}

/// The event without which a webhook is worth nothing: if it is refused, that is not because of
/// the event.
const CORE_EVENT: &str = "jira:issue_updated";

impl Registration<'_> {
    /// Registers the events that Jira accepts; answers the webhook's number and the others.
    async fn register_accepted(&self) -> Result<(String, Vec<&'static str>), ConnectorError> {
        let why = match self.register(&EVENTS).await? {
            Answered::Registered(id) => return Ok((id, Vec::new())),
            Answered::Refused(why) => why,
        };
        let refusal = |why: &str| operator_fault(format!("Jira registered no webhook: {why}"));
        let mut accepted = self.accepted(&[CORE_EVENT]).await?;
        if accepted.is_empty() {
            return Err(refusal(&why));
        }
        let others: Vec<&str> = EVENTS
            .into_iter()
            .filter(|event| *event != CORE_EVENT)
            .collect();
        let (first, second) = others.split_at(others.len() / 2);
        for half in [first, second] {
            accepted.extend(self.accepted(half).await?);
        }
        match self.register(&accepted).await? {
            Answered::Registered(id) => {
                let refused = EVENTS
                    .into_iter()
                    .filter(|event| !accepted.contains(event))
                    .collect();
                Ok((id, refused))
            }
            Answered::Refused(why) => Err(refusal(&why)),
        }
    }

    /// Those of these events that Jira accepts, found by halving. What was registered to find out
    /// is deleted at once: a person may have five webhooks at a site.
    async fn accepted(&self, events: &[&'static str]) -> Result<Vec<&'static str>, ConnectorError> {
        let mut accepted = Vec::new();
        let mut undecided = vec![events.to_vec()];
        while let Some(some) = undecided.pop() {
            match self.register(&some).await? {
                Answered::Registered(id) => {
                    delete(self.client, self.access, &id).await?;
                    accepted.extend(some);
                }
                Answered::Refused(_) if some.len() <= 1 => {}
                Answered::Refused(_) => {
                    let (first, second) = some.split_at(some.len() / 2);
                    undecided.extend([first.to_vec(), second.to_vec()]);
                }
            }
        }
        Ok(accepted)
    }

    /// Asks for these events. The answer is 200 even when nothing was registered.
    async fn register(&self, events: &[&str]) -> Result<Answered, ConnectorError> {
        #[derive(Deserialize)]
        struct Registered {
            #[serde(
                default,
                rename = "webhookRegistrationResult",
                deserialize_with = "or_default"
            )]
            results: Vec<One>,
        }
        #[derive(Deserialize)]
        struct One {
            #[serde(rename = "createdWebhookId")]
            id: Option<u64>,
            #[serde(default, deserialize_with = "or_default")]
            errors: Vec<String>,
        }
        let body = json!({
            "url": self.url.as_str(),
            "webhooks": [{ "events": events, "jqlFilter": self.filter }],
        });
        let call = Call::new(self.access, "create_webhook");
        let answer = match self.client.put(&call, Method::POST, PATH, &body).await {
            Ok(answer) => answer,
            Err(refusal) if refusal.status == Some(StatusCode::BAD_REQUEST) => {
                return Ok(Answered::Refused("the request is not valid".to_owned()));
            }
            Err(other) => return Err(other.into()),
        };
        let registered: Registered = answer.json()?;
        let one = registered.results.first();
        Ok(match one.and_then(|one| one.id) {
            Some(id) => Answered::Registered(id.to_string()),
            None => Answered::Refused(
                one.and_then(|one| one.errors.first())
                    .map_or("no reason given", String::as_str)
                    .chars()
                    .take(200)
                    .collect(),
            ),
        })
    }
}

/// Lets a webhook live for another thirty days. Ids that are not known are ignored by Jira,
/// so what is left is looked at.
pub(super) async fn renew(
    client: &Client,
    access: &Access,
    subscription: &Subscription,
) -> Result<Subscription, ConnectorError> {
    let ids = json!({ "webhookIds": [number(&subscription.external_id)?] });
    let call = Call::new(access, "refresh_webhook");
    let path: Vec<&str> = PATH.iter().copied().chain(["refresh"]).collect();
    client.put(&call, Method::PUT, &path, &ids).await?;
    list(client, access)
        .await?
        .into_iter()
        .find(|held| held.external_id == subscription.external_id)
        .map(|held| Subscription {
            resource: subscription.resource.clone(),
            refused_events: subscription.refused_events.clone(),
            expires_at: held
                .expires_at
                .or_else(|| client.now().checked_add_signed(LIFE)),
            ..held
        })
        .ok_or_else(|| ConnectorError::Permission("the site does not hold the webhook".into()))
}

/// Deletes a webhook. Ids that are not known are ignored by Jira.
pub(super) async fn end(
    client: &Client,
    access: &Access,
    subscription: &Subscription,
) -> Result<(), ConnectorError> {
    delete(client, access, &subscription.external_id).await
}

async fn delete(client: &Client, access: &Access, id: &str) -> Result<(), ConnectorError> {
    let ids = json!({ "webhookIds": [number(id)?] });
    let call = Call::new(access, "delete_webhook");
    client.put(&call, Method::DELETE, PATH, &ids).await?;
    Ok(())
}

fn number(id: &str) -> Result<u64, ConnectorError> {
    id.parse()
        .map_err(|_| operator_fault("a webhook's id is not a number"))
}

/// An end as text, or as milliseconds since 1970: both are documented.
fn moment(value: &Value) -> Option<DateTime<Utc>> {
    match value {
        Value::String(text) => super::wire::Moment::parse(text).map(|moment| moment.0),
        Value::Number(milliseconds) => Utc.timestamp_millis_opt(milliseconds.as_i64()?).single(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_depends_on_the_projects_and_not_on_their_order() {
        let name = |keys: &[&str]| {
            over(keys.iter().map(|key| (*key).to_owned()).collect())[0]
                .resource
                .clone()
        };
        assert_eq!(name(&["ENG", "OPS"]), name(&["OPS", "ENG", "ENG"]));
        assert_ne!(name(&["ENG"]), name(&["ENG", "OPS"]));
        assert!(over(Vec::new()).is_empty());
    }

    #[test]
    fn a_filter_of_ours_is_known_again() {
        let keys = vec!["ENG".to_owned(), "OPS".to_owned()];
        assert_eq!(projects_of(&filter(&keys)), Some(keys));
        for other in [
            "",
            "project = ENG",
            "project in (ENG)",
            "assignee in (\"ENG\")",
        ] {
            assert_eq!(projects_of(other), None, "{other}");
        }
    }

    #[test]
    fn reduced_registration_is_known_and_a_probe_is_a_leftover() {
        let projects = vec!["ENG".to_owned()];
        let wanted = over(projects.clone()).remove(0).resource;
        let listed = |events: &[&str]| {
            let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
            purpose(&filter(&projects), &events)
        };
        assert_eq!(listed(&EVENTS), (wanted.clone(), Vec::new()));
        let reduced: Vec<&str> = EVENTS
            .into_iter()
            .filter(|event| *event != "sprint_deleted")
            .collect();
        let refused = vec!["sprint_deleted".to_owned()];
        assert_eq!(listed(&reduced), (wanted.clone(), refused));
        for probe in [&[CORE_EVENT][..], &["comment_created", "sprint_created"]] {
            let leftover = Subscription::leftover_of(&wanted);
            assert_eq!(listed(probe), (leftover, Vec::new()));
        }
        let other = listed(&["jira:issue_updated", "user_created"]).0;
        assert!(other != wanted && other != Subscription::leftover_of(&wanted));
    }

    #[test]
    fn an_end_may_be_written_in_two_ways() {
        for written in [
            json!("2026-12-23T10:00:00.000+0000"),
            json!(1_798_020_000_000_i64),
        ] {
            let at = moment(&written).expect("a time");
            assert_eq!(at.to_rfc3339(), "2026-12-23T10:00:00+00:00");
        }
        assert_eq!(moment(&json!(null)), None);
    }
}
