//! `PATCH /v1/connections/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use shared::db::audit::{self, AuditEntry};
use shared::db::connections::{self, ConnectionStatus};
use shared::model::ConnectionId;
use utoipa::ToSchema;

use super::{Connection, show};
use crate::auth::{ConnectionsWrite, TenantAuth};
use crate::error::{ApiError, Conflict, FieldProblem};
use crate::extract::{IdPath, JsonBody, Validate, deserialize_integer};
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// The changes; absent fields stay unchanged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionChange {
    /// `paused` stops polling, while deliveries are still received; `active` resumes polling.
    #[schema(inline)]
    status: Option<RequestedStatus>,
    /// Seconds between two polls.
    #[schema(minimum = 30, maximum = 86400)]
    #[serde(default, deserialize_with = "deserialize_integer")]
    poll_interval_seconds: Option<i32>,
}

/// A status that a request can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RequestedStatus {
    /// Poll the connection.
    Active,
    /// Do not poll the connection.
    Paused,
}

impl Validate for ConnectionChange {
    fn validate(&self, problems: &mut Vec<FieldProblem>) {
        if self
            .poll_interval_seconds
            .is_some_and(|seconds| !(30..=86_400).contains(&seconds))
        {
            problems.push(FieldProblem::new(
                "poll_interval_seconds",
                "must be from 30 to 86400",
            ));
        }
    }
}

/// Pause or resume a connection, or change its poll interval
///
/// Absent fields stay unchanged. A paused connection still receives deliveries.
#[utoipa::path(
    patch,
    path = "/v1/connections/{id}",
    tag = "connections",
    security(("bearer" = ["connections:write"])),
    params(("id" = Uuid, Path, description = "The connection")),
    request_body = ConnectionChange,
    responses(
        (status = 200, body = Connection, description = "The updated connection"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The connection's status does not allow the change")
    )
)]
pub(crate) async fn update_connection(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<ConnectionsWrite>,
    IdPath(id): IdPath<ConnectionId>,
    Query(NoQuery): Query<NoQuery>,
    JsonBody(change): JsonBody<ConnectionChange>,
) -> Result<Json<Connection>, ApiError> {
    let scope = &auth.scope;
    let mut tx = state.db.begin(scope).await?;
    let connection = connections::lock(&mut tx, scope, id)
        .await?
        .ok_or(ApiError::NotFound("connection"))?;
    if let Some(requested) = change.status {
        let is_changeable = matches!(
            connection.status,
            ConnectionStatus::Active | ConnectionStatus::Paused
        );
        if !is_changeable {
            return Err(Conflict::StatusNotChangeable.into());
        }
        let (status, action) = match requested {
            RequestedStatus::Active => (ConnectionStatus::Active, "connection.resumed"),
            RequestedStatus::Paused => (ConnectionStatus::Paused, "connection.paused"),
        };
        if connections::set_status(&mut tx, scope, id, status, None).await? {
            let entry = AuditEntry::new(auth.principal.actor(), action).target(id);
            audit::record(&mut tx, scope, &entry).await?;
        }
    }
    if let Some(seconds) = change.poll_interval_seconds {
        if !connections::update_poll_interval(&mut tx, scope, id, seconds).await? {
            return Err(Conflict::StatusNotChangeable.into());
        }
        let entry = AuditEntry::new(auth.principal.actor(), "connection.poll_interval_changed")
            .target(id)
            .detail(json!({ "poll_interval_seconds": seconds }));
        audit::record(&mut tx, scope, &entry).await?;
    }
    let updated = connections::get(&mut tx, scope, id)
        .await?
        .ok_or(ApiError::NotFound("connection"))?;
    let shown = show(&mut tx, &state.registry, updated).await?;
    tx.commit().await?;
    Ok(Json(shown))
}
