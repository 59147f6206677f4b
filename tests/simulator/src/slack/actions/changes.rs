//! Changes of messages: edits, link previews, deletions and reactions.

use serde_json::{Value, json};

use super::emit::FactDraft;
use super::{ActionOutcome, Transaction};
use crate::slack::world::{Author, Message, TextLocation, World, format_ts, is_written, seconds};

impl Transaction<'_> {
    /// Changes the text of a message.
    pub(super) fn edit(
        &mut self,
        channel: &str,
        ts: i64,
        actor: &str,
        text: &str,
    ) -> Result<ActionOutcome, &'static str> {
        let edited_ts = self.world.ts(self.when.at);
        let before = self.message(channel, ts)?;
        if !is_written(before) {
            return Err("the message has no author");
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
            return Err("the message was already edited in this second");
        }
        let message = self
            .channel_mut(channel)
            .messages
            .get_mut(&ts)
            .ok_or("unknown message")?;
        text.clone_into(&mut message.text);
        message.edited = Some((actor.to_owned(), edited_ts));
        self.service.core.ledger.hide(&stale);
        let current = World::message_json(self.message(channel, ts)?);
        let inner = self.message_changed(channel, &current, &previous);
        let draft = self.message(channel, ts)?.edited_fact(channel);
        let facts = self.emit(channel, draft, Some(("message.message_changed", inner)));
        if let Some(message) = self.channel_mut(channel).messages.get_mut(&ts) {
            message.edit_facts = facts.clone();
        }
        Ok(ActionOutcome {
            object: json!({ "channel": channel, "ts": format_ts(ts), "edited": format_ts(edited_ts) }),
            facts: facts.into_values().collect(),
        })
    }

    /// Adds a link preview: a `message_changed` event without an edit.
    pub(super) fn unfurl(&mut self, channel: &str, ts: i64) -> Result<ActionOutcome, &'static str> {
        let previous = World::message_json(self.message(channel, ts)?);
        if let Some(message) = self.channel_mut(channel).messages.get_mut(&ts) {
            message.unfurled = true;
        }
        let current = World::message_json(self.message(channel, ts)?);
        let inner = self.message_changed(channel, &current, &previous);
        self.emit(channel, None, Some(("message.message_changed", inner)));
        Ok(ActionOutcome::default())
    }

    /// The event of a changed message.
    pub(super) fn message_changed(
        &mut self,
        channel: &str,
        current: &Value,
        previous: &Value,
    ) -> Value {
        let ts = format_ts(self.world.ts(self.when.at));
        json!({
            "type": "message", "subtype": "message_changed", "hidden": true, "channel": channel,
            "message": current, "previous_message": previous, "ts": ts, "event_ts": ts,
            "channel_type": self.world.channels[channel].kind.channel_type(),
        })
    }

    /// Deletes a message; one with replies is replaced with a tombstone.
    pub(super) fn delete(&mut self, channel: &str, ts: i64) -> Result<ActionOutcome, &'static str> {
        let message = self.message(channel, ts)?;
        if !message.replies.is_empty() {
            return self.replace_with_tombstone(channel, ts);
        }
        let previous = World::message_json(message);
        let conversation = self.channel_mut(channel);
        let message = conversation.messages.remove(&ts).ok_or("unknown message")?;
        if let Some(parent) = message
            .thread
            .as_ref()
            .and_then(|(parent, _)| conversation.messages.get_mut(parent))
        {
            parent.replies.retain(|reply| *reply != ts);
        }
        self.service.core.ledger.hide(&ledger_rows(&message));
        let event_ts = self.world.ts(self.when.at);
        let inner = json!({
            "type": "message", "subtype": "message_deleted", "hidden": true, "channel": channel,
            "deleted_ts": format_ts(ts), "previous_message": previous, "ts": format_ts(event_ts),
            "event_ts": format_ts(event_ts),
            "channel_type": self.world.channels[channel].kind.channel_type(),
        });
        let draft = is_written(&message).then(|| FactDraft {
            kind: "message_deleted",
            key: format!("message:{channel}:{}:deleted", format_ts(ts)),
            at: seconds(event_ts),
            pollable: false,
            is_thread_only: false,
        });
        let facts = self.emit(channel, draft, Some(("message.message_deleted", inner)));
        Ok(ActionOutcome {
            object: json!({ "channel": channel, "ts": format_ts(ts) }),
            facts: facts.into_values().collect(),
        })
    }

    /// Deletes a message that has replies.
    ///
    /// Slack keeps a tombstone in its place and sends `message_changed`, not `message_deleted`.
    fn replace_with_tombstone(
        &mut self,
        channel: &str,
        ts: i64,
    ) -> Result<ActionOutcome, &'static str> {
        let message = self.message(channel, ts)?;
        if message.subtype == Some("tombstone") {
            return Err("the message is already deleted");
        }
        let (previous, hidden) = (World::message_json(message), ledger_rows(message));
        self.service.core.ledger.hide(&hidden);
        if let Some(message) = self.channel_mut(channel).messages.get_mut(&ts) {
            message.subtype = Some("tombstone");
            message.author = Author::Person("USLACKBOT".to_owned());
            "This message was deleted.".clone_into(&mut message.text);
            message.text_location = TextLocation::Text;
            (message.edited, message.file) = (None, None);
            message.reactions.clear();
            message.facts.clear();
            message.edit_facts.clear();
        }
        let current = World::message_json(self.message(channel, ts)?);
        let inner = self.message_changed(channel, &current, &previous);
        self.emit(channel, None, Some(("message.message_changed", inner)));
        Ok(ActionOutcome {
            object: json!({ "channel": channel, "ts": format_ts(ts) }),
            facts: Vec::new(),
        })
    }

    /// Adds a reaction to a message, or removes it.
    pub(super) fn react(
        &mut self,
        channel: &str,
        ts: i64,
        actor: &str,
        name: Option<&str>,
        added: bool,
    ) -> Result<ActionOutcome, &'static str> {
        let event_ts = self.world.ts(self.when.at);
        let message = self
            .channel_mut(channel)
            .messages
            .get_mut(&ts)
            .ok_or("unknown message")?;
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
        let (event, suffix) = if added {
            ("reaction_added", "added")
        } else {
            ("reaction_removed", "removed")
        };
        let inner = json!({
            "type": event, "user": actor, "reaction": name, "item_user": author,
            "item": { "type": "message", "channel": channel, "ts": format_ts(ts) },
            "event_ts": format_ts(event_ts),
        });
        let draft = FactDraft {
            kind: if added {
                "reaction_added"
            } else {
                "reaction_removed"
            },
            key: format!(
                "reaction:{channel}:{}:{actor}:{name}:{suffix}:{}",
                format_ts(ts),
                format_ts(event_ts)
            ),
            at: seconds(event_ts),
            pollable: false,
            is_thread_only: false,
        };
        let facts = self.emit(channel, Some(draft), Some((event, inner)));
        Ok(ActionOutcome {
            object: json!({ "channel": channel, "ts": format_ts(ts) }),
            facts: facts.into_values().collect(),
        })
    }
}

/// Ledger rows of the facts that a message shows.
fn ledger_rows(message: &Message) -> Vec<u64> {
    let posted = message.facts.values().flatten();
    posted.chain(message.edit_facts.values()).copied().collect()
}
