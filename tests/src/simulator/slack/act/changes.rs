//! What happens to messages: edited, previewed, deleted, reacted to.

use serde_json::{Value, json};

use super::told::Told;
use super::{Done, Stage};
use crate::simulator::slack::world::{Author, Message, Words, World, is_written, seconds, stamp};

impl Stage<'_> {
    pub(super) fn edit(
        &mut self,
        channel: &str,
        ts: i64,
        actor: &str,
        text: &str,
    ) -> Result<Done, &'static str> {
        let edited_ts = self.world.ts(self.when.at);
        let before = self.message(channel, ts)?;
        if !is_written(before) {
            return Err("nobody has written that");
        }
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
        let told = self.message(channel, ts)?.edit_told(channel);
        let facts = self.happen(channel, told, Some(("message.message_changed", inner)));
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
            "channel_type": self.world.channels[channel].kind.of_message(),
        })
    }

    pub(super) fn delete(&mut self, channel: &str, ts: i64) -> Result<Done, &'static str> {
        let message = self.message(channel, ts)?;
        if !message.replies.is_empty() {
            return self.bury(channel, ts);
        }
        let previous = World::message_json(message);
        let place = self.place(channel);
        let message = place
            .messages
            .remove(&ts)
            .ok_or("there is no such message")?;
        if let Some(parent) = message
            .thread
            .as_ref()
            .and_then(|(parent, _)| place.messages.get_mut(parent))
        {
            parent.replies.retain(|reply| *reply != ts);
        }
        self.hub.core.ledger.hide(&rows(&message));
        let event_ts = self.world.ts(self.when.at);
        let inner = json!({
            "type": "message", "subtype": "message_deleted", "hidden": true, "channel": channel,
            "deleted_ts": stamp(ts), "previous_message": previous, "ts": stamp(event_ts),
            "event_ts": stamp(event_ts),
            "channel_type": self.world.channels[channel].kind.of_message(),
        });
        let told = is_written(&message).then(|| Told {
            kind: "message_deleted",
            key: format!("message:{channel}:{}:deleted", stamp(ts)),
            at: seconds(event_ts),
            pollable: false,
            reply: false,
        });
        let facts = self.happen(channel, told, Some(("message.message_deleted", inner)));
        Ok(Done {
            object: json!({ "channel": channel, "ts": stamp(ts) }),
            facts: facts.into_values().collect(),
        })
    }

    /// A message with replies cannot go: a tombstone stays in its place, and Slack tells of a
    /// change where others would tell of a deletion.
    fn bury(&mut self, channel: &str, ts: i64) -> Result<Done, &'static str> {
        let message = self.message(channel, ts)?;
        if message.subtype == Some("tombstone") {
            return Err("the message was deleted before");
        }
        let (previous, hidden) = (World::message_json(message), rows(message));
        self.hub.core.ledger.hide(&hidden);
        if let Some(message) = self.place(channel).messages.get_mut(&ts) {
            message.subtype = Some("tombstone");
            message.author = Author::Person("USLACKBOT".to_owned());
            "This message was deleted.".clone_into(&mut message.text);
            message.words = Words::Text;
            (message.edited, message.file) = (None, None);
            message.reactions.clear();
            message.facts.clear();
            message.edit_facts.clear();
        }
        let now = World::message_json(self.message(channel, ts)?);
        let inner = self.changed(channel, &now, &previous);
        self.happen(channel, None, Some(("message.message_changed", inner)));
        Ok(Done {
            object: json!({ "channel": channel, "ts": stamp(ts) }),
            facts: Vec::new(),
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
            reply: false,
        };
        let facts = self.happen(channel, Some(told), Some((event, inner)));
        Ok(Done {
            object: json!({ "channel": channel, "ts": stamp(ts) }),
            facts: facts.into_values().collect(),
        })
    }
}

/// The ledger's rows that a message shows.
fn rows(message: &Message) -> Vec<u64> {
    let posted = message.facts.values().flatten();
    posted.chain(message.edit_facts.values()).copied().collect()
}
