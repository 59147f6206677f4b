//! Root stream: the calendars that a person may write to.
//!
//! Each has a stream and a subscription. An unreadable calendar makes the pass partial, so that its stream does not end. An expired page
//! token restarts the list.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::EVENTS;
use crate::connectors::cursor::{load_cursor, save_cursor};
use crate::connectors::error::permanent_error;
use crate::connectors::google::{Call, Client};
use crate::connectors::google_calendar::client::{CALENDARS, call, list_error, url};
use crate::connectors::google_calendar::wire::{Calendar, Page, WireError, read};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::model::{StreamSpec, SubscriptionSpec};

/// Rows per page; Google's maximum.
const PAGE: u32 = 250;

/// Roles that may change events.
const WRITERS: &[&str] = &["writer", "owner"];
/// End of the ids of calendars that Google maintains (holidays, birthdays of contacts).
const MAINTAINED: &str = "@group.v.calendar.google.com";
/// Field of a stream's target with the name of its calendar.
pub(super) const NAME: &str = "name";

/// Position in the list.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// Token of the next page.
    #[serde(default)]
    page: Option<String>,
    /// Whether this pass has an unreadable row.
    #[serde(default)]
    is_partial: bool,
}

/// Reads a page of calendars.
pub(super) async fn read_page(
    client: &Client,
    request: &SyncRequest,
    has_pushes: bool,
) -> Result<SyncPage, ConnectorError> {
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or_default();
    let call = Call {
        priority: request.priority,
        ..call(&request.access, "list_calendars", CALENDARS)
    };
    let size = request.page_size(PAGE).to_string();
    let mut query = vec![("maxResults", size.as_str())];
    query.extend(cursor.page.as_deref().map(|page| ("pageToken", page)));
    let url = url(client, &["users", "me", "calendarList"]);
    let response = client.get(&call, url, &query).await;
    let response = response.map_err(|error| match cursor.page {
        Some(_) => list_error(error, true),
        None => error.into(),
    })?;
    let page: Page<'_> = response.json()?;
    let rows = page
        .items
        .ok_or_else(|| permanent_error("the list of calendars has no rows"))?;

    let mut unreadable = UnreadableRows::default();
    let mut names: BTreeMap<String, Option<String>> = BTreeMap::new();
    for raw in rows {
        if let Some(Some((id, name))) = unreadable.take(raw, read_calendar(raw)) {
            names.insert(id, name);
        }
    }
    cursor.is_partial |= !unreadable.is_empty();
    let streams: Vec<StreamSpec> = names.into_iter().map(stream).collect();
    let watched = streams.iter().filter(|_| has_pushes);
    let subscriptions = watched
        .map(|stream| SubscriptionSpec {
            resource: stream.key.clone(),
            target: json!({}),
        })
        .collect();
    let is_list_partial = cursor.is_partial;
    cursor.page = page.next;
    let has_more = cursor.page.is_some();
    let next = if has_more { cursor } else { Cursor::default() };
    Ok(SyncPage {
        streams,
        subscriptions,
        is_list_partial,
        unreadable_rows: unreadable.into_rows(),
        has_more,
        ..SyncPage::empty(save_cursor(&next)?)
    })
}

/// Reads the id and name of a calendar; `None` for one that is not read.
fn read_calendar(raw: &RawValue) -> Result<Option<(String, Option<String>)>, WireError> {
    let calendar: Calendar = read("calendar", raw)?;
    let id = calendar.id.ok_or(WireError::Missing("calendar.id"))?;
    let is_candidate = !calendar.deleted && !id.ends_with(MAINTAINED);
    let is_read = is_candidate
        && (calendar.primary || {
            let role = calendar.access_role.as_deref();
            WRITERS.contains(&role.ok_or(WireError::Missing("calendar.accessRole"))?)
        });
    let name = calendar.summary_override.or(calendar.summary);
    Ok(is_read.then_some((id, name)))
}

fn stream((id, name): (String, Option<String>)) -> StreamSpec {
    StreamSpec {
        key: format!("{EVENTS}{id}"),
        resource_id: Some(id),
        target: json!({ NAME: name }),
    }
}
