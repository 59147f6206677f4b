//! Stream of the messages of a chat or channel.

use serde::{Deserialize, Serialize};

use super::walk::Walk;
use super::{Target, is_active_since, millis, window, with_overlap};
use crate::connectors::cursor::{load_cursor, save_cursor};
use crate::connectors::zoho_cliq::client::CliqClient;
use crate::connectors::zoho_cliq::normalize::Place;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::http::Priority;

/// Position in a chat. Times are in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Messages from before are never facts.
    floor: i64,
    /// The time up to which the messages have been read; `None` before the end of the first read.
    #[serde(default)]
    read_to: Option<i64>,
    /// The walk of the current run; `None` between runs.
    #[serde(default)]
    walk: Option<RunWalk>,
}

/// The walk of a run.
#[derive(Debug, Serialize, Deserialize)]
struct RunWalk {
    from: i64,
    to: i64,
    rest: Walk,
}

/// Reads a window of messages; no call if the chat has been read since its last message.
pub(super) async fn read_page(
    client: CliqClient<'_>,
    request: &SyncRequest,
    chat: &str,
) -> Result<SyncPage, ConnectorError> {
    let target = Target::of(request);
    let place = Place {
        chat,
        title: target.title.as_deref(),
        is_channel: target.is_channel,
    };
    let mut cursor: Cursor = load_cursor(request)?.unwrap_or_else(|| Cursor {
        floor: millis(request.floor()),
        read_to: None,
        walk: None,
    });
    // A delivery that asks for the chat may be newer than the list.
    let is_asked =
        matches!(request.priority, Priority::Immediate) || request.reconcile_from.is_some();
    if let (None, Some(read_to), false) = (&cursor.walk, cursor.read_to, is_asked)
        && !is_active_since(target.active_at, read_to)
    {
        return Ok(SyncPage {
            progress: 1.0,
            ..SyncPage::empty(save_cursor(&cursor)?)
        });
    }
    let mut walk = cursor.walk.take().unwrap_or_else(|| {
        let from = cursor
            .read_to
            .map_or(cursor.floor, with_overlap)
            .max(cursor.floor);
        let to = millis(request.upper_bound);
        RunWalk {
            from,
            to,
            rest: Walk::new(from, to),
        }
    });
    let content = window::read(client, request, &place, &mut walk.rest).await?;
    let has_more = walk.rest.window().is_some();
    let progress = part_read(walk.rest.left(), walk.to - walk.from);
    if has_more {
        cursor.walk = Some(walk);
    } else {
        cursor.read_to = cursor.read_to.max(Some(walk.to));
    }
    Ok(SyncPage {
        has_more,
        progress,
        ..content.into_page(save_cursor(&cursor)?)
    })
}

/// The part of a walk that has been read, from 0 to 1.
fn part_read(left: i64, length: i64) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let part = left as f32 / length.max(1) as f32;
    1.0 - part.clamp(0.0, 1.0)
}
