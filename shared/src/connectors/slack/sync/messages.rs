//! A channel's messages, their edits and their threads.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{call, call_as};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::slack::client::{Answer, Refusal};
use crate::connectors::slack::normalize::{self, Scene};
use crate::connectors::slack::settings::HistoryProfile;
use crate::connectors::slack::wire::{Message, Metadata, Ts, WireError};
use crate::connectors::slack::{Slack, names};
use crate::connectors::support::{self, PageContent, load_cursor, part_before, save_cursor};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

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
    /// The walk under way; `None` between runs.
    #[serde(default)]
    walk: Option<Walk>,
}

/// A walk from the newest message down.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Walk {
    /// Facts before it are known.
    told_from: Ts,
    /// Whether it goes on to the oldest message, for replies to old ones and edits; otherwise it
    /// ends with the page that reaches `told_from`.
    to_the_end: bool,
    /// Messages from here on are still to be read.
    latest: Ts,
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
    /// Whether Slack denied the replies of a thread that exists.
    #[serde(default)]
    is_denied: bool,
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
        walk: None,
    });
    let mut walk = match cursor.walk.take() {
        Some(walk) => walk,
        None => begin(slack.app.profile, request, &cursor),
    };
    let told = if let Some(thread) = walk.threads.pop() {
        replies(slack, request, channel, &mut walk, thread).await?
    } else {
        history(slack, request, channel, &cursor, &mut walk).await?
    };
    let more = !walk.done || !walk.threads.is_empty();
    let left = part_before(walk.latest.at(), cursor.floor.at(), walk.began);
    // The walk goes to its end all the same: messages are not lost with the replies.
    let denied_part = walk.is_denied.then_some("replies in threads");
    if more {
        cursor.walk = Some(walk);
    } else {
        cursor.high = cursor.high.max(walk.newest).or(Some(walk.told_from));
    }
    Ok(SyncPage {
        more,
        progress: 1.0 - left,
        denied_part,
        ..told.page(save_cursor(&cursor)?)
    })
}

/// Where a run's walk begins and ends.
fn begin(profile: HistoryProfile, request: &SyncRequest, cursor: &Cursor) -> Walk {
    let told_from = match (cursor.high, request.reconcile_from) {
        (Some(high), None) => Ts::of(high.at() - OVERLAP),
        (_, Some(from)) => Ts::of(from),
        (None, None) => cursor.floor,
    };
    Walk {
        told_from: told_from.max(cursor.floor),
        // Where a call a minute reads fifteen messages, a channel's whole past is never read twice.
        to_the_end: cursor.high.is_none()
            && (request.reconcile_from.is_none() || profile == HistoryProfile::Standard),
        latest: Ts::of(request.until),
        began: request.until,
        newest: None,
        next: None,
        done: false,
        threads: Vec::new(),
        is_denied: false,
    }
}

/// Reads a page of the channel's own messages, and notes the threads on it. A page is read whole,
/// also where less of it is new: edits and the latest replies show on older messages.
async fn history(
    slack: &Slack,
    request: &SyncRequest,
    channel: &str,
    cursor: &Cursor,
    walk: &mut Walk,
) -> Result<PageContent, ConnectorError> {
    let (oldest, latest) = (cursor.floor.to_string(), walk.latest.to_string());
    let limit = request.page_size(slack.app.profile.page()).to_string();
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
    let mut unreadable = UnreadableRows::default();
    let messages = unreadable.read_all(page.messages, normalize::read_row);
    walk.newest = walk
        .newest
        .max(messages.iter().filter_map(|m| m.0.ts).max());
    let next = page.response_metadata.unwrap_or_default().next_cursor;
    match messages.iter().filter_map(|(message, _)| message.ts).min() {
        Some(lowest) if !walk.to_the_end && lowest <= walk.told_from => walk.done = true,
        Some(lowest) if page.has_more || next.is_some() => {
            walk.latest = lowest.before();
            walk.next = None;
        }
        None if next.is_some() => walk.next = next,
        _ => walk.done = true,
    }
    // No list shows an edited reply: a walk to the end reads every thread whole.
    let since = if walk.to_the_end {
        cursor.floor
    } else {
        walk.told_from
    };
    for (message, _) in &messages {
        let replied = message.reply_count.is_some_and(|count| count > 0);
        let recent = message.latest_reply.or(message.ts) >= Some(since);
        if let (Some(ts), true, true) = (message.ts, replied, recent) {
            walk.threads.push(Thread {
                ts,
                after: since.before(),
            });
        }
    }
    let mut told = tell(slack, request, channel, walk.told_from, &messages).await?;
    told.unreadable.extend(unreadable);
    Ok(told)
}

/// Reads a page of a thread. Replies come oldest first, the parent before them all.
async fn replies(
    slack: &Slack,
    request: &SyncRequest,
    channel: &str,
    walk: &mut Walk,
    thread: Thread,
) -> Result<PageContent, ConnectorError> {
    let (ts, oldest) = (thread.ts.to_string(), thread.after.to_string());
    let latest = Ts::of(walk.began).to_string();
    let limit = request.page_size(slack.app.profile.page()).to_string();
    let arguments = [
        ("channel", channel),
        ("ts", ts.as_str()),
        ("oldest", oldest.as_str()),
        ("latest", latest.as_str()),
        ("limit", limit.as_str()),
    ];
    let answer = match thread_page(slack, request, &arguments).await? {
        ThreadPage::Shown(answer) => answer,
        ThreadPage::Gone => return Ok(PageContent::default()),
        ThreadPage::Denied => {
            walk.is_denied = true;
            return Ok(PageContent::default());
        }
    };
    let page: Page<'_> = answer.json()?;
    let mut unreadable = UnreadableRows::default();
    let mut messages = unreadable.read_all(page.messages, normalize::read_row);
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
    let mut told = tell(slack, request, channel, walk.told_from, &messages).await?;
    told.unreadable.extend(unreadable);
    Ok(told)
}

/// What Slack answers to a question about a thread.
enum ThreadPage {
    /// A page of its replies.
    Shown(Answer),
    /// There is no such thread any more.
    Gone,
    /// The replies may exist, and neither the bot nor the person may read them.
    Denied,
}

/// A page of replies, as the bot sees it or else as the person does who installed the app.
async fn thread_page(
    slack: &Slack,
    request: &SyncRequest,
    arguments: &[(&str, &str)],
) -> Result<ThreadPage, ConnectorError> {
    const METHOD: &str = "conversations.replies";
    let refused = match call(slack, request, METHOD, arguments).await {
        Ok(answer) => return Ok(ThreadPage::Shown(answer)),
        Err(refusal) if is_gone(&refusal) => return Ok(ThreadPage::Gone),
        Err(Refusal {
            error: ConnectorError::Permission(source),
            ..
        }) => source,
        Err(other) => return Err(other.into()),
    };
    let Some(person) = &request.access.person else {
        tracing::debug!(
            error = &*refused as &dyn std::error::Error,
            "replies of a thread denied"
        );
        return Ok(ThreadPage::Denied);
    };
    match call_as(slack, request, person, METHOD, arguments).await {
        Ok(answer) => Ok(ThreadPage::Shown(answer)),
        Err(refusal) if is_gone(&refusal) => Ok(ThreadPage::Gone),
        // The person's token is not the connection's: what ends it ends nothing else.
        Err(Refusal {
            error: ConnectorError::Permission(source) | ConnectorError::Unauthorized(source),
            ..
        }) => {
            tracing::debug!(
                error = &*source as &dyn std::error::Error,
                "replies of a thread denied to the installer's token as well"
            );
            Ok(ThreadPage::Denied)
        }
        Err(other) => Err(other.into()),
    }
}

/// Whether Slack says that a thread does not exist.
fn is_gone(refusal: &Refusal) -> bool {
    matches!(
        refusal.code.as_str(),
        "thread_not_found" | "message_not_found"
    )
}

/// The facts that messages show and that are not known.
async fn tell(
    slack: &Slack,
    request: &SyncRequest,
    channel: &str,
    told_from: Ts,
    messages: &[(Message, &RawValue)],
) -> Result<PageContent, ConnectorError> {
    named(slack, request, |scene| {
        let facts = |message: &Message, raw: &RawValue| {
            let mut signals = Vec::new();
            if message.ts.is_some_and(|ts| ts >= told_from) {
                signals.push(normalize::posted(scene, channel, message, raw, false)?);
            }
            let edited = message.edited.as_ref().and_then(|edited| edited.ts);
            if edited.is_some_and(|ts| ts >= told_from) {
                signals.extend(normalize::edited(scene, channel, message, raw)?);
            }
            Ok::<_, WireError>(signals)
        };
        let mut told = PageContent::default();
        for (message, raw) in messages {
            if normalize::is_written(message) {
                told.take(raw, facts(message, raw));
            }
        }
        told
    })
    .await
}

/// Normalizes with the names that the directory knows or Slack says; names are not worth a page.
pub(super) async fn named(
    slack: &Slack,
    request: &SyncRequest,
    normalize: impl Fn(&Scene<'_>) -> PageContent,
) -> Result<PageContent, ConnectorError> {
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
