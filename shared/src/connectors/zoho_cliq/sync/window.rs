//! One window of a chat's messages: the call, and the Signals of its rows.

use serde_json::value::RawValue;

use super::page_size;
use super::walk::{Fill, Walk};
use crate::connectors::error::permanent_error;
use crate::connectors::page::{self, PageContent};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::zoho_cliq::client::CliqClient;
use crate::connectors::zoho_cliq::directory::resolve_directory;
use crate::connectors::zoho_cliq::normalize::{Ordinal, Place, posted};
use crate::connectors::zoho_cliq::wire::{Message, MessagePage, Timestamp};
use crate::connectors::{ConnectorError, SyncRequest};

/// Reads the next window of a walk; empty at its end.
pub(super) async fn read(
    client: CliqClient<'_>,
    request: &SyncRequest,
    place: &Place<'_>,
    walk: &mut Walk,
) -> Result<PageContent, ConnectorError> {
    let Some(window) = walk.window() else {
        return Ok(PageContent::default());
    };
    let limit = page_size(request);
    let response = client
        .list_messages(place.chat, window.request(), limit)
        .await?;
    let page: MessagePage = response.json()?;
    let rows = page
        .data
        .ok_or_else(|| permanent_error("the list of messages has no rows"))?;

    let mut unreadable = UnreadableRows::default();
    let mut messages: Vec<(Timestamp, Message, &RawValue)> = unreadable
        .read_all(rows.iter().map(AsRef::as_ref), Message::read_row)
        .into_iter()
        .map(|((time, message), raw)| (time, message, raw))
        .collect();
    let times: Vec<i64> = messages.iter().map(|(time, ..)| time.millis()).collect();
    let fill = Fill {
        rows: rows.len(),
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let (from, to) = window.request();
    let is_within = |time: &i64| (from..=to).contains(time);
    // Zoho ignored the window, and would also ignore a narrower one.
    if fill.rows >= fill.limit && !times.iter().any(is_within) {
        return Err(permanent_error(
            "a full page of messages has no message of the requested window",
        ));
    }
    let complete = walk.advance(window, &times, fill);
    messages.retain(|(time, ..)| complete.is_some_and(|span| span.contains(time.millis())));
    let numbered = number(messages);
    let normalize = || {
        let mut content = PageContent::default();
        for (at, message, raw) in &numbered {
            let mentions_app = false;
            let signal = posted(&request.directory, place, message, *at, mentions_app, raw);
            content.signals.push(signal);
        }
        content
    };
    let mut content = page::with_directory(request, normalize, async |missing| {
        match resolve_directory(client, missing).await {
            Ok(found) => Ok(Some(found)),
            // Without names, the page is still read.
            Err(ConnectorError::RateLimited { .. } | ConnectorError::Transient(_)) => Ok(None),
            Err(other) => Err(other),
        }
    })
    .await?;
    content.unreadable.extend(unreadable);
    Ok(content)
}

/// The messages of people and bots, each with its position among those of its millisecond.
fn number(
    mut messages: Vec<(Timestamp, Message, &RawValue)>,
) -> Vec<((Timestamp, Ordinal), Message, &RawValue)> {
    messages.retain(|(_, message, _)| !message.is_system());
    messages.sort_by_cached_key(|(time, message, _)| (*time, message.id()));
    // A page may repeat a message.
    messages.dedup_by(|(time, message, _), (other_time, other, _)| {
        time == other_time && message.id().is_some() && message.id() == other.id()
    });
    let mut previous = None;
    let mut ordinal: Ordinal = 0;
    let numbered = messages.into_iter().map(|(time, message, raw)| {
        ordinal = if previous == Some(time) {
            ordinal + 1
        } else {
            1
        };
        previous = Some(time);
        ((time, ordinal), message, raw)
    });
    numbered.collect()
}
