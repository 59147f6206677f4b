//! The list of jobs, and its forms.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use shared::db::OperatorProof;
use shared::db::jobs::{self as stored, ListedState};
use shared::model::{ConnectionId, JobId, JobState, TenantId};

use super::connections::{optional, optional_id};
use super::session::{Form, Rejection, Session, redirect};
use super::views::{JobRow, JobsView, Notice};
use crate::error::ApiError;
use crate::extract::IdPath;
use crate::query::{FromQuery, NoQuery, Query, QueryReader, parse_uuid};
use crate::routes::ListQuery;
use crate::routes::jobs::Job;
use crate::routes::jobs::cancel::cancel_job;
use crate::routes::jobs::list::{JobsQuery, list_jobs};
use crate::routes::jobs::retry::retry_job;
use crate::state::AppState;

/// The filter of the list.
#[derive(Debug)]
pub(super) struct JobsFilter {
    state: JobState,
    tenant: Option<TenantId>,
    connection: Option<ConnectionId>,
    list: ListQuery,
    notice: Option<Notice>,
}

impl FromQuery for JobsFilter {
    fn read(query: &mut QueryReader) -> Self {
        let state = optional(query, "state", "a state of a job", |text| text.parse().ok());
        Self {
            state: state.unwrap_or(JobState::Dead),
            tenant: optional_id(query, "tenant").map(TenantId),
            connection: optional_id(query, "connection").map(ConnectionId),
            list: ListQuery::read(query),
            notice: query.enum_value("done"),
        }
    }
}

/// A page of jobs, and the counts of all.
pub(super) struct Listed {
    rows: Vec<JobRow>,
    next_cursor: Option<String>,
    counts: Vec<(JobState, i64)>,
    /// The tenant's id; empty for all.
    tenant: String,
    /// The connection's id; empty for all.
    connection: String,
}

impl Listed {
    fn new(filter: &JobsFilter, rows: Vec<JobRow>, next_cursor: Option<String>) -> Self {
        let tenant = filter.tenant.map(|id| id.to_string());
        let connection = filter.connection.map(|id| id.to_string());
        Self {
            rows,
            next_cursor,
            counts: Vec::new(),
            tenant: tenant.unwrap_or_default(),
            connection: connection.unwrap_or_default(),
        }
    }

    /// The view of the page.
    pub(super) fn view<'v>(&'v self, session: &'v Session, filter: &JobsFilter) -> JobsView<'v> {
        JobsView {
            operator: session.signed_in(),
            rows: &self.rows,
            next_cursor: self.next_cursor.as_deref(),
            counts: &self.counts,
            state: filter.state,
            tenant: &self.tenant,
            connection: &self.connection,
            notice: filter.notice,
        }
    }
}

/// Shows the list.
pub(super) async fn list(
    State(state): State<Arc<AppState>>,
    session: Session,
    Query(filter): Query<JobsFilter>,
) -> Result<Response, Rejection> {
    let listed = load(&state, &session, &filter).await?;
    let page = listed.view(&session, &filter).page();
    Ok(state.pages.respond_console(session.signed_in(), &page))
}

/// Reads a page of one tenant, or of all tenants.
pub(super) async fn load(
    state: &Arc<AppState>,
    session: &Session,
    filter: &JobsFilter,
) -> Result<Listed, ApiError> {
    let Some(tenant) = filter.tenant else {
        return load_all(state, session.stored.proof, filter).await;
    };
    let query = JobsQuery {
        state: Some(filter.state),
        kind: None,
        connection_id: filter.connection.map(|id| id.0),
        provider: None,
    };
    let list = ListQuery {
        cursor: filter.list.cursor.clone(),
        limit: filter.list.limit,
    };
    let auth = session.tenant(state, tenant).await?;
    let found = list_jobs(State(Arc::clone(state)), auth, Query((query, list)))
        .await?
        .0;
    let rows = found.jobs.into_iter().map(|job| JobRow { tenant, job });
    Ok(Listed::new(filter, rows.collect(), found.next_cursor))
}

async fn load_all(
    state: &AppState,
    proof: OperatorProof,
    filter: &JobsFilter,
) -> Result<Listed, ApiError> {
    let state_listed = match filter.state {
        JobState::Queued => ListedState::Queued,
        JobState::Running => ListedState::Running,
        JobState::Dead => ListedState::Dead,
        // They are many, and are listed per tenant.
        JobState::Succeeded | JobState::Cancelled => return Err(ApiError::TenantRequired),
    };
    let request = filter.list.page()?;
    let mut tx = state.db.begin_for_operator(proof).await?;
    let page = stored::list_all(&mut tx, proof, state_listed, &request).await?;
    let totals = state.queue.totals(&mut tx).await?;
    tx.commit().await?;
    let rows = page.items.into_iter().map(|(tenant, job)| JobRow {
        tenant,
        job: Job::from(job),
    });
    let mut listed = Listed::new(filter, rows.collect(), page.next_cursor);
    listed.counts = vec![
        (JobState::Queued, totals.due + totals.scheduled),
        (JobState::Running, totals.running),
        (JobState::Dead, totals.dead),
    ];
    Ok(listed)
}

/// Retries or cancels the job of the form.
pub(super) async fn act(
    State(state): State<Arc<AppState>>,
    Path((tenant, id, act)): Path<(String, String, String)>,
    form: Form,
) -> Result<Response, Rejection> {
    let target = parse_uuid(&tenant).zip(parse_uuid(&id));
    let (tenant, id) = target.ok_or(ApiError::NotFound("job"))?;
    let (tenant, id) = (TenantId(tenant), IdPath(JobId(id)));
    let auth = form.session.tenant(&state, tenant).await?;
    let (notice, listed): (Notice, JobState) = match act.as_str() {
        "retry" => {
            let (_, Json(_job)) = retry_job(State(state), auth, id, Query(NoQuery)).await?;
            (Notice::JobRetried, JobState::Queued)
        }
        "cancel" => {
            let (_, Json(_job)) = cancel_job(State(state), auth, id, Query(NoQuery)).await?;
            (Notice::JobCancelled, JobState::Running)
        }
        _ => return Err(ApiError::NoRoute.into()),
    };
    let (done, listed): (&str, &str) = (notice.into(), listed.into());
    Ok(redirect(&format!(
        "/console/jobs?state={listed}&done={done}"
    )))
}
