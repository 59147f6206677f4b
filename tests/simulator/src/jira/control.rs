//! Jira's part of the control API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::actions::{Acted, ActionParams};
use super::settings::Settings;
use super::world::{Site, World};
use super::{Jira, generate};
use crate::Core;
use crate::generate::{AccountSize, HistorySize};
use crate::lock::Shared;
use crate::provider_control::{self, ControlError, Controlled, Performed};

type Service = Arc<Jira>;

/// Index of these routes and of Atlassian's paths.
pub(crate) const INDEX: &str = "\
GET    /_sim/jira/accounts            sites, people, projects                 POST adds one
GET    /_sim/jira/settings            settings of app and service             POST changes fields
POST   /_sim/jira/act                 carry out an action {account, action, ...}
POST   /_sim/jira/generate            generate facts {count, account?}
POST   /_sim/jira/tokens              expire or revoke {expire: person, revoke: person}
GET    /_sim/jira/webhooks            registered webhooks
GET    /_sim/jira/deliveries          delivery attempts
Atlassian's identity service is at /atlassian/auth, its API at /atlassian/api.
";

pub(crate) fn router(service: Service) -> Router {
    provider_control::routes(&*service)
        .route("/_sim/jira/tokens", post(change_tokens))
        .route("/_sim/jira/webhooks", get(webhooks))
        .route("/_sim/jira/deliveries", get(deliveries))
        .with_state(service)
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

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    name: Option<String>,
    projects: Option<usize>,
    people: Option<usize>,
    #[serde(default)]
    history: usize,
    issues: Option<usize>,
    /// A person of another site who becomes a member of this site too.
    member: Option<String>,
}

impl Controlled for Jira {
    type Settings = Settings;
    type NewAccount = NewAccount;
    type ActionParams = ActionParams;

    fn core(&self) -> &Core {
        &self.core
    }

    fn shared_settings(&self) -> &Shared<Settings> {
        &self.settings
    }

    fn accounts(&self) -> Vec<Value> {
        let world = self.world();
        let sites = world.sites.values();
        sites.map(|site| account_json(&world, site)).collect()
    }

    fn add_account(&self, new: NewAccount) -> Result<Value, ControlError> {
        let now = self.core.clock.seconds();
        let id = {
            let mut world = self.world();
            let number = world.sites.len() + 1;
            let name = new.name.unwrap_or_else(|| format!("team-{number}"));
            let size = AccountSize {
                containers: new.projects.unwrap_or(generate::DEFAULT_SIZE.containers),
                people: new.people.unwrap_or(generate::DEFAULT_SIZE.people),
            };
            let id = generate::add_site(&mut world, &name, size);
            if let Some(person) = new.member.and_then(|id| world.people.get_mut(&id)) {
                person.sites.push(id.clone());
            }
            id
        };
        let history_size = HistorySize {
            facts: new.history,
            fixed_count: new.issues,
        };
        generate::populate_site_history(self, &id, history_size, now);
        let world = self.world();
        Ok(account_json(&world, &world.sites[&id]))
    }

    fn act(&self, params: &ActionParams) -> Result<Performed, ControlError> {
        self.transact(self.now(), |tx| tx.perform(params))
            .map(Performed::from)
            .map_err(ControlError::conflict)
    }

    async fn generate(&self, account: Option<&str>, count: usize) -> Result<Value, ControlError> {
        if account.is_some_and(|account| !self.world().sites.contains_key(account)) {
            return Err(ControlError::conflict("unknown account"));
        }
        Ok(json!({ "facts": crate::generate::generate(self, account, count) }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeTokens {
    /// Account id of the person whose access tokens expire now.
    expire: Option<String>,
    /// Account id of the person whose grant is revoked.
    revoke: Option<String>,
}

async fn change_tokens(
    State(service): State<Service>,
    Json(body): Json<ChangeTokens>,
) -> StatusCode {
    let now = service.core.clock.seconds();
    let mut world = service.world();
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
    StatusCode::NO_CONTENT
}

async fn webhooks(State(service): State<Service>) -> Json<Value> {
    let world = service.world();
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

async fn deliveries(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "attempts": service.webhook_sender.attempts() }))
}
