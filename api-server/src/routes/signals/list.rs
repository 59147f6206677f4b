//! `GET /v1/signals`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::db::page::DEFAULT_LIMIT;
use shared::signals::{FeedCompleteness, FeedQuery, Signal};
use utoipa::{IntoParams, ToSchema};

use super::SignalFilter;
use crate::auth::{SignalsRead, TenantAuth};
use crate::error::ApiError;
use crate::query::{FromQuery, Query, QueryReader};
use crate::state::AppState;

/// In which order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::EnumString, ToSchema)]
#[strum(serialize_all = "snake_case")]
#[schema(rename_all = "snake_case")]
pub(crate) enum Order {
    /// As they were committed, oldest first: for following.
    #[default]
    Feed,
    /// By the provider's time, newest first: for people.
    Recent,
}

/// Where and how to read.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SignalsQuery {
    /// `next_cursor` of the page before; the beginning without one.
    #[param(pattern = "^[A-Za-z0-9_-]{40,100}$")]
    cursor: Option<String>,
    /// How many Signals at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// `feed`: in the order of commits, oldest first; `recent`: newest `timestamp` first.
    #[param(inline)]
    order: Option<Order>,
    /// Only what happened at this time or later.
    since: Option<DateTime<Utc>>,
    /// Only what happened before this time.
    until: Option<DateTime<Utc>>,
}

impl FromQuery for (SignalsQuery, SignalFilter) {
    fn read(query: &mut QueryReader) -> Self {
        let place = SignalsQuery {
            cursor: query.feed_cursor(),
            limit: query.limit(),
            order: query.word("order"),
            since: query.date_time("since"),
            until: query.date_time("until"),
        };
        (place, SignalFilter::read(query))
    }
}

/// A page of Signals.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignalPage {
    signals: Vec<Signal>,
    /// Where to go on. Always present in `feed` order: at the end, ask again with it later.
    /// Null at the end of `recent` order.
    next_cursor: Option<String>,
    /// Whether more can be read at once. A page whose filters pass over much has fewer Signals
    /// than it may, even none, and still more behind it.
    has_more: bool,
    /// How far the feed is complete, over the connections that the filters leave.
    completeness: FeedCompleteness,
}

/// Reads Signals
///
/// In `feed` order, whoever follows `next_cursor` sees every Signal exactly once. A cursor
/// that can no longer be followed is 410 `cursor_expired`.
#[utoipa::path(
    get,
    path = "/v1/signals",
    tag = "signals",
    security(("bearer" = ["signals:read"])),
    params(SignalsQuery, SignalFilter),
    responses(
        (status = 200, body = SignalPage, description = "A page"),
        (status = 410, body = shared::problem::Problem, content_type = "application/problem+json", description = "The cursor has expired")
    )
)]
pub(crate) async fn list_signals(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<SignalsRead>,
    Query((place, filter)): Query<(SignalsQuery, SignalFilter)>,
) -> Result<Json<SignalPage>, ApiError> {
    let query = FeedQuery {
        since: place.since,
        until: place.until,
        ..filter.page(place.limit.unwrap_or(DEFAULT_LIMIT))
    };
    let cursor = place.cursor.as_deref();
    let page = match place.order.unwrap_or_default() {
        Order::Feed => state.feed.page(&auth.scope, cursor, &query).await?,
        Order::Recent => state.feed.recent(&auth.scope, cursor, &query).await?,
    };
    Ok(Json(SignalPage {
        signals: page.signals,
        next_cursor: page.next_cursor,
        has_more: page.has_more,
        completeness: page.completeness,
    }))
}
