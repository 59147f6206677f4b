//! Things that happen, in the world, the ledger and the events.

mod app;
mod changes;
mod messages;
mod places;
mod told;

use rand::seq::IndexedRandom;
use serde::Deserialize;
use serde_json::Value;

use super::Slack;
use super::world::{Author, Channel, Message, World, parse_stamp};

/// What is to happen. Only `account` and `action` are required.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Act {
    /// A workspace, or an organization in one of whose workspaces it is to happen.
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
}

impl Stage<'_> {
    /// Makes one thing happen; the error says why it cannot.
    pub(crate) fn act(&mut self, act: &Act) -> Result<Done, &'static str> {
        if let Some(done) = self.about_app(act) {
            return done;
        }
        let team = self.workspace(act)?;
        let actor = act
            .actor
            .clone()
            .or_else(|| self.world.somebody(&team))
            .filter(|actor| self.world.users.contains_key(actor))
            .ok_or("there is no such person")?;
        if act.action == "message.direct" {
            return self.write_to_bot(act, &team, &actor);
        }
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

    /// The workspace in which something happens.
    fn workspace(&mut self, act: &Act) -> Result<String, &'static str> {
        if self.world.teams.contains_key(&act.account) {
            return Ok(act.account.clone());
        }
        let wanted = act.channel.as_ref();
        let all: Vec<String> = self
            .world
            .teams
            .values()
            .filter(|team| team.organization.as_ref() == Some(&act.account))
            .filter(|team| {
                let channel = wanted.and_then(|id| self.world.channels.get(id));
                channel.is_none_or(|channel| channel.teams.contains(&team.id))
            })
            .map(|team| team.id.clone())
            .collect();
        all.choose(&mut self.world.rng)
            .cloned()
            .ok_or("there is no such account")
    }

    /// What happens to people and to channels.
    fn about_places(
        &mut self,
        act: &Act,
        team: &str,
        channel: &str,
        actor: &str,
    ) -> Option<Result<Done, &'static str>> {
        let name = act.name.clone();
        Some(match act.action.as_str() {
            "user.renamed" => self.rename_user(team, actor, name),
            "channel.created" => Ok(self.create_channel(team, actor, name)),
            "group.created" => Ok(self.create_group(team, actor, name)),
            "channel.id_changed" => Ok(self.change_id(team, channel)),
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
                let account = self.world.acting(team);
                let text = format!("<@{}> {text}", self.world.bot_of(&account));
                self.post(channel, person, &text, None, None)
            }
            "message.bot" => self.post_as_app(channel, &text, act.name.as_deref()),
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
}
