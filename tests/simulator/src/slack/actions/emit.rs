//! Facts of an action in the ledger, and the events that carry them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Transaction;
use crate::faults::Rule;
use crate::ledger::Fact;
use crate::slack::world::{Channel, Kind};
use crate::slack::{SOURCE, scopes};
use crate::webhook_sender::Delivery;

/// A fact for the ledger, without its account.
pub(super) struct FactDraft {
    pub(super) kind: &'static str,
    /// Dedupe key without the prefix `slack:{account}:`.
    pub(super) key: String,
    pub(super) at: i64,
    pub(super) pollable: bool,
    /// A reply that `conversations.history` does not show.
    pub(super) is_thread_only: bool,
}

impl Channel {
    /// Dedupe key of a fact of this channel, which contains the channel's first id.
    fn dedupe_key(&self, account: &str, key: &str) -> String {
        format!(
            "slack:{account}:{}",
            key.replacen(&self.id, &self.first_id, 1)
        )
    }
}

/// An account that receives an event, and the workspace in which it sees it.
pub(super) type Authorization = (String, String);

impl Transaction<'_> {
    /// Accounts whose bot is in the channel and has the scope of the event.
    fn authorizations(&self, channel: &Channel, event: &str) -> Vec<Authorization> {
        let scope = scopes::event_scope(event, channel.kind);
        channel
            .bots
            .iter()
            .filter(|account| match &scope {
                Some(scope) => self.world.granted(account, scope),
                None => self.world.installed(account),
            })
            .map(|account| {
                let team = self.world.channel_workspace(account, channel).id.clone();
                (account.clone(), team)
            })
            .collect()
    }

    pub(super) fn pick_fault(&self, event: &str, account: &str) -> Option<Rule> {
        self.when.pick_fault(&self.service.core, event, account)
    }

    pub(super) fn sends_event(&self, fault: Option<&Rule>) -> bool {
        let settings = self.service.settings();
        self.when.sends_event(&settings.webhook_url, fault)
    }

    /// Records a fact for every account of a channel, and sends its event.
    ///
    /// One delivery is for all accounts whose bot is in the channel.
    pub(super) fn emit(
        &mut self,
        channel: &str,
        draft: Option<FactDraft>,
        event: Option<(&str, Value)>,
    ) -> BTreeMap<String, u64> {
        let conversation = &self.world.channels[channel];
        let authorizations = match &event {
            Some((name, _)) => self.authorizations(conversation, name),
            None => Vec::new(),
        };
        let fault = match (&event, authorizations.first()) {
            (Some((name, _)), Some((first, _))) => self.pick_fault(name, first),
            _ => None,
        };
        let is_sent = !authorizations.is_empty() && self.sends_event(fault.as_ref());
        let mut facts = BTreeMap::new();
        if let Some(draft) = draft {
            for (account, containers) in &conversation.containers {
                let fact = self.service.core.ledger.record(Fact {
                    source: SOURCE,
                    account: account.clone(),
                    kind: draft.kind,
                    key: conversation.dedupe_key(account, &draft.key),
                    at: draft.at,
                    container: if draft.is_thread_only {
                        containers.replies
                    } else {
                        containers.messages
                    },
                    webhook: is_sent && authorizations.iter().any(|(one, _)| one == account),
                    pollable: draft.pollable,
                });
                facts.insert(account.clone(), fact);
            }
        }
        if let (Some((name, inner)), true) = (event, is_sent) {
            let is_external = self.world.is_external(&self.world.channels[channel]);
            let rows = authorizations
                .iter()
                .filter_map(|(account, _)| facts.get(account).copied())
                .collect();
            let first = authorizations[0].0.clone();
            let body = self.envelope(&authorizations, &inner, is_external);
            self.submit(name, &first, body, fault, rows);
        }
        facts
    }

    /// Records the facts of a channel's existing messages for an account that got no event.
    pub(super) fn record_existing_facts(&mut self, channel: &str, account: &str) {
        let Some(conversation) = self.world.channels.get_mut(channel) else {
            return;
        };
        let Some(containers) = conversation.containers.get(account).copied() else {
            return;
        };
        let first_id = conversation.first_id.clone();
        for message in conversation.messages.values_mut() {
            let container = if message.is_thread_only() {
                containers.replies
            } else {
                containers.messages
            };
            let key = |draft: &FactDraft| {
                let suffix = draft.key.replacen(channel, &first_id, 1);
                format!("slack:{account}:{suffix}")
            };
            let record = |draft: FactDraft| {
                self.service.core.ledger.record(Fact {
                    source: SOURCE,
                    account: account.to_owned(),
                    kind: draft.kind,
                    key: key(&draft),
                    at: draft.at,
                    container,
                    webhook: false,
                    pollable: draft.pollable,
                })
            };
            let (posted, edited) = (message.posted_fact(channel), message.edited_fact(channel));
            let fact = posted.map(record);
            message
                .facts
                .insert(account.to_owned(), fact.into_iter().collect());
            if let Some(fact) = edited.map(record) {
                message.edit_facts.insert(account.to_owned(), fact);
            }
        }
    }

    /// Sends an event of a workspace to the account that acts there.
    ///
    /// `facts` are the ledger rows that the event carries in addition to their own event.
    pub(super) fn send_workspace_event(
        &mut self,
        name: &str,
        team: &str,
        kind: Kind,
        inner: &Value,
        facts: &[u64],
    ) {
        let account = self.world.acting_account(team);
        let allowed = match scopes::event_scope(name, kind) {
            Some(scope) => self.world.granted(&account, &scope),
            None => self.world.installed(&account),
        };
        if allowed {
            let body = self.envelope(&[(account.clone(), team.to_owned())], inner, false);
            self.send(name, &account, body, facts);
        }
    }

    pub(super) fn send(&mut self, name: &str, account: &str, body: Value, facts: &[u64]) {
        let fault = self.pick_fault(name, account);
        if self.sends_event(fault.as_ref()) {
            self.service.core.ledger.add_delivery(facts);
            self.submit(name, account, body, fault, facts.to_vec());
        }
    }

    pub(super) fn submit(
        &self,
        name: &str,
        account: &str,
        body: Value,
        fault: Option<Rule>,
        facts: Vec<u64>,
    ) {
        self.service.events.submit(Delivery {
            name: name.to_owned(),
            id: body["event_id"].as_str().unwrap_or_default().to_owned(),
            account: account.to_owned(),
            url: self.service.settings().webhook_url.clone(),
            headers: Vec::new(),
            body,
            fault,
            facts,
        });
    }

    /// Body of an event. It names the first authorization only, as Slack does.
    pub(super) fn envelope(
        &mut self,
        authorizations: &[Authorization],
        inner: &Value,
        is_external: bool,
    ) -> Value {
        let context = format!("4-{}", self.world.secret(20));
        let event_id = self.world.id("Ev");
        self.world
            .contexts
            .insert(context.clone(), authorizations.to_vec());
        let (account, team) = &authorizations[0];
        let parent = self.world.teams[team].organization.clone();
        let mut body = json!({
            "token": "deprecated", "team_id": team, "context_team_id": team,
            "context_enterprise_id": parent, "api_app_id": self.service.app.id, "event": inner,
            "type": "event_callback", "event_id": event_id, "event_time": self.when.at,
            "authorizations": [self.world.authorization_json(account, team)],
            "is_ext_shared_channel": is_external, "event_context": context,
        });
        if let Some(parent) = parent {
            body["enterprise_id"] = json!(parent);
        }
        body
    }
}
