//! Actions of people and of other mail systems: changes of mailboxes and facts in the ledger.

mod compose;
mod facts;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Gmail;
use super::id::{hex, parse_hex};
use super::labels::Labels;
use super::mailbox::{Mailbox, Message};
use super::world::World;
use crate::google::people::Person;

pub(crate) use crate::action::{ActionOutcome, ActionTime};

/// Newest messages from which a random one is chosen.
const MAX_CANDIDATES: usize = 200;

/// Action and parameters of a control request.
///
/// Only `account` and `action` are required.
#[expect(clippy::struct_excessive_bools, reason = "independent parameters")]
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionParams {
    /// Id or address of the mailbox's owner.
    pub(crate) account: String,
    pub(crate) action: String,
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
    /// Number of messages to add; one by default.
    pub(crate) count: Option<usize>,
    /// Id of the message to change; a random one by default.
    pub(crate) message: Option<String>,
    /// Id of the message that the new one answers, in its thread.
    pub(crate) answers: Option<String>,
    /// The new message answers a random one.
    #[serde(skip)]
    pub(crate) answers_random: bool,
    /// Id or name of a label to add; a new name creates the label.
    pub(crate) label: Option<String>,
    /// Id or name of a label to remove.
    pub(crate) remove_label: Option<String>,
    /// Host name of the mailing list that distributes the message.
    pub(crate) list: Option<String>,
    /// A program wrote the message.
    #[serde(default)]
    pub(crate) automatic: bool,
    /// The message is spam.
    #[serde(default)]
    pub(crate) spam: bool,
    /// A filter archives the message.
    #[serde(default)]
    pub(crate) archived: bool,
    /// Difference of the `Date` header from now.
    #[serde(default)]
    pub(crate) date_offset_seconds: i64,
    /// `Date` of imported mail, RFC 3339.
    pub(crate) date: Option<String>,
    /// A sent draft keeps its id.
    #[serde(default)]
    pub(crate) in_place: bool,
}

/// Access to the mailboxes while an action changes them.
pub(crate) struct Transaction<'a> {
    service: &'a Gmail,
    pub(crate) world: &'a mut World,
    when: ActionTime,
    facts: Vec<u64>,
}

impl Gmail {
    /// Performs an action and sends the notifications of the changed mailboxes.
    ///
    /// The error is the reason why it is impossible.
    pub(crate) fn perform(
        &self,
        when: ActionTime,
        params: &ActionParams,
    ) -> Result<ActionOutcome, &'static str> {
        let owner = self.find_person(&params.account).ok_or("unknown account")?;
        let others: Vec<Person> = {
            let recipients = params.to.iter().chain(&params.cc);
            let found = recipients.filter_map(|address| self.find_person(address));
            found.filter(|person| person.sub != owner.sub).collect()
        };
        let mut world = self.world();
        for person in others.iter().chain([&owner]) {
            self.open(&mut world, person);
        }
        let mut transaction = Transaction::new(self, &mut world, when);
        let object = transaction.perform(params, &owner.sub, &others)?;
        let facts = transaction.facts;
        for person in others.iter().chain([&owner]) {
            if let Some(mailbox) = world.mailboxes.get_mut(&person.sub) {
                self.publish(mailbox, when);
            }
        }
        Ok(ActionOutcome { object, facts })
    }

    /// The current time, with notifications.
    pub(crate) fn now(&self) -> ActionTime {
        ActionTime {
            at: self.core.clock.seconds(),
            is_live: true,
        }
    }
}

impl<'a> Transaction<'a> {
    pub(crate) const fn new(service: &'a Gmail, world: &'a mut World, when: ActionTime) -> Self {
        Self {
            service,
            world,
            when,
            facts: Vec::new(),
        }
    }

    /// Performs an action in opened mailboxes and returns the changed object.
    pub(crate) fn perform(
        &mut self,
        params: &ActionParams,
        owner: &str,
        others: &[Person],
    ) -> Result<Value, &'static str> {
        if let Some(result) = self.perform_on_message(params, owner) {
            return result;
        }
        let mut ids = Vec::new();
        for _ in 0..params.count.unwrap_or(1) {
            let id = match params.action.as_str() {
                "mail.received" => self.receive(params, owner)?,
                "mail.sent" => self.send(params, owner, others)?,
                "mail.to_self" => self.send_to_self(params, owner)?,
                "mail.imported" => self.import(params, owner)?,
                "mail.draft" => self.save_draft(params, owner)?,
                "mail.draft_sent" => self.send_draft(params, owner)?,
                "chat.received" => self.receive_chat(params, owner)?,
                _ => return Err("unknown action"),
            };
            ids.push(hex(id));
        }
        Ok(json!({ "account": owner, "id": ids.last(), "ids": ids }))
    }

    /// Performs an action on an existing message or the history; `None` for other actions.
    fn perform_on_message(
        &mut self,
        params: &ActionParams,
        owner: &str,
    ) -> Option<Result<Value, &'static str>> {
        let changed = match params.action.as_str() {
            "history.expired" => {
                let (at, mailbox) = (self.when.at, self.mailbox(owner));
                let added = mailbox.expire_history(at);
                self.update_facts(owner, &added);
                return Some(Ok(json!({ "account": owner })));
            }
            "mail.labelled" => self.label(params, owner),
            "mail.read" => self.relabel(params, owner, Labels::NONE, Labels::UNREAD),
            "mail.archived" => self.relabel(params, owner, Labels::NONE, Labels::INBOX),
            "mail.trashed" => self.relabel(params, owner, Labels::TRASH, Labels::INBOX),
            "mail.untrashed" => self.relabel(params, owner, Labels::INBOX, Labels::TRASH),
            "mail.reported" => self.relabel(params, owner, Labels::SPAM, Labels::INBOX),
            "mail.deleted" => self.delete(params, owner),
            _ => return None,
        };
        Some(changed.map(|id| json!({ "account": owner, "id": hex(id) })))
    }

    fn mailbox(&mut self, owner: &str) -> &mut Mailbox {
        self.world.mailbox(owner)
    }

    /// The message of the parameters, or a random one that has all or none of the labels.
    fn target(
        &mut self,
        params: &ActionParams,
        owner: &str,
        accepts: impl Fn(&Message) -> bool,
    ) -> Result<u64, &'static str> {
        let mailbox = self.mailbox(owner);
        if let Some(text) = &params.message {
            let id = parse_hex(text).filter(|id| mailbox.messages.contains_key(id));
            return id.ok_or("unknown message");
        }
        let newest = mailbox.newest_first(None).take(MAX_CANDIDATES);
        let candidates: Vec<u64> = newest
            .filter(|message| accepts(message))
            .map(|message| message.id)
            .collect();
        let chosen = mailbox.random(candidates.len());
        candidates.get(chosen).copied().ok_or("no such message")
    }

    /// The label with this id or name, which is created if it does not exist.
    fn label_of(&mut self, owner: &str, text: &str) -> Result<Labels, &'static str> {
        let names = &mut self.mailbox(owner).names;
        names
            .find(text)
            .or_else(|| names.create(text))
            .ok_or("too many labels")
    }

    fn label(&mut self, params: &ActionParams, owner: &str) -> Result<u64, &'static str> {
        let mut change = |text: &Option<String>| match text {
            Some(text) => self.label_of(owner, text),
            None => Ok(Labels::NONE),
        };
        let (mut add, remove) = (change(&params.label)?, change(&params.remove_label)?);
        if add.is_empty() && remove.is_empty() {
            add = self.label_of(owner, "STARRED")?;
        }
        self.relabel(params, owner, add, remove)
    }

    fn relabel(
        &mut self,
        params: &ActionParams,
        owner: &str,
        add: Labels,
        remove: Labels,
    ) -> Result<u64, &'static str> {
        let changes = |message: &Message| {
            let labels = message.labels;
            let is_mail = !labels.has_any(Labels::DRAFT.with(Labels::CHAT));
            is_mail && (labels.has_any(remove) || (remove.is_empty() && !labels.has_all(add)))
        };
        let id = self.target(params, owner, changes)?;
        let at = self.when.at;
        self.mailbox(owner).relabel(id, add, remove, at);
        self.update_facts(owner, &[id]);
        Ok(id)
    }

    /// Deletes a message for good.
    fn delete(&mut self, params: &ActionParams, owner: &str) -> Result<u64, &'static str> {
        let id = self.target(params, owner, |_| true)?;
        let at = self.when.at;
        let mailbox = self.mailbox(owner);
        let (message, change) = mailbox.take(id).ok_or("unknown message")?;
        mailbox.commit(at, vec![change]);
        self.hide_fact(&message);
        Ok(id)
    }
}
