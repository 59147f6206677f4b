//! Messages: posted, edited, deleted, reacted to.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Done, Stage, Told};
use crate::simulator::slack::world::{Author, Message, World, is_written, seconds, stamp};

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
        let team = match &author {
            Author::Person(user) => self.world.users.get(user).map(|user| user.team.clone()),
            Author::App(..) => None,
        };
        let team = team.unwrap_or_else(|| self.world.channels[channel].teams[0].clone());
        let message = Message {
            ts,
            team,
            author,
            subtype,
            text: text.to_owned(),
            thread,
            replies: Vec::new(),
            edited: None,
            unfurled: false,
            file: None,
            reactions: BTreeMap::new(),
            facts: BTreeMap::new(),
            edit_facts: BTreeMap::new(),
        };
        self.publish(channel, message)
    }

    pub(super) fn publish(&mut self, channel: &str, message: Message) -> Done {
        let (ts, thread) = (message.ts, message.thread);
        let told = is_written(&message).then(|| Told {
            kind: if thread.is_some() {
                "thread_replied"
            } else {
                "message_posted"
            },
            key: format!("message:{channel}:{}", stamp(ts)),
            at: seconds(ts),
            pollable: true,
        });
        let mut inner = World::message_json(&message);
        inner["channel"] = json!(channel);
        inner["event_ts"] = json!(stamp(ts));
        inner["channel_type"] = json!("channel");
        let mentioned = self.mentioned(channel, &message.text);
        let name = subtyped("message", message.subtype);
        let place = self.place(channel);
        place.messages.insert(ts, message);
        if let Some(parent) = thread.and_then(|parent| place.messages.get_mut(&parent)) {
            parent.replies.push(ts);
        }
        let facts = self.happen(channel, told, Some((&name, inner.clone())));
        if let Some(message) = self.place(channel).messages.get_mut(&ts) {
            for (team, fact) in &facts {
                message.facts.entry(team.clone()).or_default().push(*fact);
            }
        }
        for team in mentioned {
            let mut mention = inner.clone();
            mention["type"] = json!("app_mention");
            if let Some(object) = mention.as_object_mut() {
                object.remove("channel_type");
                object.remove("subtype");
            }
            self.event("app_mention", &[team], &mention, Vec::new());
        }
        Done {
            object: json!({ "channel": channel, "ts": stamp(ts) }),
            facts: facts.into_values().collect(),
        }
    }

    /// Workspaces whose bot a text mentions, and is in the channel.
    pub(super) fn mentioned(&self, channel: &str, text: &str) -> Vec<String> {
        self.seers(channel)
            .into_iter()
            .filter(|team| text.contains(&format!("<@{}>", self.world.teams[team].bot)))
            .collect()
    }

    pub(super) fn share_file(
        &mut self,
        team: &str,
        channel: &str,
        actor: &str,
        text: &str,
    ) -> Done {
        let (ts, file) = (self.world.ts(self.when.at), self.world.id("F"));
        let message = Message {
            ts,
            team: team.to_owned(),
            author: Author::Person(actor.to_owned()),
            subtype: Some("file_share"),
            text: text.to_owned(),
            thread: None,
            replies: Vec::new(),
            edited: None,
            unfurled: false,
            file: Some((file.clone(), "notes.txt".to_owned())),
            reactions: BTreeMap::new(),
            facts: BTreeMap::new(),
            edit_facts: BTreeMap::new(),
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
        };
        let facts = self.happen(channel, Some(told), Some(("file_shared", inner)));
        done.facts.extend(facts.into_values());
        done
    }

    pub(super) fn edit(
        &mut self,
        channel: &str,
        ts: i64,
        actor: &str,
        text: &str,
    ) -> Result<Done, &'static str> {
        let edited_ts = self.world.ts(self.when.at);
        let before = self.message(channel, ts)?;
        let previous = World::message_json(before);
        let stale: Vec<u64> = before.edit_facts.values().copied().collect();
        // Slack dates an edit to the second.
        let edited_ts = seconds(edited_ts) * 1_000_000;
        if before
            .edited
            .as_ref()
            .is_some_and(|(_, at)| *at >= edited_ts)
        {
            return Err("the message was edited in this very second");
        }
        let message = self
            .place(channel)
            .messages
            .get_mut(&ts)
            .ok_or("there is no such message")?;
        text.clone_into(&mut message.text);
        message.edited = Some((actor.to_owned(), edited_ts));
        self.hub.core.ledger.hide(&stale);
        let now = World::message_json(self.message(channel, ts)?);
        let inner = self.changed(channel, &now, &previous);
        let told = Told {
            kind: "message_edited",
            key: format!(
                "message:{channel}:{}:edited:{}",
                stamp(ts),
                stamp(edited_ts)
            ),
            at: seconds(edited_ts),
            pollable: true,
        };
        let facts = self.happen(
            channel,
            Some(told),
            Some(("message.message_changed", inner)),
        );
        if let Some(message) = self.place(channel).messages.get_mut(&ts) {
            message.edit_facts = facts.clone();
        }
        Ok(Done {
            object: json!({ "channel": channel, "ts": stamp(ts), "edited": stamp(edited_ts) }),
            facts: facts.into_values().collect(),
        })
    }

    /// A link's preview: a change that nobody made.
    pub(super) fn unfurl(&mut self, channel: &str, ts: i64) -> Result<Done, &'static str> {
        let previous = World::message_json(self.message(channel, ts)?);
        if let Some(message) = self.place(channel).messages.get_mut(&ts) {
            message.unfurled = true;
        }
        let now = World::message_json(self.message(channel, ts)?);
        let inner = self.changed(channel, &now, &previous);
        self.happen(channel, None, Some(("message.message_changed", inner)));
        Ok(Done::default())
    }

    pub(super) fn changed(&mut self, channel: &str, now: &Value, previous: &Value) -> Value {
        let ts = stamp(self.world.ts(self.when.at));
        json!({
            "type": "message", "subtype": "message_changed", "hidden": true, "channel": channel,
            "message": now, "previous_message": previous, "ts": ts, "event_ts": ts,
            "channel_type": "channel",
        })
    }

    pub(super) fn delete(&mut self, channel: &str, ts: i64) -> Result<Done, &'static str> {
        let message = self.message(channel, ts)?;
        if !message.replies.is_empty() {
            return Err("a message with replies leaves a tombstone; delete another");
        }
        let previous = World::message_json(message);
        let place = self.place(channel);
        let message = place
            .messages
            .remove(&ts)
            .ok_or("there is no such message")?;
        if let Some(parent) = message
            .thread
            .and_then(|parent| place.messages.get_mut(&parent))
        {
            parent.replies.retain(|reply| *reply != ts);
        }
        let hidden: Vec<u64> = message
            .facts
            .values()
            .flatten()
            .chain(message.edit_facts.values())
            .copied()
            .collect();
        self.hub.core.ledger.hide(&hidden);
        let event_ts = self.world.ts(self.when.at);
        let inner = json!({
            "type": "message", "subtype": "message_deleted", "hidden": true, "channel": channel,
            "deleted_ts": stamp(ts), "previous_message": previous, "ts": stamp(event_ts),
            "event_ts": stamp(event_ts), "channel_type": "channel",
        });
        let told = is_written(&message).then(|| Told {
            kind: "message_deleted",
            key: format!("message:{channel}:{}:deleted", stamp(ts)),
            at: seconds(event_ts),
            pollable: false,
        });
        let facts = self.happen(channel, told, Some(("message.message_deleted", inner)));
        Ok(Done {
            object: json!({ "channel": channel, "ts": stamp(ts) }),
            facts: facts.into_values().collect(),
        })
    }

    pub(super) fn react(
        &mut self,
        channel: &str,
        ts: i64,
        actor: &str,
        name: Option<&str>,
        added: bool,
    ) -> Result<Done, &'static str> {
        let event_ts = self.world.ts(self.when.at);
        let message = self
            .place(channel)
            .messages
            .get_mut(&ts)
            .ok_or("there is no such message")?;
        let author = match &message.author {
            Author::Person(user) => json!(user),
            Author::App(..) => Value::Null,
        };
        let name = name.unwrap_or("tada").to_owned();
        let users = message.reactions.entry(name.clone()).or_default();
        users.retain(|user| user != actor);
        if added {
            users.push(actor.to_owned());
        }
        message.reactions.retain(|_, users| !users.is_empty());
        let (event, word) = if added {
            ("reaction_added", "added")
        } else {
            ("reaction_removed", "removed")
        };
        let inner = json!({
            "type": event, "user": actor, "reaction": name, "item_user": author,
            "item": { "type": "message", "channel": channel, "ts": stamp(ts) },
            "event_ts": stamp(event_ts),
        });
        let told = Told {
            kind: if added {
                "reaction_added"
            } else {
                "reaction_removed"
            },
            key: format!(
                "reaction:{channel}:{}:{actor}:{name}:{word}:{}",
                stamp(ts),
                stamp(event_ts)
            ),
            at: seconds(event_ts),
            pollable: false,
        };
        let facts = self.happen(channel, Some(told), Some((event, inner)));
        Ok(Done {
            object: json!({ "channel": channel, "ts": stamp(ts) }),
            facts: facts.into_values().collect(),
        })
    }
}

fn subtyped(name: &str, subtype: Option<&str>) -> String {
    subtype.map_or_else(|| name.to_owned(), |subtype| format!("{name}.{subtype}"))
}
