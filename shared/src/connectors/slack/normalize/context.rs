//! Normalization context: account and directory.

use url::Url;

use super::Fact;
use crate::connectors::Directory;
use crate::connectors::slack::text;
use crate::connectors::slack::wire::{Message, Ts};
use crate::model::{
    Actor, ActorKind, Context, ContextKind, DirectoryKind, ExternalAccount, SignalDraft, Subject,
    TimestampSource,
};

/// The user that Slack itself posts as.
const SLACKBOT: &str = "USLACKBOT";
/// Maximum length of a message's title.
const MAX_TITLE_CHARS: usize = 120;

/// Account and directory, which turn Slack's objects into Signals.
pub(in super::super) struct NormalizeContext<'a> {
    /// The workspace, or the organization.
    pub(in super::super) account: &'a ExternalAccount,
    /// Names of users, bots and channels.
    pub(in super::super) directory: &'a Directory,
}

impl NormalizeContext<'_> {
    /// The id of the bot user.
    pub(in super::super) fn bot_user(&self) -> Option<&str> {
        self.account.settings["bot_user_id"].as_str()
    }

    pub(super) fn signal(&self, channel: &str, fact: Fact<'_>) -> SignalDraft {
        SignalDraft {
            kind: fact.kind,
            dedupe_key: format!("slack:{}:{}", self.account.id, fact.key),
            timestamp: fact.at,
            timestamp_source: TimestampSource::Provider,
            actor: fact.actor,
            subject: fact.subject,
            context: Context {
                // Ids of direct messages begin with D.
                kind: if channel.starts_with('D') {
                    ContextKind::Chat
                } else {
                    ContextKind::Channel
                },
                id: self.known_id(channel).to_owned(),
                name: self.channel_name(channel),
            },
            normalized: fact.normalized,
            raw: fact.raw.to_owned(),
        }
        .cleaned()
    }

    /// The first known id of a channel, so that keys survive a change of the channel's id.
    pub(in super::super) fn known_id<'c>(&'c self, channel: &'c str) -> &'c str {
        self.account.first_id_of(channel)
    }

    pub(in super::super) fn channel_name(&self, channel: &str) -> Option<String> {
        let entry = self.directory.get(DirectoryKind::Channel, channel)?;
        entry.name.clone()
    }

    pub(in super::super) fn user_name(&self, id: &str) -> Option<String> {
        let entry = self.directory.get(DirectoryKind::User, id)?;
        entry.name.clone()
    }

    /// Converts markup to plain text; `None` if nothing remains.
    pub(super) fn plain_text(&self, text: Option<&str>) -> Option<String> {
        Some(text::to_plain_text(text?, self)).filter(|text| !text.trim().is_empty())
    }

    pub(super) fn user(&self, id: Option<&str>) -> Actor {
        let Some(id) = id else {
            return Actor::unknown();
        };
        let known = self.directory.get(DirectoryKind::User, id);
        // Slackbot's user object does not have `is_bot`.
        let bot = id == SLACKBOT
            || known
                .as_ref()
                .is_some_and(|entry| entry.detail["is_bot"] == true);
        Actor {
            id: Some(id.to_owned()),
            name: known.and_then(|entry| entry.name.clone()),
            kind: if bot { ActorKind::Bot } else { ActorKind::User },
        }
    }

    /// The author of a message: a user, or an app with the name that it posts under.
    pub(super) fn author(&self, message: &Message) -> Actor {
        let Some(bot) = message.bot_id.as_deref() else {
            return self.user(message.user.as_deref());
        };
        let post_name = message.username.clone().or_else(|| {
            let profile = message.bot_profile.as_ref()?;
            profile.name.clone()
        });
        let name = post_name.or_else(|| match message.user.as_deref() {
            Some(user) => self.user(Some(user)).name,
            None => self
                .directory
                .get(DirectoryKind::Bot, bot)
                .and_then(|entry| entry.name.clone()),
        });
        Actor {
            id: Some(message.user.as_deref().unwrap_or(bot).to_owned()),
            name,
            kind: ActorKind::Bot,
        }
    }

    pub(super) fn message_subject(
        &self,
        channel: &str,
        ts: Ts,
        thread: Option<Ts>,
        title: Option<&str>,
    ) -> Subject {
        let mut url = self.link(&[channel, &format!("p{}", ts.digits())]);
        if let (Some(url), Some(thread)) = (&mut url, thread) {
            *url = format!("{url}?thread_ts={thread}&cid={channel}");
        }
        Subject {
            kind: "message".to_owned(),
            id: format!("{}:{ts}", self.known_id(channel)),
            key: None,
            title: title.and_then(|text| {
                let line = text.lines().find(|line| !line.trim().is_empty())?;
                Some(line.chars().take(MAX_TITLE_CHARS).collect())
            }),
            url,
        }
    }

    /// A deep link into the workspace.
    pub(super) fn link(&self, path: &[&str]) -> Option<String> {
        let mut url = Url::parse(self.account.settings["url"].as_str()?)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))?;
        url.path_segments_mut()
            .ok()?
            .pop_if_empty()
            .push("archives")
            .extend(path);
        Some(url.into())
    }
}

impl text::NameResolver for NormalizeContext<'_> {
    fn user(&self, id: &str) -> Option<String> {
        self.user_name(id)
    }

    fn channel(&self, id: &str) -> Option<String> {
        self.channel_name(id)
    }
}
