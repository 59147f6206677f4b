//! Facts of messages in the ledger.

use super::Transaction;
use crate::google::gmail::id::hex;
use crate::google::gmail::labels::Labels;
use crate::google::gmail::mailbox::{ChangeKind, Mailbox, Message};
use crate::google::gmail::{Gmail, SOURCE};
use crate::ledger::Fact;

/// Labels of messages that are no facts.
const NO_FACT: Labels = Labels::DRAFT.with(Labels::SPAM).with(Labels::CHAT);

impl Message {
    /// Kind of its fact.
    fn kind(&self) -> &'static str {
        if self.labels.has_any(Labels::SENT) {
            "email_sent"
        } else {
            "email_received"
        }
    }
}

impl Mailbox {
    /// Whether the API shows a message as a fact: its list, or the history that has its addition.
    ///
    /// The list leaves out the trash by default, the history does not.
    fn shows(&self, message: &Message) -> bool {
        let is_listed = !message.labels.has_any(Labels::TRASH);
        !message.labels.has_any(NO_FACT) && (is_listed || self.history_adds(message.id))
    }
}

impl Gmail {
    /// Records or hides the facts of messages after a change.
    pub(crate) fn update_facts(&self, mailbox: &mut Mailbox, ids: &[u64]) -> Vec<u64> {
        let mut facts = Vec::new();
        for id in ids {
            let Some(message) = mailbox.messages.get(id) else {
                continue;
            };
            if mailbox.shows(message) {
                let fact = self.core.ledger.record(Fact {
                    source: SOURCE,
                    account: mailbox.owner.clone(),
                    kind: message.kind(),
                    key: key(mailbox, *id),
                    at: message.internal_date.div_euclid(1_000),
                    container: mailbox.container,
                    webhook: false,
                    pollable: true,
                });
                facts.push(fact);
                if let Some(message) = mailbox.messages.get_mut(id) {
                    message.fact = Some(fact);
                }
            } else {
                self.core.ledger.hide(message.fact.as_slice());
            }
        }
        facts
    }
}

/// Dedupe key of a message.
pub(crate) fn key(mailbox: &Mailbox, id: u64) -> String {
    format!("{SOURCE}:{}:message:{}", mailbox.owner, hex(id))
}

impl Transaction<'_> {
    /// Adds a message to a mailbox with its record and fact.
    pub(super) fn add(&mut self, owner: &str, message: Message) -> u64 {
        let (id, at) = (message.id, self.when.at);
        self.mailbox(owner).add(message, at);
        self.update_facts(owner, &[id]);
        id
    }

    /// Records or hides the facts of messages after a change of this transaction.
    ///
    /// A message that was spam when it was added is on no list as a fact: only a second read of
    /// the past reports it.
    pub(super) fn update_facts(&mut self, owner: &str, ids: &[u64]) {
        let service = self.service;
        let mailbox = self.mailbox(owner);
        let known: Vec<u64> = ids
            .iter()
            .copied()
            .filter(|id| {
                mailbox
                    .messages
                    .get(id)
                    .is_some_and(|one| one.fact.is_some())
            })
            .collect();
        let facts = service.update_facts(mailbox, ids);
        let late: Vec<String> = ids
            .iter()
            .filter(|id| !known.contains(id) && mailbox.appeared_late(**id))
            .map(|id| key(mailbox, *id))
            .collect();
        self.world.late.extend(late);
        self.facts.extend(facts);
    }

    pub(super) fn hide_fact(&self, message: &Message) {
        self.service.core.ledger.hide(message.fact.as_slice());
    }
}

impl Mailbox {
    /// Whether a message with a fact was spam when it was added.
    fn appeared_late(&self, id: u64) -> bool {
        let has_fact = self
            .messages
            .get(&id)
            .is_some_and(|message| message.fact.is_some());
        has_fact
            && self
                .added_as(id)
                .is_none_or(|labels| labels.has_any(Labels::SPAM))
    }

    /// Labels with which the kept history adds a message.
    fn added_as(&self, id: u64) -> Option<Labels> {
        // A new message is in the newest record.
        let mut changes = self.changes().rev();
        let added =
            changes.find(|change| change.kind == ChangeKind::MessageAdded && change.message == id);
        added.map(|change| change.labels)
    }

    /// Whether the kept history adds a message.
    fn history_adds(&self, id: u64) -> bool {
        self.added_as(id).is_some()
    }
}
