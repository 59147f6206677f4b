//! Actions of people and of other mail systems: changes of mailboxes and facts in the ledger.

mod compose;
mod facts;

use serde::Deserialize;
use serde_json::{Value, json};

use super::folder::FolderType;
use super::mailbox::{Mailbox, Message};
use super::{ZohoMail, render};
use crate::action::{self, Acted, ActionOutcome, ActionTime};
use crate::webhook_sender::Delivery;
use crate::zoho::people::Person;

/// Newest messages from which a random one is chosen.
const MAX_CANDIDATES: usize = 200;

/// Name of a task's delivery, which fault rules match.
const TASK_ADDED: &str = "task.added";

/// Action and parameters of a control request.
///
/// Only `account` and `action` are required.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionParams {
    /// Login or address of the mailbox's owner.
    pub(crate) account: String,
    pub(crate) action: String,
    /// Id, type or name of a folder; a new name creates a folder.
    pub(crate) folder: Option<String>,
    /// Address of the sender.
    pub(crate) from: Option<String>,
    pub(crate) from_name: Option<String>,
    /// Addresses of the recipients; those of simulated people receive what is sent.
    #[serde(default)]
    pub(crate) to: Vec<String>,
    #[serde(default)]
    pub(crate) cc: Vec<String>,
    pub(crate) subject: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) attachment: Option<bool>,
    /// Number of messages to add; one by default.
    pub(crate) count: Option<usize>,
    /// Id of the message to change; a random one by default.
    pub(crate) message: Option<String>,
    /// Id of the message that the new one answers, in its thread.
    pub(crate) answers: Option<String>,
    /// Time of receipt before now, as of mail that another server held back.
    #[serde(default)]
    pub(crate) seconds_ago: i64,
}

/// Access to the mailboxes while an action changes them.
pub(crate) type Transaction<'a> = action::Transaction<'a, ZohoMail>;

impl ZohoMail {
    /// Performs an action and sends its deliveries.
    ///
    /// The error is the reason why it is impossible.
    pub(crate) fn perform(
        &self,
        when: ActionTime,
        params: &ActionParams,
    ) -> Result<ActionOutcome, &'static str> {
        self.transact(when, |tx| tx.perform(params))
    }
}

impl Transaction<'_> {
    /// Performs an action, and returns the changed object and the facts.
    pub(crate) fn perform(&mut self, params: &ActionParams) -> Result<ActionOutcome, &'static str> {
        let owner = self.service.find_person(&params.account);
        let owner = owner.ok_or("unknown account")?;
        self.service.open(self.world, &owner);
        let login = &owner.login;
        let mut facts = Vec::new();
        let object = match params.action.as_str() {
            "mail.received" | "mail.sent" | "mail.draft" => {
                let mut ids = Vec::new();
                for _ in 0..params.count.unwrap_or(1) {
                    ids.push(self.add_one(params, &owner, &mut facts)?.to_string());
                }
                json!({ "account": login, "id": ids.last(), "ids": ids })
            }
            "mail.moved" => {
                let folder = params.folder.as_deref().ok_or("needs a folder")?;
                let folder = self.folder(login, folder);
                let id = self.target(params, login, |mailbox, message| {
                    let is_received = !message.is_outgoing && mailbox.kind(message).is_some();
                    is_received && message.folder != folder
                })?;
                self.relocate(login, id, folder, &mut facts);
                message_json(login, id)
            }
            "mail.trashed" => {
                let folder = self.world.mailbox(login).system(FolderType::Trash);
                let id = self.target(params, login, |mailbox, message| {
                    mailbox.kind(message).is_some()
                })?;
                self.relocate(login, id, folder, &mut facts);
                message_json(login, id)
            }
            "mail.read" => {
                let id = self.target(params, login, |_, message| !message.is_read)?;
                if let Some(message) = self.world.mailbox(login).message_mut(id) {
                    message.is_read = true;
                }
                message_json(login, id)
            }
            "mail.deleted" => {
                let id = self.target(params, login, |_, _| true)?;
                let message = self.world.mailbox(login).take(id);
                self.hide_fact(&message.ok_or("unknown message")?);
                message_json(login, id)
            }
            "folder.created" => {
                let name = params.folder.as_deref().ok_or("needs a folder")?;
                let id = self.folder(login, name);
                json!({ "account": login, "id": id.to_string() })
            }
            "folder.deleted" => self.delete_folder(params, login, &mut facts)?,
            "task.added" => self.add_task(params, login),
            _ => return Err("unknown action"),
        };
        Ok(ActionOutcome { object, facts })
    }

    fn add_one(
        &mut self,
        params: &ActionParams,
        owner: &Person,
        facts: &mut Vec<u64>,
    ) -> Result<u64, &'static str> {
        match params.action.as_str() {
            "mail.received" => self.receive(params, &owner.login, facts),
            "mail.sent" => self.send(params, owner, facts),
            _ => self.save_draft(params, &owner.login, facts),
        }
    }

    /// Id of the folder with this id, type or name, which is created if there is none.
    fn folder(&mut self, owner: &str, text: &str) -> u64 {
        let folders = &mut self.world.mailbox(owner).folders;
        let known = folders.find(text).map(|folder| folder.id);
        known.unwrap_or_else(|| folders.create(text).id)
    }

    /// The message of the parameters, or a random one of the newest that is accepted.
    fn target(
        &mut self,
        params: &ActionParams,
        owner: &str,
        accepts: impl Fn(&Mailbox, &Message) -> bool,
    ) -> Result<u64, &'static str> {
        let mailbox = self.world.mailbox(owner);
        if let Some(text) = &params.message {
            let id = text.parse().ok();
            let id = id.filter(|id| mailbox.message(*id).is_some());
            return id.ok_or("unknown message");
        }
        let newest = mailbox.messages().rev().take(MAX_CANDIDATES);
        let candidates: Vec<u64> = newest
            .filter(|message| accepts(mailbox, message))
            .map(|message| message.id)
            .collect();
        let chosen = mailbox.random(candidates.len());
        candidates.get(chosen).copied().ok_or("no such message")
    }

    /// Deletes a folder of a person, whose messages go to the trash.
    fn delete_folder(
        &mut self,
        params: &ActionParams,
        owner: &str,
        facts: &mut Vec<u64>,
    ) -> Result<Value, &'static str> {
        let mailbox = self.world.mailbox(owner);
        let text = params.folder.as_deref().ok_or("needs a folder")?;
        let folder = mailbox.folders.find(text).ok_or("unknown folder")?.clone();
        if !folder.is_own {
            return Err("a folder of the system");
        }
        let trash = mailbox.system(FolderType::Trash);
        let messages = mailbox.in_folder(folder.id);
        let messages: Vec<u64> = messages.map(|message| message.id).collect();
        for id in messages {
            self.relocate(owner, id, trash, facts);
        }
        self.world.mailbox(owner).folders.remove(folder.id);
        Ok(json!({ "account": owner, "id": folder.id.to_string() }))
    }

    /// Adds a task, which only webhooks report.
    fn add_task(&mut self, params: &ActionParams, owner: &str) -> Value {
        let title = params.subject.as_deref().unwrap_or("A task");
        let now = self.service.core.clock.milliseconds();
        let mailbox = self.world.mailbox(owner);
        let id = mailbox.new_id(now);
        let integrations = mailbox.integrations();
        let body = render::task(mailbox, id, title, &integrations);
        self.deliver(owner, TASK_ADDED, id, &body, &[]);
        json!({ "account": owner, "id": id.to_string() })
    }

    /// Sends an event to each webhook of a mailbox, and returns the number of deliveries.
    fn deliver(&self, owner: &str, name: &str, id: u64, body: &Value, facts: &[u64]) -> usize {
        let Some(mailbox) = self.world.mailboxes.get(owner) else {
            return 0;
        };
        let mut sent = 0;
        for webhook in &mailbox.webhooks {
            let core = &self.service.core;
            let fault = self.when.pick_fault(core, name, owner);
            if !self.when.sends_event(&webhook.url, fault.as_ref()) {
                continue;
            }
            core.ledger.add_delivery(facts);
            self.service.sender.submit(Delivery {
                name: name.to_owned(),
                id: format!("{id}-{}", webhook.id),
                account: owner.to_owned(),
                url: webhook.url.clone(),
                headers: Vec::new(),
                body: body.clone(),
                fault,
                facts: facts.to_vec(),
            });
            sent += 1;
        }
        sent
    }
}

fn message_json(owner: &str, id: u64) -> Value {
    json!({ "account": owner, "id": id.to_string() })
}

impl Mailbox {
    /// Ids of the webhooks, as deliveries list them.
    pub(super) fn integrations(&self) -> String {
        let ids = self.webhooks.iter();
        ids.fold(String::new(), |text, webhook| {
            text + &webhook.id.to_string() + ","
        })
    }
}
