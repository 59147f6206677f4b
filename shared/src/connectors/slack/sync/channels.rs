//! Stream of created channels.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::call;
use crate::connectors::cursor::{load_cursor, save_cursor};
use crate::connectors::page::PageContent;
use crate::connectors::rows::UnreadableRows;
use crate::connectors::slack::normalize::{self, NormalizeContext};
use crate::connectors::slack::wire::{Channel, Metadata, or_default, read_row};
use crate::connectors::slack::{Slack, directory};
use crate::connectors::wire::plausible;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

/// Rows per page, as in the root stream.
const PAGE: u32 = 500;

/// Position in the list of channels.
///
/// The list shows state and not history, so every run reads all of it.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Start of the backfill: channels created earlier are not emitted.
    floor: DateTime<Utc>,
    /// Slack's cursor of the next page; `None` between runs.
    #[serde(default)]
    next: Option<String>,
}

/// Reads a page of public channels, whether the bot is a member or not.
pub(super) async fn read_page(
    slack: &Slack,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
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
    let response = call(slack, request, "conversations.list", &arguments).await?;
    let page: Page<'_> = response.json()?;
    let mut unreadable = UnreadableRows::default();
    let mut created = unreadable.read_all(page.channels, read_row::<Channel>);
    created.retain(|(channel, _)| {
        let at = channel
            .created
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .and_then(plausible);
        // `channel_created` events exist for public channels only.
        channel.is_private != Some(true) && at.is_some_and(|at| at >= cursor.floor)
    });
    request.directory.add(
        created
            .iter()
            .map(|(channel, _)| directory::channel_entry(channel)),
    );
    let mut content =
        super::messages::with_directory(slack, request, |context: &NormalizeContext<'_>| {
            let mut content = PageContent::default();
            for (channel, raw) in &created {
                let signal = normalize::channel_created(context, channel, raw, request.upper_bound);
                content.take(raw, signal.map(|signal| vec![signal]));
            }
            content
        })
        .await?;
    content.unreadable.extend(unreadable);
    let next = page.response_metadata.next_cursor;
    Ok(SyncPage {
        has_more: next.is_some(),
        ..content.into_page(save_cursor(&Cursor {
            floor: cursor.floor,
            next,
        })?)
    })
}
