//! Slack's part of the control API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::actions::{Acted, ActionParams};
use super::settings::Settings;
use super::tokens::Holder;
use super::world::{Organization, Team, World};
use super::{Slack, events, generate};
use crate::Core;
use crate::generate::{AccountSize, HistorySize};
use crate::lock::Shared;
use crate::provider_control::{self, ControlError, Controlled, Performed};

type Service = Arc<Slack>;

/// Index of these routes and of Slack's paths.
pub(crate) const INDEX: &str = "\
GET    /_sim/slack/accounts           workspaces, organizations, people       POST adds one
GET    /_sim/slack/settings           settings of app and service             POST changes fields
POST   /_sim/slack/act                carry out an action {account, action, ...}
POST   /_sim/slack/generate           generate facts {count, account?}
POST   /_sim/slack/tokens             expire or revoke {expire, revoke: account or person}
POST   /_sim/slack/url-verification   send the challenge {url?}
GET    /_sim/slack/deliveries         delivery attempts
Slack is at /slack.
";

pub(crate) fn router(service: Service) -> Router {
    provider_control::routes(&*service)
        .route("/_sim/slack/tokens", post(change_tokens))
        .route("/_sim/slack/url-verification", post(verify_url))
        .route("/_sim/slack/deliveries", get(deliveries))
        .with_state(service)
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

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
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

impl Controlled for Slack {
    type Settings = Settings;
    type NewAccount = NewAccount;
    type ActionParams = ActionParams;

    fn core(&self) -> &Core {
        &self.core
    }

    fn shared_settings(&self) -> &Shared<Settings> {
        &self.settings
    }

    /// Lists workspaces, then organizations.
    fn accounts(&self) -> Vec<Value> {
        let world = self.world();
        let workspaces = world.teams.values().map(|team| account_json(&world, team));
        let organizations = world
            .organizations
            .values()
            .map(|organization| organization_json(&world, organization));
        workspaces.chain(organizations).collect()
    }

    fn add_account(&self, new: NewAccount) -> Result<Value, ControlError> {
        let now = self.core.clock.seconds();
        let size = AccountSize {
            containers: new.channels.unwrap_or(generate::DEFAULT_SIZE.containers),
            people: new.people.unwrap_or(generate::DEFAULT_SIZE.people),
        };
        let history_size = HistorySize {
            facts: new.history,
            fixed_count: new.replies,
        };
        let (id, teams) = {
            let mut world = self.world();
            if let Some(organization) = &new.within
                && !world.organizations.contains_key(organization)
            {
                return Err(ControlError::conflict("unknown organization"));
            }
            let number = world.teams.len() + 1;
            let domain = new.domain.unwrap_or_else(|| format!("team-{number}"));
            if new.organization {
                let id = generate::add_organization(&mut world, &domain);
                let teams: Vec<String> = (1..=new.workspaces.unwrap_or(2))
                    .map(|number| {
                        let domain = format!("{domain}-{number}");
                        generate::add_team(&mut world, &domain, Some(&id), size, now)
                    })
                    .collect();
                (id, teams)
            } else {
                let id = generate::add_team(&mut world, &domain, new.within.as_deref(), size, now);
                (id.clone(), vec![id])
            }
        };
        for team in &teams {
            generate::populate_team_history(self, team, history_size, now);
        }
        let world = self.world();
        Ok(match world.organizations.get(&id) {
            Some(organization) => organization_json(&world, organization),
            None => account_json(&world, &world.teams[&id]),
        })
    }

    fn act(&self, params: &ActionParams) -> Result<Performed, ControlError> {
        self.transact(self.now(), |tx| tx.perform(params))
            .map(Performed::from)
            .map_err(ControlError::conflict)
    }

    async fn generate(&self, account: Option<&str>, count: usize) -> Result<Value, ControlError> {
        if let Some(account) = account {
            let world = self.world();
            if !world.teams.contains_key(account) && !world.organizations.contains_key(account) {
                return Err(ControlError::conflict("unknown account"));
            }
        }
        Ok(json!({ "facts": crate::generate::generate(self, account, count) }))
    }
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

async fn change_tokens(
    State(service): State<Service>,
    Json(body): Json<ChangeTokens>,
) -> Result<StatusCode, ControlError> {
    let now = service.core.clock.seconds();
    let found = service.transact(service.now(), |tx| {
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
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ControlError::conflict("no tokens of this account or user"))
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Verification {
    /// URL to verify; the default is the URL of the events.
    url: Option<String>,
}

/// Sends a URL verification, as Slack does when an app's request URL is entered.
async fn verify_url(State(service): State<Service>, body: Option<Json<Verification>>) -> Response {
    let url = body
        .and_then(|Json(body)| body.url)
        .unwrap_or_else(|| service.settings().webhook_url.clone());
    let challenge = service.world().secret(40);
    let secret = service.settings().signing_secret.clone();
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
        Err(error) => ControlError::conflict(error.to_string()).into_response(),
    }
}

async fn deliveries(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "attempts": service.events.attempts() }))
}
