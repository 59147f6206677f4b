//! Jira's part of the control API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::actions::ActionParams;
use super::settings::Settings;
use super::world::{Site, World};
use super::{Jira, generate};
use crate::control::{self, error_response};
use crate::{AccountSize, HistorySize};

type Hub = Arc<Jira>;

pub(crate) fn router(hub: Hub) -> Router {
    Router::new()
        .route("/_sim/jira/accounts", get(accounts).post(add_account))
        .route("/_sim/jira/act", post(perform_action))
        .route("/_sim/jira/generate", post(generate_facts))
        .route("/_sim/jira/settings", get(settings).post(change_settings))
        .route("/_sim/jira/tokens", post(change_tokens))
        .route("/_sim/jira/webhooks", get(webhooks))
        .route("/_sim/jira/deliveries", get(deliveries))
        .with_state(hub)
}

fn account_json(world: &World, site: &Site) -> Value {
    let projects: Vec<Value> = site
        .projects
        .values()
        .map(|project| json!({ "id": project.id, "key": project.key, "name": project.name }))
        .collect();
    let granted: Vec<&String> = world
        .grants
        .iter()
        .filter(|(_, sites)| sites.contains(&site.id))
        .map(|(person, _)| person)
        .collect();
    json!({
        "login": site.id, "admin": site.admin, "name": site.name, "url": site.url,
        "people": site.people, "projects": projects, "granted_by": granted,
    })
}

async fn accounts(State(hub): State<Hub>) -> Json<Value> {
    let world = hub.world();
    let accounts: Vec<Value> = world
        .sites
        .values()
        .map(|site| account_json(&world, site))
        .collect();
    Json(json!({ "accounts": accounts }))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    name: Option<String>,
    projects: Option<usize>,
    people: Option<usize>,
    #[serde(default)]
    history: usize,
    issues: Option<usize>,
    /// A person of another site who becomes a member of this site too.
    member: Option<String>,
}

async fn add_account(State(hub): State<Hub>, body: Option<Json<NewAccount>>) -> Response {
    let Json(body) = body.unwrap_or_default();
    let now = hub.core.clock.seconds();
    let id = {
        let mut world = hub.world();
        let number = world.sites.len() + 1;
        let name = body.name.unwrap_or_else(|| format!("team-{number}"));
        let size = AccountSize {
            containers: body.projects.unwrap_or(generate::DEFAULT_SIZE.containers),
            people: body.people.unwrap_or(generate::DEFAULT_SIZE.people),
        };
        let id = generate::add_site(&mut world, &name, size);
        if let Some(person) = body.member.and_then(|id| world.people.get_mut(&id)) {
            person.sites.push(id.clone());
        }
        id
    };
    let history_size = HistorySize {
        facts: body.history,
        fixed_count: body.issues,
    };
    generate::populate_site_history(&hub, &id, history_size, now);
    let world = hub.world();
    (
        StatusCode::CREATED,
        Json(account_json(&world, &world.sites[&id])),
    )
        .into_response()
}

async fn perform_action(State(hub): State<Hub>, Json(params): Json<ActionParams>) -> Response {
    let outcome = hub.transact(hub.now(), |tx| tx.perform(&params));
    match outcome {
        Ok(outcome) => {
            let visible = hub.world().visible_containers();
            let facts: Vec<_> = outcome
                .facts
                .iter()
                .filter_map(|fact| hub.core.ledger.entry(*fact, &visible))
                .collect();
            Json(json!({ "object": outcome.object, "facts": facts })).into_response()
        }
        Err(reason) => error_response(StatusCode::CONFLICT, reason),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GenerateRequest {
    count: usize,
    account: Option<String>,
}

async fn generate_facts(State(hub): State<Hub>, Json(body): Json<GenerateRequest>) -> Response {
    if let Some(account) = &body.account
        && !hub.world().sites.contains_key(account)
    {
        return error_response(StatusCode::CONFLICT, "unknown account");
    }
    let facts = generate::generate(&hub, body.account.as_deref(), body.count);
    Json(json!({ "facts": facts })).into_response()
}

async fn settings(State(hub): State<Hub>) -> Json<Settings> {
    Json(hub.settings().clone())
}

async fn change_settings(
    State(hub): State<Hub>,
    Json(changes): Json<Map<String, Value>>,
) -> Response {
    let current = hub.settings().clone();
    control::change_settings(&current, changes, |new| {
        hub.change_settings(|settings| *settings = new);
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeTokens {
    /// Account id of the person whose access tokens expire now.
    expire: Option<String>,
    /// Account id of the person whose grant is revoked.
    revoke: Option<String>,
}

async fn change_tokens(State(hub): State<Hub>, Json(body): Json<ChangeTokens>) -> Response {
    let now = hub.core.clock.seconds();
    let mut world = hub.world();
    if let Some(person) = body.expire {
        for token in world
            .access_tokens
            .values_mut()
            .filter(|token| token.person == person)
        {
            token.expires = now;
        }
    }
    if let Some(person) = body.revoke {
        world.grants.remove(&person);
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn webhooks(State(hub): State<Hub>) -> Json<Value> {
    let world = hub.world();
    let all: Vec<Value> = world
        .sites
        .values()
        .flat_map(|site| {
            site.webhooks.values().map(|webhook| {
                json!({ "account": site.id, "id": webhook.id, "owner": webhook.owner,
                        "jql_filter": webhook.filter, "events": webhook.events,
                        "expires": crate::clock::iso(webhook.expires) })
            })
        })
        .collect();
    Json(json!({ "webhooks": all }))
}

async fn deliveries(State(hub): State<Hub>) -> Json<Value> {
    Json(json!({ "attempts": hub.webhook_sender.attempts() }))
}
