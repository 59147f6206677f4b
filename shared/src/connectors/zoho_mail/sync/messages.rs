//! The stream of a folder: a walk from the newest mail down to the last known one.
//!
//! Positions of a list are numbers from 1 and shift while it is read: mail that arrives moves the
//! rest down, mail that is deleted or moved away moves it up. So each page begins with the last row
//! of the page before, its anchor. If the anchor is missing, the walk goes back until it sees
//! something newer, so that no row is skipped.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::FolderTarget;
use crate::connectors::cursor::{earlier, load_cursor, part_before, save_cursor};
use crate::connectors::page::PageContent;
use crate::connectors::zoho_mail::client::MailClient;
use crate::connectors::zoho_mail::normalize;
use crate::connectors::zoho_mail::wire::{List, Mail, WireError, without_content};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

/// Rows per page, the most that Zoho allows.
const PAGE: u32 = 200;
/// Smallest page: an anchor and a row behind it.
const MIN_PAGE: u32 = 2;
/// Part before the last known mail that is read again, for mail that is listed late.
const OVERLAP: TimeDelta = TimeDelta::minutes(10);

/// Position in a folder.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Mails from before are never facts.
    floor: DateTime<Utc>,
    /// The newest mail of the last complete walk.
    #[serde(default)]
    mark: Option<Mark>,
    /// The walk that has not ended.
    #[serde(default)]
    walk: Option<Walk>,
}

/// A mail in the order of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Mark {
    received_at: DateTime<Utc>,
    id: String,
}

/// A walk from the newest mail on.
#[derive(Debug, Serialize, Deserialize)]
struct Walk {
    /// Position of the next page's first row.
    start: u64,
    /// Older mails are known.
    lower: DateTime<Utc>,
    /// The newest mail of the first page, and not later than that page.
    #[serde(default)]
    newest: Option<Mark>,
    /// The last row of the page before.
    #[serde(default)]
    anchor: Option<Mark>,
    /// Rows by which the walk last went back; 0 if it goes forward.
    #[serde(default)]
    back: u64,
}

impl Cursor {
    fn start_walk(&self) -> Walk {
        let known = self.mark.as_ref();
        let known = known.map(|mark| earlier(mark.received_at, OVERLAP));
        Walk {
            start: 1,
            lower: known.unwrap_or(self.floor).max(self.floor),
            newest: None,
            anchor: None,
            back: 0,
        }
    }
}

/// Reads a page of a folder.
pub(super) async fn read_page(
    client: &MailClient<'_>,
    request: &SyncRequest,
    folder: &FolderTarget<'_>,
) -> Result<SyncPage, ConnectorError> {
    let cursor = load_cursor::<Cursor>(request)?;
    let mut cursor = cursor.unwrap_or_else(|| Cursor {
        floor: request.floor(),
        mark: None,
        walk: None,
    });
    let mut walk = match cursor.walk.take() {
        Some(walk) => walk,
        None => cursor.start_walk(),
    };
    let size = request.page_size(PAGE).max(MIN_PAGE);
    let list = client
        .list_messages(folder.account, folder.id, walk.start, size)
        .await?;
    let mut content = PageContent::default();
    let rows = read_rows(list, request, folder, walk.lower, &mut content)?;
    // The first read has no known mail near its end, and the order is not strict.
    let is_thorough = cursor.mark.is_none();
    let has_more = walk.advance(&rows, u64::from(size), is_thorough);
    if let Some(newest) = &mut walk.newest {
        // A time in the future would hide everything that arrives until then. A walk may last as
        // long, so a later bound is too late.
        newest.received_at = newest.received_at.min(request.upper_bound);
    }
    let oldest = rows.last().and_then(|row| row.as_ref());
    let progress = oldest.map_or(0.0, |oldest| {
        1.0 - part_before(oldest.received_at, walk.lower, request.upper_bound)
    });
    if has_more {
        cursor.walk = Some(walk);
    } else if let Some(newest) = walk.newest {
        cursor.mark = cursor.mark.take().max(Some(newest));
    }
    Ok(SyncPage {
        has_more,
        progress: if has_more { progress } else { 1.0 },
        ..content.into_page(save_cursor(&cursor)?)
    })
}

/// Normalizes the rows that are not known, and returns the marks of all rows.
///
/// A mark is `None` for a row without one.
fn read_rows(
    list: List,
    request: &SyncRequest,
    folder: &FolderTarget<'_>,
    lower: DateTime<Utc>,
    content: &mut PageContent,
) -> Result<Vec<Option<Mark>>, ConnectorError> {
    let mut marks = Vec::with_capacity(list.rows.len());
    let mut seen = HashSet::new();
    for row in list.rows {
        let raw = without_content(row).map_err(|error| ConnectorError::Permanent(error.into()))?;
        let read = Mail::parse(&raw).and_then(|mail| Ok((mark_of(&mail)?, mail)));
        let (mark, signals) = match read {
            Ok((mark, _)) if mark.received_at < lower || !seen.insert(mark.id.clone()) => {
                (Some(mark), Ok(Vec::new()))
            }
            Ok((mark, mail)) => {
                let account = &request.access.account;
                let signal = normalize::mail(account, folder.kind, &mail, &raw);
                (Some(mark), signal.map(|signal| vec![signal]))
            }
            Err(error) => (None, Err(error)),
        };
        content.take(&raw, signals);
        marks.push(mark);
    }
    Ok(marks)
}

fn mark_of(mail: &Mail) -> Result<Mark, WireError> {
    Ok(Mark {
        received_at: mail.received_at()?,
        id: mail.id()?.to_owned(),
    })
}

impl Walk {
    /// Moves behind a page, or back if rows may lie between it and the page before.
    ///
    /// Returns whether the walk continues.
    fn advance(&mut self, rows: &[Option<Mark>], size: u64, is_thorough: bool) -> bool {
        if !self.is_contiguous(rows) {
            self.back = (self.back * 2).max(size);
            self.start = self.start.saturating_sub(self.back).max(1);
            return true;
        }
        self.back = 0;
        let readable = || rows.iter().flatten();
        if self.start == 1 && self.newest.is_none() {
            self.newest = readable().max().cloned();
        }
        if rows.is_empty() || self.is_behind_last_row(rows) {
            return false;
        }
        let is_known = |row: &Mark| row.received_at < self.lower;
        let is_past = if is_thorough {
            readable().next().is_some() && readable().all(is_known)
        } else {
            readable().next_back().is_some_and(is_known)
        };
        if is_past {
            return false;
        }
        self.pass(rows);
        true
    }

    /// Moves to the last readable row of a page, the anchor of the next one.
    ///
    /// Without another readable row than the present anchor, the next page has no anchor.
    fn pass(&mut self, rows: &[Option<Mark>]) {
        let last = rows.iter().rposition(Option::is_some);
        let is_new = |at: &usize| at + 1 == rows.len() || rows[*at] != self.anchor;
        if let Some(at) = last.filter(is_new) {
            self.anchor.clone_from(&rows[at]);
            self.start += at as u64;
        } else {
            self.anchor = None;
            self.start += rows.len() as u64;
        }
    }

    /// Whether no row lies between the page before and this one.
    fn is_contiguous(&self, rows: &[Option<Mark>]) -> bool {
        let Some(anchor) = &self.anchor else {
            return true;
        };
        let is_seen = |row: &Mark| row.id == anchor.id || row.received_at > anchor.received_at;
        self.start == 1 || rows.iter().flatten().any(is_seen)
    }

    /// Whether the page has the anchor only: the folder ends with it.
    fn is_behind_last_row(&self, rows: &[Option<Mark>]) -> bool {
        match (rows, &self.anchor) {
            ([Some(row)], Some(anchor)) => row.id == anchor.id,
            _ => false,
        }
    }
}
