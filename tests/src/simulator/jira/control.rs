//! The part of the control API that is about Jira.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::act::Act;
use super::settings::Settings;
use super::world::{Site, World};
use super::{Jira, generate};
use crate::simulator::control::{self, refusal};
use crate::simulator::{Past, Size};

type Hub = Arc<Jira>;

pub(crate) fn router(hub: Hub) -> Router {
    Router::new()
        .route("/_sim/jira/accounts", get(accounts).post(add_account))
        .route("/_sim/jira/act", post(act))
        .route("/_sim/jira/generate", post(generate_now))
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
    /// Somebody of another site who works here as well.
    member: Option<String>,
}

async fn add_account(State(hub): State<Hub>, body: Option<Json<NewAccount>>) -> Response {
    let wanted = body.map(|Json(body)| body).unwrap_or_default();
    let now = hub.core.clock.seconds();
    let id = {
        let mut world = hub.world();
        let number = world.sites.len() + 1;
        let name = wanted.name.unwrap_or_else(|| format!("team-{number}"));
        let size = Size {
            containers: wanted.projects.unwrap_or(generate::USUAL.containers),
            people: wanted.people.unwrap_or(generate::USUAL.people),
        };
        let id = generate::add_site(&mut world, &name, size);
        if let Some(person) = wanted.member.and_then(|who| world.people.get_mut(&who)) {
            person.sites.push(id.clone());
        }
        id
    };
    let past = Past {
        facts: wanted.history,
        counted: wanted.issues,
    };
    generate::site_history(&hub, &id, past, now);
    let world = hub.world();
    (
        StatusCode::CREATED,
        Json(account_json(&world, &world.sites[&id])),
    )
        .into_response()
}

async fn act(State(hub): State<Hub>, Json(act): Json<Act>) -> Response {
    let done = hub.stage(hub.now(), |stage| stage.act(&act));
    match done {
        Ok(done) => {
            let visible = hub.world().visible_containers();
            let facts: Vec<_> = done
                .facts
                .iter()
                .filter_map(|fact| hub.core.ledger.entry(*fact, &visible))
                .collect();
            Json(json!({ "object": done.object, "facts": facts })).into_response()
        }
        Err(why) => refusal(StatusCode::CONFLICT, why),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Amount {
    count: usize,
    account: Option<String>,
}

async fn generate_now(State(hub): State<Hub>, Json(body): Json<Amount>) -> Response {
    if let Some(account) = &body.account
        && !hub.world().sites.contains_key(account)
    {
        return refusal(StatusCode::CONFLICT, "there is no such account");
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
    let present = hub.settings().clone();
    control::change_settings(&present, changes, |new| {
        hub.change_settings(|settings| *settings = new);
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tokens {
    /// Access tokens of this person end now.
    expire: Option<String>,
    /// This person's grant is withdrawn.
    revoke: Option<String>,
}

async fn change_tokens(State(hub): State<Hub>, Json(body): Json<Tokens>) -> Response {
    let now = hub.core.clock.seconds();
    let mut world = hub.world();
    if let Some(person) = body.expire {
        for token in world
            .access
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
            site.hooks.values().map(|hook| {
                json!({ "account": site.id, "id": hook.id, "owner": hook.owner,
                        "jql_filter": hook.filter, "events": hook.events,
                        "expires": crate::simulator::clock::iso(hook.expires) })
            })
        })
        .collect();
    Json(json!({ "webhooks": all }))
}

async fn deliveries(State(hub): State<Hub>) -> Json<Value> {
    Json(json!({ "attempts": hub.outbox.attempts() }))
}
