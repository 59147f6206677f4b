//! New messages: plain, in threads, of apps, with files, and to the bot.

use std::collections::BTreeMap;

use serde_json::json;

use super::emit::FactDraft;
use super::{ActionOutcome, ActionParams, Transaction};
use crate::slack::world::{
    Author, Channel, Kind, Message, TextLocation, World, format_ts, is_written, seconds,
};

impl Message {
    fn new(ts: i64, team: String, author: Author, text: &str) -> Self {
        Self {
            ts,
            team,
            author,
            subtype: None,
            text: text.to_owned(),
            text_location: TextLocation::Text,
            thread: None,
            replies: Vec::new(),
            repliers: Vec::new(),
            edited: None,
            unfurled: false,
            file: None,
            reactions: BTreeMap::new(),
            facts: BTreeMap::new(),
            edit_facts: BTreeMap::new(),
        }
    }

    /// Author of the message, if it is a person.
    fn person(&self) -> Option<&String> {
        match &self.author {
            Author::Person(user) => Some(user),
            Author::App(..) => None,
        }
    }

    /// The fact of its posting; `None` for messages that Slack itself wrote.
    pub(super) fn posted_fact(&self, channel: &str) -> Option<FactDraft> {
        is_written(self).then(|| FactDraft {
            kind: if self.thread.is_some() {
                "thread_replied"
            } else {
                "message_posted"
            },
            key: format!("message:{channel}:{}", format_ts(self.ts)),
            at: seconds(self.ts),
            pollable: true,
            is_thread_only: self.is_thread_only(),
        })
    }

    /// The fact of its latest edit.
    pub(super) fn edited_fact(&self, channel: &str) -> Option<FactDraft> {
        let (_, at) = self.edited.as_ref()?;
        Some(FactDraft {
            kind: "message_edited",
            key: format!(
                "message:{channel}:{}:edited:{}",
                format_ts(self.ts),
                format_ts(*at)
            ),
            at: seconds(*at),
            pollable: true,
            is_thread_only: self.is_thread_only(),
        })
    }

    /// Whether only `conversations.replies` shows it.
    pub(super) fn is_thread_only(&self) -> bool {
        self.thread.is_some() && self.subtype != Some("thread_broadcast")
    }
}

impl Transaction<'_> {
    /// Posts a message, optionally in a thread.
    pub(crate) fn post(
        &mut self,
        channel: &str,
        author: Author,
        text: &str,
        thread: Option<i64>,
        subtype: Option<&'static str>,
    ) -> ActionOutcome {
        let ts = self.world.ts(self.when.at);
        let conversation = &self.world.channels[channel];
        let team = match &author {
            Author::Person(user) => self.world.users.get(user).map(|user| user.team.clone()),
            Author::App(..) => None,
        };
        let team = team.unwrap_or_else(|| conversation.teams[0].clone());
        let thread = thread.map(|parent| {
            let author = conversation.messages.get(&parent).and_then(Message::person);
            (parent, author.cloned())
        });
        let message = Message {
            subtype,
            thread,
            ..Message::new(ts, team, author, text)
        };
        self.publish(channel, message)
    }

    /// Posts a message of another app, with its text in `text`, in blocks or in an attachment.
    pub(super) fn post_as_app(
        &mut self,
        channel: &str,
        text: &str,
        text_location: Option<&str>,
    ) -> ActionOutcome {
        let number = self.world.number();
        // Every second message overrides the app's name.
        let overrides_name = number.is_multiple_of(2);
        let text_location = match (text_location, number % 3) {
            (Some("blocks"), _) | (None, 1) => TextLocation::Blocks,
            (Some("attachment"), _) | (None, 2) => TextLocation::Attachment,
            _ => TextLocation::Text,
        };
        let (ts, team) = (
            self.world.ts(self.when.at),
            self.world.channels[channel].teams[0].clone(),
        );
        let author = World::build_bot_author(overrides_name.then_some("Nightly build"));
        let message = Message {
            subtype: Some("bot_message"),
            text_location,
            ..Message::new(ts, team, author, text)
        };
        self.publish(channel, message)
    }

    pub(super) fn publish(&mut self, channel: &str, message: Message) -> ActionOutcome {
        let (ts, thread) = (message.ts, message.thread.clone());
        let draft = message.posted_fact(channel);
        let kind = self.world.channels[channel].kind;
        // Generated history sends no events.
        let inner = self.when.is_live.then(|| {
            let mut inner = World::message_json(&message);
            inner["channel"] = json!(channel);
            inner["event_ts"] = json!(format_ts(ts));
            inner["channel_type"] = json!(kind.channel_type());
            inner
        });
        let mentioned_workspaces = self.mentioned_workspaces(channel, &message.text);
        let name = event_name("message", message.subtype);
        let replier = message.person().cloned();
        let conversation = self.channel_mut(channel);
        conversation.messages.insert(ts, message);
        if let Some(parent) = thread.and_then(|(parent, _)| conversation.messages.get_mut(&parent))
        {
            parent.replies.push(ts);
            if let Some(replier) = replier.filter(|user| !parent.repliers.contains(user)) {
                parent.repliers.push(replier);
            }
        }
        let event = inner.clone().map(|inner| (name.as_str(), inner));
        let facts = self.emit(channel, draft, event);
        if let Some(message) = self.channel_mut(channel).messages.get_mut(&ts) {
            for (account, fact) in &facts {
                message
                    .facts
                    .entry(account.clone())
                    .or_default()
                    .push(*fact);
            }
        }
        let inner = inner.unwrap_or_default();
        for team in mentioned_workspaces {
            let mut mention = inner.clone();
            mention["type"] = json!("app_mention");
            if let Some(object) = mention.as_object_mut() {
                object.remove("channel_type");
                object.remove("subtype");
            }
            let fact = facts.get(&self.world.acting_account(&team)).copied();
            self.send_workspace_event("app_mention", &team, kind, &mention, fact.as_slice());
        }
        ActionOutcome {
            object: json!({ "channel": channel, "ts": format_ts(ts) }),
            facts: facts.into_values().collect(),
        }
    }

    /// Workspaces whose bot is in the channel and mentioned in the text.
    fn mentioned_workspaces(&self, channel: &str, text: &str) -> Vec<String> {
        let conversation = &self.world.channels[channel];
        conversation
            .bots
            .iter()
            .filter(|account| text.contains(&format!("<@{}>", self.world.bot_of(account))))
            .map(|account| {
                self.world
                    .channel_workspace(account, conversation)
                    .id
                    .clone()
            })
            .collect()
    }

    /// Posts a direct message to the app's bot.
    pub(super) fn write_to_bot(
        &mut self,
        params: &ActionParams,
        team: &str,
        actor: &str,
    ) -> Result<ActionOutcome, &'static str> {
        let account = self.world.acting_account(team);
        if !self.world.installed(&account) {
            return Err("the app is not installed in this account");
        }
        let existing = self
            .world
            .channels_of(team)
            .find(|channel| channel.kind == Kind::Direct && channel.creator == actor)
            .map(|channel| channel.id.clone());
        let id = existing.unwrap_or_else(|| {
            let id = self.world.id("D");
            let channel = Channel {
                kind: Kind::Direct,
                bots: [account].into(),
                ..self.new_channel(&id, team, actor, String::new())
            };
            self.world.channels.insert(id.clone(), channel);
            id
        });
        let text = self.text(params);
        Ok(self.post(&id, Author::Person(actor.to_owned()), &text, None, None))
    }

    pub(super) fn share_file(
        &mut self,
        team: &str,
        channel: &str,
        actor: &str,
        text: &str,
    ) -> ActionOutcome {
        let (ts, file) = (self.world.ts(self.when.at), self.world.id("F"));
        let author = Author::Person(actor.to_owned());
        let message = Message {
            subtype: Some("file_share"),
            file: Some((file.clone(), "notes.txt".to_owned())),
            ..Message::new(ts, team.to_owned(), author, text)
        };
        let mut outcome = self.publish(channel, message);
        let shared_ts = self.world.ts(self.when.at);
        let inner = json!({
            "type": "file_shared", "file_id": file, "user_id": actor, "file": { "id": file },
            "channel_id": channel, "event_ts": format_ts(shared_ts),
        });
        let draft = FactDraft {
            kind: "file_shared",
            key: format!("file:{file}:{channel}"),
            at: seconds(shared_ts),
            pollable: false,
            is_thread_only: false,
        };
        let facts = self.emit(channel, Some(draft), Some(("file_shared", inner)));
        outcome.facts.extend(facts.into_values());
        outcome
    }
}

fn event_name(name: &str, subtype: Option<&str>) -> String {
    subtype.map_or_else(|| name.to_owned(), |subtype| format!("{name}.{subtype}"))
}
