//! How something that happened is written down and told.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Stage;
use crate::simulator::faults::{Effect, Rule, Target};
use crate::simulator::ledger::Fact;
use crate::simulator::outbox::Letter;
use crate::simulator::slack::world::{Channel, Kind};
use crate::simulator::slack::{SOURCE, scopes};

/// A fact for the ledger, without its account.
pub(super) struct Told {
    pub(super) kind: &'static str,
    /// Behind `slack:{account}:`.
    pub(super) key: String,
    pub(super) at: i64,
    pub(super) pollable: bool,
    /// A reply that the channel itself does not show.
    pub(super) reply: bool,
}

impl Channel {
    /// A fact's whole key: a channel's facts are named by its first id.
    fn key_of(&self, account: &str, key: &str) -> String {
        format!(
            "slack:{account}:{}",
            key.replacen(&self.id, &self.first_id, 1)
        )
    }
}

/// An account that sees an event, and the workspace that it sees it in.
pub(super) type Seer = (String, String);

impl Stage<'_> {
    /// Accounts whose bot is in the channel and may hear of such an event.
    fn seers(&self, channel: &Channel, event: &str) -> Vec<Seer> {
        let scope = scopes::of_event(event, channel.kind);
        channel
            .bots
            .iter()
            .filter(|account| match &scope {
                Some(scope) => self.world.granted(account, scope),
                None => self.world.installed(account),
            })
            .map(|account| {
                let team = self.world.seen_from(account, channel).id.clone();
                (account.clone(), team)
            })
            .collect()
    }

    pub(super) fn fault(&self, name: &str, account: &str) -> Option<Rule> {
        if !self.when.live {
            return None;
        }
        self.hub
            .core
            .faults
            .pick(Target::Delivery, name, Some(account))
    }

    /// Whether an event is sent at all.
    pub(super) fn heard(&self, fault: Option<&Rule>) -> bool {
        self.when.live
            && !self.hub.settings().webhook_url.is_empty()
            && fault.is_none_or(|rule| rule.effect != Effect::DropSilently)
    }

    /// Writes a fact down for every account of the channel, and sends the one event that tells
    /// those whose bot is there.
    pub(super) fn happen(
        &mut self,
        channel: &str,
        told: Option<Told>,
        event: Option<(&str, Value)>,
    ) -> BTreeMap<String, u64> {
        let place = &self.world.channels[channel];
        let seers = match &event {
            Some((name, _)) => self.seers(place, name),
            None => Vec::new(),
        };
        let fault = match (&event, seers.first()) {
            (Some((name, _)), Some((first, _))) => self.fault(name, first),
            _ => None,
        };
        let heard = !seers.is_empty() && self.heard(fault.as_ref());
        let mut facts = BTreeMap::new();
        if let Some(told) = told {
            for (account, shelf) in &place.shelves {
                let fact = self.hub.core.ledger.record(Fact {
                    source: SOURCE,
                    account: account.clone(),
                    kind: told.kind,
                    key: place.key_of(account, &told.key),
                    at: told.at,
                    container: if told.reply {
                        shelf.replies
                    } else {
                        shelf.messages
                    },
                    webhook: heard && seers.iter().any(|(one, _)| one == account),
                    pollable: told.pollable,
                });
                facts.insert(account.clone(), fact);
            }
        }
        if let (Some((name, inner)), true) = (event, heard) {
            let foreign = self.world.is_foreign(&self.world.channels[channel]);
            let rows = seers
                .iter()
                .filter_map(|(account, _)| facts.get(account).copied())
                .collect();
            let first = seers[0].0.clone();
            let body = self.envelope(&seers, &inner, foreign);
            self.submit(name, &first, body, fault, rows);
        }
        facts
    }

    /// Writes down for an account what a channel shows already, and no event has told it.
    pub(super) fn retell(&mut self, channel: &str, account: &str) {
        let Some(place) = self.world.channels.get_mut(channel) else {
            return;
        };
        let Some(own) = place.shelves.get(account).copied() else {
            return;
        };
        let first_id = place.first_id.clone();
        for message in place.messages.values_mut() {
            let container = if message.is_reply() {
                own.replies
            } else {
                own.messages
            };
            let key = |told: &Told| {
                let named = told.key.replacen(channel, &first_id, 1);
                format!("slack:{account}:{named}")
            };
            let record = |told: Told| {
                self.hub.core.ledger.record(Fact {
                    source: SOURCE,
                    account: account.to_owned(),
                    kind: told.kind,
                    key: key(&told),
                    at: told.at,
                    container,
                    webhook: false,
                    pollable: told.pollable,
                })
            };
            let (posted, edited) = (message.told(channel), message.edit_told(channel));
            let fact = posted.map(record);
            message
                .facts
                .insert(account.to_owned(), fact.into_iter().collect());
            if let Some(fact) = edited.map(record) {
                message.edit_facts.insert(account.to_owned(), fact);
            }
        }
    }

    /// Sends an event of a workspace to whoever acts there, and what facts it tells besides the
    /// event of their own.
    pub(super) fn event(
        &mut self,
        name: &str,
        team: &str,
        kind: Kind,
        inner: &Value,
        facts: &[u64],
    ) {
        let account = self.world.acting(team);
        let allowed = match scopes::of_event(name, kind) {
            Some(scope) => self.world.granted(&account, &scope),
            None => self.world.installed(&account),
        };
        if allowed {
            let body = self.envelope(&[(account.clone(), team.to_owned())], inner, false);
            self.send(name, &account, body, facts);
        }
    }

    pub(super) fn send(&mut self, name: &str, account: &str, body: Value, facts: &[u64]) {
        let fault = self.fault(name, account);
        if self.heard(fault.as_ref()) {
            self.hub.core.ledger.tell_again(facts);
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
        self.hub.events.submit(Letter {
            name: name.to_owned(),
            id: body["event_id"].as_str().unwrap_or_default().to_owned(),
            account: account.to_owned(),
            url: self.hub.settings().webhook_url.clone(),
            headers: Vec::new(),
            body,
            fault,
            facts,
        });
    }

    /// What surrounds an event: one of those who see it, however many there are.
    pub(super) fn envelope(&mut self, seers: &[Seer], inner: &Value, foreign: bool) -> Value {
        let context = format!("4-{}", self.world.secret(20));
        let event_id = self.world.id("Ev");
        self.world.contexts.insert(context.clone(), seers.to_vec());
        let (account, team) = &seers[0];
        let above = self.world.teams[team].organization.clone();
        let mut body = json!({
            "token": "deprecated", "team_id": team, "context_team_id": team,
            "context_enterprise_id": above, "api_app_id": self.hub.app.id, "event": inner,
            "type": "event_callback", "event_id": event_id, "event_time": self.when.at,
            "authorizations": [self.world.authorization_json(account, team)],
            "is_ext_shared_channel": foreign, "event_context": context,
        });
        if let Some(above) = above {
            body["enterprise_id"] = json!(above);
        }
        body
    }
}
