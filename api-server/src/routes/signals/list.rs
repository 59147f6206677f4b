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
use crate::auth::{AuditReason, SignalsRead, TenantAuth};
use crate::error::ApiError;
use crate::query::{FromQuery, Query, QueryReader};
use crate::state::AppState;

/// The order of Signals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::EnumString, ToSchema)]
#[strum(serialize_all = "snake_case")]
#[schema(rename_all = "snake_case")]
pub(crate) enum Order {
    /// By commit, oldest first: for readers that follow the feed.
    #[default]
    Feed,
    /// By the provider's time, newest first: for people.
    Recent,
}

/// The position, order and time range of the page.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SignalsQuery {
    /// The `next_cursor` of the previous page; without it, the first page.
    #[param(pattern = "^[A-Za-z0-9_-]{40,100}$")]
    pub(crate) cursor: Option<String>,
    /// The maximum number of Signals.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub(crate) limit: Option<u32>,
    /// `feed`: by commit, oldest first; `recent`: newest `timestamp` first.
    #[param(inline)]
    pub(crate) order: Option<Order>,
    /// Only Signals that happened at this time or later.
    pub(crate) since: Option<DateTime<Utc>>,
    /// Only Signals that happened before this time.
    pub(crate) until: Option<DateTime<Utc>>,
}

impl FromQuery for (SignalsQuery, SignalFilter) {
    fn read(query: &mut QueryReader) -> Self {
        let signals = SignalsQuery {
            cursor: query.feed_cursor(),
            limit: query.limit(),
            order: query.enum_value("order"),
            since: query.date_time("since"),
            until: query.date_time("until"),
        };
        (signals, SignalFilter::read(query))
    }
}

/// A page of Signals.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignalPage {
    pub(crate) signals: Vec<Signal>,
    /// The cursor of the next page. Always present in `feed` order: at the end, poll with it.
    /// Null at the end of `recent` order.
    pub(crate) next_cursor: Option<String>,
    /// Whether more can be read now. A page whose filters skip many rows may have few Signals or
    /// none and still be followed by more.
    pub(crate) has_more: bool,
    /// The completeness of the feed over the connections that match the filters.
    pub(crate) completeness: FeedCompleteness,
}

/// List Signals
///
/// In `feed` order a reader that follows `next_cursor` receives every Signal exactly once. A cursor
/// that can no longer be followed gives 410 `cursor_expired`.
#[utoipa::path(
    get,
    path = "/v1/signals",
    tag = "signals",
    security(("bearer" = ["signals:read"])),
    params(
        SignalsQuery,
        SignalFilter,
        ("X-Audit-Reason" = Option<String>, Header, description = "Why an operator reads raw data, for the audit log; required with `include=raw`", min_length = 3, max_length = 500)
    ),
    responses(
        (status = 200, body = SignalPage, description = "A page"),
        (status = 410, body = shared::problem::Problem, content_type = "application/problem+json", description = "The cursor has expired")
    )
)]
pub(crate) async fn list_signals(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<SignalsRead>,
    Query((params, filter)): Query<(SignalsQuery, SignalFilter)>,
    reason: AuditReason,
) -> Result<Json<SignalPage>, ApiError> {
    if filter.include.is_some() {
        auth.disclose_raw(&state, &reason, "page").await?;
    }
    let query = FeedQuery {
        since: params.since,
        until: params.until,
        ..filter.page(params.limit.unwrap_or(DEFAULT_LIMIT))
    };
    let cursor = params.cursor.as_deref();
    let page = match params.order.unwrap_or_default() {
        Order::Feed => state.feed.read_page(&auth.scope, cursor, &query).await?,
        Order::Recent => state.feed.read_recent(&auth.scope, cursor, &query).await?,
    };
    Ok(Json(SignalPage {
        signals: page.signals,
        next_cursor: page.next_cursor,
        has_more: page.has_more,
        completeness: page.completeness,
    }))
}
