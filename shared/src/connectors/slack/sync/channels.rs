//! The channels themselves: which were created.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::call;
use crate::connectors::slack::normalize::{self, Scene};
use crate::connectors::slack::wire::{Channel, Metadata, or_default};
use crate::connectors::slack::{Slack, names};
use crate::connectors::support::{load_cursor, save_cursor};
use crate::connectors::wire::plausible;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};

const PAGE: &str = "200";

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
        floor: request.horizon,
        next: None,
    });
    let mut arguments = vec![("limit", PAGE), ("types", "public_channel")];
    if let Some(next) = &cursor.next {
        arguments.push(("cursor", next));
    }
    if let Some(team) = request.stream.target["team_id"].as_str() {
        arguments.push(("team_id", team));
    }
    let answer = call(slack, request, "conversations.list", &arguments).await?;
    let page: Page<'_> = answer.json()?;
    let mut created: Vec<(Channel, &RawValue)> = Vec::new();
    for raw in page.channels {
        let Ok(channel) = serde_json::from_str::<Channel>(raw.get()) else {
            continue;
        };
        let at = channel
            .created
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .and_then(plausible);
        // Only public channels are told of when they are created.
        if channel.is_private != Some(true) && at.is_some_and(|at| at >= cursor.floor) {
            created.push((channel, raw));
        }
    }
    request.directory.add(
        created
            .iter()
            .map(|(channel, _)| names::of_channel(channel)),
    );
    let (signals, learned) = super::messages::named(slack, request, |scene: &Scene<'_>| {
        created
            .iter()
            .map(|(channel, raw)| normalize::channel_created(scene, channel, raw, request.until))
            .collect::<Result<Vec<_>, _>>()
            .map_err(ConnectorError::from)
    })
    .await?;
    let next = page.response_metadata.next_cursor;
    Ok(SyncPage {
        signals,
        learned,
        more: next.is_some(),
        ..SyncPage::empty(save_cursor(&Cursor {
            floor: cursor.floor,
            next,
        })?)
    })
}
