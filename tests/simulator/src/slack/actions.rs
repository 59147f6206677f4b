//! Actions of people and apps: changes of the world, facts in the ledger, and events.

mod app;
mod changes;
mod channels;
mod emit;
mod messages;

use rand::seq::IndexedRandom;
use serde::Deserialize;

use super::Slack;
use super::world::{Author, Channel, Message, World, parse_ts};
use crate::Core;
use crate::lock::Mutex;

pub(crate) use crate::action::{Acted, ActionOutcome, ActionTime};

/// Action and parameters of a control request.
///
/// Only `account` and `action` are required.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionParams {
    /// A workspace, or an organization (the action then takes one of its workspaces).
    pub(crate) account: String,
    pub(crate) action: String,
    pub(crate) channel: Option<String>,
    pub(crate) actor: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) ts: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) to: Option<String>,
}

/// Access to Slack's world while an action changes it.
pub(crate) type Transaction<'a> = crate::action::Transaction<'a, Slack>;

impl Acted for Slack {
    type World = World;

    fn core(&self) -> &Core {
        &self.core
    }

    fn locked_world(&self) -> &Mutex<World> {
        &self.world
    }
}

impl Transaction<'_> {
    /// Performs an action. The error is the reason why it is impossible.
    pub(crate) fn perform(&mut self, params: &ActionParams) -> Result<ActionOutcome, &'static str> {
        if let Some(outcome) = self.perform_on_app(params) {
            return outcome;
        }
        let team = self.workspace(params)?;
        let actor = params
            .actor
            .clone()
            .or_else(|| self.world.random_person(&team))
            .filter(|actor| self.world.users.contains_key(actor))
            .ok_or("unknown user")?;
        if params.action == "message.direct" {
            return self.write_to_bot(params, &team, &actor);
        }
        let channel = params
            .channel
            .clone()
            .or_else(|| self.world.random_channel(&team))
            .filter(|id| self.world.channels.contains_key(id))
            .ok_or("unknown channel")?;
        if let Some(outcome) = self.perform_on_channel(params, &team, &channel, &actor) {
            return outcome;
        }
        let requested_ts = params.ts.as_deref().and_then(parse_ts);
        if let Some(outcome) = self.new_message(params, &team, &channel, &actor, requested_ts) {
            return Ok(outcome);
        }
        let ts = requested_ts.or_else(|| self.world.random_message(&channel, |_| true));
        let ts = match ts {
            Some(ts) => ts,
            None => self.first_message(&channel, &actor),
        };
        let text = self.text(params);
        let name = params.name.as_deref();
        match params.action.as_str() {
            "message.edited" => self.edit(&channel, ts, &actor, &text),
            "message.unfurled" => self.unfurl(&channel, ts),
            "message.deleted" => self.delete(&channel, ts),
            "reaction.added" => self.react(&channel, ts, &actor, name, true),
            "reaction.removed" => self.react(&channel, ts, &actor, name, false),
            _ => Err("unknown action"),
        }
    }

    /// Workspace of an action.
    fn workspace(&mut self, params: &ActionParams) -> Result<String, &'static str> {
        if self.world.teams.contains_key(&params.account) {
            return Ok(params.account.clone());
        }
        let requested = params.channel.as_ref();
        let all: Vec<String> = self
            .world
            .teams
            .values()
            .filter(|team| team.organization.as_ref() == Some(&params.account))
            .filter(|team| {
                let channel = requested.and_then(|id| self.world.channels.get(id));
                channel.is_none_or(|channel| channel.teams.contains(&team.id))
            })
            .map(|team| team.id.clone())
            .collect();
        all.choose(&mut self.world.rng)
            .cloned()
            .ok_or("unknown account")
    }

    /// Performs an action on a user or a channel; `None` for other actions.
    fn perform_on_channel(
        &mut self,
        params: &ActionParams,
        team: &str,
        channel: &str,
        actor: &str,
    ) -> Option<Result<ActionOutcome, &'static str>> {
        let name = params.name.clone();
        Some(match params.action.as_str() {
            "user.renamed" => self.rename_user(team, actor, name),
            "channel.created" => Ok(self.create_channel(team, actor, name)),
            "group.created" => Ok(self.create_group(team, actor, name)),
            "channel.id_changed" => Ok(self.change_id(team, channel)),
            "channel.renamed" => Ok(self.rename_channel(team, channel, name)),
            "channel.shared" => match &params.to {
                Some(to) => self.share(channel, to),
                None => Err("`to` is required: the other workspace"),
            },
            "channel.kicked" => Ok(self.kick(team, channel)),
            "member.joined" => Ok(self.member_joined(team, channel, actor)),
            _ => return None,
        })
    }

    /// Posts a new message; `None` for other actions.
    fn new_message(
        &mut self,
        params: &ActionParams,
        team: &str,
        channel: &str,
        actor: &str,
        parent: Option<i64>,
    ) -> Option<ActionOutcome> {
        let text = self.text(params);
        let person = Author::Person(actor.to_owned());
        Some(match params.action.as_str() {
            "message.posted" => self.post(channel, person, &text, None, None),
            "message.mention" => {
                let account = self.world.acting_account(team);
                let text = format!("<@{}> {text}", self.world.bot_of(&account));
                self.post(channel, person, &text, None, None)
            }
            "message.bot" => self.post_as_app(channel, &text, params.name.as_deref()),
            "message.me" => self.post(channel, person, &text, None, Some("me_message")),
            "message.file" => self.share_file(team, channel, actor, &text),
            "message.noise" => {
                let text = format!("<@{actor}> has joined the channel");
                self.post(channel, person, &text, None, Some("channel_join"))
            }
            "message.replied" | "message.broadcast" => {
                let subtype = (params.action == "message.broadcast").then_some("thread_broadcast");
                let parent =
                    parent.or_else(|| self.world.random_message(channel, |m| m.thread.is_none()));
                let parent = match parent {
                    Some(parent) => parent,
                    None => self.first_message(channel, actor),
                };
                self.post(channel, person, &text, Some(parent), subtype)
            }
            _ => return None,
        })
    }

    fn text(&mut self, params: &ActionParams) -> String {
        params.text.clone().unwrap_or_else(|| self.sample_text())
    }

    fn sample_text(&mut self) -> String {
        let number = self.world.number();
        format!("Note {number}: the pump runs again")
    }

    fn first_message(&mut self, channel: &str, actor: &str) -> i64 {
        let text = self.sample_text();
        let outcome = self.post(channel, Author::Person(actor.to_owned()), &text, None, None);
        outcome.object["ts"]
            .as_str()
            .and_then(parse_ts)
            .unwrap_or_default()
    }

    fn channel_mut(&mut self, channel: &str) -> &mut Channel {
        self.world
            .channels
            .get_mut(channel)
            .unwrap_or_else(|| panic!("channel {channel} exists"))
    }

    fn message(&self, channel: &str, ts: i64) -> Result<&Message, &'static str> {
        self.world
            .channels
            .get(channel)
            .and_then(|conversation| conversation.messages.get(&ts))
            .ok_or("unknown message")
    }
}
