//! Zoho Mail's part of the control API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::actions::ActionParams;
use super::folder::FolderType;
use super::generate::MailboxSize;
use super::mailbox::{Mailbox, Message};
use super::settings::Settings;
use super::webhook::{self, Webhook};
use super::{ZohoMail, render};
use crate::Core;
use crate::action::Acted;
use crate::generate;
use crate::lock::Shared;
use crate::provider_control::{self, ControlError, Controlled, Performed};
use crate::zoho::DataCenter;
use crate::zoho::control::NewAccount as NewOrganization;
use crate::zoho::people::Person;

type Service = Arc<ZohoMail>;

/// Index of these routes.
pub(super) const INDEX: &str = "\
GET    /_sim/zoho_mail/accounts       organizations and their people         POST adds one
GET    /_sim/zoho_mail/settings       limit, errors and webhooks             POST changes fields
POST   /_sim/zoho_mail/act            carry out an action {account, action, ...}
POST   /_sim/zoho_mail/generate       generate facts {count, account?}
GET    /_sim/zoho_mail/mailboxes      opened mailboxes and their folders
GET    /_sim/zoho_mail/deliveries     delivery attempts of webhooks
GET    /_sim/zoho/mail/webhook        outgoing webhooks     POST {account, url} adds one   DELETE
";

pub(super) fn router(service: Service) -> Router {
    provider_control::routes(&*service)
        .route("/_sim/zoho_mail/mailboxes", get(mailboxes))
        .route("/_sim/zoho_mail/deliveries", get(deliveries))
        .route(
            "/_sim/zoho/mail/webhook",
            get(webhooks).post(add_webhook).delete(remove_webhook),
        )
        .with_state(service)
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NewAccount {
    name: Option<String>,
    people: Option<usize>,
    data_center: Option<DataCenter>,
    /// Id of the administrator's account.
    zuid: Option<u64>,
    /// Facts in the administrator's mailbox within the history.
    history: usize,
    /// Older messages in the administrator's mailbox.
    old_mails: usize,
}

impl Controlled for ZohoMail {
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
        let state = self.zoho.state();
        let administrators = state.people.administrators();
        let accounts = administrators.iter();
        accounts
            .map(|admin| state.people.account_json(admin))
            .collect()
    }

    fn add_account(&self, new: NewAccount) -> Result<Value, ControlError> {
        let size = MailboxSize {
            history: new.history,
            old_mails: new.old_mails,
        };
        let admin = self.zoho.add_account(&NewOrganization {
            name: new.name,
            people: new.people,
            data_center: new.data_center,
            zuid: new.zuid,
        })?;
        if let Some(person) = self.zoho.person(&admin) {
            self.open_with(&mut self.world(), &person, size);
        }
        Ok(self.zoho.state().people.account_json(&admin))
    }

    fn act(&self, params: &ActionParams) -> Result<Performed, ControlError> {
        self.perform(self.now(), params)
            .map(Performed::from)
            .map_err(ControlError::conflict)
    }

    async fn generate(&self, account: Option<&str>, count: usize) -> Result<Value, ControlError> {
        let person = match account {
            Some(account) => Some(self.person(account)?),
            None => None,
        };
        let login = person.as_ref().map(|person| person.login.as_str());
        Ok(json!({ "facts": generate::generate(self, login, count) }))
    }
}

impl ZohoMail {
    fn person(&self, login: &str) -> Result<Person, ControlError> {
        let person = self.find_person(login);
        person.ok_or_else(|| ControlError::conflict("unknown account"))
    }
}

async fn mailboxes(State(service): State<Service>) -> Json<Value> {
    let world = service.world();
    let all = world.mailboxes.values().map(|mailbox| {
        let folders = mailbox.folders.all().iter().map(|folder| {
            json!({
                "id": folder.id.to_string(), "name": folder.name, "type": folder.kind.name(),
                "messages": mailbox.in_folder(folder.id).count(),
            })
        });
        json!({
            "account": mailbox.owner, "address": mailbox.party.address,
            "account_id": mailbox.account_id.to_string(), "messages": mailbox.len(),
            "folders": folders.collect::<Vec<_>>(),
        })
    });
    Json(json!({ "mailboxes": all.collect::<Vec<_>>() }))
}

async fn deliveries(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "attempts": service.sender.attempts() }))
}

fn webhook_json(mailbox: &Mailbox, webhook: &Webhook) -> Value {
    json!({
        "account": mailbox.owner, "url": webhook.url, "secret": webhook.secret,
        "id": webhook.id.to_string(),
    })
}

async fn webhooks(State(service): State<Service>) -> Json<Value> {
    let world = service.world();
    let all = world.mailboxes.values().flat_map(|mailbox| {
        let webhooks = mailbox.webhooks.iter();
        webhooks.map(|webhook| webhook_json(mailbox, webhook))
    });
    Json(json!({ "webhooks": all.collect::<Vec<_>>() }))
}

/// A webhook of a mailbox, by its owner and its URL.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookRequest {
    account: String,
    url: String,
}

/// Sends the first request of a webhook, which exists once the receiver answers with 200.
///
/// A webhook with the same URL is replaced.
async fn add_webhook(
    State(service): State<Service>,
    Json(body): Json<WebhookRequest>,
) -> Result<(StatusCode, Json<Value>), ControlError> {
    let person = service.person(&body.account)?;
    let settings = service.settings().clone();
    let (webhook, sample) = {
        let mut world = service.world();
        let mailbox = service.open(&mut world, &person);
        let webhook = Webhook {
            url: body.url,
            secret: mailbox.new_secret(),
            id: mailbox.new_integration(),
        };
        let sample = sample(mailbox, &webhook, service.core.clock.milliseconds());
        (webhook, sample)
    };
    let request = webhook::handshake(&service.client, &webhook, &settings, &sample);
    let status = match request.send().await {
        Ok(response) => response.status().as_u16(),
        Err(_) => 0,
    };
    service.core.stats.count("zoho_mail.handshakes", 1);
    let mut world = service.world();
    let mailbox = world.mailbox(&person.login);
    let mut answer = webhook_json(mailbox, &webhook);
    answer["status"] = json!(status);
    answer["active"] = json!(status == 200);
    if status == 200 {
        let mut secrets = service.secrets.lock();
        secrets.insert(webhook.url.clone(), webhook.secret.clone());
        mailbox.webhooks.retain(|known| known.url != webhook.url);
        mailbox.webhooks.push(webhook);
    }
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Body of a sample mail, which is in no mailbox.
fn sample(mailbox: &mut Mailbox, webhook: &Webhook, now: i64) -> Value {
    let message = Message {
        id: mailbox.new_id(now),
        folder: mailbox.system(FolderType::Inbox),
        thread: None,
        received: now,
        is_read: false,
        is_outgoing: false,
        fact: None,
        written: None,
    };
    render::delivery(mailbox, &message, &format!("{},", webhook.id), true)
}

async fn remove_webhook(
    State(service): State<Service>,
    Json(body): Json<WebhookRequest>,
) -> Result<StatusCode, ControlError> {
    let person = service.person(&body.account)?;
    let mut world = service.world();
    let mailbox = service.open(&mut world, &person);
    let before = mailbox.webhooks.len();
    mailbox.webhooks.retain(|webhook| webhook.url != body.url);
    if mailbox.webhooks.len() == before {
        return Err(ControlError::conflict("no such webhook"));
    }
    Ok(StatusCode::NO_CONTENT)
}
