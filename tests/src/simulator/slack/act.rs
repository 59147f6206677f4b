//! Things that happen, in the world, the ledger and the events.

mod messages;
mod places;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::world::{Author, Channel, Message, World, parse_stamp};
use super::{SOURCE, Slack};
use crate::simulator::faults::{Effect, Rule, Target};
use crate::simulator::ledger::Fact;
use crate::simulator::outbox::Letter;

/// What is to happen. Only `account` and `action` are required.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Act {
    pub(crate) account: String,
    pub(crate) action: String,
    pub(crate) channel: Option<String>,
    pub(crate) actor: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) ts: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) to: Option<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) object: Value,
    pub(crate) facts: Vec<u64>,
}

/// When something happens, and whether the app hears of it.
#[derive(Clone, Copy)]
pub(crate) struct When {
    pub(crate) at: i64,
    pub(crate) live: bool,
}

/// A fact for the ledger, without its account.
struct Told {
    kind: &'static str,
    /// Behind `slack:{team}:`.
    key: String,
    at: i64,
    pollable: bool,
}

/// The world, and those who are told of it.
pub(crate) struct Stage<'a> {
    hub: &'a Slack,
    pub(crate) world: &'a mut World,
    when: When,
}

impl Slack {
    /// Acts in the world.
    pub(crate) fn stage<R>(&self, when: When, then: impl FnOnce(&mut Stage<'_>) -> R) -> R {
        let mut world = self.world();
        then(&mut Stage {
            hub: self,
            world: &mut world,
            when,
        })
    }

    /// Now, with everybody told.
    pub(crate) fn now(&self) -> When {
        When {
            at: self.core.clock.seconds(),
            live: true,
        }
    }

    /// The app leaves a workspace.
    pub(crate) fn uninstall(&self, team: &str) {
        let first = self.settings().uninstalled_first;
        self.stage(self.now(), |stage| stage.uninstall(team, first));
    }
}

impl World {
    /// The bot joins every channel of a workspace that it can.
    pub(crate) fn join_everywhere(&mut self, team: &str) {
        for channel in self.channels.values_mut() {
            if channel.teams.iter().any(|one| one == team) && !channel.private {
                channel.bots.insert(team.to_owned());
            }
        }
    }
}

impl Stage<'_> {
    /// Makes one thing happen; the error says why it cannot.
    pub(crate) fn act(&mut self, act: &Act) -> Result<Done, &'static str> {
        let team = act.account.clone();
        if !self.world.teams.contains_key(&team) {
            return Err("there is no such account");
        }
        let actor = act
            .actor
            .clone()
            .or_else(|| self.world.somebody(&team))
            .ok_or("there is nobody")?;
        let channel = act
            .channel
            .clone()
            .or_else(|| self.world.some_channel(&team))
            .filter(|id| self.world.channels.contains_key(id))
            .ok_or("there is no such channel")?;
        if let Some(done) = self.about_places(act, &team, &channel, &actor) {
            return done;
        }
        let wanted = act.ts.as_deref().and_then(parse_stamp);
        if let Some(done) = self.new_message(act, &team, &channel, &actor, wanted) {
            return Ok(done);
        }
        let ts = wanted.or_else(|| self.world.some_message(&channel, |_| true));
        let ts = match ts {
            Some(ts) => ts,
            None => self.first_message(&channel, &actor),
        };
        let text = self.text(act);
        let name = act.name.as_deref();
        match act.action.as_str() {
            "message.edited" => self.edit(&channel, ts, &actor, &text),
            "message.unfurled" => self.unfurl(&channel, ts),
            "message.deleted" => self.delete(&channel, ts),
            "reaction.added" => self.react(&channel, ts, &actor, name, true),
            "reaction.removed" => self.react(&channel, ts, &actor, name, false),
            _ => Err("there is no such action"),
        }
    }

    /// What happens to the app, to people and to channels.
    fn about_places(
        &mut self,
        act: &Act,
        team: &str,
        channel: &str,
        actor: &str,
    ) -> Option<Result<Done, &'static str>> {
        let name = act.name.clone();
        Some(match act.action.as_str() {
            "app.uninstalled" => {
                let first = self.hub.settings().uninstalled_first;
                self.uninstall(team, first);
                Ok(Done::default())
            }
            "app.rate_limited" => {
                let body = json!({
                    "token": "deprecated", "type": "app_rate_limited", "team_id": team,
                    "minute_rate_limited": self.when.at - self.when.at % 60,
                    "api_app_id": self.hub.app.id,
                });
                self.send("app_rate_limited", team, body, Vec::new());
                Ok(Done::default())
            }
            "user.renamed" => self.rename_user(team, actor, name),
            "channel.created" => Ok(self.create_channel(team, actor, name)),
            "channel.renamed" => Ok(self.rename_channel(team, channel, name)),
            "channel.shared" => match &act.to {
                Some(to) => self.share(channel, to),
                None => Err("`to` names the other workspace"),
            },
            "channel.kicked" => Ok(self.kick(team, channel)),
            "member.joined" => Ok(self.member_joined(team, channel, actor)),
            _ => return None,
        })
    }

    /// Messages of every sort.
    fn new_message(
        &mut self,
        act: &Act,
        team: &str,
        channel: &str,
        actor: &str,
        parent: Option<i64>,
    ) -> Option<Done> {
        let text = self.text(act);
        let person = Author::Person(actor.to_owned());
        Some(match act.action.as_str() {
            "message.posted" => self.post(channel, person, &text, None, None),
            "message.mention" => {
                let text = format!("<@{}> {text}", self.world.teams[team].bot);
                self.post(channel, person, &text, None, None)
            }
            "message.bot" => {
                let author = Author::App("B00000CI1".to_owned(), "Build".to_owned());
                self.post(channel, author, &text, None, Some("bot_message"))
            }
            "message.me" => self.post(channel, person, &text, None, Some("me_message")),
            "message.file" => self.share_file(team, channel, actor, &text),
            "message.noise" => {
                let words = format!("<@{actor}> has joined the channel");
                self.post(channel, person, &words, None, Some("channel_join"))
            }
            "message.replied" | "message.broadcast" => {
                let subtype = (act.action == "message.broadcast").then_some("thread_broadcast");
                let parent =
                    parent.or_else(|| self.world.some_message(channel, |m| m.thread.is_none()));
                let parent = match parent {
                    Some(parent) => parent,
                    None => self.first_message(channel, actor),
                };
                self.post(channel, person, &text, Some(parent), subtype)
            }
            _ => return None,
        })
    }

    fn text(&mut self, act: &Act) -> String {
        act.text.clone().unwrap_or_else(|| self.words())
    }

    fn words(&mut self) -> String {
        let number = self.world.number();
        format!("Note {number}: the pump runs again")
    }

    fn first_message(&mut self, channel: &str, actor: &str) -> i64 {
        let text = self.words();
        let done = self.post(channel, Author::Person(actor.to_owned()), &text, None, None);
        done.object["ts"]
            .as_str()
            .and_then(parse_stamp)
            .unwrap_or_default()
    }

    fn place(&mut self, channel: &str) -> &mut Channel {
        self.world
            .channels
            .get_mut(channel)
            .unwrap_or_else(|| panic!("the channel {channel} was looked up before"))
    }

    fn message(&self, channel: &str, ts: i64) -> Result<&Message, &'static str> {
        self.world
            .channels
            .get(channel)
            .and_then(|place| place.messages.get(&ts))
            .ok_or("there is no such message")
    }

    /// Workspaces whose bot is in the channel.
    fn seers(&self, channel: &str) -> Vec<String> {
        self.world.channels[channel]
            .bots
            .iter()
            .filter(|team| self.world.installations.contains_key(*team))
            .cloned()
            .collect()
    }

    fn fault(&self, name: &str, team: &str) -> Option<Rule> {
        if !self.when.live {
            return None;
        }
        self.hub
            .core
            .faults
            .pick(Target::Delivery, name, Some(team))
    }

    /// Whether an event is sent at all.
    fn heard(&self, fault: Option<&Rule>) -> bool {
        self.when.live
            && !self.hub.settings().webhook_url.is_empty()
            && fault.is_none_or(|rule| rule.effect != Effect::DropSilently)
    }

    /// Writes a fact down for every workspace of the channel, and sends the one event that
    /// tells those whose bot is there.
    fn happen(
        &mut self,
        channel: &str,
        told: Option<Told>,
        event: Option<(&str, Value)>,
    ) -> BTreeMap<String, u64> {
        let seers = self.seers(channel);
        let fault = match (&event, seers.first()) {
            (Some((name, _)), Some(first)) => self.fault(name, first),
            _ => None,
        };
        let heard = event.is_some() && !seers.is_empty() && self.heard(fault.as_ref());
        let mut facts = BTreeMap::new();
        if let Some(told) = told {
            let place = &self.world.channels[channel];
            for team in &place.teams {
                let fact = self.hub.core.ledger.record(Fact {
                    source: SOURCE,
                    account: team.clone(),
                    kind: told.kind,
                    key: format!("slack:{team}:{}", told.key),
                    at: told.at,
                    container: place.containers[team],
                    webhook: heard && seers.contains(team),
                    pollable: told.pollable,
                });
                facts.insert(team.clone(), fact);
            }
        }
        if let (Some((name, inner)), true) = (event, heard) {
            let body = self.envelope(&seers, &inner);
            let rows = seers
                .iter()
                .filter_map(|team| facts.get(team).copied())
                .collect();
            self.submit(name, &seers[0], body, fault, rows);
        }
        facts
    }

    /// Sends an event without a fact.
    fn event(&mut self, name: &str, seers: &[String], inner: &Value, facts: Vec<u64>) {
        let installed: Vec<String> = seers
            .iter()
            .filter(|team| self.world.installations.contains_key(*team))
            .cloned()
            .collect();
        if let Some(first) = installed.first().cloned() {
            let body = self.envelope(&installed, inner);
            self.send(name, &first, body, facts);
        }
    }

    fn send(&mut self, name: &str, team: &str, body: Value, facts: Vec<u64>) {
        let fault = self.fault(name, team);
        if self.heard(fault.as_ref()) {
            self.submit(name, team, body, fault, facts);
        }
    }

    fn submit(&self, name: &str, team: &str, body: Value, fault: Option<Rule>, facts: Vec<u64>) {
        self.hub.events.submit(Letter {
            name: name.to_owned(),
            id: body["event_id"].as_str().unwrap_or_default().to_owned(),
            account: team.to_owned(),
            body,
            fault,
            facts,
        });
    }

    /// What surrounds an event: one of those who see it, however many there are.
    fn envelope(&mut self, seers: &[String], inner: &Value) -> Value {
        let context = format!("4-{}", self.world.secret(20));
        let event_id = self.world.id("Ev");
        self.world.contexts.insert(context.clone(), seers.to_vec());
        let team = &self.world.teams[&seers[0]];
        json!({
            "token": "deprecated", "team_id": team.id, "context_team_id": team.id,
            "context_enterprise_id": null, "api_app_id": self.hub.app.id, "event": inner,
            "type": "event_callback", "event_id": event_id, "event_time": self.when.at,
            "authorizations": [{
                "enterprise_id": null, "team_id": team.id, "user_id": team.bot, "is_bot": true,
                "is_enterprise_install": false,
            }],
            "is_ext_shared_channel": seers.len() > 1, "event_context": context,
        })
    }
}
