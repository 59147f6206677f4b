//! Root stream: the channels that the person has joined, then the direct and group chats.
//!
//! The list of chats has no token. It is paged by the time of the last message, in the order in
//! which Cliq returns the rows. A run stops at chats without a message since the last one, whose
//! streams then stay as they are; once a day, and after a change of the channels, the list is read
//! to its end.
//!
//! A list whose scope Zoho rejects is left out, and its streams stay; the streams that need the
//! scope name it.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{CHANNELS, CHAT, THREADS, Target, active_millis, millis, page_size, with_overlap};
use crate::connectors::cursor::{load_cursor, save_cursor};
use crate::connectors::error::permanent_error;
use crate::connectors::rows::UnreadableRows;
use crate::connectors::zoho_cliq::auth::is_rejected;
use crate::connectors::zoho_cliq::client::{self, CliqClient};
use crate::connectors::zoho_cliq::directory::chat_entry;
use crate::connectors::zoho_cliq::wire::{Channel, Chat, WireError, read_row};
use crate::connectors::{ConnectorError, MissingScope, SyncPage, SyncRequest};
use crate::crypto::sha256;
use crate::model::{DirectoryEntry, StreamSpec};

/// Time after which the list of chats is read to its end again.
const FULL_INTERVAL: Duration = Duration::hours(24);
/// Precision of the times of last messages, in milliseconds.
const PRECISION: i64 = super::PRECISION.num_milliseconds();

/// Position in the lists, and what the last complete run has seen.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Cursor {
    /// When the list of chats was last read to its end.
    full_at: Option<DateTime<Utc>>,
    /// Upper bound of the last complete run, in milliseconds.
    read_to: Option<i64>,
    /// Digest of the channels that it has seen.
    digest: u64,
    /// The current run; `None` between runs.
    run: Option<Run>,
}

/// Position of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Run {
    /// Upper bound with which it began, in milliseconds. Its pages may miss later activity.
    to: Option<i64>,
    /// Whether all channels have been read.
    in_chats: bool,
    /// Token of the next page of channels.
    next: Option<String>,
    /// Digest of the channels so far, independent of their order.
    digest: u64,
    /// Chats whose last message is after this time are left to read.
    after: Option<i64>,
    /// Chats whose last message is before this time are left to read.
    before: Option<i64>,
    /// Whether a row is unreadable or a part of a list is left out.
    is_partial: bool,
    /// Whether Zoho rejected the scope of the channels.
    has_no_channels: bool,
}

/// The content of a page.
#[derive(Default)]
struct Listed {
    streams: Vec<StreamSpec>,
    directory_updates: Vec<DirectoryEntry>,
    unreadable: UnreadableRows,
}

impl Listed {
    fn add(&mut self, kind: &str, id: &str, target: &Target) {
        self.streams
            .push(stream(format!("{kind}:{id}"), Some(id), target));
    }
}

fn stream(key: String, resource: Option<&str>, target: &Target) -> StreamSpec {
    StreamSpec {
        key,
        resource_id: resource.map(str::to_owned),
        target: serde_json::to_value(target).unwrap_or(Value::Null),
    }
}

/// Reads a page of channels or chats.
pub(super) async fn read_page(
    client: CliqClient<'_>,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or_default();
    let mut run = cursor.run.take().unwrap_or_default();
    let to = *run.to.get_or_insert(millis(request.upper_bound));
    let mut listed = Listed::default();
    let mut is_complete = false;
    if run.in_chats {
        is_complete = read_chats(client, request, &cursor, &mut run, &mut listed).await?;
    } else {
        read_channels(client, request, &mut run, &mut listed).await?;
    }
    run.is_partial |= !listed.unreadable.is_empty();
    let is_partial = run.is_partial;
    if is_complete {
        cursor.read_to = Some(to);
        cursor.digest = run.digest;
        if !is_partial {
            cursor.full_at = Some(request.upper_bound);
        }
    } else {
        cursor.run = Some(run);
    }
    request
        .directory
        .add(listed.directory_updates.iter().cloned());
    Ok(SyncPage {
        streams: listed.streams,
        directory_updates: listed.directory_updates,
        unreadable_rows: listed.unreadable.into_rows(),
        is_list_partial: is_partial,
        has_more: !is_complete,
        progress: if is_complete { 1.0 } else { 0.5 },
        ..SyncPage::empty(save_cursor(&cursor)?)
    })
}

/// Reads a page of channels.
async fn read_channels(
    client: CliqClient<'_>,
    request: &SyncRequest,
    run: &mut Run,
    listed: &mut Listed,
) -> Result<(), ConnectorError> {
    let page = if is_rejected(&request.access.account, client::CHANNELS) {
        Err(ConnectorError::denied(MissingScope(client::CHANNELS)))
    } else {
        client
            .list_channels(page_size(request), run.next.as_deref())
            .await
    };
    let page = match page {
        Ok(page) => page,
        Err(error) if is_scope_missing(&error) => {
            run.has_no_channels = true;
            run.is_partial = true;
            run.in_chats = true;
            listed
                .streams
                .push(stream(CHANNELS.to_owned(), None, &Target::default()));
            return Ok(());
        }
        Err(other) => return Err(other),
    };
    run.next = page.next();
    run.in_chats = run.next.is_none();
    let rows = page
        .channels
        .ok_or_else(|| permanent_error("the list of channels has no rows"))?;
    let rows = rows.iter().map(AsRef::as_ref);
    for ((channel_id, chat_id, channel), _) in listed.unreadable.read_all(rows, read_channel) {
        run.digest = run.digest.wrapping_add(digest_of(&channel_id));
        let target = Target {
            title: channel.name.clone(),
            is_channel: true,
            active_at: active_millis(channel.active_at()),
            digest: None,
        };
        listed.add(CHAT, &chat_id, &target);
        let threads = Target {
            active_at: None,
            ..target
        };
        listed.add(THREADS, &channel_id, &threads);
        listed
            .directory_updates
            .push(chat_entry(&chat_id, channel.name.as_deref(), true));
    }
    if run.in_chats {
        let target = Target {
            digest: Some(format!("{:016x}", run.digest)),
            ..Target::default()
        };
        listed
            .streams
            .push(stream(CHANNELS.to_owned(), None, &target));
    }
    Ok(())
}

/// Reads a page of chats; returns whether it is the last one.
async fn read_chats(
    client: CliqClient<'_>,
    request: &SyncRequest,
    cursor: &Cursor,
    run: &mut Run,
    listed: &mut Listed,
) -> Result<bool, ConnectorError> {
    let limit = page_size(request);
    let page = if is_rejected(&request.access.account, client::CHATS) {
        Err(ConnectorError::denied(MissingScope(client::CHATS)))
    } else {
        client.list_chats(limit, run.after, run.before).await
    };
    let page = match page {
        Ok(page) => page,
        // Without both lists there is nothing to read.
        Err(error) if is_scope_missing(&error) && !run.has_no_channels => {
            run.is_partial = true;
            return Ok(true);
        }
        Err(other) => return Err(other),
    };
    let rows = page
        .chats
        .ok_or_else(|| permanent_error("the list of chats has no rows"))?;
    let is_full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let mut times = Vec::new();
    let rows = rows.iter().map(AsRef::as_ref);
    for ((chat_id, chat), _) in listed.unreadable.read_all(rows, read_chat) {
        let active_at = active_millis(chat.active_at());
        times.extend(active_at);
        if !chat.is_listed() {
            continue;
        }
        let target = Target {
            title: chat.name.clone(),
            is_channel: false,
            active_at,
            digest: None,
        };
        listed.add(CHAT, &chat_id, &target);
        listed
            .directory_updates
            .push(chat_entry(&chat_id, chat.name.as_deref(), false));
    }
    if !is_full {
        return Ok(true);
    }
    // Only a whole list ends the streams of a channel that the person has left.
    let is_due = cursor.digest != run.digest
        || cursor
            .full_at
            .is_none_or(|at| request.upper_bound - at >= FULL_INTERVAL);
    let since = cursor.read_to.filter(|_| !is_due).map(with_overlap);
    Ok(run.turn_page(&times, since))
}

impl Run {
    /// Chooses the bounds of the page after a full one; returns whether there is none.
    ///
    /// The bounds overlap by a second, the precision of the times.
    fn turn_page(&mut self, times: &[i64], since: Option<i64>) -> bool {
        let (Some(&oldest), Some(&newest)) = (times.iter().min(), times.iter().max()) else {
            self.is_partial = true;
            return true;
        };
        if times.is_sorted() && oldest < newest {
            let after = Some(newest - PRECISION);
            // As many chats as a page has, within a second: the others are passed.
            let is_progress = after > self.after;
            self.is_partial |= !is_progress;
            let after = if is_progress { after } else { Some(newest) };
            // The page does not depend on the bound.
            if after <= self.after {
                return true;
            }
            self.after = after;
            return false;
        }
        let is_descending = times.is_sorted_by(|newer, older| newer >= older);
        if is_descending && since.is_some_and(|since| oldest + PRECISION < since) {
            self.is_partial = true;
            return true;
        }
        let before = oldest + PRECISION;
        let is_progress = self.before.is_none_or(|known| before < known);
        self.is_partial |= !is_progress;
        let before = if is_progress { before } else { oldest };
        if self.before.is_some_and(|known| before >= known) {
            return true;
        }
        self.before = Some(before);
        false
    }
}

/// Whether Zoho rejected the scope of a call.
fn is_scope_missing(error: &ConnectorError) -> bool {
    match error {
        ConnectorError::Denied { source, .. } => source.downcast_ref::<MissingScope>().is_some(),
        _ => false,
    }
}

fn read_channel(raw: &RawValue) -> Result<(String, String, Channel), WireError> {
    let mut channel: Channel = read_row(raw)?;
    let id = channel.id.take();
    let chat = channel.chat_id.take();
    Ok((
        id.ok_or(WireError::Missing("channel_id"))?,
        chat.ok_or(WireError::Missing("chat_id"))?,
        channel,
    ))
}

fn read_chat(raw: &RawValue) -> Result<(String, Chat), WireError> {
    let mut chat: Chat = read_row(raw)?;
    let id = chat.id.take();
    Ok((id.ok_or(WireError::Missing("chat_id"))?, chat))
}

/// Part of a digest of a set.
fn digest_of(id: &str) -> u64 {
    let digest = sha256(id.as_bytes());
    digest
        .iter()
        .take(8)
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(run: &mut Run, times: &[i64], since: Option<i64>) -> (bool, Option<i64>, Option<i64>) {
        let is_last = run.turn_page(times, since);
        (is_last, run.after, run.before)
    }

    #[test]
    fn next_page_follows_the_order_of_the_rows() {
        let mut run = Run::default();
        assert_eq!(
            turn(&mut run, &[90_000, 70_000, 50_000], None),
            (false, None, Some(51_000))
        );
        let mut run = Run::default();
        assert_eq!(
            turn(&mut run, &[50_000, 70_000, 90_000], None),
            (false, Some(89_000), None)
        );
        assert!(!run.is_partial);
    }

    #[test]
    fn page_of_one_second_does_not_loop() {
        let mut run = Run::default();
        let page = [50_000; 3];
        assert_eq!(turn(&mut run, &page, None), (false, None, Some(51_000)));
        assert_eq!(turn(&mut run, &page, None), (false, None, Some(50_000)));
        assert!(run.is_partial, "chats may be left out");
        assert_eq!(turn(&mut run, &page, None), (true, None, Some(50_000)));
        let mut run = Run::default();
        let page = [50_000, 50_400];
        assert_eq!(turn(&mut run, &page, None), (false, Some(49_400), None));
        assert_eq!(turn(&mut run, &page, None), (false, Some(50_400), None));
        assert!(run.is_partial);
        assert_eq!(turn(&mut run, &page, None), (true, Some(50_400), None));
    }

    #[test]
    fn run_stops_at_first_unchanged_chat() {
        let mut run = Run::default();
        assert!(run.turn_page(&[90_000, 50_000], Some(60_000)));
        assert!(run.is_partial, "their streams stay");
        let mut run = Run::default();
        assert!(!run.turn_page(&[90_000, 50_000], Some(40_000)));
        let mut run = Run::default();
        assert!(
            !run.turn_page(&[50_000, 90_000, 40_000], Some(60_000)),
            "without order"
        );
    }
}
