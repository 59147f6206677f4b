//! The channels themselves: which were created.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::call;
use crate::connectors::rows::UnreadableRows;
use crate::connectors::slack::normalize::{self, Scene};
use crate::connectors::slack::wire::{Channel, Metadata, or_default, read_row};
use crate::connectors::slack::{Slack, names};
use crate::connectors::support::{PageContent, load_cursor, save_cursor};
use crate::connectors::wire::plausible;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

/// Rows per page, as for the root.
const PAGE: u32 = 500;

/// Where the walk is. The list is a state and not a history, so every run walks all of it.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Channels that were created before are never told.
    floor: DateTime<Utc>,
    /// Slack's cursor of the next page; `None` between runs.
    #[serde(default)]
    next: Option<String>,
}

/// One page of public channels, the bot's or not.
pub(super) async fn page(slack: &Slack, request: &SyncRequest) -> Result<SyncPage, ConnectorError> {
    #[derive(Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        channels: Vec<&'a RawValue>,
        #[serde(default, deserialize_with = "or_default")]
        response_metadata: Metadata,
    }
    let cursor = load_cursor(request)?.unwrap_or(Cursor {
        floor: request.floor(),
        next: None,
    });
    let limit = request.page_size(PAGE).to_string();
    let mut arguments = vec![("limit", limit.as_str()), ("types", "public_channel")];
    if let Some(next) = &cursor.next {
        arguments.push(("cursor", next));
    }
    if let Some(team) = request.stream.target["team_id"].as_str() {
        arguments.push(("team_id", team));
    }
    let answer = call(slack, request, "conversations.list", &arguments).await?;
    let page: Page<'_> = answer.json()?;
    let mut unreadable = UnreadableRows::default();
    let mut created = unreadable.read_all(page.channels, read_row::<Channel>);
    created.retain(|(channel, _)| {
        let at = channel
            .created
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .and_then(plausible);
        // Only public channels are told of when they are created.
        channel.is_private != Some(true) && at.is_some_and(|at| at >= cursor.floor)
    });
    request.directory.add(
        created
            .iter()
            .map(|(channel, _)| names::of_channel(channel)),
    );
    let mut told = super::messages::named(slack, request, |scene: &Scene<'_>| {
        let mut told = PageContent::default();
        for (channel, raw) in &created {
            let signal = normalize::channel_created(scene, channel, raw, request.until);
            told.take(raw, signal.map(|signal| vec![signal]));
        }
        told
    })
    .await?;
    told.unreadable.extend(unreadable);
    let next = page.response_metadata.next_cursor;
    Ok(SyncPage {
        more: next.is_some(),
        ..told.page(save_cursor(&Cursor {
            floor: cursor.floor,
            next,
        })?)
    })
}
