//! Messages of every sort, as they are posted.

use std::collections::BTreeMap;

use serde_json::json;

use super::told::Told;
use super::{Act, Done, Stage};
use crate::simulator::slack::world::{
    Author, Channel, Kind, Message, Words, World, is_written, seconds, stamp,
};

impl Message {
    fn new(ts: i64, team: String, author: Author, text: &str) -> Self {
        Self {
            ts,
            team,
            author,
            subtype: None,
            text: text.to_owned(),
            words: Words::Text,
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

    /// Who wrote it, if that was a person.
    fn person(&self) -> Option<&String> {
        match &self.author {
            Author::Person(user) => Some(user),
            Author::App(..) => None,
        }
    }

    /// The fact that it was posted, if anybody has written it.
    pub(super) fn told(&self, channel: &str) -> Option<Told> {
        is_written(self).then(|| Told {
            kind: if self.thread.is_some() {
                "thread_replied"
            } else {
                "message_posted"
            },
            key: format!("message:{channel}:{}", stamp(self.ts)),
            at: seconds(self.ts),
            pollable: true,
            reply: self.is_reply(),
        })
    }

    /// The fact that it was edited, if it was.
    pub(super) fn edit_told(&self, channel: &str) -> Option<Told> {
        let (_, at) = self.edited.as_ref()?;
        Some(Told {
            kind: "message_edited",
            key: format!("message:{channel}:{}:edited:{}", stamp(self.ts), stamp(*at)),
            at: seconds(*at),
            pollable: true,
            reply: self.is_reply(),
        })
    }

    /// Whether only its thread shows it.
    pub(super) fn is_reply(&self) -> bool {
        self.thread.is_some() && self.subtype != Some("thread_broadcast")
    }
}

impl Stage<'_> {
    /// Posts a message, in a thread or not.
    pub(crate) fn post(
        &mut self,
        channel: &str,
        author: Author,
        text: &str,
        thread: Option<i64>,
        subtype: Option<&'static str>,
    ) -> Done {
        let ts = self.world.ts(self.when.at);
        let place = &self.world.channels[channel];
        let team = match &author {
            Author::Person(user) => self.world.users.get(user).map(|user| user.team.clone()),
            Author::App(..) => None,
        };
        let team = team.unwrap_or_else(|| place.teams[0].clone());
        let thread = thread.map(|parent| {
            let author = place.messages.get(&parent).and_then(Message::person);
            (parent, author.cloned())
        });
        let message = Message {
            subtype,
            thread,
            ..Message::new(ts, team, author, text)
        };
        self.publish(channel, message)
    }

    /// Posts a message of another app, whose words may be in blocks or in an attachment only.
    pub(super) fn post_as_app(&mut self, channel: &str, text: &str, words: Option<&str>) -> Done {
        let number = self.world.number();
        // Every other message bears a name of its own.
        let own = number.is_multiple_of(2);
        let words = match (words, number % 3) {
            (Some("blocks"), _) | (None, 1) => Words::Blocks,
            (Some("attachment"), _) | (None, 2) => Words::Attachment,
            _ => Words::Text,
        };
        let (ts, team) = (
            self.world.ts(self.when.at),
            self.world.channels[channel].teams[0].clone(),
        );
        let author = World::builder(own.then_some("Nightly build"));
        let message = Message {
            subtype: Some("bot_message"),
            words,
            ..Message::new(ts, team, author, text)
        };
        self.publish(channel, message)
    }

    pub(super) fn publish(&mut self, channel: &str, message: Message) -> Done {
        let (ts, thread) = (message.ts, message.thread.clone());
        let told = message.told(channel);
        let kind = self.world.channels[channel].kind;
        // The past is told to nobody.
        let inner = self.when.live.then(|| {
            let mut inner = World::message_json(&message);
            inner["channel"] = json!(channel);
            inner["event_ts"] = json!(stamp(ts));
            inner["channel_type"] = json!(kind.of_message());
            inner
        });
        let mentioned = self.mentioned(channel, &message.text);
        let name = subtyped("message", message.subtype);
        let replier = message.person().cloned();
        let place = self.place(channel);
        place.messages.insert(ts, message);
        if let Some(parent) = thread.and_then(|(parent, _)| place.messages.get_mut(&parent)) {
            parent.replies.push(ts);
            if let Some(replier) = replier.filter(|one| !parent.repliers.contains(one)) {
                parent.repliers.push(replier);
            }
        }
        let event = inner.clone().map(|inner| (name.as_str(), inner));
        let facts = self.happen(channel, told, event);
        if let Some(message) = self.place(channel).messages.get_mut(&ts) {
            for (account, fact) in &facts {
                message
                    .facts
                    .entry(account.clone())
                    .or_default()
                    .push(*fact);
            }
        }
        let inner = inner.unwrap_or_default();
        for team in mentioned {
            let mut mention = inner.clone();
            mention["type"] = json!("app_mention");
            if let Some(object) = mention.as_object_mut() {
                object.remove("channel_type");
                object.remove("subtype");
            }
            let told = facts.get(&self.world.acting(&team)).copied();
            self.event("app_mention", &team, kind, &mention, told.as_slice());
        }
        Done {
            object: json!({ "channel": channel, "ts": stamp(ts) }),
            facts: facts.into_values().collect(),
        }
    }

    /// Workspaces whose bot a text mentions, and is in the channel.
    fn mentioned(&self, channel: &str, text: &str) -> Vec<String> {
        let place = &self.world.channels[channel];
        place
            .bots
            .iter()
            .filter(|account| text.contains(&format!("<@{}>", self.world.bot_of(account))))
            .map(|account| self.world.seen_from(account, place).id.clone())
            .collect()
    }

    /// A person writes to the app's bot, and to nobody else.
    pub(super) fn write_to_bot(
        &mut self,
        act: &Act,
        team: &str,
        actor: &str,
    ) -> Result<Done, &'static str> {
        let account = self.world.acting(team);
        if !self.world.installed(&account) {
            return Err("the app is not installed there");
        }
        let known = self
            .world
            .channels_of(team)
            .find(|channel| channel.kind == Kind::Direct && channel.creator == actor)
            .map(|channel| channel.id.clone());
        let id = known.unwrap_or_else(|| {
            let id = self.world.id("D");
            let channel = Channel {
                kind: Kind::Direct,
                bots: [account].into(),
                ..self.new_channel(&id, team, actor, String::new())
            };
            self.world.channels.insert(id.clone(), channel);
            id
        });
        let text = self.text(act);
        Ok(self.post(&id, Author::Person(actor.to_owned()), &text, None, None))
    }

    pub(super) fn share_file(
        &mut self,
        team: &str,
        channel: &str,
        actor: &str,
        text: &str,
    ) -> Done {
        let (ts, file) = (self.world.ts(self.when.at), self.world.id("F"));
        let author = Author::Person(actor.to_owned());
        let message = Message {
            subtype: Some("file_share"),
            file: Some((file.clone(), "notes.txt".to_owned())),
            ..Message::new(ts, team.to_owned(), author, text)
        };
        let mut done = self.publish(channel, message);
        let shared_ts = self.world.ts(self.when.at);
        let inner = json!({
            "type": "file_shared", "file_id": file, "user_id": actor, "file": { "id": file },
            "channel_id": channel, "event_ts": stamp(shared_ts),
        });
        let told = Told {
            kind: "file_shared",
            key: format!("file:{file}:{channel}"),
            at: seconds(shared_ts),
            pollable: false,
            reply: false,
        };
        let facts = self.happen(channel, Some(told), Some(("file_shared", inner)));
        done.facts.extend(facts.into_values());
        done
    }
}

fn subtyped(name: &str, subtype: Option<&str>) -> String {
    subtype.map_or_else(|| name.to_owned(), |subtype| format!("{name}.{subtype}"))
}
