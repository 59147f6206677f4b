//! `POST /v1/connect/{provider}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::crypto::{random_token, sha256};
use shared::db::audit::{self, AuditEntry};
use shared::db::connect_links;
use utoipa::ToSchema;

use super::flow::RANDOM_BYTES;
use crate::auth::{ConnectionsWrite, TenantAuth};
use crate::error::{ApiError, FieldProblem};
use crate::extract::{OptionalJsonBody, ProviderPath, Validate};
use crate::query::{NoQuery, Query};
use crate::state::{AppState, url_below};

/// The most characters of `return_to`.
const RETURN_TO_CHARS: usize = 2000;

/// How the flow is to end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewConnectLink {
    /// Where the browser goes at the end, with `connection_id` and `status`, or `error`, in
    /// its query. Must be of an origin that the operator has allowed.
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
        let fits = text.len() <= RETURN_TO_CHARS
            && after_scheme.is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic())
            });
        if !fits {
            problems.push(FieldProblem::new(
                "return_to",
                "must be an http or https URL of at most 2000 visible ASCII characters",
            ));
        }
    }
}

/// A link that begins a connect flow.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectLink {
    /// To be opened in the browser of the person who connects: a page that says which team
    /// asks for what, and leads on to the provider.
    #[schema(example = "http://127.0.0.1:8080/v1/connect/github/start?state=…")]
    authorize_url: String,
    /// The link's token. The state that the provider sees is another one.
    state: String,
    /// When the link ends.
    expires_at: DateTime<Utc>,
}

/// Create a connect link
///
/// The link ends after ten minutes and leads to one connection. Where an administrator of the
/// account must approve, it lives on until the approval expires: the administrator opens the
/// same link.
#[utoipa::path(
    post,
    path = "/v1/connect/{provider}",
    tag = "connect",
    security(("bearer" = ["connections:write"])),
    params(("provider" = String, Path, description = "The provider's slug", pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github")),
    request_body(content = Option<NewConnectLink>, description = "May be left out"),
    responses(
        (status = 201, body = ConnectLink, description = "The link"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The operator has not set the provider up")
    )
)]
pub(crate) async fn create_connect_link(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<ConnectionsWrite>,
    ProviderPath(provider): ProviderPath,
    Query(NoQuery): Query<NoQuery>,
    OptionalJsonBody(body): OptionalJsonBody<NewConnectLink>,
) -> Result<(StatusCode, Json<ConnectLink>), ApiError> {
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
    let mut tx = state.db.begin(&auth.scope).await?;
    let expires_at =
        connect_links::create(&mut tx, &auth.scope, link_hash, slug, return_to).await?;
    let entry = AuditEntry::new(auth.principal.actor(), "connect.begun")
        .detail(json!({ "provider": slug }));
    audit::record(&mut tx, &auth.scope, &entry).await?;
    tx.commit().await?;

    let mut link = url_below(&state.public_url, &["v1", "connect", slug, "start"]);
    link.query_pairs_mut()
        .append_pair("state", token.expose_secret());
    let body = ConnectLink {
        authorize_url: link.into(),
        state: token.expose_secret().to_owned(),
        expires_at,
    };
    Ok((StatusCode::CREATED, Json(body)))
}
