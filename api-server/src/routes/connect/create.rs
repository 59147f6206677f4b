//! `POST /v1/connect/{provider}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::crypto::{random_token, sha256};
use shared::db::audit::{self, AuditEntry};
use shared::db::connect_links;
use utoipa::ToSchema;
use uuid::Uuid;

use super::authorization_step::RANDOM_BYTES;
use super::response::link_url;
use crate::auth::{ConnectionsWrite, TenantAuth};
use crate::error::{ApiError, FieldProblem};
use crate::extract::{OptionalJsonBody, ProviderPath, Validate};
use crate::idempotency::Idempotency;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// The maximum length of `return_to`.
const MAX_RETURN_TO_CHARS: usize = 2000;

/// The settings of a connect link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewConnectLink {
    /// The URL to which the browser returns, with `connection_id` and `status`, or `error`, in
    /// the query. Its origin must be allowed by the operator.
    #[schema(
        example = "http://127.0.0.1:3000/connected",
        max_length = 2000,
        pattern = "^https?://[!-~]+$"
    )]
    return_to: Option<String>,
}

impl Validate for NewConnectLink {
    fn validate(&self, problems: &mut Vec<FieldProblem>) {
        let Some(text) = &self.return_to else { return };
        let after_scheme = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"));
        let is_valid = text.len() <= MAX_RETURN_TO_CHARS
            && after_scheme.is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic())
            });
        if !is_valid {
            problems.push(FieldProblem::new(
                "return_to",
                "must be an http or https URL of at most 2000 visible ASCII characters",
            ));
        }
    }
}

/// A link that starts a connect flow.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectLink {
    /// The id of the link, as in the audit log. It opens nothing.
    id: Uuid,
    /// The URL to open in the browser of the person who connects: a page that names the team and
    /// the data to be read, and continues to the provider.
    #[schema(example = "http://127.0.0.1:8080/v1/connect/github/start?state=…")]
    authorize_url: String,
    /// The token of the link, which differs from the state that the provider receives.
    state: String,
    /// When the link expires.
    expires_at: DateTime<Utc>,
}

/// Create a connect link
///
/// The link expires after ten minutes and creates one connection. If an administrator of the
/// account must approve, the link stays valid until the approval expires, and the administrator
/// opens the same link.
#[utoipa::path(
    post,
    path = "/v1/connect/{provider}",
    tag = "connect",
    security(("bearer" = ["connections:write"])),
    params(("provider" = String, Path, description = "The provider's slug", pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github")),
    request_body(content = Option<NewConnectLink>, description = "Optional"),
    responses(
        (status = 201, body = ConnectLink, description = "The link"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The provider is not configured")
    )
)]
pub(crate) async fn create_connect_link(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<ConnectionsWrite>,
    ProviderPath(provider): ProviderPath,
    Query(NoQuery): Query<NoQuery>,
    idempotency: Idempotency,
    OptionalJsonBody(body): OptionalJsonBody<NewConnectLink>,
) -> Result<Response, ApiError> {
    let connector = state.registry.get(&provider)?;
    let slug = connector.descriptor().slug;
    let return_to = body
        .return_to
        .map(|text| {
            state
                .return_to
                .accept(&text)
                .ok_or(ApiError::ReturnToNotAllowed)
        })
        .transpose()?;
    let token = random_token(RANDOM_BYTES);
    let link_hash = sha256(token.expose_secret().as_bytes());
    let return_to = return_to.as_ref().map(url::Url::as_str);
    let (scope, principal) = (&auth.scope, &auth.principal);
    let mut tx = state.db.begin(scope).await?;
    if let Some(response) = idempotency.replay(&mut tx, scope, principal).await? {
        return Ok(response);
    }
    let id = link_id(&link_hash);
    let expires_at = connect_links::create(&mut tx, scope, link_hash, slug, return_to).await?;
    let entry = AuditEntry::new(principal.actor(), "connect.link_created")
        .target(id)
        .detail(json!({ "provider": slug }));
    audit::record(&mut tx, scope, &entry).await?;
    idempotency
        .keep_object(&mut tx, scope, principal, id)
        .await?;
    tx.commit().await?;

    let body = ConnectLink {
        id,
        authorize_url: link_url(&state, slug, token.expose_secret()).into(),
        state: token.expose_secret().to_owned(),
        expires_at,
    };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// The id of a link: part of the hash of its token, which does not lead back to the token.
fn link_id(link_hash: &[u8; 32]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&link_hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
