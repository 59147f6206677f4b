//! Control API of GitHub: accounts, actions, generation, settings, tokens, deliveries.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use rand::RngExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::actions::ActionParams;
use super::settings::Settings;
use super::webhooks::Listing;
use super::world::{Account, PersonKind, World};
use super::{GitHub, generate};
use crate::Core;
use crate::action::ActionOutcome;
use crate::generate::AccountSize;
use crate::lock::Shared;
use crate::provider_control::{self, ControlError, Controlled, Performed};

type Service = Arc<GitHub>;

/// Facts that are generated under one lock of the world.
const BATCH: usize = 50;

/// Index of these routes and of GitHub's paths.
pub(crate) const INDEX: &str = "\
GET    /_sim/github/accounts          accounts, repositories, installations   POST adds one
GET    /_sim/github/settings          settings of app and service         POST changes fields
POST   /_sim/github/act               carry out an action {account, action, ...}
POST   /_sim/github/generate          generate facts {count, account?}
POST   /_sim/github/tokens            expire or revoke {expire: installation|user, revoke_user}
GET    /_sim/github/deliveries        log of deliveries with requests and responses
GitHub's web pages are at /, its REST API at /api/v3 and at /.
";

pub(crate) fn router(service: Service) -> Router {
    provider_control::routes(&*service)
        .route("/_sim/github/tokens", post(change_tokens))
        .route("/_sim/github/deliveries", get(deliveries))
        .with_state(service)
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

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    login: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    repositories: Option<usize>,
    people: Option<usize>,
    history: Option<usize>,
    install: Option<bool>,
}

impl Controlled for GitHub {
    type Settings = Settings;
    type NewAccount = NewAccount;
    type ActionParams = ActionParams;

    fn core(&self) -> &Core {
        &self.core
    }

    fn shared_settings(&self) -> &Shared<Settings> {
        &self.settings
    }

    /// `"rotate_webhook_secret": true` generates a new secret.
    fn expand_changes(changes: &mut Map<String, Value>) {
        if changes.remove("rotate_webhook_secret") == Some(Value::Bool(true)) {
            let secret = hex::encode(rand::random::<[u8; 20]>());
            changes.insert("webhook_secret".to_owned(), json!(secret));
        }
    }

    /// Changed permissions apply to new installations.
    fn apply_settings(&self, settings: &Settings) {
        self.world().permissions.clone_from(&settings.permissions);
    }

    fn accounts(&self) -> Vec<Value> {
        let world = self.world();
        let accounts = world.accounts.values();
        accounts
            .map(|account| account_json(&world, account))
            .collect()
    }

    fn add_account(&self, new: NewAccount) -> Result<Value, ControlError> {
        let kind = match new.kind.as_deref() {
            None | Some("Organization") => PersonKind::Organization,
            Some("User") => PersonKind::User,
            Some(other) => {
                return Err(ControlError::invalid(format!(
                    "unknown account type {other}"
                )));
            }
        };
        let now = self.core.clock.seconds();
        let (account, login, repositories) = {
            let world = &mut *self.world();
            let login = match new.login {
                Some(login) if world.person_id(&login).is_some() => {
                    let message = format!("account {login} already exists");
                    return Err(ControlError::conflict(message));
                }
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
                containers: new.repositories.unwrap_or(1),
                people: new.people.unwrap_or(4),
            };
            let account = generate::add_account(world, &login, kind, size, since);
            let repositories = world.accounts[&account].repositories.clone();
            (account, login, repositories)
        };
        for repository in repositories {
            generate::populate_repository_history(self, repository, new.history.unwrap_or(0), now);
        }
        if new.install == Some(true) {
            let params = ActionParams {
                account: login,
                action: "installation.created".to_owned(),
                ..ActionParams::default()
            };
            self.act(&params)?;
        }
        let world = self.world();
        let created = world.accounts.get(&account);
        Ok(json!(created.map(|account| account_json(&world, account))))
    }

    fn act(&self, params: &ActionParams) -> Result<Performed, ControlError> {
        self.transact(|tx| {
            let object = tx
                .perform(params)
                .map_err(|error| ControlError::conflict(error.0))?;
            let facts = std::mem::take(&mut tx.facts);
            Ok(Performed {
                outcome: ActionOutcome { object, facts },
                deliveries: Some(std::mem::take(&mut tx.deliveries)),
            })
        })
    }

    async fn generate(&self, account: Option<&str>, count: usize) -> Result<Value, ControlError> {
        if let Some(login) = account
            && self.world().account_by_login(login).is_none()
        {
            let message = format!("unknown account {login}");
            return Err(ControlError::new(StatusCode::NOT_FOUND, message));
        }
        let (mut facts, mut deliveries) = (0, 0);
        while facts < count {
            let (rows, sent) = generate::generate(self, account, BATCH.min(count - facts));
            if rows.is_empty() {
                let message = "no action is possible in this account";
                return Err(ControlError::conflict(message));
            }
            facts += rows.len();
            deliveries += sent.len();
            tokio::task::yield_now().await;
        }
        Ok(json!({"facts": facts, "deliveries": deliveries}))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeTokens {
    /// `installation` or `user`.
    expire: Option<String>,
    /// Login whose authorization is revoked without a webhook.
    revoke_user: Option<String>,
}

async fn change_tokens(
    State(service): State<Service>,
    Json(body): Json<ChangeTokens>,
) -> Result<Json<Value>, ControlError> {
    let mut expired = 0;
    match body.expire.as_deref() {
        None => {}
        Some("installation") => expired = service.tokens.expire_installations(),
        Some("user") => expired = service.tokens.expire_users(service.core.clock.seconds()),
        Some(other) => return Err(ControlError::invalid(format!("unknown token type {other}"))),
    }
    if let Some(login) = body.revoke_user {
        let Some(user) = service.world().person_id(&login) else {
            let message = format!("unknown user {login}");
            return Err(ControlError::new(StatusCode::NOT_FOUND, message));
        };
        service.tokens.revoke_grant(user);
    }
    Ok(Json(json!({ "expired": expired })))
}

#[derive(Deserialize)]
struct Page {
    limit: Option<usize>,
    before: Option<u64>,
}

async fn deliveries(State(service): State<Service>, Query(page): Query<Page>) -> Json<Value> {
    let limit = page.limit.unwrap_or(100);
    let listing = Listing {
        before: page.before,
        limit,
        succeeded: None,
    };
    let (rows, next) = service
        .webhooks
        .log()
        .list(&listing, service.core.clock.seconds());
    let detailed: Vec<Value> = rows
        .iter()
        .filter_map(|row| service.webhooks.log().get(row["id"].as_u64()?))
        .map(|found| found.detail())
        .collect();
    Json(json!({"deliveries": detailed, "next_before": next}))
}
