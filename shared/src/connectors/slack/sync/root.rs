//! The root stream: the channels that the bot is in, and when the past is read, the people.

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{CHANNELS, MESSAGES, call};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::slack::wire::{Channel, Metadata, User, lenient, or_default, read_row};
use crate::connectors::slack::{Slack, names};
use crate::connectors::support::{load_cursor, operator_fault, save_cursor};
use crate::connectors::{ConnectorError, StreamSpec, SyncPage, SyncRequest};

/// Rows per page. Slack recommends two hundred and takes up to a thousand; fewer calls leave more
/// of the tier to others.
const PAGE: u32 = 500;

/// Where the walk is. An organization's workspaces are listed first, then walked one by one.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// Workspaces still to be walked, the present one last; `None` for a single one.
    #[serde(default)]
    teams: Option<Vec<String>>,
    /// Whether the channels are done and the people are read.
    #[serde(default)]
    people: bool,
    /// Slack's cursor of the next page.
    #[serde(default)]
    next: Option<String>,
    /// Whether a channel or a workspace of this pass could not be read.
    #[serde(default)]
    is_partial: bool,
}

/// The answer to any of the three lists.
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

/// One page of channels, people or workspaces.
pub(super) async fn page(slack: &Slack, request: &SyncRequest) -> Result<SyncPage, ConnectorError> {
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or_default();
    let mut unreadable = UnreadableRows::default();
    if request.access.account.settings["organization"] == true && cursor.teams.is_none() {
        cursor.teams = Some(workspaces(slack, request, &mut unreadable).await?);
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
    let method = if cursor.people {
        "users.list"
    } else {
        arguments.push(("types", "public_channel,private_channel"));
        arguments.push(("exclude_archived", "false"));
        "users.conversations"
    };
    let page: Page = call(slack, request, method, &arguments).await?.json()?;
    let (channel_rows, member_rows) = if cursor.people {
        (Vec::new(), listed(page.members, method)?)
    } else {
        (listed(page.channels, method)?, Vec::new())
    };

    let mut unreadable_channels = UnreadableRows::default();
    let channels = channel_rows.iter().map(AsRef::as_ref);
    let channels = unreadable_channels.read_all(channels, read_row::<Channel>);
    // A channel that cannot be read may be one of those that are read already.
    cursor.is_partial |= !unreadable_channels.is_empty();
    unreadable.extend(unreadable_channels);
    let members = member_rows.iter().map(AsRef::as_ref);
    let members = unreadable.read_all(members, read_row::<User>);
    let mut streams: Vec<StreamSpec> = channels
        .iter()
        .map(|(channel, _)| stream(channel))
        .collect();
    if !cursor.people && cursor.next.is_none() {
        streams.push(channel_list(team.as_deref()));
    }
    let mut learned: Vec<_> = channels
        .iter()
        .map(|(channel, _)| names::of_channel(channel))
        .collect();
    learned.extend(members.iter().map(|(user, _)| names::of_user(user)));
    request.directory.add(learned.iter().cloned());
    let is_partial = cursor.is_partial;
    let next = after(
        cursor,
        page.response_metadata.next_cursor,
        request.priority.is_backfill(),
    );
    Ok(SyncPage {
        streams,
        learned,
        unreadable_rows: unreadable.into_rows(),
        is_list_partial: is_partial,
        more: next.is_some(),
        ..SyncPage::empty(save_cursor(&next.unwrap_or_default())?)
    })
}

/// What follows a page: its next one, the people, the next workspace, or nothing.
fn after(cursor: Cursor, next: Option<String>, is_backfill: bool) -> Option<Cursor> {
    if next.is_some() {
        return Some(Cursor { next, ..cursor });
    }
    if is_backfill && !cursor.people {
        return Some(Cursor {
            people: true,
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

/// The rows of a list. An answer without its list does not say that there are none.
fn listed(
    rows: Option<Vec<Box<RawValue>>>,
    method: &str,
) -> Result<Vec<Box<RawValue>>, ConnectorError> {
    rows.ok_or_else(|| operator_fault(format!("the answer to {method} holds no list")))
}

async fn workspaces(
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
        let answer = call(slack, request, METHOD, &arguments).await?;
        let page: Page = answer.json()?;
        let rows = listed(page.teams, METHOD)?;
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
        target: names::resource_of(channel).described(),
    }
}

fn channel_list(team: Option<&str>) -> StreamSpec {
    StreamSpec {
        key: team.map_or_else(|| CHANNELS.to_owned(), |team| format!("{CHANNELS}:{team}")),
        resource_id: None,
        target: json!({ "team_id": team }),
    }
}
