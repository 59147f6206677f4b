//! `GET /v1/connections/{id}/streams`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use shared::connectors::ProviderDescriptor;
use shared::db::connections;
use shared::db::cursors::{self, StreamState, StreamView};
use shared::db::page::DEFAULT_LIMIT;
use shared::model::{ConnectionId, JobError};
use utoipa::{IntoParams, ToSchema};

use super::descriptor_of;
use crate::auth::{ConnectionsRead, TenantAuth};
use crate::error::ApiError;
use crate::extract::IdPath;
use crate::query::{FromQuery, Query, QueryReader};
use crate::state::AppState;

/// The filter and the pagination of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamsQuery {
    /// States of streams.
    #[param(required = false, style = Form, explode = false, min_items = 1, max_items = 5, inline, example = json!(["denied", "failing"]))]
    state: Vec<StreamState>,
    /// The `next_cursor` of the previous page; without it, the first page.
    #[param(pattern = "^[A-Za-z0-9_-]{1,4000}$")]
    cursor: Option<String>,
    /// The maximum number of items.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

impl FromQuery for StreamsQuery {
    fn read(query: &mut QueryReader) -> Self {
        Self {
            state: query.list("state", "a state of a stream", |text| text.parse().ok()),
            cursor: query.account_cursor(),
            limit: query.limit(),
        }
    }
}

/// A stream of a connection: one kind of object in one resource.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stream {
    /// The kind and the id of the resource.
    #[serde(rename = "stream")]
    #[schema(example = "issues:1296269")]
    key: String,
    #[schema(inline)]
    state: StreamState,
    /// Since when it cannot be read; null while it can.
    since: Option<DateTime<Utc>>,
    /// Why it cannot be read: the scope that the grant lacks, or the call that failed.
    error: Option<JobError>,
    /// Why a part of it cannot be reconciled.
    reconcile_error: Option<JobError>,
    /// The scope that it needs beyond those that every connection has; null if there is none.
    required_scope: Option<&'static str>,
    /// The time before which every fact that the provider lists as it happens is in the feed. Null
    /// until it has been read once.
    complete_through: Option<DateTime<Utc>>,
    /// The same time for facts that only the reconciliation pass finds.
    reconciled_through: Option<DateTime<Utc>>,
    /// How much of the first read is done, from 0 to 1.
    #[schema(example = 1.0)]
    progress: f32,
    /// When it is read next; null while the connection is not polled.
    next_run_at: Option<DateTime<Utc>>,
}

impl Stream {
    fn new(view: StreamView, descriptor: Option<&ProviderDescriptor>) -> Self {
        let lag = descriptor.map(|descriptor| descriptor.read_lag);
        let lag = TimeDelta::from_std(lag.unwrap_or_default()).unwrap_or_default();
        let kind = view.stream.split(':').next().unwrap_or_default();
        let mut scopes = descriptor
            .into_iter()
            .flat_map(|descriptor| descriptor.stream_scopes);
        Self {
            required_scope: scopes
                .find(|needed| needed.kind == kind)
                .map(|needed| needed.scope),
            complete_through: view.read_through.map(|at| at - lag),
            key: view.stream,
            state: view.state,
            since: view.since,
            error: view.failure,
            reconcile_error: view.reconcile_failure,
            reconciled_through: view.reconciled_through,
            progress: if view.read_through.is_some() {
                1.0
            } else {
                view.progress
            },
            next_run_at: view.next_run_at,
        }
    }
}

/// A page of streams, sorted by their keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamList {
    streams: Vec<Stream>,
    /// The cursor of the next page; null at the end.
    next_cursor: Option<String>,
}

/// List the streams of a connection
///
/// A stream is a part that is read on its own, such as the issues of a repository or the messages of
/// a channel. Each has its state, and the time up to which it is complete.
#[utoipa::path(
    get,
    path = "/v1/connections/{id}/streams",
    tag = "connections",
    security(("bearer" = ["connections:read"])),
    params(("id" = Uuid, Path, description = "The connection"), StreamsQuery),
    responses((status = 200, body = StreamList, description = "A page, sorted by key"))
)]
pub(crate) async fn list_connection_streams(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<ConnectionsRead>,
    IdPath(id): IdPath<ConnectionId>,
    Query(query): Query<StreamsQuery>,
) -> Result<Json<StreamList>, ApiError> {
    let after = query.cursor.as_deref().map(decode).transpose()?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    let scope = &auth.scope;
    let mut tx = state.db.begin(scope).await?;
    let connection = connections::get(&mut tx, scope, id)
        .await?
        .ok_or(ApiError::NotFound("connection"))?;
    let after = after.as_deref();
    let mut views = cursors::list_states(&mut tx, scope, id, &query.state, after, limit).await?;
    tx.commit().await?;
    let has_more = views.len() > limit as usize;
    views.truncate(limit as usize);
    let last = views.last().filter(|_| has_more);
    let next_cursor = last.map(|last| URL_SAFE_NO_PAD.encode(&last.stream));
    let descriptor = descriptor_of(&state.registry, &connection.provider);
    Ok(Json(StreamList {
        streams: views
            .into_iter()
            .map(|view| Stream::new(view, descriptor))
            .collect(),
        next_cursor,
    }))
}

fn decode(cursor: &str) -> Result<String, ApiError> {
    let key = URL_SAFE_NO_PAD.decode(cursor).ok();
    let key = key.and_then(|bytes| String::from_utf8(bytes).ok());
    key.filter(|key| !key.contains('\0'))
        .ok_or(ApiError::NotFound("cursor"))
}
