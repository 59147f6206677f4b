//! Calls of bots' handlers, and the ledger rows of what they report.

use std::sync::Arc;

use super::Transaction;
use crate::faults::Rule;
use crate::webhook_sender::Delivery;
use crate::zoho::cliq::chat::{Author, Kind, Message, Position};
use crate::zoho::cliq::envelope::{Envelope, Handler, HandlerCall};
use crate::zoho::cliq::extensions::Extension;
use crate::zoho::cliq::facts::{self, Change};

/// A call that is sent, with its fault.
struct PlannedCall {
    extension: Arc<Extension>,
    handler: Handler,
    fault: Option<Rule>,
}

/// Content of a call.
struct Content<'a> {
    author: &'a Author,
    operation: &'a str,
    message: Option<&'a Message>,
    time: i64,
    timestamp: i64,
}

impl Transaction<'_> {
    /// Extensions whose bots are in a chat.
    fn extensions_in(&self, id: &str) -> Vec<Arc<Extension>> {
        let chat = &self.world.chats[id];
        let all = self.service.extensions.all().into_iter();
        all.filter(|one| chat.bots.contains(&one.id)).collect()
    }

    /// Plans a call, unless a fault or an action of the past prevents it.
    fn plan(
        &self,
        extension: &Arc<Extension>,
        handler: Handler,
        operation: &str,
    ) -> Option<PlannedCall> {
        let core = &self.service.zoho.core;
        let name = event_name(handler, operation);
        let fault = self.when.pick_fault(core, &name, &extension.account);
        let is_sent = self.when.sends_event(&extension.url, fault.as_ref());
        is_sent.then(|| PlannedCall {
            extension: Arc::clone(extension),
            handler,
            fault,
        })
    }

    /// Container of an account's facts.
    fn container(&self, login: &str) -> u64 {
        let user = self.world.users.get(login);
        user.map_or(0, |user| user.container)
    }

    /// Reports a new message to the bots of its chat.
    pub(super) fn deliver_message(&mut self, id: &str, (time, number): Position) {
        const POSTED: &str = "message_sent";
        let chat = &self.world.chats[id];
        let message = chat.messages[&(time, number)].clone();
        let is_bot_chat = matches!(chat.kind, Kind::Bot);
        let mut calls = Vec::new();
        for extension in self.extensions_in(id) {
            let first = if is_bot_chat {
                Handler::Message
            } else {
                Handler::Participation
            };
            let mut mentions = message.mentions.iter();
            let is_mentioned = mentions.any(|mention| mention.id == extension.bot_id);
            let handlers = [Some(first), is_mentioned.then_some(Handler::Mention)];
            for handler in handlers.into_iter().flatten() {
                calls.extend(self.plan(&extension, handler, POSTED));
            }
        }
        for call in calls {
            let account = call.extension.account.clone();
            let rows = if self.states_time(&call) {
                let owner = (account.as_str(), self.container(&account));
                let ledger = self.ledger();
                facts::reported_row(self.world, ledger, owner, id, time)
            } else {
                None
            };
            let timestamp = self.stated_time();
            let content = Content {
                author: &message.author,
                operation: POSTED,
                message: Some(&message),
                time,
                timestamp,
            };
            self.submit(id, call, &content, rows);
        }
    }

    /// Whether a call states the time of its message, without which it is no fact.
    fn states_time(&self, call: &PlannedCall) -> bool {
        let is_plain = self.service.settings().deluge_plain_messages;
        call.handler == Handler::Participation || call.extension.token.is_none() || !is_plain
    }

    /// Records a later fact of a message, and reports it to the bots of the chat.
    pub(super) fn deliver_change(
        &mut self,
        id: &str,
        message: &Message,
        change: Change,
        (time, timestamp): (i64, i64),
    ) {
        let operation = change.operation();
        let mut calls = Vec::new();
        // The chat of a bot has no participants besides it and the person.
        if !matches!(self.world.chats[id].kind, Kind::Bot) {
            for extension in self.extensions_in(id) {
                calls.extend(self.plan(&extension, Handler::Participation, operation));
            }
        }
        let accounts = calls.iter().map(|call| call.extension.account.clone());
        let accounts: Vec<_> = accounts
            .map(|login| (login.clone(), self.container(&login)))
            .collect();
        let rows = facts::record_change(
            self.world,
            self.ledger(),
            &self.world.chats[id],
            (message.time(), change, timestamp.div_euclid(1_000)),
            &accounts,
        );
        self.facts.extend(rows.values());
        for call in calls {
            let row = rows.get(&call.extension.account).copied();
            let content = Content {
                author: &message.author,
                operation,
                message: Some(message),
                time,
                timestamp,
            };
            self.submit(id, call, &content, row);
        }
    }

    /// Calls the participation handlers of a chat's bots about an event without a message.
    pub(super) fn call_participation(
        &mut self,
        id: &str,
        author: &Author,
        operation: &str,
        only: Option<&str>,
    ) {
        for extension in self.extensions_in(id) {
            if only.is_some_and(|only| only != extension.id) {
                continue;
            }
            if let Some(call) = self.plan(&extension, Handler::Participation, operation) {
                let timestamp = self.stated_time();
                let content = Content {
                    author,
                    operation,
                    message: None,
                    time: self.millis,
                    timestamp,
                };
                self.submit(id, call, &content, None);
            }
        }
    }

    fn submit(&mut self, id: &str, call: PlannedCall, content: &Content<'_>, row: Option<u64>) {
        let service = self.service;
        let chat = &self.world.chats[id];
        let server = service.zoho.server(chat.data_center);
        let settings = service.settings().clone();
        let envelope = Envelope {
            world: self.world,
            settings: &settings,
            server: &server,
        };
        let body = envelope.body(&HandlerCall {
            handler: call.handler,
            extension: &call.extension,
            chat,
            actor: content.author,
            operation: content.operation,
            message: content.message,
            time: content.time,
            timestamp: content.timestamp,
        });
        self.world.deliveries += 1;
        let delivery = format!("{}.{}", call.extension.id, self.world.deliveries);
        let facts: Vec<u64> = row.into_iter().collect();
        self.ledger().add_delivery(&facts);
        let new = facts.iter().filter(|row| !self.facts.contains(row));
        let new: Vec<u64> = new.copied().collect();
        self.facts.extend(new);
        self.deliveries.push(delivery.clone());
        service.sender.submit(Delivery {
            name: event_name(call.handler, content.operation),
            id: delivery,
            account: call.extension.account.clone(),
            url: call.extension.url.clone(),
            headers: Vec::new(),
            body,
            fault: call.fault,
            facts,
        });
    }
}

/// Name of a delivery, which fault rules match.
fn event_name(handler: Handler, operation: &str) -> String {
    match handler {
        Handler::Participation => format!("{}.{operation}", handler.name()),
        Handler::Mention | Handler::Message => handler.name().to_owned(),
    }
}
