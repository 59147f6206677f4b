//! `GET /v1/connect/{provider}/start`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use shared::db::oauth_states;
use utoipa::IntoParams;

use super::browser::Browser;
use super::flow::{self, Leg};
use crate::error::{ApiError, FieldProblem};
use crate::extract::ProviderPath;
use crate::query::{FromQuery, Query, QueryReader};
use crate::state::AppState;

/// Which flow is begun.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OpenQuery {
    /// The link's one-time state.
    #[param(required = true, pattern = "^[A-Za-z0-9_-]{43}$")]
    state: Option<String>,
}

impl FromQuery for OpenQuery {
    fn read(query: &mut QueryReader) -> Self {
        let state = query.value("state", "a state that this API gave", |text| {
            flow::is_state(text).then(|| text.to_owned())
        });
        Self { state }
    }
}

/// Opens a connect link
///
/// For browsers: sets a cookie that binds the flow to the browser, and leads on to the
/// provider. Another browser is refused from then on.
#[utoipa::path(
    get,
    path = "/v1/connect/{provider}/start",
    tag = "connect",
    params(
        ("provider" = String, Path, description = "The provider's slug", pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github"),
        OpenQuery
    ),
    responses(
        (status = 302, description = "On to the provider", headers(("Location" = String), ("Set-Cookie" = String))),
        (status = 403, body = shared::problem::Problem, content_type = "application/problem+json", description = "The state is unknown, used, expired or another browser's"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "No such provider"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The operator has not set the provider up"),
        (status = 502, body = shared::problem::Problem, content_type = "application/problem+json", description = "The provider's settings cannot be used")
    )
)]
pub(crate) async fn open_connect_link(
    State(state): State<Arc<AppState>>,
    ProviderPath(provider): ProviderPath,
    Query(query): Query<OpenQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let missing = || ApiError::Parameters(vec![FieldProblem::new("state", "is missing")]);
    let text = query.state.ok_or_else(missing)?;
    let connector = state.registry.get(&provider)?;
    let row = flow::find(&state, &provider, &text).await?;
    let leg = Leg::open(&state, &row)?;
    let location = leg.authorize(&state, connector.as_ref(), &text)?;

    let browser = Browser::known(&headers, &state.public_url).unwrap_or_else(Browser::new);
    let mut tx = state.db.begin(&row.scope).await?;
    let bound =
        oauth_states::bind_browser(&mut tx, &row.scope, &row.state_hash, &browser.hash()).await?;
    tx.commit().await?;
    if !bound {
        return Err(ApiError::InvalidState);
    }
    let cookie = browser
        .set_cookie(&state.public_url)
        .map_err(|_| ApiError::InvalidState)?;
    let headers = [(SET_COOKIE, cookie)];
    Ok((StatusCode::FOUND, headers, [(LOCATION, location.as_str())]).into_response())
}
