//! A channel's messages, their edits and their threads.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{call, call_as};
use crate::connectors::slack::client::{Answer, Refusal};
use crate::connectors::slack::normalize::{self, Scene};
use crate::connectors::slack::wire::{Message, Metadata, Ts};
use crate::connectors::slack::{Slack, names};
use crate::connectors::support::{self, load_cursor, save_cursor};
use crate::connectors::{ConnectorError, DirectoryEntry, SyncPage, SyncRequest};
use crate::signals::SignalDraft;

/// How far behind its mark a run begins.
const OVERLAP: Duration = Duration::minutes(10);

/// How far a channel has been read.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Cursor {
    /// Facts before it are never told, facts since then always.
    floor: Ts,
    /// The newest message that was read; `None` before the first walk ended.
    #[serde(default)]
    high: Option<Ts>,
    /// When the whole look-back was last walked.
    #[serde(default)]
    rescanned: Option<DateTime<Utc>>,
    /// The walk under way; `None` between runs.
    #[serde(default)]
    walk: Option<Walk>,
}

/// A walk from the newest message down.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Walk {
    /// Where it ends.
    oldest: Ts,
    /// Messages from here on are still to be read.
    latest: Ts,
    /// Whether it walks the whole look-back.
    whole: bool,
    /// When it began.
    began: DateTime<Utc>,
    /// The newest message that it met.
    #[serde(default)]
    newest: Option<Ts>,
    /// Slack's cursor, after a page that was empty and not the last.
    #[serde(default)]
    next: Option<String>,
    /// Whether the channel's own messages are done.
    #[serde(default)]
    done: bool,
    /// Threads of the last page that are still to be read.
    #[serde(default)]
    threads: Vec<Thread>,
}

/// A thread, and how far it was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Thread {
    ts: Ts,
    /// Replies after this one are still to be read.
    after: Ts,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    #[serde(default)]
    has_more: bool,
    #[serde(default)]
    response_metadata: Option<Metadata>,
}

/// One page of messages or replies.
pub(super) async fn page(
    slack: &Slack,
    request: &SyncRequest,
    channel: &str,
) -> Result<SyncPage, ConnectorError> {
    let mut cursor = load_cursor(request)?.unwrap_or_else(|| Cursor {
        floor: Ts::of(request.horizon),
        high: None,
        rescanned: None,
        walk: None,
    });
    let mut walk = match cursor.walk.take() {
        Some(walk) => walk,
        None => begin(slack, request, &cursor),
    };
    let (signals, learned) = if let Some(thread) = walk.threads.pop() {
        replies(slack, request, channel, &cursor, &mut walk, thread).await?
    } else {
        history(slack, request, channel, &cursor, &mut walk).await?
    };
    let more = !walk.done || !walk.threads.is_empty();
    if more {
        cursor.walk = Some(walk);
    } else {
        cursor.high = cursor.high.max(walk.newest).or(Some(walk.oldest));
        if walk.whole {
            cursor.rescanned = Some(walk.began);
        }
    }
    Ok(SyncPage {
        signals,
        more,
        learned,
        ..SyncPage::empty(save_cursor(&cursor)?)
    })
}

/// Where a run's walk begins and ends.
fn begin(slack: &Slack, request: &SyncRequest, cursor: &Cursor) -> Walk {
    let lookback = Duration::from_std(slack.app.lookback).unwrap_or_default();
    let rescan = Duration::from_std(slack.app.rescan).unwrap_or_default();
    let whole = cursor
        .rescanned
        .is_none_or(|last| request.until - last >= rescan);
    let oldest = match cursor.high {
        None => cursor.floor,
        Some(high) => {
            let overlap = Ts::of(high.at() - OVERLAP);
            if whole {
                overlap.min(Ts::of(request.until - lookback))
            } else {
                overlap
            }
        }
    };
    Walk {
        oldest: oldest.max(cursor.floor),
        latest: Ts::of(request.until),
        whole,
        began: request.until,
        newest: None,
        next: None,
        done: false,
        threads: Vec::new(),
    }
}

/// Reads a page of the channel's own messages, and notes the threads on it.
async fn history(
    slack: &Slack,
    request: &SyncRequest,
    channel: &str,
    cursor: &Cursor,
    walk: &mut Walk,
) -> Result<(Vec<SignalDraft>, Vec<DirectoryEntry>), ConnectorError> {
    let (oldest, latest) = (walk.oldest.to_string(), walk.latest.to_string());
    let limit = slack.app.profile.page().to_string();
    let mut arguments = vec![
        ("channel", channel),
        ("oldest", oldest.as_str()),
        ("latest", latest.as_str()),
        ("inclusive", "true"),
        ("limit", limit.as_str()),
    ];
    if let Some(next) = &walk.next {
        arguments.push(("cursor", next));
    }
    let answer = call(slack, request, "conversations.history", &arguments).await?;
    let page: Page<'_> = answer.json()?;
    let messages = read_all(&page.messages);
    walk.newest = walk
        .newest
        .max(messages.iter().filter_map(|m| m.0.ts).max());
    let next = page.response_metadata.unwrap_or_default().next_cursor;
    match messages.iter().filter_map(|(message, _)| message.ts).min() {
        Some(lowest) if page.has_more || next.is_some() => {
            walk.latest = lowest.before();
            walk.next = None;
        }
        None if next.is_some() => walk.next = next,
        _ => walk.done = true,
    }
    for (message, _) in &messages {
        let replied = message.reply_count.is_some_and(|count| count > 0);
        let recent = message
            .latest_reply
            .is_none_or(|latest| latest >= walk.oldest);
        if let (Some(ts), true, true) = (message.ts, replied, recent) {
            walk.threads.push(Thread {
                ts,
                after: walk.oldest.before(),
            });
        }
    }
    tell(slack, request, channel, cursor, &messages).await
}

/// Reads a page of a thread. Replies come oldest first, the parent before them all.
async fn replies(
    slack: &Slack,
    request: &SyncRequest,
    channel: &str,
    cursor: &Cursor,
    walk: &mut Walk,
    thread: Thread,
) -> Result<(Vec<SignalDraft>, Vec<DirectoryEntry>), ConnectorError> {
    let (ts, oldest) = (thread.ts.to_string(), thread.after.to_string());
    let latest = Ts::of(walk.began).to_string();
    let limit = slack.app.profile.page().to_string();
    let arguments = [
        ("channel", channel),
        ("ts", ts.as_str()),
        ("oldest", oldest.as_str()),
        ("latest", latest.as_str()),
        ("limit", limit.as_str()),
    ];
    let Some(answer) = thread_page(slack, request, &arguments).await? else {
        return Ok((Vec::new(), Vec::new()));
    };
    let page: Page<'_> = answer.json()?;
    let mut messages = read_all(&page.messages);
    messages.retain(|(message, _)| message.ts != Some(thread.ts));
    let more = page.has_more
        || page
            .response_metadata
            .is_some_and(|metadata| metadata.next_cursor.is_some());
    if let (Some(last), true) = (messages.iter().filter_map(|m| m.0.ts).max(), more) {
        walk.threads.push(Thread {
            ts: thread.ts,
            after: last,
        });
    }
    tell(slack, request, channel, cursor, &messages).await
}

/// A page of replies, as the bot sees it or else as the person does who installed the app.
/// `None` when neither may read it: a thread that is gone holds up no other.
async fn thread_page(
    slack: &Slack,
    request: &SyncRequest,
    arguments: &[(&str, &str)],
) -> Result<Option<Answer>, ConnectorError> {
    const METHOD: &str = "conversations.replies";
    let refused = match call(slack, request, METHOD, arguments).await {
        Ok(answer) => return Ok(Some(answer)),
        Err(Refusal {
            error: ConnectorError::Permission(source),
            ..
        }) => source,
        Err(other) => return Err(other.into()),
    };
    let Some(person) = &request.access.person else {
        tracing::debug!(
            error = &*refused as &dyn std::error::Error,
            "a thread was not read"
        );
        return Ok(None);
    };
    match call_as(slack, request, person, METHOD, arguments).await {
        Ok(answer) => Ok(Some(answer)),
        // The person's token is not the connection's: what ends it ends nothing else.
        Err(Refusal {
            error: ConnectorError::Permission(source) | ConnectorError::Unauthorized(source),
            ..
        }) => {
            tracing::debug!(
                error = &*source as &dyn std::error::Error,
                "a thread was not read with the installer's token either"
            );
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}

fn read_all<'a>(rows: &[&'a RawValue]) -> Vec<(Message, &'a RawValue)> {
    rows.iter()
        .filter_map(|raw| Some((normalize::read(raw).ok()?, *raw)))
        .collect()
}

/// The facts that messages show.
async fn tell(
    slack: &Slack,
    request: &SyncRequest,
    channel: &str,
    cursor: &Cursor,
    messages: &[(Message, &RawValue)],
) -> Result<(Vec<SignalDraft>, Vec<DirectoryEntry>), ConnectorError> {
    named(slack, request, |scene| {
        let mut signals = Vec::new();
        for (message, raw) in messages {
            if !normalize::is_written(message) {
                continue;
            }
            if message.ts.is_some_and(|ts| ts >= cursor.floor) {
                signals.push(normalize::posted(scene, channel, message, raw, false)?);
            }
            let edited = message.edited.as_ref().and_then(|edited| edited.ts);
            if edited.is_some_and(|ts| ts >= cursor.floor) {
                signals.extend(normalize::edited(scene, channel, message, raw)?);
            }
        }
        Ok(signals)
    })
    .await
}

/// Normalizes with the names that the directory knows or Slack says; names are not worth a page.
pub(super) async fn named(
    slack: &Slack,
    request: &SyncRequest,
    normalize: impl Fn(&Scene<'_>) -> Result<Vec<SignalDraft>, ConnectorError>,
) -> Result<(Vec<SignalDraft>, Vec<DirectoryEntry>), ConnectorError> {
    let scene = Scene {
        account: &request.access.account,
        directory: &request.directory,
    };
    support::with_directory(
        request,
        || normalize(&scene),
        async |missing| match names::look_up(&slack.client, &request.access, missing).await {
            Ok(found) => Ok(Some(found)),
            Err(error @ (ConnectorError::RateLimited { .. } | ConnectorError::Transient(_))) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "names were not found"
                );
                Ok(None)
            }
            Err(other) => Err(other),
        },
    )
    .await
}
