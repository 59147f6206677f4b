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
use super::world::{Team, World};
use super::{Slack, generate};

type Hub = Arc<Slack>;

pub(crate) fn router(hub: Hub) -> Router {
    Router::new()
        .route("/_sim/slack/accounts", get(accounts).post(add_account))
        .route("/_sim/slack/act", post(act))
        .route("/_sim/slack/generate", post(generate_now))
        .route("/_sim/slack/settings", get(settings).post(change_settings))
        .route("/_sim/slack/tokens", post(change_tokens))
        .route("/_sim/slack/deliveries", get(deliveries))
        .with_state(hub)
}

fn refusal(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

fn account_json(world: &World, team: &Team) -> Value {
    let channels: Vec<Value> = world
        .channels_of(&team.id)
        .map(|channel| json!({ "id": channel.id, "name": channel.name, "teams": channel.teams }))
        .collect();
    json!({
        "login": team.id, "admin": team.admin, "name": team.name, "domain": team.domain,
        "bot": team.bot, "people": team.people, "channels": channels,
        "installed": world.installations.contains_key(&team.id),
    })
}

async fn accounts(State(hub): State<Hub>) -> Json<Value> {
    let world = hub.world();
    let accounts: Vec<Value> = world
        .teams
        .values()
        .map(|team| account_json(&world, team))
        .collect();
    Json(json!({ "accounts": accounts }))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    domain: Option<String>,
    #[serde(default)]
    history: usize,
}

async fn add_account(State(hub): State<Hub>, body: Option<Json<NewAccount>>) -> Response {
    let wanted = body.map(|Json(body)| body).unwrap_or_default();
    let now = hub.core.clock.seconds();
    let id = {
        let mut world = hub.world();
        let number = world.teams.len() + 1;
        let domain = wanted.domain.unwrap_or_else(|| format!("team-{number}"));
        generate::add_team(&mut world, &domain, now)
    };
    generate::team_history(&hub, &id, wanted.history, now);
    let world = hub.world();
    (
        StatusCode::CREATED,
        Json(account_json(&world, &world.teams[&id])),
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
        && !hub.world().teams.contains_key(account)
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
    let Ok(Value::Object(mut all)) = serde_json::to_value(hub.settings().clone()) else {
        return refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "settings cannot be shown",
        );
    };
    for (name, value) in changes {
        if !all.contains_key(&name) {
            return refusal(StatusCode::UNPROCESSABLE_ENTITY, "there is no such setting");
        }
        all.insert(name, value);
    }
    match serde_json::from_value::<Settings>(Value::Object(all)) {
        Ok(new) => {
            hub.change_settings(|settings| *settings = new.clone());
            Json(new).into_response()
        }
        Err(error) => refusal(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tokens {
    /// Tokens of this workspace that rotate end now.
    expire: Option<String>,
    /// Tokens of this workspace are withdrawn.
    revoke: Option<String>,
}

async fn change_tokens(State(hub): State<Hub>, Json(body): Json<Tokens>) -> Response {
    let now = hub.core.clock.seconds();
    let mut world = hub.world();
    let mut found = false;
    if let Some(installation) = body
        .expire
        .and_then(|team| world.installations.get_mut(&team))
    {
        for (_, end) in &mut installation.tokens {
            *end = end.map(|_| now);
        }
        found = true;
    }
    if let Some(installation) = body
        .revoke
        .and_then(|team| world.installations.get_mut(&team))
    {
        installation.tokens.clear();
        installation.refresh = None;
        found = true;
    }
    if found {
        StatusCode::NO_CONTENT.into_response()
    } else {
        refusal(StatusCode::CONFLICT, "the app is not installed there")
    }
}

async fn deliveries(State(hub): State<Hub>) -> Json<Value> {
    Json(json!({ "attempts": hub.events.attempts() }))
}
