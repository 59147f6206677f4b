//! Stream of a channel's messages, edits and threads.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{call, call_with_token};
use crate::connectors::cursor::{load_cursor, part_before, save_cursor};
use crate::connectors::error::permanent_error;
use crate::connectors::page::{self, PageContent};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::slack::client::{ApiError, Response};
use crate::connectors::slack::normalize::{self, NormalizeContext};
use crate::connectors::slack::settings::HistoryProfile;
use crate::connectors::slack::wire::{Message, Metadata, Ts, WireError};
use crate::connectors::slack::{Slack, directory};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

/// Overlap of a run with the previous one.
const OVERLAP: Duration = Duration::minutes(10);
/// The part of a channel that is read thread by thread.
const REPLIES: &str = "replies in threads";
/// Age of a message at the floor, to whose replies since then a full walk goes back.
const THREAD_AGE: Duration = Duration::days(90);

/// Position in a channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Cursor {
    /// The stream's floor: earlier facts are not emitted.
    floor: Ts,
    /// The newest message that was read; `None` until the first walk is complete.
    ///
    /// A resync begins at the end of the last complete read: the reconciliation pass finds later
    /// replies to older messages.
    #[serde(default)]
    high: Option<Ts>,
    /// The current walk; `None` between runs.
    #[serde(default)]
    walk: Option<Walk>,
}

/// A pass over the messages, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Walk {
    /// Facts since this time are emitted; earlier ones are in the feed.
    emit_from: Ts,
    /// Whether the walk continues to the oldest message.
    ///
    /// It then finds edits of and replies to old messages. Otherwise it ends with the page that
    /// reaches `emit_from`.
    is_full: bool,
    /// Upper bound of the next page.
    latest: Ts,
    /// The run's upper bound.
    started_at: DateTime<Utc>,
    /// The newest message of this walk.
    #[serde(default)]
    newest: Option<Ts>,
    /// Slack's cursor, used after an empty page that is not the last.
    #[serde(default)]
    next: Option<String>,
    /// Whether all messages outside threads have been read.
    #[serde(default)]
    done: bool,
    /// Unread threads of the last page.
    #[serde(default)]
    threads: Vec<Thread>,
    /// Threads whose replies could not be read.
    #[serde(default, flatten)]
    unread: UnreadThreads,
}

/// Whether the replies of existing threads could not be read.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct UnreadThreads {
    /// Slack denied access to one.
    #[serde(default)]
    is_denied: bool,
    /// Slack failed to return one.
    #[serde(default)]
    is_failing: bool,
}

/// Position in a thread.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Thread {
    ts: Ts,
    /// Later replies have not been read.
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

/// Reads a page of messages or replies.
pub(super) async fn read_page(
    slack: &Slack,
    request: &SyncRequest,
    channel: &str,
) -> Result<SyncPage, ConnectorError> {
    let mut cursor = load_cursor(request)?.unwrap_or_else(|| Cursor {
        floor: Ts::of(request.backfill_from),
        high: request.resync_from.map(Ts::of),
        walk: None,
    });
    let mut walk = match cursor.walk.take() {
        Some(walk) => walk,
        None => start_walk(slack.app.profile, request, &cursor),
    };
    let content = if let Some(thread) = walk.threads.pop() {
        match read_replies(slack, request, channel, &mut walk, thread).await {
            // One thread that Slack never returns must not stop the channel.
            Err(ConnectorError::Transient(source)) if request.skips_failing_parts() => {
                walk.unread.is_failing = true;
                tracing::warn!(
                    provider = "slack",
                    stream.key = %request.stream.key,
                    error = &*source as &dyn std::error::Error,
                    "skipped a thread that cannot be read"
                );
                PageContent::default()
            }
            content => content?,
        }
    } else {
        read_history(slack, request, channel, &cursor, &mut walk).await?
    };
    let has_more = !walk.done || !walk.threads.is_empty();
    let left = part_before(walk.latest.at(), cursor.floor.at(), walk.started_at);
    // A denied thread does not end the walk, so other messages are still read.
    let denied_part = walk.unread.is_denied.then_some(REPLIES);
    let failing_part = walk.unread.is_failing.then_some(REPLIES);
    if has_more {
        cursor.walk = Some(walk);
    } else {
        cursor.high = cursor.high.max(walk.newest).or(Some(walk.emit_from));
    }
    Ok(SyncPage {
        has_more,
        progress: 1.0 - left,
        denied_part,
        failing_part,
        ..content.into_page(save_cursor(&cursor)?)
    })
}

/// Starts the walk of a run.
fn start_walk(profile: HistoryProfile, request: &SyncRequest, cursor: &Cursor) -> Walk {
    let emit_from = match (cursor.high, request.reconcile_from) {
        (Some(high), None) => Ts::of(high.at() - OVERLAP),
        (_, Some(from)) => Ts::of(from),
        (None, None) => cursor.floor,
    };
    Walk {
        emit_from: emit_from.max(cursor.floor),
        // With one call of fifteen messages per minute, a second full walk takes too long.
        is_full: cursor.high.is_none()
            && (request.reconcile_from.is_none() || profile == HistoryProfile::Standard),
        latest: Ts::of(request.upper_bound),
        started_at: request.upper_bound,
        newest: None,
        next: None,
        done: false,
        threads: Vec::new(),
        unread: UnreadThreads::default(),
    }
}

/// Reads a page of messages and records the threads on it.
///
/// The whole page is read, because edits and new replies show on older messages.
async fn read_history(
    slack: &Slack,
    request: &SyncRequest,
    channel: &str,
    cursor: &Cursor,
    walk: &mut Walk,
) -> Result<PageContent, ConnectorError> {
    let oldest = if walk.is_full {
        Ts::of(cursor.floor.at() - THREAD_AGE)
    } else {
        cursor.floor
    };
    let (oldest, latest) = (oldest.to_string(), walk.latest.to_string());
    let limit = request.page_size(slack.app.profile.page_size()).to_string();
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
    let response = call(slack, request, "conversations.history", &arguments).await?;
    let page: Page<'_> = response.json()?;
    let mut unreadable = UnreadableRows::default();
    let messages = unreadable.read_all(page.messages, normalize::read_row);
    walk.newest = walk
        .newest
        .max(messages.iter().filter_map(|m| m.0.ts).max());
    let next = page.response_metadata.unwrap_or_default().next_cursor;
    match messages.iter().filter_map(|(message, _)| message.ts).min() {
        Some(lowest) if !walk.is_full && lowest <= walk.emit_from => walk.done = true,
        Some(lowest) if page.has_more || next.is_some() => {
            walk.latest = lowest.before();
            walk.next = None;
        }
        None if next.is_some() => walk.next = next,
        None if page.has_more => {
            return Err(permanent_error(
                "no row of a page shows where the next begins",
            ));
        }
        _ => walk.done = true,
    }
    // No list shows edited replies, so a full walk reads every thread completely.
    let since = if walk.is_full {
        cursor.floor
    } else {
        walk.emit_from
    };
    for (message, _) in &messages {
        let has_replies = message.reply_count.is_some_and(|count| count > 0);
        let is_recent = message.latest_reply.or(message.ts) >= Some(since);
        if let (Some(ts), true, true) = (message.ts, has_replies, is_recent) {
            walk.threads.push(Thread {
                ts,
                after: since.before(),
            });
        }
    }
    let emit_from = walk.emit_from;
    let mut content = normalize_messages(slack, request, channel, emit_from, &messages).await?;
    content.unreadable.extend(unreadable);
    Ok(content)
}

/// Reads a page of a thread: the parent message, then replies, oldest first.
async fn read_replies(
    slack: &Slack,
    request: &SyncRequest,
    channel: &str,
    walk: &mut Walk,
    thread: Thread,
) -> Result<PageContent, ConnectorError> {
    let (ts, oldest) = (thread.ts.to_string(), thread.after.to_string());
    let latest = Ts::of(walk.started_at).to_string();
    let limit = request.page_size(slack.app.profile.page_size()).to_string();
    let arguments = [
        ("channel", channel),
        ("ts", ts.as_str()),
        ("oldest", oldest.as_str()),
        ("latest", latest.as_str()),
        ("limit", limit.as_str()),
    ];
    let response = match fetch_thread_page(slack, request, &arguments).await? {
        ThreadPage::Found(response) => response,
        ThreadPage::NotFound => return Ok(PageContent::default()),
        ThreadPage::Denied => {
            walk.unread.is_denied = true;
            return Ok(PageContent::default());
        }
    };
    let page: Page<'_> = response.json()?;
    let mut unreadable = UnreadableRows::default();
    let mut messages = unreadable.read_all(page.messages, normalize::read_row);
    messages.retain(|(message, _)| message.ts != Some(thread.ts));
    let has_more = page.has_more
        || page
            .response_metadata
            .is_some_and(|metadata| metadata.next_cursor.is_some());
    match messages.iter().filter_map(|m| m.0.ts).max() {
        Some(last) if has_more => walk.threads.push(Thread {
            ts: thread.ts,
            after: last,
        }),
        // No row shows where the next page begins.
        None if has_more => walk.unread.is_failing = true,
        _ => {}
    }
    let emit_from = walk.emit_from;
    let mut content = normalize_messages(slack, request, channel, emit_from, &messages).await?;
    content.unreadable.extend(unreadable);
    Ok(content)
}

/// Result of reading a thread.
enum ThreadPage {
    /// A page of replies.
    Found(Response),
    /// The thread no longer exists.
    NotFound,
    /// Neither the bot nor the installer may read the replies.
    Denied,
}

/// Fetches a page of replies with the bot's token, else with the installer's user token.
async fn fetch_thread_page(
    slack: &Slack,
    request: &SyncRequest,
    arguments: &[(&str, &str)],
) -> Result<ThreadPage, ConnectorError> {
    const METHOD: &str = "conversations.replies";
    let denial = match call(slack, request, METHOD, arguments).await {
        Ok(response) => return Ok(ThreadPage::Found(response)),
        Err(error) if is_not_found(&error) => return Ok(ThreadPage::NotFound),
        Err(ApiError {
            cause: ConnectorError::Denied { source, .. },
            ..
        }) => source,
        Err(other) => return Err(other.into()),
    };
    let Some(user_token) = &request.access.user_token else {
        tracing::debug!(
            provider = "slack",
            stream.key = %request.stream.key,
            error = &*denial as &dyn std::error::Error,
            "bot token may not read thread replies"
        );
        return Ok(ThreadPage::Denied);
    };
    match call_with_token(slack, request, user_token, METHOD, arguments).await {
        Ok(response) => Ok(ThreadPage::Found(response)),
        Err(error) if is_not_found(&error) => Ok(ThreadPage::NotFound),
        // A revoked user token does not affect the connection.
        Err(ApiError {
            cause: ConnectorError::Denied { source, .. } | ConnectorError::Unauthorized(source),
            ..
        }) => {
            tracing::debug!(
                provider = "slack",
                stream.key = %request.stream.key,
                error = &*source as &dyn std::error::Error,
                "neither bot token nor user token may read thread replies"
            );
            Ok(ThreadPage::Denied)
        }
        Err(other) => Err(other.into()),
    }
}

/// Whether the thread does not exist.
fn is_not_found(error: &ApiError) -> bool {
    matches!(
        error.code.as_str(),
        "thread_not_found" | "message_not_found"
    )
}

/// Normalizes messages and edits since `emit_from`.
async fn normalize_messages(
    slack: &Slack,
    request: &SyncRequest,
    channel: &str,
    emit_from: Ts,
    messages: &[(Message, &RawValue)],
) -> Result<PageContent, ConnectorError> {
    with_directory(slack, request, |context| {
        let facts = |message: &Message, raw: &RawValue| {
            let mut signals = Vec::new();
            if message.ts.is_some_and(|ts| ts >= emit_from) {
                signals.push(normalize::message_posted(
                    context, channel, message, raw, false,
                )?);
            }
            let edited = message.edited.as_ref().and_then(|edited| edited.ts);
            if edited.is_some_and(|ts| ts >= emit_from) {
                signals.extend(normalize::message_edited(context, channel, message, raw)?);
            }
            Ok::<_, WireError>(signals)
        };
        let mut content = PageContent::default();
        for (message, raw) in messages {
            if normalize::is_authored(message) {
                content.take(raw, facts(message, raw));
            }
        }
        content
    })
    .await
}

/// Normalizes with names from the directory, and looks up missing ones at Slack.
///
/// A failed lookup of names does not fail the page.
pub(super) async fn with_directory(
    slack: &Slack,
    request: &SyncRequest,
    normalize: impl Fn(&NormalizeContext<'_>) -> PageContent,
) -> Result<PageContent, ConnectorError> {
    let context = NormalizeContext {
        account: &request.access.account,
        directory: &request.directory,
    };
    page::with_directory(
        request,
        || normalize(&context),
        async |missing| match directory::resolve_directory(&slack.client, &request.access, missing)
            .await
        {
            Ok(found) => Ok(Some(found)),
            Err(error @ (ConnectorError::RateLimited { .. } | ConnectorError::Transient(_))) => {
                tracing::debug!(
                    provider = "slack",
                    stream.key = %request.stream.key,
                    error = &error as &dyn std::error::Error,
                    "failed to look up names, normalizing without them"
                );
                Ok(None)
            }
            Err(other) => Err(other),
        },
    )
    .await
}
