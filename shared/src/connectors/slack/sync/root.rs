//! Root stream: the channels that the bot is in and, during the backfill, the users.

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{CHANNELS, MESSAGES, call};
use crate::connectors::cursor::{load_cursor, save_cursor};
use crate::connectors::error::permanent_error;
use crate::connectors::rows::UnreadableRows;
use crate::connectors::slack::wire::{Channel, Metadata, User, lenient, or_default, read_row};
use crate::connectors::slack::{Slack, directory};
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::model::StreamSpec;

/// Rows per page.
///
/// Slack recommends 200 and accepts 1000; larger pages use less of the rate limit.
const PAGE: u32 = 500;

/// Position in the lists.
///
/// The workspaces of an organization are listed first, then read in turn.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// Workspaces still to be read, the current one last; `None` outside organizations.
    #[serde(default)]
    teams: Option<Vec<String>>,
    /// Whether the walk has reached the users, after the channels.
    #[serde(default)]
    in_users: bool,
    /// Slack's cursor of the next page.
    #[serde(default)]
    next: Option<String>,
    /// Whether this pass has an unreadable channel or workspace.
    #[serde(default)]
    is_partial: bool,
}

/// Response of any of the three lists.
#[derive(Deserialize)]
struct Page {
    #[serde(default, deserialize_with = "lenient")]
    channels: Option<Vec<Box<RawValue>>>,
    #[serde(default, deserialize_with = "lenient")]
    members: Option<Vec<Box<RawValue>>>,
    #[serde(default, deserialize_with = "lenient")]
    teams: Option<Vec<Box<RawValue>>>,
    #[serde(default, deserialize_with = "or_default")]
    response_metadata: Metadata,
}

#[derive(Deserialize)]
struct Team {
    id: String,
}

/// Reads a page of channels or users.
pub(super) async fn read_page(
    slack: &Slack,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or_default();
    let mut unreadable = UnreadableRows::default();
    if request.access.account.settings["organization"] == true && cursor.teams.is_none() {
        cursor.teams = Some(list_workspaces(slack, request, &mut unreadable).await?);
        cursor.is_partial |= !unreadable.is_empty();
    }
    let team = cursor.teams.as_ref().map(|teams| teams.last().cloned());
    if team == Some(None) {
        return Ok(SyncPage {
            unreadable_rows: unreadable.into_rows(),
            is_list_partial: cursor.is_partial,
            ..SyncPage::empty(save_cursor(&Cursor::default())?)
        });
    }
    let team = team.flatten();
    let limit = request.page_size(PAGE).to_string();
    let mut arguments = vec![("limit", limit.as_str())];
    if let Some(next) = &cursor.next {
        arguments.push(("cursor", next));
    }
    if let Some(team) = &team {
        arguments.push(("team_id", team));
    }
    let method = if cursor.in_users {
        "users.list"
    } else {
        arguments.push(("types", "public_channel,private_channel"));
        arguments.push(("exclude_archived", "false"));
        "users.conversations"
    };
    let page: Page = call(slack, request, method, &arguments).await?.json()?;
    let (channel_rows, member_rows) = if cursor.in_users {
        (Vec::new(), require_list(page.members, method)?)
    } else {
        (require_list(page.channels, method)?, Vec::new())
    };

    let mut unreadable_channels = UnreadableRows::default();
    let channels = channel_rows.iter().map(AsRef::as_ref);
    let channels = unreadable_channels.read_all(channels, read_row::<Channel>);
    // An unreadable channel may be one with a stream, which must not end.
    cursor.is_partial |= !unreadable_channels.is_empty();
    unreadable.extend(unreadable_channels);
    let members = member_rows.iter().map(AsRef::as_ref);
    let members = unreadable.read_all(members, read_row::<User>);
    let mut streams: Vec<StreamSpec> = channels
        .iter()
        .map(|(channel, _)| stream(channel))
        .collect();
    if !cursor.in_users && cursor.next.is_none() {
        streams.push(channel_list(team.as_deref()));
    }
    let mut directory_updates: Vec<_> = channels
        .iter()
        .map(|(channel, _)| directory::channel_entry(channel))
        .collect();
    directory_updates.extend(members.iter().map(|(user, _)| directory::user_entry(user)));
    request.directory.add(directory_updates.iter().cloned());
    let is_partial = cursor.is_partial;
    let next = next_cursor(
        cursor,
        page.response_metadata.next_cursor,
        request.priority.is_backfill(),
    );
    Ok(SyncPage {
        streams,
        directory_updates,
        unreadable_rows: unreadable.into_rows(),
        is_list_partial: is_partial,
        has_more: next.is_some(),
        ..SyncPage::empty(save_cursor(&next.unwrap_or_default())?)
    })
}

/// The cursor of the next page: the same list, the users, the next workspace, or `None`.
fn next_cursor(cursor: Cursor, next: Option<String>, is_backfill: bool) -> Option<Cursor> {
    if next.is_some() {
        return Some(Cursor { next, ..cursor });
    }
    if is_backfill && !cursor.in_users {
        return Some(Cursor {
            in_users: true,
            next: None,
            ..cursor
        });
    }
    let mut teams = cursor.teams?;
    teams.pop();
    (!teams.is_empty()).then_some(Cursor {
        teams: Some(teams),
        is_partial: cursor.is_partial,
        ..Cursor::default()
    })
}

/// The rows of a list; a response without its list is an error and not an empty list.
fn require_list(
    rows: Option<Vec<Box<RawValue>>>,
    method: &str,
) -> Result<Vec<Box<RawValue>>, ConnectorError> {
    rows.ok_or_else(|| permanent_error(format!("the response to {method} holds no list")))
}

/// Lists the workspaces of an organization.
async fn list_workspaces(
    slack: &Slack,
    request: &SyncRequest,
    unreadable: &mut UnreadableRows,
) -> Result<Vec<String>, ConnectorError> {
    const METHOD: &str = "auth.teams.list";
    let mut teams = Vec::new();
    let mut next: Option<String> = None;
    let limit = request.page_size(PAGE).to_string();
    loop {
        let mut arguments = vec![("limit", limit.as_str())];
        if let Some(next) = &next {
            arguments.push(("cursor", next));
        }
        let response = call(slack, request, METHOD, &arguments).await?;
        let page: Page = response.json()?;
        let rows = require_list(page.teams, METHOD)?;
        let found = unreadable.read_all(rows.iter().map(AsRef::as_ref), read_row::<Team>);
        teams.extend(found.into_iter().map(|(team, _)| team.id));
        next = page.response_metadata.next_cursor;
        if next.is_none() {
            return Ok(teams);
        }
    }
}

fn stream(channel: &Channel) -> StreamSpec {
    StreamSpec {
        key: format!("{MESSAGES}{}", channel.id),
        resource_id: Some(channel.id.clone()),
        target: directory::channel_resource(channel).described(),
    }
}

fn channel_list(team: Option<&str>) -> StreamSpec {
    StreamSpec {
        key: team.map_or_else(|| CHANNELS.to_owned(), |team| format!("{CHANNELS}:{team}")),
        resource_id: None,
        target: json!({ "team_id": team }),
    }
}
