//! Slack's part of the control API.

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
use super::tokens::Holder;
use super::world::{Organization, Team, World};
use super::{Slack, events, generate};
use crate::control::{self, Provider as _, error_response};
use crate::{AccountSize, HistorySize};

type Hub = Arc<Slack>;

pub(crate) fn router(hub: Hub) -> Router {
    Router::new()
        .route("/_sim/slack/accounts", get(accounts).post(add_account))
        .route("/_sim/slack/act", post(perform_action))
        .route("/_sim/slack/generate", post(generate_facts))
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
    let account = world.acting_account(&team.id);
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

/// Lists workspaces, then organizations.
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
    /// Create an organization instead of a workspace.
    #[serde(default)]
    organization: bool,
    /// Number of workspaces of the organization.
    workspaces: Option<usize>,
    /// Organization of the new workspace.
    within: Option<String>,
    channels: Option<usize>,
    people: Option<usize>,
    #[serde(default)]
    history: usize,
    replies: Option<usize>,
}

async fn add_account(State(hub): State<Hub>, body: Option<Json<NewAccount>>) -> Response {
    let Json(body) = body.unwrap_or_default();
    let now = hub.core.clock.seconds();
    let size = AccountSize {
        containers: body.channels.unwrap_or(generate::DEFAULT_SIZE.containers),
        people: body.people.unwrap_or(generate::DEFAULT_SIZE.people),
    };
    let history_size = HistorySize {
        facts: body.history,
        fixed_count: body.replies,
    };
    let (id, teams) = {
        let mut world = hub.world();
        if let Some(organization) = &body.within
            && !world.organizations.contains_key(organization)
        {
            return error_response(StatusCode::CONFLICT, "unknown organization");
        }
        let number = world.teams.len() + 1;
        let domain = body.domain.unwrap_or_else(|| format!("team-{number}"));
        if body.organization {
            let id = generate::add_organization(&mut world, &domain);
            let teams: Vec<String> = (1..=body.workspaces.unwrap_or(2))
                .map(|number| {
                    let domain = format!("{domain}-{number}");
                    generate::add_team(&mut world, &domain, Some(&id), size, now)
                })
                .collect();
            (id, teams)
        } else {
            let id = generate::add_team(&mut world, &domain, body.within.as_deref(), size, now);
            (id.clone(), vec![id])
        }
    };
    for team in &teams {
        generate::populate_team_history(&hub, team, history_size, now);
    }
    let world = hub.world();
    let created = match world.organizations.get(&id) {
        Some(organization) => organization_json(&world, organization),
        None => account_json(&world, &world.teams[&id]),
    };
    (StatusCode::CREATED, Json(created)).into_response()
}

async fn perform_action(State(hub): State<Hub>, Json(params): Json<ActionParams>) -> Response {
    let outcome = hub.transact(hub.now(), |tx| tx.perform(&params));
    match outcome {
        Ok(outcome) => {
            let visible = hub.visible();
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
    if let Some(account) = &body.account {
        let world = hub.world();
        if !world.teams.contains_key(account) && !world.organizations.contains_key(account) {
            return error_response(StatusCode::CONFLICT, "unknown account");
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
    let current = hub.settings().clone();
    control::change_settings(&current, changes, |new| {
        hub.change_settings(|settings| *settings = new);
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeTokens {
    /// Account or user whose rotating tokens expire now.
    expire: Option<String>,
    /// Account or user whose tokens are revoked. Only a user's revocation sends an event.
    revoke: Option<String>,
}

/// Holders of an id: the bot of an account, or a user in each account.
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

async fn change_tokens(State(hub): State<Hub>, Json(body): Json<ChangeTokens>) -> Response {
    let now = hub.core.clock.seconds();
    let found = hub.transact(hub.now(), |tx| {
        let find = |id: &Option<String>| -> Vec<Holder> {
            let id = id.as_deref();
            id.map_or_else(Vec::new, |id| holders(tx.world, id))
        };
        let (expired, revoked) = (find(&body.expire), find(&body.revoke));
        let found = !expired.is_empty() || !revoked.is_empty();
        for holder in expired {
            tx.world.expire(&holder, now);
        }
        for holder in revoked {
            if holder.person.is_some() {
                tx.revoke(&holder, true);
            } else if let Some(grant) = tx.world.grant_mut(&holder) {
                // Without an event, so that only an API call shows the revocation.
                grant.tokens.clear();
                grant.refresh = None;
            }
        }
        found
    });
    if found {
        StatusCode::NO_CONTENT.into_response()
    } else {
        error_response(StatusCode::CONFLICT, "no tokens of this account or user")
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Verification {
    /// URL to verify; the default is the URL of the events.
    url: Option<String>,
}

/// Sends a URL verification, as Slack does when an app's request URL is entered.
async fn verify_url(State(hub): State<Hub>, body: Option<Json<Verification>>) -> Response {
    let url = body
        .and_then(|Json(body)| body.url)
        .unwrap_or_else(|| hub.settings().webhook_url.clone());
    let challenge = hub.world().secret(40);
    let secret = hub.settings().signing_secret.clone();
    match events::verify(&url, &secret, &challenge).await {
        Ok((status, text)) => {
            let object: Option<Value> = serde_json::from_str(&text).ok();
            let echoed = object
                .as_ref()
                .and_then(|object| object["challenge"].as_str())
                .unwrap_or_else(|| text.trim());
            let verified = status == 200 && echoed == challenge;
            Json(json!({
                "verified": verified, "status": status, "challenge": challenge, "answer": text,
            }))
            .into_response()
        }
        Err(error) => error_response(StatusCode::CONFLICT, &error.to_string()),
    }
}

async fn deliveries(State(hub): State<Hub>) -> Json<Value> {
    Json(json!({ "attempts": hub.events.attempts() }))
}
