//! `PATCH /v1/connections/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use shared::db::audit::{self, AuditEntry};
use shared::db::connections::{self, ConnectionStatus};
use shared::ids::ConnectionId;
use utoipa::ToSchema;

use super::Connection;
use crate::auth::{ConnectionsWrite, TenantAuth};
use crate::error::{ApiError, Conflict, FieldProblem};
use crate::extract::{IdPath, JsonBody, Validate, whole_number};
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// What is to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionChange {
    /// `paused` stops polling, while deliveries are still taken in; `active` resumes it.
    #[schema(inline)]
    status: Option<WantedStatus>,
    /// How often it is polled.
    #[schema(minimum = 30, maximum = 86400)]
    #[serde(default, deserialize_with = "whole_number")]
    poll_interval_seconds: Option<i32>,
}

/// A status that people can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WantedStatus {
    /// Poll it.
    Active,
    /// Do not poll it for the time being.
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

/// Pauses or resumes a connection, or changes how often it is polled
#[utoipa::path(
    patch,
    path = "/v1/connections/{id}",
    tag = "connections",
    security(("bearer" = ["connections:write"])),
    params(("id" = Uuid, Path, description = "The connection")),
    request_body = ConnectionChange,
    responses(
        (status = 200, body = Connection, description = "The connection as it is now"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The connection's status forbids it")
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
    let target = id.to_string();
    if let Some(wanted) = change.status {
        let steerable = matches!(
            connection.status,
            ConnectionStatus::Active | ConnectionStatus::Paused
        );
        if !steerable {
            return Err(Conflict::StatusNotChangeable.into());
        }
        let (status, action) = match wanted {
            WantedStatus::Active => (ConnectionStatus::Active, "connection.resumed"),
            WantedStatus::Paused => (ConnectionStatus::Paused, "connection.paused"),
        };
        if connections::set_status(&mut tx, scope, id, status, None).await? {
            let entry = AuditEntry::new(auth.principal.actor(), action).target(&target);
            audit::record(&mut tx, scope, &entry).await?;
        }
    }
    if let Some(seconds) = change.poll_interval_seconds {
        if !connections::update_poll_interval(&mut tx, scope, id, seconds).await? {
            return Err(Conflict::StatusNotChangeable.into());
        }
        let entry = AuditEntry::new(auth.principal.actor(), "connection.poll_interval_changed")
            .target(&target)
            .detail(json!({ "poll_interval_seconds": seconds }));
        audit::record(&mut tx, scope, &entry).await?;
    }
    let now = connections::get(&mut tx, scope, id)
        .await?
        .ok_or(ApiError::NotFound("connection"))?;
    tx.commit().await?;
    Ok(Json(now.into()))
}
