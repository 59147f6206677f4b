//! Live parts of pages as server-sent events.
//!
//! A stream sends the part when it has changed, and ends with `end` when the session is no longer
//! valid. It is no activity of the session.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use futures::stream;
use shared::model::TenantId;

use super::jobs::{JobsFilter, load as load_jobs};
use super::session::{LiveSession, Rejection, Session};
use super::views::HomeView;
use crate::error::ApiError;
use crate::limits::StreamPermit;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// The interval between two reads.
const INTERVAL: Duration = Duration::from_secs(5);
/// The interval of keep-alive comments.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The number of reads between two checks of the session.
const READS_PER_CHECK: u32 = 3;

/// Sends the live part of the home page.
pub(super) async fn home(
    State(state): State<Arc<AppState>>,
    LiveSession(session): LiveSession,
    headers: HeaderMap,
    Query(NoQuery): Query<NoQuery>,
) -> Result<Response, Rejection> {
    follow(state, session, headers, |state, session| {
        Box::pin(async move {
            let (overview, hourly) = super::home::load(state, session.stored.proof).await?;
            let view = HomeView {
                overview: &overview,
                hourly: &hourly,
            };
            Ok(view.live_part().into_string())
        })
    })
}

/// Sends the live part of the list of jobs.
pub(super) async fn jobs(
    State(state): State<Arc<AppState>>,
    LiveSession(session): LiveSession,
    headers: HeaderMap,
    Query(filter): Query<JobsFilter>,
) -> Result<Response, Rejection> {
    let filter = Arc::new(filter);
    follow(state, session, headers, move |state, session| {
        let filter = Arc::clone(&filter);
        Box::pin(async move {
            let listed = load_jobs(state, session, &filter).await?;
            Ok(listed.view(session, &filter).live_part().into_string())
        })
    })
}

/// Reads the live part of a page.
type Read = dyn for<'a> Fn(&'a Arc<AppState>, &'a Session) -> BoxFuture<'a, Result<String, ApiError>>
    + Send
    + Sync;

/// A page that a browser follows.
struct Followed {
    state: Arc<AppState>,
    session: Session,
    headers: HeaderMap,
    read: Box<Read>,
    /// The part that was sent last.
    sent: String,
    reads: u32,
    is_ended: bool,
    _permit: StreamPermit,
}

fn follow<F>(
    state: Arc<AppState>,
    session: Session,
    headers: HeaderMap,
    read: F,
) -> Result<Response, Rejection>
where
    F: for<'a> Fn(&'a Arc<AppState>, &'a Session) -> BoxFuture<'a, Result<String, ApiError>>
        + Send
        + Sync
        + 'static,
{
    let permit = state
        .limits
        .streams
        .open(TenantId::UNASSIGNED, None)
        .ok_or(ApiError::TooManyStreams)?;
    let followed = Followed {
        state,
        session,
        headers,
        read: Box::new(read),
        sent: String::new(),
        reads: 0,
        is_ended: false,
        _permit: permit,
    };
    let events = stream::unfold(followed, |mut followed| async move {
        let event = followed.next().await?;
        Some((Ok::<_, Infallible>(event), followed))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    response
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl Followed {
    /// The next event; `None` after the end, and when the server stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.is_ended {
                return None;
            }
            if self.reads > 0 && !self.wait().await {
                return None;
            }
            self.reads += 1;
            if self.reads.is_multiple_of(READS_PER_CHECK) && !self.check_session().await {
                self.is_ended = true;
                return Some(Event::default().event("end").data(""));
            }
            // A failed read is in the log of its cause; the next one may succeed.
            let Ok(part) = (self.read)(&self.state, &self.session).await else {
                continue;
            };
            if part != self.sent {
                self.sent.clone_from(&part);
                return Some(Event::default().event("update").data(part));
            }
        }
    }

    /// Waits until the next read; `false` if the server stops.
    async fn wait(&self) -> bool {
        let draining = self.state.lifecycle.draining();
        tokio::select! {
            () = draining.cancelled() => false,
            () = tokio::time::sleep(INTERVAL) => true,
        }
    }

    /// Reads the session again; `false` if it has ended.
    async fn check_session(&mut self) -> bool {
        match Session::find(&self.headers, &self.state).await {
            Ok(Some(session)) => {
                self.session = session;
                true
            }
            Ok(None) => false,
            // An unavailable database ends no session.
            Err(_) => true,
        }
    }
}
