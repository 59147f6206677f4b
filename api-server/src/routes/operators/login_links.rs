//! `POST /v1/operators/{id}/login-links`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::Serialize;
use shared::db::audit::{self, AuditEntry};
use shared::db::{operator_sessions, operators};
use shared::model::OperatorId;
use utoipa::ToSchema;

use crate::auth::AdminAuth;
use crate::error::{ApiError, Conflict};
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::state::{AppState, append_path};

/// A link by which an operator signs in to the console.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoginLink {
    /// The page with a button that signs in, once.
    #[schema(example = "https://connect.example.com/console/login?link=…")]
    url: String,
    /// When the link expires: after five minutes.
    expires_at: DateTime<Utc>,
}

/// Create a login link
///
/// The link opens a page of the console with a button; pressing it signs in and consumes the link.
/// Opening the page changes nothing, so that a preview of the link does not consume it.
#[utoipa::path(
    post,
    path = "/v1/operators/{id}/login-links",
    tag = "operators",
    security(("bearer" = ["operator", "admin"])),
    params(("id" = Uuid, Path, description = "The operator")),
    responses(
        (status = 201, body = LoginLink, description = "The link, shown only once"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "Operator not found"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The operator is revoked or expired, or the console is off")
    )
)]
pub(crate) async fn create_login_link(
    State(state): State<Arc<AppState>>,
    AdminAuth(admin): AdminAuth,
    IdPath(id): IdPath<OperatorId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<(StatusCode, Json<LoginLink>), ApiError> {
    let scope = admin.proof.unassigned();
    let mut tx = state.db.begin(&scope).await?;
    if operators::get(&mut tx, id).await?.is_none() {
        return Err(ApiError::NotFound("operator"));
    }
    if !state.has_console {
        return Err(Conflict::ConsoleDisabled.into());
    }
    let link = operator_sessions::create_link(&mut tx, id)
        .await?
        .ok_or(Conflict::OperatorNotValid)?;
    let entry = AuditEntry::new(admin.actor(), "operator.login_link_created").target(id);
    audit::record(&mut tx, &scope, &entry).await?;
    tx.commit().await?;
    let mut url = append_path(&state.public_url, &["console", "login"]);
    url.query_pairs_mut()
        .append_pair("link", link.token.expose_secret());
    let body = LoginLink {
        url: url.into(),
        expires_at: link.expires_at,
    };
    Ok((StatusCode::CREATED, Json(body)))
}
