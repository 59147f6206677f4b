//! Gmail's part of the control API.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::actions::ActionParams;
use super::generate::MailboxSize;
use super::settings::Settings;
use super::{Gmail, generate};
use crate::Core;
use crate::clock::iso;
use crate::lock::Shared;
use crate::provider_control::{self, ControlError, Controlled, Performed};

type Service = Arc<Gmail>;

/// Colleagues of the administrator of a new account.
const DEFAULT_PEOPLE: usize = 4;

/// Index of these routes.
pub(super) const INDEX: &str = "\
GET    /_sim/gmail/accounts           organizations and their people         POST adds one
GET    /_sim/gmail/settings           mailboxes and notifications            POST changes fields
POST   /_sim/gmail/act                carry out an action {account, action, ...}
POST   /_sim/gmail/generate           generate facts {count, account?}
GET    /_sim/gmail/mailboxes          opened mailboxes and their watches
GET    /_sim/gmail/deliveries         delivery attempts of Pub/Sub
";

pub(super) fn router(service: Service) -> Router {
    provider_control::routes(&*service)
        .route("/_sim/gmail/mailboxes", get(mailboxes))
        .route("/_sim/gmail/deliveries", get(deliveries))
        .with_state(service)
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    name: Option<String>,
    people: Option<usize>,
    /// Facts in the administrator's mailbox within the history.
    #[serde(default)]
    history: usize,
    /// Older messages in the administrator's mailbox.
    #[serde(default)]
    old_mails: usize,
}

impl Controlled for Gmail {
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
        let state = self.google.state();
        let administrators = state.people.administrators();
        let accounts = administrators.iter();
        accounts
            .map(|admin| state.people.account_json(admin))
            .collect()
    }

    fn add_account(&self, new: NewAccount) -> Result<Value, ControlError> {
        let people = new.people.unwrap_or(DEFAULT_PEOPLE);
        let admin = self.google.add_organization(new.name.as_deref(), people);
        let size = MailboxSize {
            history: new.history,
            old_mails: new.old_mails,
        };
        if let Some(person) = self.google.person(&admin) {
            self.open_with(&mut self.world(), &person, size);
        }
        Ok(self.google.state().people.account_json(&admin))
    }

    fn act(&self, params: &ActionParams) -> Result<Performed, ControlError> {
        self.perform(self.now(), params)
            .map(Performed::from)
            .map_err(ControlError::conflict)
    }

    async fn generate(&self, account: Option<&str>, count: usize) -> Result<Value, ControlError> {
        if account.is_some_and(|account| self.find_person(account).is_none()) {
            return Err(ControlError::conflict("unknown account"));
        }
        Ok(json!({ "facts": generate::generate(self, account, count) }))
    }
}

async fn mailboxes(State(service): State<Service>) -> Json<Value> {
    let world = service.world();
    let all = world.mailboxes.values().map(|mailbox| {
        json!({
            "account": mailbox.owner, "address": mailbox.address,
            "messages": mailbox.messages.len(), "history_id": mailbox.history_id().to_string(),
            "watched_until": mailbox.watch.map(|watch| iso(watch.expires / 1_000)),
        })
    });
    Json(json!({ "mailboxes": all.collect::<Vec<_>>() }))
}

async fn deliveries(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "attempts": service.pusher.attempts() }))
}
