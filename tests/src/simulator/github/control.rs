//! The part of the control API that is about GitHub: accounts, actions,
//! generation, settings, tokens, deliveries.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rand::RngExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::act::{Act, Stage};
use super::settings::Settings;
use super::webhooks::Listing;
use super::world::{Account, PersonKind, World};
use super::{GitHub, generate};
use crate::simulator::Size;
use crate::simulator::control::{self, refusal};

type Hub = Arc<GitHub>;

/// Facts that one lock of the world covers while many are generated.
const BATCH: usize = 50;

pub(crate) fn router(hub: Hub) -> Router {
    Router::new()
        .route("/_sim/github/accounts", get(accounts).post(add_account))
        .route("/_sim/github/act", post(act))
        .route("/_sim/github/generate", post(generate_now))
        .route("/_sim/github/settings", get(settings).post(change_settings))
        .route("/_sim/github/tokens", post(change_tokens))
        .route("/_sim/github/deliveries", get(deliveries))
        .with_state(hub)
}

fn account_json(world: &World, account: &Account) -> Value {
    let installation = world.installation_for(account.id);
    let repositories: Vec<Value> = account
        .repositories
        .iter()
        .filter_map(|id| world.repositories.get(id))
        .map(|found| json!({"id": found.id, "name": found.name, "full_name": world.full_name(found)}))
        .collect();
    json!({
        "login": world.login(account.id), "id": account.id, "type": account.kind.name(),
        "admin": world.login(account.admin),
        "members": account.members.iter().map(|id| world.login(*id)).collect::<Vec<_>>(),
        "bot": world.login(account.bot), "created_at": crate::simulator::clock::iso(account.created_at),
        "repositories": repositories,
        "installation": installation.map(|found| json!({
            "id": found.id, "suspended": found.suspended_at.is_some(),
            "repository_selection": found.selection_name(),
        })),
        "installation_requested": world.requests.iter().any(|request| request.account == account.id),
    })
}

async fn accounts(State(hub): State<Hub>) -> Json<Value> {
    let world = hub.world();
    let all: Vec<Value> = world
        .accounts
        .values()
        .map(|account| account_json(&world, account))
        .collect();
    Json(json!({ "accounts": all }))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    login: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    repositories: Option<usize>,
    people: Option<usize>,
    history: Option<usize>,
    install: Option<bool>,
}

async fn add_account(State(hub): State<Hub>, body: Option<Json<NewAccount>>) -> Response {
    let Json(wanted) = body.unwrap_or_default();
    let kind = match wanted.kind.as_deref() {
        None | Some("Organization") => PersonKind::Organization,
        Some("User") => PersonKind::User,
        Some(other) => {
            return refusal(
                StatusCode::UNPROCESSABLE_ENTITY,
                &format!("no type {other}"),
            );
        }
    };
    let now = hub.core.clock.seconds();
    let created = hub.stage(|stage| {
        let world = &mut *stage.world;
        let login = match wanted.login {
            Some(login) if world.person_id(&login).is_some() => return Err(login),
            Some(login) => login,
            None => loop {
                let login = format!("team-{:06x}", world.rng.random_range(0..0x0100_0000));
                if world.person_id(&login).is_none() {
                    break login;
                }
            },
        };
        let since = now - 31 * 24 * 3_600;
        let size = Size {
            containers: wanted.repositories.unwrap_or(1),
            people: wanted.people.unwrap_or(4),
        };
        let account = generate::add_account(world, &login, kind, size, since);
        let repositories = world.accounts[&account].repositories.clone();
        Ok((account, login, repositories))
    });
    let (account, login, repositories) = match created {
        Ok(created) => created,
        Err(login) => return refusal(StatusCode::CONFLICT, &format!("{login} exists already")),
    };
    for repository in repositories {
        generate::past_of(&hub, repository, wanted.history.unwrap_or(0), now);
    }
    if wanted.install == Some(true) {
        let act = Act {
            account: login,
            action: "installation.created".to_owned(),
            ..Act::default()
        };
        if let Err(refused) = hub.stage(|stage| stage.perform(&act)) {
            return refusal(StatusCode::CONFLICT, &refused.0);
        }
    }
    let world = hub.world();
    let answer = world
        .accounts
        .get(&account)
        .map(|account| account_json(&world, account));
    (StatusCode::CREATED, Json(json!(answer))).into_response()
}

async fn act(State(hub): State<Hub>, Json(act): Json<Act>) -> Response {
    let (outcome, facts, deliveries) = hub.stage(|stage: &mut Stage<'_>| {
        let outcome = stage.perform(&act);
        (
            outcome,
            std::mem::take(&mut stage.facts),
            std::mem::take(&mut stage.deliveries),
        )
    });
    match outcome {
        Err(refused) => refusal(StatusCode::CONFLICT, &refused.0),
        Ok(object) => {
            let visible = hub.world().visible_repositories();
            let entries: Vec<_> = facts
                .iter()
                .filter_map(|seq| hub.core.ledger.entry(*seq, &visible))
                .collect();
            Json(json!({"object": object, "facts": entries, "deliveries": deliveries}))
                .into_response()
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Generate {
    count: usize,
    account: Option<String>,
}

async fn generate_now(State(hub): State<Hub>, Json(wanted): Json<Generate>) -> Response {
    if let Some(login) = &wanted.account
        && hub.world().account_by_login(login).is_none()
    {
        return refusal(StatusCode::NOT_FOUND, &format!("no account {login}"));
    }
    let (mut facts, mut deliveries) = (0, 0);
    while facts < wanted.count {
        let batch = BATCH.min(wanted.count - facts);
        let (rows, sent) = generate::now(&hub, wanted.account.as_deref(), batch);
        if rows.is_empty() {
            return refusal(StatusCode::CONFLICT, "nothing can happen there");
        }
        facts += rows.len();
        deliveries += sent.len();
        tokio::task::yield_now().await;
    }
    Json(json!({"facts": facts, "deliveries": deliveries})).into_response()
}

async fn settings(State(hub): State<Hub>) -> Json<Settings> {
    Json(hub.settings().clone())
}

/// Replaces the named fields; `"rotate_webhook_secret": true` makes a new secret.
async fn change_settings(
    State(hub): State<Hub>,
    Json(mut wanted): Json<Map<String, Value>>,
) -> Response {
    if wanted.remove("rotate_webhook_secret") == Some(Value::Bool(true)) {
        wanted.insert(
            "webhook_secret".to_owned(),
            json!(hex::encode(rand::random::<[u8; 20]>())),
        );
    }
    let present = hub.settings().clone();
    control::change_settings(&present, wanted, |new| {
        hub.change_settings(|settings| *settings = new);
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeTokens {
    /// `installation` or `user`.
    expire: Option<String>,
    /// Login whose grant ends silently, without a webhook.
    revoke_user: Option<String>,
}

async fn change_tokens(State(hub): State<Hub>, Json(wanted): Json<ChangeTokens>) -> Response {
    let mut expired = 0;
    match wanted.expire.as_deref() {
        None => {}
        Some("installation") => expired = hub.tokens.expire_installations(),
        Some("user") => expired = hub.tokens.expire_users(hub.core.clock.seconds()),
        Some(other) => {
            return refusal(
                StatusCode::UNPROCESSABLE_ENTITY,
                &format!("cannot expire {other}"),
            );
        }
    }
    if let Some(login) = wanted.revoke_user {
        let Some(user) = hub.world().person_id(&login) else {
            return refusal(StatusCode::NOT_FOUND, &format!("no user {login}"));
        };
        hub.tokens.revoke_grant(user);
    }
    Json(json!({ "expired": expired })).into_response()
}

#[derive(Deserialize)]
struct Page {
    limit: Option<usize>,
    before: Option<u64>,
}

async fn deliveries(State(hub): State<Hub>, Query(page): Query<Page>) -> Json<Value> {
    let limit = page.limit.unwrap_or(100);
    let listing = Listing {
        before: page.before,
        limit,
        succeeded: None,
    };
    let (rows, next) = hub.webhooks.log().list(&listing, hub.core.clock.seconds());
    let detailed: Vec<Value> = rows
        .iter()
        .filter_map(|row| hub.webhooks.log().get(row["id"].as_u64()?))
        .map(|found| found.detail())
        .collect();
    Json(json!({"deliveries": detailed, "next_before": next}))
}
