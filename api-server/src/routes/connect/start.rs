//! `GET` and `POST /v1/connect/{provider}/start`: the page behind a connect link.
//!
//! The page names the team and the data to be read; viewing it has no effect. Continuing starts an
//! authorization step with a secret state, bound to this browser. The form contains a confirmation
//! that only a browser with the page's cookie can send, so that another site cannot submit it
//! (CSRF). A link that has led to a connection shows its state in the browser that connected it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use shared::crypto::sha256;
use shared::db::connect_links::{self, ConnectLink};
use shared::db::connections;
use url::{Url, form_urlencoded};
use utoipa::{IntoParams, ToSchema};

use super::authorization_step::{self, FlowTarget};
use super::browser_binding::BrowserBinding;
use super::flow_error::FlowError;
use super::outcome;
use super::response::{self, ShownFlow, form_target, link_url};
use crate::error::{ApiError, FieldProblem};
use crate::extract::ProviderPath;
use crate::pages::connect::{ClosedLink, ConsentView, FailureContext};
use crate::pages::prefers_html;
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
/// Viewing it has no effect. A client that accepts `text/html` gets a page for an error, too, and,
/// after the end of its flow, one with the state of the connection.
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
) -> Result<Response, FlowError> {
    let mut context = FailureContext::default();
    open(&state, &provider, query, &headers, &mut context)
        .await
        .map_err(|error| FlowError { error, context })
}

async fn open(
    app: &AppState,
    provider: &str,
    query: LinkQuery,
    headers: &HeaderMap,
    context: &mut FailureContext,
) -> Result<Response, ApiError> {
    let missing = || ApiError::Parameters(vec![FieldProblem::new("state", "is missing")]);
    let token = query.state.ok_or_else(missing)?;
    let connector = super::connector(app, provider, context)?;
    let descriptor = connector.descriptor();
    let Some(link) = find(app, provider, &token).await? else {
        let shown = closed_link(app, provider, token, headers, context).await?;
        return shown.ok_or(ApiError::InvalidState);
    };
    let team = response::team(app, &link.scope).await?;
    let account = pending_account(app, &link).await?;
    let browser =
        BrowserBinding::from_headers(headers, &app.public_url).unwrap_or_else(BrowserBinding::new);
    let action = append_path(&app.public_url, &["v1", "connect", provider, "start"]);
    let return_to = link
        .return_to
        .as_deref()
        .and_then(|url| Url::parse(url).ok());
    let view = ConsentView {
        product: app.pages.product(),
        team: &team,
        provider: descriptor.display_name,
        is_pending: link.pending.is_some(),
        account: account.as_deref(),
        reads: descriptor.reads,
        scopes: descriptor.scopes,
        action: action.path(),
        token: &token,
        confirm: &browser.confirmation(&token),
        form: form_target(&app.public_url, return_to.as_ref()),
    };
    let mut response = app.pages.respond(&view.page());
    response
        .headers_mut()
        .insert(SET_COOKIE, cookie(&browser, app)?);
    Ok(response)
}

/// The name of the account of a link's pending request.
async fn pending_account(app: &AppState, link: &ConnectLink) -> Result<Option<String>, ApiError> {
    let Some(id) = link.pending else {
        return Ok(None);
    };
    let mut tx = app.db.begin(&link.scope).await?;
    let pending = connections::get(&mut tx, &link.scope, id).await?;
    tx.commit().await?;
    Ok(pending.and_then(|pending| pending.approval?.account_name))
}

/// The page of a link that cannot be opened, if its flow ended in this browser.
///
/// Otherwise the reason is added to the context.
async fn closed_link(
    app: &AppState,
    provider: &str,
    token: String,
    headers: &HeaderMap,
    context: &mut FailureContext,
) -> Result<Option<Response>, ApiError> {
    if !prefers_html(headers) {
        return Ok(None);
    }
    let link_hash = sha256(token.as_bytes());
    let found = connect_links::find_closed(&app.db, link_hash).await?;
    let Some(link) = found.filter(|link| link.provider == provider) else {
        return Ok(None);
    };
    context.link = Some(if link.used {
        ClosedLink::Used
    } else {
        ClosedLink::Expired
    });
    let Some(browser) = BrowserBinding::from_headers(headers, &app.public_url) else {
        return Ok(None);
    };
    let done = outcome::find_done(app, &link.scope, &link_hash, &browser.hash()).await?;
    let Some(connection) = done else {
        return Ok(None);
    };
    let connector = app.registry.get(provider)?;
    let token = SecretString::from(token);
    let flow = ShownFlow {
        app,
        scope: &link.scope,
        descriptor: connector.descriptor(),
        headers,
        return_to: None,
        link_token: Some(&token),
    };
    flow.connection_page(&connection).await.map(Some)
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
) -> Result<Response, FlowError> {
    let mut context = FailureContext::default();
    start(&state, &provider, &headers, &body, &mut context)
        .await
        .map_err(|error| FlowError { error, context })
}

async fn start(
    app: &AppState,
    provider: &str,
    headers: &HeaderMap,
    body: &[u8],
    context: &mut FailureContext,
) -> Result<Response, ApiError> {
    let (token, confirm) = read_form(body)?;
    let connector = super::connector(app, provider, context)?;
    context.start = Some(link_url(app, provider, &token).into());
    let browser =
        BrowserBinding::from_headers(headers, &app.public_url).ok_or(ApiError::InvalidState)?;
    if !browser.verify_confirmation(&token, &confirm) {
        return Err(ApiError::InvalidState);
    }
    let link = find(app, provider, &token)
        .await?
        .ok_or(ApiError::InvalidState)?;
    let target = FlowTarget {
        provider,
        link_token: &SecretString::from(token),
        browser_hash: browser.hash(),
        return_to: link.return_to.as_deref(),
    };
    let mut tx = app.db.begin(&link.scope).await?;
    let started = authorization_step::start_step(app, &mut tx, &link.scope, &target, None).await?;
    let location = started.authorize(app, connector.as_ref())?;
    tx.commit().await?;
    let headers = [(SET_COOKIE, cookie(&browser, app)?)];
    Ok((
        StatusCode::SEE_OTHER,
        headers,
        [(LOCATION, location.as_str())],
    )
        .into_response())
}

/// Finds the open link of a token.
async fn find(
    app: &AppState,
    provider: &str,
    token: &str,
) -> Result<Option<ConnectLink>, ApiError> {
    let found = connect_links::find(&app.db, sha256(token.as_bytes())).await?;
    Ok(found.filter(|link| link.provider == provider))
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
