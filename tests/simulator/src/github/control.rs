//! Control API of GitHub: accounts, actions, generation, settings, tokens, deliveries.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rand::RngExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::actions::{ActionParams, Transaction};
use super::settings::Settings;
use super::webhooks::Listing;
use super::world::{Account, PersonKind, World};
use super::{GitHub, generate};
use crate::AccountSize;
use crate::control::{self, error_response};

type Hub = Arc<GitHub>;

/// Facts that are generated under one lock of the world.
const BATCH: usize = 50;

pub(crate) fn router(hub: Hub) -> Router {
    Router::new()
        .route("/_sim/github/accounts", get(accounts).post(add_account))
        .route("/_sim/github/act", post(perform_action))
        .route("/_sim/github/generate", post(generate_facts))
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
        "bot": world.login(account.bot), "created_at": crate::clock::iso(account.created_at),
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
    let Json(body) = body.unwrap_or_default();
    let kind = match body.kind.as_deref() {
        None | Some("Organization") => PersonKind::Organization,
        Some("User") => PersonKind::User,
        Some(other) => {
            return error_response(
                StatusCode::UNPROCESSABLE_ENTITY,
                &format!("unknown account type {other}"),
            );
        }
    };
    let now = hub.core.clock.seconds();
    let created = hub.transact(|tx| {
        let world = &mut *tx.world;
        let login = match body.login {
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
        let size = AccountSize {
            containers: body.repositories.unwrap_or(1),
            people: body.people.unwrap_or(4),
        };
        let account = generate::add_account(world, &login, kind, size, since);
        let repositories = world.accounts[&account].repositories.clone();
        Ok((account, login, repositories))
    });
    let (account, login, repositories) = match created {
        Ok(created) => created,
        Err(login) => {
            return error_response(
                StatusCode::CONFLICT,
                &format!("account {login} already exists"),
            );
        }
    };
    for repository in repositories {
        generate::populate_repository_history(&hub, repository, body.history.unwrap_or(0), now);
    }
    if body.install == Some(true) {
        let params = ActionParams {
            account: login,
            action: "installation.created".to_owned(),
            ..ActionParams::default()
        };
        if let Err(error) = hub.transact(|tx| tx.perform(&params)) {
            return error_response(StatusCode::CONFLICT, &error.0);
        }
    }
    let world = hub.world();
    let created = world
        .accounts
        .get(&account)
        .map(|account| account_json(&world, account));
    (StatusCode::CREATED, Json(json!(created))).into_response()
}

async fn perform_action(State(hub): State<Hub>, Json(params): Json<ActionParams>) -> Response {
    let (outcome, facts, deliveries) = hub.transact(|tx: &mut Transaction<'_>| {
        let outcome = tx.perform(&params);
        (
            outcome,
            std::mem::take(&mut tx.facts),
            std::mem::take(&mut tx.deliveries),
        )
    });
    match outcome {
        Err(error) => error_response(StatusCode::CONFLICT, &error.0),
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
struct GenerateRequest {
    count: usize,
    account: Option<String>,
}

async fn generate_facts(State(hub): State<Hub>, Json(body): Json<GenerateRequest>) -> Response {
    if let Some(login) = &body.account
        && hub.world().account_by_login(login).is_none()
    {
        return error_response(StatusCode::NOT_FOUND, &format!("unknown account {login}"));
    }
    let (mut facts, mut deliveries) = (0, 0);
    while facts < body.count {
        let batch = BATCH.min(body.count - facts);
        let (rows, sent) = generate::generate(&hub, body.account.as_deref(), batch);
        if rows.is_empty() {
            return error_response(
                StatusCode::CONFLICT,
                "no action is possible in this account",
            );
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

/// Replaces the given fields; `"rotate_webhook_secret": true` generates a new secret.
async fn change_settings(
    State(hub): State<Hub>,
    Json(mut changes): Json<Map<String, Value>>,
) -> Response {
    if changes.remove("rotate_webhook_secret") == Some(Value::Bool(true)) {
        changes.insert(
            "webhook_secret".to_owned(),
            json!(hex::encode(rand::random::<[u8; 20]>())),
        );
    }
    let current = hub.settings().clone();
    control::change_settings(&current, changes, |new| {
        hub.change_settings(|settings| *settings = new);
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeTokens {
    /// `installation` or `user`.
    expire: Option<String>,
    /// Login whose authorization is revoked without a webhook.
    revoke_user: Option<String>,
}

async fn change_tokens(State(hub): State<Hub>, Json(body): Json<ChangeTokens>) -> Response {
    let mut expired = 0;
    match body.expire.as_deref() {
        None => {}
        Some("installation") => expired = hub.tokens.expire_installations(),
        Some("user") => expired = hub.tokens.expire_users(hub.core.clock.seconds()),
        Some(other) => {
            return error_response(
                StatusCode::UNPROCESSABLE_ENTITY,
                &format!("unknown token type {other}"),
            );
        }
    }
    if let Some(login) = body.revoke_user {
        let Some(user) = hub.world().person_id(&login) else {
            return error_response(StatusCode::NOT_FOUND, &format!("unknown user {login}"));
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
