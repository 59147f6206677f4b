//! The part of the control API that is about Slack.

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
use super::tokens::Holder;
use super::world::{Organization, Team, World};
use super::{Slack, events, generate};
use crate::simulator::control::{self, Provider as _, refusal};
use crate::simulator::{Past, Size};

type Hub = Arc<Slack>;

pub(crate) fn router(hub: Hub) -> Router {
    Router::new()
        .route("/_sim/slack/accounts", get(accounts).post(add_account))
        .route("/_sim/slack/act", post(act))
        .route("/_sim/slack/generate", post(generate_now))
        .route("/_sim/slack/settings", get(settings).post(change_settings))
        .route("/_sim/slack/tokens", post(change_tokens))
        .route("/_sim/slack/url-verification", post(verify_url))
        .route("/_sim/slack/deliveries", get(deliveries))
        .with_state(hub)
}

fn account_json(world: &World, team: &Team) -> Value {
    let channels: Vec<Value> = world
        .channels_of(&team.id)
        .map(|channel| json!({ "id": channel.id, "name": channel.name, "teams": channel.teams }))
        .collect();
    let account = world.acting(&team.id);
    json!({
        "login": team.id, "admin": team.admin, "name": team.name, "domain": team.domain,
        "organization": team.organization, "bot": world.bot_of(&account), "people": team.people,
        "channels": channels, "installed": world.installed(&account),
        "persons": world.persons_of(&team.id),
    })
}

fn organization_json(world: &World, organization: &Organization) -> Value {
    let workspaces: Vec<Value> = world
        .teams
        .values()
        .filter(|team| team.organization.as_ref() == Some(&organization.id))
        .map(|team| account_json(world, team))
        .collect();
    json!({
        "login": organization.id, "admin": organization.admin, "name": organization.name,
        "domain": organization.domain, "bot": organization.bot, "workspaces": workspaces,
        "added": organization.added, "installed": world.installed(&organization.id),
        "persons": world.persons_of(&organization.id),
    })
}

/// Workspaces first, organizations behind them.
async fn accounts(State(hub): State<Hub>) -> Json<Value> {
    let world = hub.world();
    let workspaces = world.teams.values().map(|team| account_json(&world, team));
    let organizations = world
        .organizations
        .values()
        .map(|organization| organization_json(&world, organization));
    let accounts: Vec<Value> = workspaces.chain(organizations).collect();
    Json(json!({ "accounts": accounts }))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    domain: Option<String>,
    /// An organization instead of a single workspace.
    #[serde(default)]
    organization: bool,
    /// How many workspaces the organization has.
    workspaces: Option<usize>,
    /// The organization that the workspace is added to.
    within: Option<String>,
    channels: Option<usize>,
    people: Option<usize>,
    #[serde(default)]
    history: usize,
    replies: Option<usize>,
}

async fn add_account(State(hub): State<Hub>, body: Option<Json<NewAccount>>) -> Response {
    let wanted = body.map(|Json(body)| body).unwrap_or_default();
    let now = hub.core.clock.seconds();
    let size = Size {
        containers: wanted.channels.unwrap_or(generate::USUAL.containers),
        people: wanted.people.unwrap_or(generate::USUAL.people),
    };
    let past = Past {
        facts: wanted.history,
        counted: wanted.replies,
    };
    let (id, teams) = {
        let mut world = hub.world();
        if let Some(organization) = &wanted.within
            && !world.organizations.contains_key(organization)
        {
            return refusal(StatusCode::CONFLICT, "there is no such organization");
        }
        let number = world.teams.len() + 1;
        let domain = wanted.domain.unwrap_or_else(|| format!("team-{number}"));
        if wanted.organization {
            let id = generate::add_organization(&mut world, &domain);
            let teams: Vec<String> = (1..=wanted.workspaces.unwrap_or(2))
                .map(|number| {
                    let domain = format!("{domain}-{number}");
                    generate::add_team(&mut world, &domain, Some(&id), size, now)
                })
                .collect();
            (id, teams)
        } else {
            let id = generate::add_team(&mut world, &domain, wanted.within.as_deref(), size, now);
            (id.clone(), vec![id])
        }
    };
    for team in &teams {
        generate::team_history(&hub, team, past, now);
    }
    let world = hub.world();
    let shown = match world.organizations.get(&id) {
        Some(organization) => organization_json(&world, organization),
        None => account_json(&world, &world.teams[&id]),
    };
    (StatusCode::CREATED, Json(shown)).into_response()
}

async fn act(State(hub): State<Hub>, Json(act): Json<Act>) -> Response {
    let done = hub.stage(hub.now(), |stage| stage.act(&act));
    match done {
        Ok(done) => {
            let visible = hub.visible();
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
    if let Some(account) = &body.account {
        let world = hub.world();
        if !world.teams.contains_key(account) && !world.organizations.contains_key(account) {
            return refusal(StatusCode::CONFLICT, "there is no such account");
        }
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
    /// The bot's tokens of this account, or this person's, end now if they rotate.
    expire: Option<String>,
    /// They are withdrawn. Only of a person's is there an event.
    revoke: Option<String>,
}

/// Whose grants an id names: an account's bot's, or a person's.
fn holders(world: &World, id: &str) -> Vec<Holder> {
    if world.users.contains_key(id) {
        let accounts = world.accounts_of_person(id);
        return accounts
            .iter()
            .map(|account| Holder::person(account, id))
            .collect();
    }
    let bot = Holder::bot(id);
    world.grant(&bot).map(|_| bot).into_iter().collect()
}

async fn change_tokens(State(hub): State<Hub>, Json(body): Json<Tokens>) -> Response {
    let now = hub.core.clock.seconds();
    let found = hub.stage(hub.now(), |stage| {
        let named = |id: &Option<String>| -> Vec<Holder> {
            let id = id.as_deref();
            id.map_or_else(Vec::new, |id| holders(stage.world, id))
        };
        let (expired, revoked) = (named(&body.expire), named(&body.revoke));
        let found = !expired.is_empty() || !revoked.is_empty();
        for holder in expired {
            stage.world.expire(&holder, now);
        }
        for holder in revoked {
            if holder.person.is_some() {
                stage.revoke(&holder, true);
            } else if let Some(grant) = stage.world.grant_mut(&holder) {
                // As if the event had been lost: only a call tells.
                grant.tokens.clear();
                grant.refresh = None;
            }
        }
        found
    });
    if found {
        StatusCode::NO_CONTENT.into_response()
    } else {
        refusal(StatusCode::CONFLICT, "nothing was granted there")
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Verification {
    /// The URL that is to be verified; without it, the one that events go to.
    url: Option<String>,
}

/// What Slack does when an app's request URL is filled in.
async fn verify_url(State(hub): State<Hub>, body: Option<Json<Verification>>) -> Response {
    let wanted = body.and_then(|Json(body)| body.url);
    let url = wanted.unwrap_or_else(|| hub.settings().webhook_url.clone());
    let challenge = hub.world().secret(40);
    let secret = hub.settings().signing_secret.clone();
    match events::verify(&url, &secret, &challenge).await {
        Ok((status, answer)) => {
            let object: Option<Value> = serde_json::from_str(&answer).ok();
            let echoed = object
                .as_ref()
                .and_then(|object| object["challenge"].as_str())
                .unwrap_or_else(|| answer.trim());
            let verified = status == 200 && echoed == challenge;
            Json(json!({
                "verified": verified, "status": status, "challenge": challenge, "answer": answer,
            }))
            .into_response()
        }
        Err(error) => refusal(StatusCode::CONFLICT, &error.to_string()),
    }
}

async fn deliveries(State(hub): State<Hub>) -> Json<Value> {
    Json(json!({ "attempts": hub.events.attempts() }))
}
