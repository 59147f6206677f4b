//! Facts of messages in the ledger.

use super::Transaction;
use crate::ledger::Fact;
use crate::zoho::mail::SOURCE;
use crate::zoho::mail::mailbox::{Mailbox, Message};

/// Dedupe key of a message.
pub(crate) fn key(mailbox: &Mailbox, id: u64) -> String {
    format!("{SOURCE}:{}:message:{id}", mailbox.account_id)
}

impl Transaction<'_> {
    /// Moves a message, and records or hides its fact.
    ///
    /// A message that comes out of a folder without facts is below newer rows of its new
    /// folder: only a second read of the past reports it.
    pub(super) fn relocate(&mut self, owner: &str, id: u64, folder: u64, facts: &mut Vec<u64>) {
        let mailbox = self.world.mailbox(owner);
        let kind_of = |mailbox: &Mailbox| {
            let message = mailbox.message(id)?;
            mailbox.kind(message)
        };
        let former = kind_of(mailbox);
        mailbox.relocate(id, folder);
        let (container, key) = (mailbox.container, key(mailbox, id));
        let kind = kind_of(mailbox);
        let Some(message) = mailbox.message(id).cloned() else {
            return;
        };
        let Some(kind) = kind else {
            self.hide_fact(&message);
            return;
        };
        facts.push(self.record(owner, &message, kind, &key, container, true));
        if former.is_none() {
            self.world.late.insert(key);
        }
    }

    /// Records the fact of a new message: in a folder without facts, webhooks may report it.
    pub(super) fn record_new(&mut self, owner: &str, id: u64, is_delivered: bool) -> Option<u64> {
        let mailbox = self.world.mailbox(owner);
        let message = mailbox.message(id)?.clone();
        let shown = mailbox.kind(&message);
        let kind = shown.or(is_delivered.then_some("email_received"))?;
        let (container, key) = (mailbox.container, key(mailbox, id));
        Some(self.record(owner, &message, kind, &key, container, shown.is_some()))
    }

    fn record(
        &mut self,
        owner: &str,
        message: &Message,
        kind: &'static str,
        key: &str,
        container: u64,
        pollable: bool,
    ) -> u64 {
        let fact = self.service.core.ledger.record(Fact {
            source: SOURCE,
            account: owner.to_owned(),
            kind,
            key: key.to_owned(),
            at: message.received.div_euclid(1_000),
            container,
            webhook: false,
            pollable,
        });
        if let Some(message) = self.world.mailbox(owner).message_mut(message.id) {
            message.fact = Some(fact);
        }
        fact
    }

    pub(super) fn hide_fact(&self, message: &Message) {
        self.service.core.ledger.hide(message.fact.as_slice());
    }
}
