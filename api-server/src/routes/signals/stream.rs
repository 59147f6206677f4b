//! `GET /v1/signals/stream`: the feed as server-sent events.
//!
//! The id of an event is the cursor after its Signal. A reader that reconnects with
//! `Last-Event-ID`, or continues at `GET /v1/signals` with it as `cursor`, receives every Signal
//! exactly once.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use futures::stream;
use shared::db::TenantScope;
use shared::signals::{FeedPage, FeedQuery};
use utoipa::IntoParams;

use super::SignalFilter;
use crate::auth::{AuditReason, SignalsRead, TenantAuth};
use crate::error::ApiError;
use crate::extract::optional_header;
use crate::feed_watcher::Subscription;
use crate::limits::StreamPermit;
use crate::query::{FromQuery, Query, QueryReader, is_feed_cursor};
use crate::state::AppState;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The number of Signals per read.
const PAGE_SIZE: u32 = 100;
/// The delay of the next read if the server of the last one was behind the watermark.
const LAG_RETRY: Duration = Duration::from_millis(100);
/// The interval of keep-alive comments.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The position at which the stream starts.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// A cursor of the feed; `Last-Event-ID` takes precedence. Without both, the stream starts at
    /// the current end of the feed.
    #[param(pattern = "^[A-Za-z0-9_-]{40,100}$")]
    cursor: Option<String>,
}

impl FromQuery for (StreamQuery, SignalFilter) {
    fn read(query: &mut QueryReader) -> Self {
        (
            StreamQuery {
                cursor: query.feed_cursor(),
            },
            SignalFilter::read(query),
        )
    }
}

/// Stream Signals
///
/// Server-sent events: `event: signal`, the Signal as `data`, its cursor as `id`. The first event
/// has only an `id`, the position at which the stream starts. A comment follows every 15 s. The
/// stream ends when the server stops or the key is revoked; reconnect with `Last-Event-ID`. The
/// number of open streams per key and tenant is limited; above the limit the response is 429.
#[utoipa::path(
    get,
    path = "/v1/signals/stream",
    tag = "signals",
    security(("bearer" = ["signals:read"])),
    params(
        StreamQuery,
        SignalFilter,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last received event", pattern = "^[A-Za-z0-9_-]{40,100}$"),
        ("X-Audit-Reason" = Option<String>, Header, description = "Why an operator reads raw data, for the audit log; required with `include=raw`", min_length = 3, max_length = 500)
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = String, description = "The stream"),
        (status = 410, body = shared::problem::Problem, content_type = "application/problem+json", description = "The cursor has expired")
    )
)]
pub(crate) async fn stream_signals(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<SignalsRead>,
    Query((params, filter)): Query<(StreamQuery, SignalFilter)>,
    headers: HeaderMap,
    reason: AuditReason,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    if filter.include.is_some() {
        auth.disclose_raw(&state, &reason, "stream").await?;
    }
    let expected = "the id of an event of this stream";
    let last = optional_header(&headers, &LAST_EVENT_ID, expected, is_feed_cursor)?;
    let key = auth.principal.key();
    let permit = state
        .limits
        .streams
        .open(auth.scope.tenant_id(), key)
        .ok_or(ApiError::TooManyStreams)?;
    // Subscribe before the first read, so that no update is missed.
    let subscription = state.feed_watcher.subscribe(auth.scope, key);
    let cursor = match last.or(params.cursor) {
        Some(cursor) => cursor,
        None => state.feed.end_cursor(&auth.scope).await?,
    };
    let query = filter.page(PAGE_SIZE);
    // Read before the response starts, so that an invalid cursor gives an error status.
    let first = state
        .feed
        .read_page(&auth.scope, Some(&cursor), &query)
        .await?;
    let mut signals = SignalStream {
        state,
        scope: auth.scope,
        query,
        cursor: cursor.clone(),
        subscription,
        _permit: permit,
        has_more: false,
        page_watermark: 0,
    };
    let mut events = vec![Event::default().id(cursor)];
    events.extend(signals.process_page(first));
    let follow = stream::unfold((signals, events), |(mut signals, mut events)| async move {
        if events.is_empty() {
            events = signals.next().await?;
        }
        let batch: Vec<Result<Event, Infallible>> = events.drain(..).map(Ok).collect();
        Some((stream::iter(batch), (signals, events)))
    });
    Ok(Sse::new(futures::StreamExt::flatten(follow))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// One open stream.
struct SignalStream {
    state: Arc<AppState>,
    scope: TenantScope,
    query: FeedQuery,
    cursor: String,
    subscription: Subscription,
    _permit: StreamPermit,
    has_more: bool,
    /// The watermark of the last page.
    page_watermark: u64,
}

impl SignalStream {
    /// Waits for the next events; `None` when the stream ends.
    async fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            self.wait().await?;
            match self
                .state
                .feed
                .read_page(&self.scope, Some(&self.cursor), &self.query)
                .await
            {
                Ok(page) => {
                    let events = self.process_page(page);
                    if !events.is_empty() {
                        return Some(events);
                    }
                }
                Err(error) => {
                    // The reader reconnects with its cursor and receives the status then.
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        tenant.id = %self.scope.tenant_id(),
                        "failed to read the feed, ending the stream"
                    );
                    return None;
                }
            }
        }
    }

    /// Waits until there may be new Signals; `None` when the stream ends.
    async fn wait(&mut self) -> Option<()> {
        let stop = self.state.lifecycle.draining();
        let ended = &self.subscription.key_ended;
        if stop.is_cancelled() || ended.is_cancelled() {
            return None;
        }
        let updated_to = &mut self.subscription.updated_to;
        let expected = self.subscription.since.max(*updated_to.borrow_and_update());
        let is_behind = self.page_watermark < expected;
        if self.has_more {
            return Some(());
        }
        tokio::select! {
            () = stop.cancelled() => None,
            () = ended.cancelled() => None,
            () = tokio::time::sleep(LAG_RETRY), if is_behind => Some(()),
            changed = updated_to.changed() => changed.ok(),
        }
    }

    /// Stores the position after the page and converts its Signals to events.
    fn process_page(&mut self, page: FeedPage) -> Vec<Event> {
        self.has_more = page.has_more;
        self.page_watermark = page.watermark;
        let cursors = self.state.feed.cursors(&self.scope, &page);
        if let Some(cursor) = page.next_cursor {
            self.cursor = cursor;
        }
        let pairs = page.signals.iter().zip(cursors);
        pairs
            .filter_map(|(signal, cursor)| to_event(signal, cursor))
            .collect()
    }
}

fn to_event(signal: &shared::signals::Signal, cursor: String) -> Option<Event> {
    let data = serde_json::to_string(signal).ok()?;
    Some(Event::default().id(cursor).event("signal").data(data))
}
