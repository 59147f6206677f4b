//! Stream of a calendar's events: the past once, then the changes since a token.
//!
//! The first read pages through the whole calendar without its rows, for the token only, and then
//! through the events that were changed since the floor. A change in between comes again with the
//! token, with the same dedupe key. An expired token restarts the stream, and the events that were
//! changed since the last complete read have the deletions that the token's changes would have had.
//!
//! Google rejects a token whose request has other parameters than the one that issued it, so
//! these are constants, or stored with the token.
//!
//! Source: "Synchronize resources efficiently" at developers.google.com.

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde::{Deserialize, Serialize};

use super::root::NAME;
use crate::connectors::cursor::{load_cursor, save_cursor};
use crate::connectors::error::permanent_error;
use crate::connectors::google::{ApiError, Call, Client};
use crate::connectors::google_calendar::client::{EVENTS, call, is_gone, list_error, url};
use crate::connectors::google_calendar::normalize::{NormalizeContext, normalize_rows};
use crate::connectors::google_calendar::wire::Page;
use crate::connectors::page::PageContent;
use crate::connectors::response::Response;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

/// Rows per page, of which the largest ones stay below the largest response that is read.
const PAGE: u32 = 500;

/// Parameters of every request.
///
/// Series stay one row, because a list of instances has no sync token and may be endless. Deleted
/// events are facts.
const PARAMETERS: [(&str, &str); 2] = [("showDeleted", "true"), ("singleEvents", "false")];

/// Fields of a page of which only the tokens are read.
const TOKEN_FIELDS: &str = "nextPageToken,nextSyncToken";

/// Reason of a rejected `updatedMin`.
const TOO_LONG_AGO: &str = "updatedMinTooLongAgo";

/// Position in a calendar.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// The stream's floor, in milliseconds since 1970: earlier facts are not emitted.
    floor: i64,
    /// Lower bound of the read of the past, in milliseconds since 1970; without it, the floor.
    #[serde(default)]
    from: Option<i64>,
    /// Rows per page, which is a parameter of the token.
    size: u32,
    /// Token of the changes after the last complete read.
    #[serde(default)]
    sync: Option<String>,
    /// The current walk; `None` between runs.
    #[serde(default)]
    walk: Option<Walk>,
}

/// A walk through the pages of a list.
#[derive(Debug, Serialize, Deserialize)]
struct Walk {
    list: List,
    /// Token of the next page.
    #[serde(default)]
    page: Option<String>,
}

impl Walk {
    const fn of(list: List) -> Self {
        Self { list, page: None }
    }
}

/// A list of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum List {
    /// The whole calendar without its rows, for the token at its end.
    Token,
    /// The events that were changed since the lower bound.
    Past,
    /// The whole calendar, where that bound lies before the changes that Google remembers.
    Everything,
    /// The changes since the token.
    Changes,
}

impl Cursor {
    fn load(request: &SyncRequest) -> Result<Self, ConnectorError> {
        Ok(load_cursor(request)?.unwrap_or_else(|| Self {
            floor: request.floor().timestamp_millis(),
            from: request.resync_from.map(|from| from.timestamp_millis()),
            size: PAGE,
            sync: None,
            walk: None,
        }))
    }

    /// The first list of a run. The reconciliation pass reads the past, and needs no token.
    fn first_list(&self, request: &SyncRequest) -> List {
        match self.sync {
            _ if request.reconcile_from.is_some() => List::Past,
            Some(_) => List::Changes,
            None => List::Token,
        }
    }
}

/// Reads a page of events.
pub(super) async fn read_page(
    client: &Client,
    request: &SyncRequest,
    calendar: &str,
) -> Result<SyncPage, ConnectorError> {
    let mut cursor = Cursor::load(request)?;
    let walk = cursor.walk.take();
    let walk = walk.unwrap_or_else(|| Walk::of(cursor.first_list(request)));
    let list = walk.list;
    let response = match fetch(client, request, calendar, &cursor, &walk).await {
        Ok(response) => response,
        Err(error) if is_too_long_ago(&error, &walk) => {
            cursor.walk = Some(Walk::of(List::Everything));
            return continued(&cursor, PageContent::default());
        }
        Err(error) => {
            let has_token = list == List::Changes || walk.page.is_some();
            return Err(list_error(error, has_token));
        }
    };
    let page: Page<'_> = response.json()?;
    let content = if list == List::Token {
        PageContent::default()
    } else {
        let rows = page
            .items
            .ok_or_else(|| permanent_error("the list of events has no rows"))?;
        let context = NormalizeContext {
            calendar,
            name: request.stream.target[NAME].as_str(),
            floor: at(cursor.floor),
            received_at: request.upper_bound,
        };
        normalize_rows(&context, &rows)
    };
    if page.next.is_some() {
        cursor.walk = Some(Walk {
            list,
            page: page.next,
        });
        return continued(&cursor, content);
    }
    if matches!(list, List::Token | List::Changes) {
        let token = page.next_sync;
        cursor.sync = Some(token.ok_or_else(|| permanent_error("the last page has no token"))?);
    }
    if list == List::Token {
        cursor.walk = Some(Walk::of(List::Past));
        return continued(&cursor, content);
    }
    Ok(SyncPage {
        progress: 1.0,
        ..content.into_page(save_cursor(&cursor)?)
    })
}

fn at(milliseconds: i64) -> DateTime<Utc> {
    let at = Utc.timestamp_millis_opt(milliseconds);
    at.single().unwrap_or_default()
}

/// A page after which the run continues.
fn continued(cursor: &Cursor, content: PageContent) -> Result<SyncPage, ConnectorError> {
    Ok(SyncPage {
        has_more: true,
        ..content.into_page(save_cursor(cursor)?)
    })
}

async fn fetch(
    client: &Client,
    request: &SyncRequest,
    calendar: &str,
    cursor: &Cursor,
    walk: &Walk,
) -> Result<Response, ApiError> {
    let call = Call {
        priority: request.priority,
        ..call(&request.access, "list_events", EVENTS)
    };
    let size = request.page_size(cursor.size).to_string();
    let from = at(cursor.from.unwrap_or(cursor.floor));
    let from = from.to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut query = PARAMETERS.to_vec();
    query.push(("maxResults", size.as_str()));
    match walk.list {
        List::Token => query.push(("fields", TOKEN_FIELDS)),
        List::Past => query.push(("updatedMin", from.as_str())),
        List::Everything => {}
        List::Changes => query.extend(cursor.sync.as_deref().map(|token| ("syncToken", token))),
    }
    query.extend(walk.page.as_deref().map(|page| ("pageToken", page)));
    let url = url(client, &["calendars", calendar, "events"]);
    client.get(&call, url, &query).await
}

/// Whether Google rejects the start of a read of the past.
///
/// Its first page has no token that could have expired, so its error needs no reason.
fn is_too_long_ago(error: &ApiError, walk: &Walk) -> bool {
    walk.list == List::Past && is_gone(error) && (walk.page.is_none() || error.code == TOO_LONG_AGO)
}
