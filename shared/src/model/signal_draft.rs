//! A Signal as connectors build it, with the invariants of all providers.
//!
//! Empty names are absent, links are http or https, no time is in the future.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;
use utoipa::ToSchema;

use super::{Actor, Context, SignalKind, Subject};

/// The maximum time by which a provider's clock may be ahead of ours.
const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::minutes(1);

/// The source of a Signal's `timestamp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimestampSource {
    /// The provider states when it happened.
    #[default]
    Provider,
    /// The provider states no time, so it is the time of receipt.
    Received,
}

impl TimestampSource {
    /// Whether the provider states when it happened.
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(crate) fn is_provider(&self) -> bool {
        *self == Self::Provider
    }
}

/// A Signal as a connector builds it, without ids, tenant, connection and time of receipt.
#[derive(Debug, Clone, Serialize)]
pub struct SignalDraft {
    /// The type of the fact.
    pub kind: SignalKind,
    /// The fact's identity within tenant and source.
    ///
    /// It begins with the provider, such as `github:issue:42:created`.
    pub dedupe_key: String,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
    /// The source of `timestamp`.
    #[serde(skip_serializing_if = "TimestampSource::is_provider")]
    pub timestamp_source: TimestampSource,
    /// The account that acted.
    pub actor: Actor,
    /// The object that the fact is about.
    pub subject: Subject,
    /// The place where it happened.
    pub context: Context,
    /// The typed fields of the kind, documented on [`SignalKind`].
    pub normalized: serde_json::Value,
    /// The provider's object, byte for byte.
    pub raw: Box<RawValue>,
}

impl SignalDraft {
    /// The draft without empty names, titles and links, and without links that are not http(s).
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        for text in [
            &mut self.actor.id,
            &mut self.actor.name,
            &mut self.subject.key,
            &mut self.subject.title,
            &mut self.context.name,
        ] {
            text.take_if(|text| text.is_empty());
        }
        self.subject.url.take_if(|url| !is_web_url(url));
        self
    }

    /// Replaces a time in the future by the time of receipt.
    pub(crate) fn cap_timestamp(&mut self, received_at: DateTime<Utc>) {
        if self.timestamp > received_at + MAX_CLOCK_SKEW {
            self.timestamp = received_at;
            self.timestamp_source = TimestampSource::Received;
        }
    }
}

/// Marks the drafts that have `received_at` as their time, because the provider states none.
pub fn mark_received(drafts: &mut [SignalDraft], received_at: DateTime<Utc>) {
    for draft in drafts {
        if draft.timestamp == received_at {
            draft.timestamp_source = TimestampSource::Received;
        }
    }
}

/// Whether a text is an absolute http or https URL.
pub fn is_web_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::to_raw_value};

    use super::*;
    use crate::model::{ActorKind, ContextKind};

    fn draft(url: &str, at: DateTime<Utc>) -> SignalDraft {
        SignalDraft {
            kind: SignalKind::IssueCreated,
            dedupe_key: "github:issue:1:created".to_owned(),
            timestamp: at,
            timestamp_source: TimestampSource::Provider,
            actor: Actor {
                id: Some(String::new()),
                name: Some("ada".to_owned()),
                kind: ActorKind::User,
            },
            subject: Subject {
                kind: "issue".to_owned(),
                id: "1".to_owned(),
                key: Some(String::new()),
                title: Some(String::new()),
                url: Some(url.to_owned()),
            },
            context: Context {
                kind: ContextKind::Repository,
                id: "2".to_owned(),
                name: Some(String::new()),
            },
            normalized: json!({}),
            raw: to_raw_value(&json!({})).expect("JSON"),
        }
    }

    #[test]
    fn empty_texts_are_removed() {
        let cleaned = draft("https://example.com/1", DateTime::UNIX_EPOCH).cleaned();
        assert_eq!(
            (cleaned.actor.id, cleaned.actor.name.as_deref()),
            (None, Some("ada"))
        );
        assert_eq!((cleaned.subject.key, cleaned.subject.title), (None, None));
        assert_eq!(cleaned.context.name, None);
    }

    #[test]
    fn only_web_links_are_kept() {
        for (url, is_kept) in [
            ("https://example.com/a?b#c", true),
            ("HTTP://example.com", true),
            ("javascript:alert(1)", false),
            ("data:text/html,hello", false),
            ("ftp://example.com/a", false),
            ("//example.com/a", false),
            ("/a", false),
            ("", false),
        ] {
            let cleaned = draft(url, DateTime::UNIX_EPOCH).cleaned();
            assert_eq!(cleaned.subject.url.is_some(), is_kept, "{url}");
        }
    }

    #[test]
    fn future_times_become_the_time_of_receipt() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        for (ahead, is_kept) in [(-3_600, true), (0, true), (60, true), (61, false)] {
            let at = now + TimeDelta::seconds(ahead);
            let mut draft = draft("", at);
            draft.cap_timestamp(now);
            let expected = if is_kept {
                (at, TimestampSource::Provider)
            } else {
                (now, TimestampSource::Received)
            };
            assert_eq!(
                (draft.timestamp, draft.timestamp_source),
                expected,
                "{ahead}"
            );
        }
    }
}
