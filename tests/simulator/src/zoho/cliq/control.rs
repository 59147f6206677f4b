//! Cliq's part of the control API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::actions::ActionParams;
use super::chat::Chat;
use super::extensions::NewExtension;
use super::settings::Settings;
use super::world::World;
use super::{ZohoCliq, generate};
use crate::Core;
use crate::generate::HistorySize;
use crate::lock::Shared;
use crate::provider_control::{self, ControlError, Controlled, Performed};
use crate::zoho::control as family;
use crate::zoho::data_center::DataCenter;
use crate::zoho::people::People;

type Service = Arc<ZohoCliq>;

/// Index of these routes.
pub(super) const INDEX: &str = "\
GET    /_sim/zoho_cliq/accounts       organizations, their people and chats  POST adds one
GET    /_sim/zoho_cliq/settings       lists, limits, deliveries              POST changes fields
POST   /_sim/zoho_cliq/act            carry out an action {account, action, ...}
POST   /_sim/zoho_cliq/generate       generate facts {count, account?}
GET    /_sim/zoho_cliq/deliveries     delivery attempts
POST   /_sim/zoho/cliq/extension      create an extension {account or org, url, chats?, token?}
GET    /_sim/zoho/keys                extensions and their public keys
";

pub(super) fn router(service: Service) -> Router {
    provider_control::routes(&*service)
        .route("/_sim/zoho_cliq/deliveries", get(deliveries))
        .route("/_sim/zoho/cliq/extension", post(create_extension))
        .route("/_sim/zoho/keys", get(keys))
        .with_state(service)
}

/// An organization with the chats of its administrator.
fn account_json(people: &People, world: &World, admin: &str) -> Value {
    let mut account = people.account_json(admin);
    let describe = |chat: &&Chat| {
        json!({
            "id": chat.id, "title": chat.title, "members": chat.members.len(),
            "channel": chat.channel().map(|channel| channel.id.as_str()),
            "is_thread": chat.thread().is_some(), "messages": chat.messages.len(),
            "bots": chat.bots,
        })
    };
    let chats = world.chats_of(admin);
    account["chats"] = chats.iter().map(describe).collect();
    account
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    name: Option<String>,
    people: Option<usize>,
    data_center: Option<DataCenter>,
    zuid: Option<u64>,
    channels: Option<usize>,
    /// Facts of each channel and conversation within the history.
    #[serde(default)]
    history: usize,
}

impl Controlled for ZohoCliq {
    type Settings = Settings;
    type NewAccount = NewAccount;
    type ActionParams = ActionParams;

    fn core(&self) -> &Core {
        &self.zoho.core
    }

    fn shared_settings(&self) -> &Shared<Settings> {
        &self.settings
    }

    fn accounts(&self) -> Vec<Value> {
        let world = self.world();
        let state = self.zoho.state();
        let administrators = state.people.administrators().into_iter();
        administrators
            .map(|admin| account_json(&state.people, &world, &admin))
            .collect()
    }

    fn add_account(&self, new: NewAccount) -> Result<Value, ControlError> {
        let admin = {
            let mut world = self.world();
            let admin = self.zoho.add_account(&family::NewAccount {
                name: new.name,
                people: new.people,
                data_center: new.data_center,
                zuid: new.zuid,
            })?;
            self.add_people(&mut world, new.channels);
            admin
        };
        let history_size = HistorySize {
            facts: new.history,
            fixed_count: None,
        };
        generate::populate_account_history(self, &admin, history_size);
        let world = self.world();
        let state = self.zoho.state();
        Ok(account_json(&state.people, &world, &admin))
    }

    fn act(&self, params: &ActionParams) -> Result<Performed, ControlError> {
        let login = self.login(&params.account)?;
        self.transact(self.now(), |tx| {
            let outcome = tx.perform(&login, params)?;
            Ok(Performed {
                outcome,
                deliveries: Some(std::mem::take(&mut tx.deliveries)),
            })
        })
        .map_err(|refusal: &str| ControlError::conflict(refusal))
    }

    async fn generate(&self, account: Option<&str>, count: usize) -> Result<Value, ControlError> {
        let login = match account {
            Some(account) => Some(self.login(account)?),
            None => None,
        };
        let facts = generate::generate(self, login.as_deref(), count);
        Ok(json!({ "facts": facts }))
    }
}

impl ZohoCliq {
    /// Login of the person with this login or address.
    fn login(&self, account: &str) -> Result<String, ControlError> {
        let state = self.zoho.state();
        let person = state.people.find(account);
        let person = person.ok_or_else(|| ControlError::conflict("unknown account"))?;
        Ok(person.login.clone())
    }

    /// Login of the administrator of an organization.
    fn administrator(&self, organization: &str) -> Result<String, ControlError> {
        let state = self.zoho.state();
        let administrators = state.people.administrators().into_iter();
        let mut found = administrators.filter(|login| {
            let person = state.people.get(login);
            person.is_some_and(|person| person.organization.to_string() == organization)
        });
        found
            .next()
            .ok_or_else(|| ControlError::conflict("unknown organization"))
    }
}

/// Chats that a new extension's bot is in.
#[derive(Deserialize)]
#[serde(untagged)]
enum BotChats {
    /// `true` is all channels of the account that exist now, with their threads.
    All(bool),
    /// Ids of chats or channels.
    Named(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateExtension {
    /// Login or address of the person whose connection gets the deliveries.
    account: Option<String>,
    /// Id of the organization, instead of its administrator's login.
    org: Option<String>,
    /// Receiver; empty removes the account's extensions.
    url: String,
    chats: Option<BotChats>,
    /// A Deluge script sends the deliveries with this token.
    token: Option<String>,
}

async fn create_extension(
    State(service): State<Service>,
    Json(body): Json<CreateExtension>,
) -> Result<(StatusCode, Json<Value>), ControlError> {
    let account = match (&body.account, &body.org) {
        (Some(account), None) => service.login(account)?,
        (None, Some(organization)) => service.administrator(organization)?,
        _ => return Err(ControlError::invalid("either account or org is required")),
    };
    if body.url.is_empty() {
        let removed = service.extensions.remove(&account);
        let mut world = service.world();
        for chat in world.chats.values_mut() {
            chat.bots.retain(|bot| !removed.contains(bot));
        }
        return Ok((StatusCode::OK, Json(json!({ "removed": removed }))));
    }
    let mut world = service.world();
    let user = world.users.get(&account);
    let user = user.ok_or_else(|| ControlError::conflict("unknown account"))?;
    let organization = user.organization;
    let number = world.long_number();
    let extension = service.extensions.add(NewExtension {
        account: account.clone(),
        organization,
        url: body.url,
        token: body.token,
        number,
    });
    let extension = extension.map_err(|_| ControlError::conflict("no key could be generated"))?;
    let chosen: Vec<String> = match body.chats {
        None | Some(BotChats::All(false)) => Vec::new(),
        Some(BotChats::All(true)) => {
            let chats = world.chats_of(&account).into_iter();
            let channels = chats.filter(|chat| world.home(chat).channel().is_some());
            channels.map(|chat| chat.id.clone()).collect()
        }
        Some(BotChats::Named(names)) => {
            let chats = names.iter().map(|name| world.find_chat(name));
            let ids = chats.map(|chat| chat.map(|chat| chat.id.clone()));
            let ids: Option<Vec<String>> = ids.collect();
            ids.ok_or_else(|| ControlError::conflict("unknown chat"))?
        }
    };
    for id in chosen {
        if let Some(chat) = world.chats.get_mut(&id) {
            chat.bots.insert(extension.id.clone());
        }
    }
    Ok((StatusCode::CREATED, Json(extension.description())))
}

async fn keys(State(service): State<Service>) -> Json<Value> {
    let all = service.extensions.all();
    let extensions = all.iter().map(|extension| extension.description());
    Json(json!({ "extensions": extensions.collect::<Vec<_>>() }))
}

async fn deliveries(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "attempts": service.sender.attempts() }))
}
