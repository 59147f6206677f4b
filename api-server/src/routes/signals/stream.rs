//! `GET /v1/signals/stream`: the feed as server-sent events.
//!
//! Each event's id is the cursor behind its Signal, so a reader that comes back with
//! `Last-Event-ID`, or goes over to `GET /v1/signals` with it as `cursor`, misses and
//! repeats nothing.

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
use crate::auth::{SignalsRead, TenantAuth};
use crate::error::ApiError;
use crate::extract::optional_header;
use crate::feed_watcher::Subscription;
use crate::limits::StreamPermit;
use crate::query::{FromQuery, Query, QueryReader, is_feed_cursor};
use crate::state::AppState;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Signals per read.
const PAGE: u32 = 100;
/// How soon a page is read again whose server has not seen the new Signals yet.
const LAG_RETRY: Duration = Duration::from_millis(100);
/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where the stream begins.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// A cursor of the feed; `Last-Event-ID` goes before it. Without either, the stream
    /// begins with what comes after now.
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

/// Streams Signals
///
/// Server-sent events: `event: signal`, the Signal as `data`, its cursor as `id`. The
/// first event carries only an `id`: where the stream begins. A comment comes every 15 s.
/// The stream ends when the server stops or the key is revoked; come back with
/// `Last-Event-ID`. A key and a tenant may hold so many streams open; one more is 429.
#[utoipa::path(
    get,
    path = "/v1/signals/stream",
    tag = "signals",
    security(("bearer" = ["signals:read"])),
    params(
        StreamQuery,
        SignalFilter,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen", pattern = "^[A-Za-z0-9_-]{40,100}$")
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = String, description = "The stream"),
        (status = 410, body = shared::problem::Problem, content_type = "application/problem+json", description = "The cursor has expired")
    )
)]
pub(crate) async fn stream_signals(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<SignalsRead>,
    Query((place, filter)): Query<(StreamQuery, SignalFilter)>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let expected = "the id of an event of this stream";
    let last = optional_header(&headers, &LAST_EVENT_ID, expected, is_feed_cursor)?;
    let key = auth.principal.key();
    let permit = state
        .limits
        .streams
        .open(auth.scope.tenant_id(), key)
        .ok_or(ApiError::TooManyStreams)?;
    // Before the first read, so that nothing comes between.
    let subscription = state.feed_watcher.subscribe(auth.scope, key);
    let cursor = match last.or(place.cursor) {
        Some(cursor) => cursor,
        None => state.feed.end(&auth.scope).await?,
    };
    let query = filter.page(PAGE);
    // Read before the answer begins, so that a cursor that cannot be followed is an error
    // with a status.
    let first = state.feed.page(&auth.scope, Some(&cursor), &query).await?;
    let mut follower = Follower {
        state,
        scope: auth.scope,
        query,
        cursor: cursor.clone(),
        subscription,
        _permit: permit,
        has_more: false,
        read_below: 0,
    };
    let mut events = vec![Event::default().id(cursor)];
    events.extend(follower.take(first));
    let follow = stream::unfold(
        (follower, events),
        |(mut follower, mut events)| async move {
            if events.is_empty() {
                events = follower.next().await?;
            }
            let batch: Vec<Result<Event, Infallible>> = events.drain(..).map(Ok).collect();
            Some((stream::iter(batch), (follower, events)))
        },
    );
    Ok(Sse::new(futures::StreamExt::flatten(follow))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// One open stream.
struct Follower {
    state: Arc<AppState>,
    scope: TenantScope,
    query: FeedQuery,
    cursor: String,
    subscription: Subscription,
    _permit: StreamPermit,
    has_more: bool,
    /// The watermark of the last page.
    read_below: u64,
}

impl Follower {
    /// The next events, once there are some; `None` when the stream ends.
    async fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            self.wait().await?;
            match self
                .state
                .feed
                .page(&self.scope, Some(&self.cursor), &self.query)
                .await
            {
                Ok(page) => {
                    let events = self.take(page);
                    if !events.is_empty() {
                        return Some(events);
                    }
                }
                Err(error) => {
                    // The reader comes back with its cursor, and gets a status then.
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "failed to read the feed, ending the stream"
                    );
                    return None;
                }
            }
        }
    }

    /// Waits until there may be something to read; `None` when the stream ends.
    async fn wait(&mut self) -> Option<()> {
        let stop = self.state.lifecycle.soft();
        let ended = &self.subscription.key_ended;
        if stop.is_cancelled() || ended.is_cancelled() {
            return None;
        }
        let grown_to = &mut self.subscription.grown_to;
        let expected = self.subscription.since.max(*grown_to.borrow_and_update());
        let lags = self.read_below < expected;
        if self.has_more {
            return Some(());
        }
        tokio::select! {
            () = stop.cancelled() => None,
            () = ended.cancelled() => None,
            () = tokio::time::sleep(LAG_RETRY), if lags => Some(()),
            changed = grown_to.changed() => changed.ok(),
        }
    }

    fn take(&mut self, page: FeedPage) -> Vec<Event> {
        self.has_more = page.has_more;
        self.read_below = page.watermark;
        let cursors = self.state.feed.cursors(&self.scope, &page);
        if let Some(cursor) = page.next_cursor {
            self.cursor = cursor;
        }
        let pairs = page.signals.iter().zip(cursors);
        pairs
            .filter_map(|(signal, cursor)| event(signal, cursor))
            .collect()
    }
}

fn event(signal: &shared::signals::Signal, cursor: String) -> Option<Event> {
    let data = serde_json::to_string(signal).ok()?;
    Some(Event::default().id(cursor).event("signal").data(data))
}
