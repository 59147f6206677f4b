//! `GET /v1/jobs`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::model::{ConnectionId, JobKind, JobState};
use shared::queue::jobs::JobFilter;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Job;
use crate::auth::{JobsRead, TenantAuth};
use crate::error::ApiError;
use crate::query::{FromQuery, Query, QueryReader};
use crate::routes::ListQuery;
use crate::state::AppState;

/// The filters of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobsQuery {
    /// The state of the jobs.
    #[param(inline)]
    state: Option<JobState>,
    /// The kind of the jobs.
    #[param(inline)]
    kind: Option<JobKind>,
    /// The connection of the jobs.
    connection_id: Option<Uuid>,
    /// The provider's slug.
    #[param(pattern = "^[a-z][a-z0-9_]{0,62}$")]
    provider: Option<String>,
}

impl FromQuery for (JobsQuery, ListQuery) {
    fn read(query: &mut QueryReader) -> Self {
        let filter = JobsQuery {
            state: query.enum_value("state"),
            kind: query.enum_value("kind"),
            connection_id: query.uuid("connection_id"),
            provider: query.slug("provider"),
        };
        (filter, ListQuery::read(query))
    }
}

/// A page of jobs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobList {
    jobs: Vec<Job>,
    /// The cursor of the next page; null at the end.
    next_cursor: Option<String>,
}

/// List the jobs
///
/// Queued, running and finished ones. An operator may send the nil UUID in `X-Tenant-Id` for the
/// jobs of the whole service.
#[utoipa::path(
    get,
    path = "/v1/jobs",
    tag = "jobs",
    security(("bearer" = ["jobs:read"])),
    params(JobsQuery, ListQuery),
    responses((status = 200, body = JobList, description = "A page, newest first"))
)]
pub(crate) async fn list_jobs(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<JobsRead>,
    Query((query, list)): Query<(JobsQuery, ListQuery)>,
) -> Result<Json<JobList>, ApiError> {
    let request = list.page()?;
    let filter = JobFilter {
        state: query.state,
        kind: query.kind,
        connection_id: query.connection_id.map(ConnectionId),
        provider: query.provider,
    };
    let mut tx = state.db.begin(&auth.scope).await?;
    let page = state
        .queue
        .list(&mut tx, &auth.scope, &filter, &request)
        .await?;
    tx.commit().await?;
    Ok(Json(JobList {
        jobs: page.items.into_iter().map(Job::from).collect(),
        next_cursor: page.next_cursor,
    }))
}
