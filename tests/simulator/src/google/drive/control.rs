//! Drive's part of the control API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::actions::ActionParams;
use super::log::LogOwner;
use super::settings::Settings;
use super::{GoogleDrive, generate, render};
use crate::Core;
use crate::generate::HistorySize;
use crate::lock::Shared;
use crate::provider_control::{self, ControlError, Controlled, Performed};

type Service = Arc<GoogleDrive>;

/// Index of these routes.
pub(super) const INDEX: &str = "\
GET    /_sim/google_drive/accounts    organizations, people, shared drives    POST adds one
GET    /_sim/google_drive/settings    settings of Drive                       POST changes fields
POST   /_sim/google_drive/act         carry out an action {account, action, ...}
POST   /_sim/google_drive/generate    generate facts {count, account?}
POST   /_sim/google_drive/cursors     expire page tokens {expire: person or drive, status}
GET    /_sim/google_drive/channels    watch channels
GET    /_sim/google_drive/deliveries  delivery attempts
";

pub(super) fn router(service: Service) -> Router {
    provider_control::routes(&*service)
        .route("/_sim/google_drive/cursors", post(expire_cursors))
        .route("/_sim/google_drive/channels", get(channels))
        .route("/_sim/google_drive/deliveries", get(deliveries))
        .with_state(service)
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    name: Option<String>,
    shared_drives: Option<usize>,
    people: Option<usize>,
    #[serde(default)]
    history: usize,
    new_files: Option<usize>,
}

/// People of an account that the control API adds, beside the administrator.
const DEFAULT_PEOPLE: usize = 4;

impl GoogleDrive {
    fn account_json(&self, admin: &str) -> Value {
        let mut account = self.google.state().people.account_json(admin);
        let world = self.world();
        let drives: Vec<Value> = world.drives_of(admin).map(render::drive).collect();
        account["drives"] = json!(drives);
        account
    }
}

impl Controlled for GoogleDrive {
    type Settings = Settings;
    type NewAccount = NewAccount;
    type ActionParams = ActionParams;

    fn core(&self) -> &Core {
        &self.google.core
    }

    fn shared_settings(&self) -> &Shared<Settings> {
        &self.settings
    }

    fn accounts(&self) -> Vec<Value> {
        let accounts = self.google.state().people.administrators();
        let accounts = accounts.iter().map(|admin| self.account_json(admin));
        accounts.collect()
    }

    fn add_account(&self, new: NewAccount) -> Result<Value, ControlError> {
        let now = self.google.core.clock.seconds();
        let people = new.people.unwrap_or(DEFAULT_PEOPLE);
        let admin = self.google.add_organization(new.name.as_deref(), people);
        let drives = new.shared_drives.unwrap_or(generate::DEFAULT_DRIVES);
        generate::add_drives(self, &admin, drives, now);
        let history_size = HistorySize {
            facts: new.history,
            fixed_count: new.new_files,
        };
        generate::populate_history(self, &admin, history_size, now);
        Ok(self.account_json(&admin))
    }

    fn act(&self, params: &ActionParams) -> Result<Performed, ControlError> {
        self.perform(params, self.now())
            .map(Performed::from)
            .map_err(ControlError::conflict)
    }

    async fn generate(&self, account: Option<&str>, count: usize) -> Result<Value, ControlError> {
        if account.is_some_and(|account| self.google.person(account).is_none()) {
            return Err(ControlError::conflict("unknown account"));
        }
        Ok(json!({ "facts": generate::generate(self, account, count) }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpireCursors {
    /// Id or address of a person, or id of a shared drive.
    expire: String,
    /// Status of the responses: 400, 404 or 410.
    status: Option<u16>,
}

/// Expires the page tokens of changes that clients have now.
async fn expire_cursors(
    State(service): State<Service>,
    Json(body): Json<ExpireCursors>,
) -> Result<StatusCode, ControlError> {
    let status = body.status.unwrap_or(400);
    if !matches!(status, 400 | 404 | 410) {
        return Err(ControlError::invalid("the status is 400, 404 or 410"));
    }
    let person = {
        let state = service.google.state();
        let person = state.people.find(&body.expire);
        person.map(|person| person.sub.clone())
    };
    let mut guard = service.world();
    let world = &mut *guard;
    match person {
        Some(sub) => {
            let owner = LogOwner::Person(sub.clone());
            let first = world.logs.expire(&owner, status);
            let ledger = &service.google.core.ledger;
            world.facts.hide_changes_before(ledger, &sub, first);
        }
        None if world.drives.contains_key(&body.expire) => {
            world.logs.expire(&LogOwner::Drive(body.expire), status);
        }
        None => return Err(ControlError::conflict("unknown person or drive")),
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn channels(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "channels": service.channels.list() }))
}

async fn deliveries(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "attempts": service.channels.sender().attempts() }))
}
