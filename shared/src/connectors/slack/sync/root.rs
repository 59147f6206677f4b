//! The root stream: the channels that the bot is in, and when the past is read, the people.

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{CHANNELS, MESSAGES, call};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::slack::wire::{Channel, Metadata, User, or_default, read_row, rows};
use crate::connectors::slack::{Slack, names};
use crate::connectors::support::{load_cursor, save_cursor};
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
}

#[derive(Deserialize)]
struct Page {
    #[serde(default, deserialize_with = "or_default")]
    channels: Vec<Box<RawValue>>,
    #[serde(default, deserialize_with = "or_default")]
    members: Vec<Box<RawValue>>,
    #[serde(default, deserialize_with = "rows")]
    teams: Vec<Team>,
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
    if request.access.account.settings["organization"] == true && cursor.teams.is_none() {
        cursor.teams = Some(workspaces(slack, request).await?);
    }
    let team = cursor.teams.as_ref().map(|teams| teams.last().cloned());
    if team == Some(None) {
        return Ok(SyncPage::empty(save_cursor(&Cursor::default())?));
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

    let mut unreadable = UnreadableRows::default();
    let channels = page.channels.iter().map(AsRef::as_ref);
    let channels = unreadable.read_all(channels, read_row::<Channel>);
    let members = page.members.iter().map(AsRef::as_ref);
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
    let next = after(
        cursor,
        page.response_metadata.next_cursor,
        request.priority.is_backfill(),
    );
    Ok(SyncPage {
        streams,
        learned,
        unreadable_rows: unreadable.into_rows(),
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
            teams: cursor.teams,
            people: true,
            next: None,
        });
    }
    let mut teams = cursor.teams?;
    teams.pop();
    (!teams.is_empty()).then_some(Cursor {
        teams: Some(teams),
        ..Cursor::default()
    })
}

async fn workspaces(slack: &Slack, request: &SyncRequest) -> Result<Vec<String>, ConnectorError> {
    let mut teams = Vec::new();
    let mut next: Option<String> = None;
    let limit = request.page_size(PAGE).to_string();
    loop {
        let mut arguments = vec![("limit", limit.as_str())];
        if let Some(next) = &next {
            arguments.push(("cursor", next));
        }
        let answer = call(slack, request, "auth.teams.list", &arguments).await?;
        let page: Page = answer.json()?;
        teams.extend(page.teams.into_iter().map(|team| team.id));
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
