//! `GET` and `POST /v1/connect/{provider}/start`: the page behind a connect link.
//!
//! The page names the team and the data to be read; viewing it has no effect. Continuing starts an
//! authorization step with a secret state, bound to this browser. The form contains a confirmation
//! that only a browser with the page's cookie can send, so that another site cannot submit it
//! (CSRF).

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use shared::connectors::ProviderDescriptor;
use shared::crypto::sha256;
use shared::db::connect_links::{self, ConnectLink};
use shared::db::{connections, tenants};
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use super::authorization_step::{self, FlowTarget};
use super::browser_binding::BrowserBinding;
use super::page::{FormTarget, escape, page};
use crate::error::{ApiError, FieldProblem};
use crate::extract::ProviderPath;
use crate::query::{FromQuery, Query, QueryReader};
use crate::state::{AppState, append_path};

/// The parameters of a connect link.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LinkQuery {
    /// The token of the link.
    #[param(required = true, pattern = "^[A-Za-z0-9_-]{43}$")]
    state: Option<String>,
}

impl FromQuery for LinkQuery {
    fn read(query: &mut QueryReader) -> Self {
        let state = query.value("state", "a state of this API", |text| {
            authorization_step::is_state(text).then(|| text.to_owned())
        });
        Self { state }
    }
}

/// The form of the page.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "documents the form in the OpenAPI document")]
pub(crate) struct ContinueForm {
    /// The token of the link.
    #[schema(pattern = "^[A-Za-z0-9_-]{43}$")]
    state: String,
    /// The confirmation of the page, which is valid with the browser's cookie only.
    #[schema(pattern = "^[A-Za-z0-9_-]{43}$")]
    confirm: String,
}

/// Show the page of a connect link
///
/// For browsers. The page names the team and the data to be read, and has a form to continue.
/// Viewing it has no effect.
#[utoipa::path(
    get,
    path = "/v1/connect/{provider}/start",
    tag = "connect",
    params(
        ("provider" = String, Path, description = "The provider's slug", pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github"),
        LinkQuery
    ),
    responses(
        (status = 200, body = String, content_type = "text/html", description = "The page", headers(("Set-Cookie" = String))),
        (status = 403, body = shared::problem::Problem, content_type = "application/problem+json", description = "The link is unknown, used or expired"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "Provider not found"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The provider is not configured")
    )
)]
pub(crate) async fn open_connect_link(
    State(state): State<Arc<AppState>>,
    ProviderPath(provider): ProviderPath,
    Query(query): Query<LinkQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let missing = || ApiError::Parameters(vec![FieldProblem::new("state", "is missing")]);
    let token = query.state.ok_or_else(missing)?;
    let connector = state.registry.get(&provider)?;
    let link = find(&state, &provider, &token).await?;
    let mut tx = state.db.begin(&link.scope).await?;
    let team = tenants::name(&mut tx, &link.scope)
        .await?
        .ok_or(ApiError::InvalidState)?;
    let account = match link.pending {
        Some(id) => connections::get(&mut tx, &link.scope, id)
            .await?
            .and_then(|pending| pending.approval?.account_name),
        None => None,
    };
    tx.commit().await?;

    let browser = BrowserBinding::from_headers(&headers, &state.public_url)
        .unwrap_or_else(BrowserBinding::new);
    let form = Form {
        action: append_path(&state.public_url, &["v1", "connect", &provider, "start"])
            .path()
            .to_owned(),
        confirm: browser.confirmation(&token),
        token,
    };
    let descriptor = connector.descriptor();
    let title = format!("Connect {}", escape(descriptor.display_name));
    let body = body(&team, account.as_deref(), descriptor, &form);
    let target = if state.public_url.scheme() == "https" {
        FormTarget::Https
    } else {
        FormTarget::Http
    };
    let mut response = page(&title, &body, target);
    response
        .headers_mut()
        .insert(SET_COOKIE, cookie(&browser, &state)?);
    Ok(response)
}

/// Continue from the page of a connect link
///
/// For browsers. Starts a flow that is bound to this browser and redirects to the provider.
#[utoipa::path(
    post,
    path = "/v1/connect/{provider}/start",
    tag = "connect",
    params(
        ("provider" = String, Path, description = "The provider's slug", pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github")
    ),
    request_body(content = ContinueForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "A redirect to the provider", headers(("Location" = String), ("Set-Cookie" = String))),
        (status = 403, body = shared::problem::Problem, content_type = "application/problem+json", description = "The link is unknown, used or expired, or the confirmation does not match the browser"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "Provider not found"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The provider is not configured"),
        (status = 502, body = shared::problem::Problem, content_type = "application/problem+json", description = "The provider's settings are invalid")
    )
)]
pub(crate) async fn start_connect(
    State(state): State<Arc<AppState>>,
    ProviderPath(provider): ProviderPath,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let (token, confirm) = read_form(&body)?;
    let connector = state.registry.get(&provider)?;
    let browser =
        BrowserBinding::from_headers(&headers, &state.public_url).ok_or(ApiError::InvalidState)?;
    if !browser.verify_confirmation(&token, &confirm) {
        return Err(ApiError::InvalidState);
    }
    let link = find(&state, &provider, &token).await?;
    let target = FlowTarget {
        provider: &provider,
        link_hash: link.link_hash,
        browser_hash: browser.hash(),
        return_to: link.return_to.as_deref(),
    };
    let mut tx = state.db.begin(&link.scope).await?;
    let started =
        authorization_step::start_step(&state, &mut tx, &link.scope, &target, None).await?;
    let location = started.authorize(&state, connector.as_ref())?;
    tx.commit().await?;
    let headers = [(SET_COOKIE, cookie(&browser, &state)?)];
    Ok((
        StatusCode::SEE_OTHER,
        headers,
        [(LOCATION, location.as_str())],
    )
        .into_response())
}

/// Finds the link of a token; unknown and expired tokens give the same error.
async fn find(state: &AppState, provider: &str, token: &str) -> Result<ConnectLink, ApiError> {
    let found = connect_links::find(&state.db, sha256(token.as_bytes())).await?;
    found
        .filter(|link| link.provider == provider)
        .ok_or(ApiError::InvalidState)
}

fn cookie(browser: &BrowserBinding, state: &AppState) -> Result<axum::http::HeaderValue, ApiError> {
    browser
        .set_cookie(&state.public_url)
        .map_err(|_| ApiError::InvalidState)
}

/// Reads the only token and the only confirmation of a form.
fn read_form(body: &[u8]) -> Result<(String, String), ApiError> {
    let fields: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let only = |name: &str| {
        let mut values = fields.iter().filter(|(key, _)| key == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Ok(value.clone()),
            _ => Err(ApiError::Fields(vec![FieldProblem::new(
                name,
                "must be present once, as in the page of a connect link",
            )])),
        }
    };
    Ok((only("state")?, only("confirm")?))
}

/// The form of the page.
struct Form {
    action: String,
    token: String,
    confirm: String,
}

/// The text that the person reads before continuing.
fn body(team: &str, account: Option<&str>, descriptor: &ProviderDescriptor, form: &Form) -> String {
    let provider = escape(descriptor.display_name);
    let team = escape(team);
    let mut body = format!(
        "<p>The team <b>{team}</b> asks to connect {} to Poblysh Connectors.</p>\n\
         <p>If you continue, and agree at {provider}, this team will be able to read:</p>\n<ul>",
        match account {
            Some(name) => format!("the {provider} account <b>{}</b>", escape(name)),
            None => format!("a {provider} account that you administer"),
        }
    );
    for item in descriptor.reads {
        let _infallible = write!(body, "<li>{}</li>", escape(item));
    }
    let _infallible = write!(
        body,
        "</ul>\n<p>Your data at {provider} is not changed. Permissions: {}.</p>\n\
         <p>Do not continue if you do not know this team or did not expect this request.</p>\n\
         <form method=\"post\" action=\"{}\">\
         <input type=\"hidden\" name=\"state\" value=\"{}\">\
         <input type=\"hidden\" name=\"confirm\" value=\"{}\">\
         <button type=\"submit\">Continue to {provider}</button></form>",
        escape(&descriptor.scopes.join(", ")),
        escape(&form.action),
        escape(&form.token),
        escape(&form.confirm),
    );
    body
}
