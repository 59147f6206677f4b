//! `GET /v1/connect/{provider}/callback`.
//!
//! Browsers may repeat a request: a reload, an aborted navigation, a prefetch. A repeated request
//! waits for the outcome of the first and receives the same response.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::connectors::{Callback, CallbackOutcome, Connector, NewGrant};
use shared::crypto::constant_time_eq;
use shared::db::audit::{self, AuditActor, AuditEntry};
use shared::db::connect_links;
use shared::db::connections::{self, ConnectionStatus, NewConnection, NewPending};
use shared::db::oauth_states::{self, OauthState};
use shared::model::{ConnectionId, ExternalAccount, SyncMode};
use tokio::time::Instant;
use url::{Url, form_urlencoded};
use utoipa::ToSchema;

use super::account_picker::AccountPicker;
use super::authorization_step::{self, AuthorizationStep, FlowTarget, StartedStep};
use super::browser_binding::BrowserBinding;
use super::unusable_grant::{reject_short_lived, revoke_unless_shared};
use crate::error::{ApiError, FieldProblem};
use crate::extract::ProviderPath;
use crate::routes::connections::{Connection, show};
use crate::routes::sync::enqueue_sync;
use crate::state::AppState;

/// The connection that a flow created.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionResponse {
    connection: Connection,
}

/// The maximum time that a repeated callback waits for the outcome of the first.
const REPEAT_TIMEOUT: Duration = Duration::from_secs(25);
/// The interval at which a repeated callback reads the outcome.
const REPEAT_INTERVAL: Duration = Duration::from_millis(200);

/// The outcome of an authorization step.
enum StepOutcome {
    /// Another step follows at the provider.
    Redirect(Url),
    /// The person picks one of several accounts.
    PickAccount(AccountPicker),
    /// The flow ended with a connection, active or pending.
    Done(Box<Connection>),
}

/// The stored form of an outcome, for repeated callbacks.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredOutcome {
    Redirect(Url),
    PickAccount(AccountPicker),
    Done(ConnectionId),
    Failed,
}

impl StoredOutcome {
    fn from_result(outcome: &Result<StepOutcome, ApiError>) -> Self {
        match outcome {
            Ok(StepOutcome::Redirect(url)) => Self::Redirect(url.clone()),
            Ok(StepOutcome::PickAccount(picker)) => Self::PickAccount(picker.clone()),
            Ok(StepOutcome::Done(connection)) => Self::Done(connection.id),
            Err(_) => Self::Failed,
        }
    }
}

/// Handle the provider's redirect
///
/// For browsers. The provider's connector receives all parameters. The response is a redirect to
/// the next step or to `return_to`; without `return_to`, the connection. A state is used once, in
/// the browser that started the flow; a repeated request of the same browser gets the same
/// response.
#[utoipa::path(
    get,
    path = "/v1/connect/{provider}/callback",
    tag = "connect",
    params(
        ("provider" = String, Path, description = "The provider's slug", pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github"),
        ("state" = String, Query, description = "The one-time state of the step", pattern = "^[A-Za-z0-9_-]{43}$")
    ),
    responses(
        (status = 200, description = "The connection, or the accounts to choose from if the grant covers several: a page for browsers, JSON for other clients", content(
            (ConnectionResponse = "application/json"),
            (String = "text/html")
        )),
        (status = 302, description = "A redirect to the next step or to `return_to`", headers(("Location" = String))),
        (status = 403, body = shared::problem::Problem, content_type = "application/problem+json", description = "The state is unknown, used, expired or bound to another browser"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "Provider not found"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The account belongs to another connection, or the provider is not configured"),
        (status = 502, body = shared::problem::Problem, content_type = "application/problem+json", description = "The call to the provider failed")
    )
)]
pub(crate) async fn finish_connect(
    State(state): State<Arc<AppState>>,
    ProviderPath(provider): ProviderPath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query: Vec<(String, String)> = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .into_owned()
        .collect();
    let token = parse_state(&query)?;
    let connector = state.registry.get(&provider)?;
    let row = authorization_step::find(&state, &provider, token).await?;
    let browser_hash = verify_browser(&row, &headers, &state)?;
    let return_to = row
        .return_to
        .as_deref()
        .and_then(|url| Url::parse(url).ok());
    if !row.used {
        let step = AuthorizationStep::open(&state, &row)?;
        // The state is consumed now, so the rest must run even if the browser disconnects.
        let app = Arc::clone(&state);
        let (row, provider) = (row.clone(), provider.clone());
        let outcome = state
            .run_to_completion(async move {
                if !consume(&app, &row, &browser_hash).await? {
                    return Ok(None);
                }
                let callback = Callback {
                    query,
                    code_verifier: step.verifier(),
                    redirect_uri: authorization_step::redirect_uri(&app, &provider),
                    context: step.context,
                };
                let outcome = match connector.exchange_token(callback).await {
                    Ok(outcome) => {
                        handle_callback(&app, connector.as_ref(), &row, &browser_hash, outcome)
                            .await
                    }
                    Err(error) => Err(ApiError::Connector(error)),
                };
                authorization_step::store_outcome(
                    &app,
                    &row,
                    &StoredOutcome::from_result(&outcome),
                )
                .await?;
                outcome.map(Some)
            })
            .await;
        if let Some(outcome) = outcome.transpose() {
            return to_response(outcome, return_to, &headers);
        }
    }
    to_response(
        await_stored_outcome(&state, &provider, &row).await,
        return_to,
        &headers,
    )
}

/// Waits for the outcome of an earlier callback with the same state.
async fn await_stored_outcome(
    app: &AppState,
    provider: &str,
    row: &OauthState,
) -> Result<StepOutcome, ApiError> {
    let deadline = Instant::now() + REPEAT_TIMEOUT;
    loop {
        let found = oauth_states::find(&app.db, row.state_hash)
            .await?
            .filter(|row| row.provider == provider)
            .ok_or(ApiError::InvalidState)?;
        if let Some(sealed) = &found.response {
            return match authorization_step::open_outcome(app, &found, sealed)? {
                StoredOutcome::Redirect(url) => Ok(StepOutcome::Redirect(url)),
                StoredOutcome::PickAccount(picker) => Ok(StepOutcome::PickAccount(picker)),
                StoredOutcome::Done(id) => {
                    let mut tx = app.db.begin(&found.scope).await?;
                    let connection = connections::get(&mut tx, &found.scope, id)
                        .await?
                        .ok_or(ApiError::InvalidState)?;
                    let shown = show(&mut tx, &app.registry, connection).await?;
                    tx.commit().await?;
                    Ok(StepOutcome::Done(Box::new(shown)))
                }
                StoredOutcome::Failed => Err(ApiError::InvalidState),
            };
        }
        if Instant::now() >= deadline {
            return Err(ApiError::TimedOut);
        }
        tokio::time::sleep(REPEAT_INTERVAL).await;
    }
}

/// Reads the only `state` of the query.
fn parse_state(query: &[(String, String)]) -> Result<&str, ApiError> {
    let mut states = query.iter().filter(|(name, _)| name == "state");
    let first = states.next().map(|(_, value)| value.as_str());
    match first {
        Some(token) if authorization_step::is_state(token) && states.next().is_none() => Ok(token),
        _ => {
            let problem = FieldProblem::new("state", "must be a state of this API");
            Err(ApiError::Parameters(vec![problem]))
        }
    }
}

/// Returns the browser's hash if the flow was started in this browser.
fn verify_browser(
    row: &OauthState,
    headers: &HeaderMap,
    state: &AppState,
) -> Result<[u8; 32], ApiError> {
    let browser =
        BrowserBinding::from_headers(headers, &state.public_url).ok_or(ApiError::InvalidState)?;
    let hash = browser.hash();
    if constant_time_eq(&row.browser_hash, &hash) {
        Ok(hash)
    } else {
        Err(ApiError::InvalidState)
    }
}

async fn consume(
    app: &AppState,
    row: &OauthState,
    browser_hash: &[u8; 32],
) -> Result<bool, ApiError> {
    let mut tx = app.db.begin(&row.scope).await?;
    let is_first =
        oauth_states::consume(&mut tx, &row.scope, &row.state_hash, browser_hash).await?;
    tx.commit().await?;
    Ok(is_first)
}

async fn handle_callback(
    app: &AppState,
    connector: &dyn Connector,
    row: &OauthState,
    browser_hash: &[u8; 32],
    outcome: CallbackOutcome,
) -> Result<StepOutcome, ApiError> {
    match outcome {
        CallbackOutcome::NextStep { context } => {
            let started = next_step(app, row, browser_hash, context).await?;
            started.authorize(app, connector).map(StepOutcome::Redirect)
        }
        CallbackOutcome::Choose { accounts, context } => {
            let started = next_step(app, row, browser_hash, context).await?;
            let callback = authorization_step::redirect_uri(app, &row.provider);
            let name = connector.descriptor().display_name;
            Ok(StepOutcome::PickAccount(AccountPicker::new(
                name, &started, callback, accounts,
            )))
        }
        CallbackOutcome::Connected(grant) => connect(app, connector, row, &grant).await,
        CallbackOutcome::AwaitingApproval { requester, account } => {
            create_pending(app, row, &requester, account.as_deref()).await
        }
        CallbackOutcome::Denied { reason } => Err(ApiError::Denied(reason)),
        CallbackOutcome::Rejected { reason, grant } => {
            revoke_unless_shared(app, connector, &row.scope, &grant).await;
            Err(ApiError::Denied(reason))
        }
    }
}

/// Starts the next step in the same browser.
async fn next_step(
    app: &AppState,
    row: &OauthState,
    browser_hash: &[u8; 32],
    context: serde_json::Value,
) -> Result<StartedStep, ApiError> {
    let target = FlowTarget {
        provider: &row.provider,
        link_hash: row.link_hash,
        browser_hash: *browser_hash,
        return_to: row.return_to.as_deref(),
    };
    let mut tx = app.db.begin(&row.scope).await?;
    let started =
        authorization_step::start_step(app, &mut tx, &row.scope, &target, Some(context)).await?;
    tx.commit().await?;
    Ok(started)
}

/// Stores the connection, its tokens, its backfill and the audit entry in one transaction.
async fn connect(
    app: &AppState,
    connector: &dyn Connector,
    row: &OauthState,
    grant: &NewGrant,
) -> Result<StepOutcome, ApiError> {
    let descriptor = connector.descriptor();
    let grant_key = connector.grant_key(&grant.account);
    let new = NewConnection {
        provider: descriptor.slug,
        account: &grant.account,
        scopes: &grant.scopes,
        exclusive: descriptor.exclusive_accounts,
        polling: descriptor.polling,
        poll_interval_seconds: app.poll_interval_seconds,
        administrator: grant.administrator.as_deref(),
        grant_key: grant_key.as_deref(),
    };
    let scope = &row.scope;
    let mut tx = app.db.begin(scope).await?;
    // One link creates one connection, even if several people opened it.
    let pending = connect_links::consume(&mut tx, scope, &row.link_hash)
        .await?
        .ok_or(ApiError::InvalidState)?;
    let approved = match pending {
        Some(id) => connections::activate_pending(&mut tx, scope, id, &new).await?,
        None => None,
    };
    let connected = match approved {
        Some(connected) => connected,
        None => connections::connect(&mut tx, scope, &new).await?,
    };
    let id = connected.connection.id;
    app.credentials
        .store(
            &mut tx,
            scope,
            id,
            descriptor.tokens,
            grant.tokens.as_ref(),
            grant.user_token.as_ref(),
        )
        .await?;
    if descriptor.tokens.keeps_refresh_token
        && !app
            .credentials
            .has_refresh_token(&mut tx, scope, id)
            .await?
    {
        tx.rollback().await?;
        return Err(reject_short_lived(app, connector, scope, grant).await);
    }
    // A resumed connection with a complete backfill reads only the gap since its cursors.
    let is_gap_only = connected.resumed && connected.connection.backfilled_at.is_some();
    let mode = if is_gap_only {
        SyncMode::Incremental
    } else {
        SyncMode::Full
    };
    enqueue_sync(&*app.queue, &mut tx, scope, &connected.connection, mode).await?;
    // The new tokens may end at another time.
    connections::refresh_health(&mut tx, scope, id).await?;
    let target = id.to_string();
    let entry = AuditEntry::new(AuditActor::Browser, "connection.connected")
        .target(&target)
        .detail(json!({
            "provider": descriptor.slug,
            "resumed": connected.resumed,
            "administrator": grant.administrator,
        }));
    audit::record(&mut tx, scope, &entry).await?;
    let shown = show(&mut tx, &app.registry, connected.connection).await?;
    tx.commit().await?;
    app.notifier.notify();
    Ok(StepOutcome::Done(Box::new(shown)))
}

/// Stores a pending connection, which an administrator approves with the same link.
async fn create_pending(
    app: &AppState,
    row: &OauthState,
    requester: &str,
    account: Option<&ExternalAccount>,
) -> Result<StepOutcome, ApiError> {
    let scope = &row.scope;
    let mut tx = app.db.begin(scope).await?;
    let existing = connect_links::lock(&mut tx, scope, &row.link_hash)
        .await?
        .ok_or(ApiError::InvalidState)?;
    let new = NewPending {
        provider: &row.provider,
        requester,
        account,
        existing,
        poll_interval_seconds: app.poll_interval_seconds,
        days: app.approval_days,
    };
    let pending = connections::create_pending(&mut tx, scope, &new).await?;
    connect_links::extend_for_approval(&mut tx, scope, &row.link_hash, pending.id).await?;
    let target = pending.id.to_string();
    let entry = AuditEntry::new(AuditActor::Browser, "connection.requested")
        .target(&target)
        .detail(json!({ "provider": row.provider }));
    audit::record(&mut tx, scope, &entry).await?;
    let shown = show(&mut tx, &app.registry, pending).await?;
    tx.commit().await?;
    Ok(StepOutcome::Done(Box::new(shown)))
}

/// Converts the outcome to a response: a redirect if the flow has a `return_to`.
fn to_response(
    outcome: Result<StepOutcome, ApiError>,
    return_to: Option<Url>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    match (outcome, return_to) {
        (Ok(StepOutcome::Redirect(url)), _) => Ok(redirect(&url)),
        (Ok(StepOutcome::PickAccount(picker)), _) => Ok(picker.to_response(headers)),
        (Ok(StepOutcome::Done(connection)), Some(mut url)) => {
            url.query_pairs_mut()
                .append_pair("connection_id", &connection.id.to_string())
                .append_pair("status", status_parameter(connection.status));
            Ok(redirect(&url))
        }
        (Ok(StepOutcome::Done(connection)), None) => Ok(Json(ConnectionResponse {
            connection: *connection,
        })
        .into_response()),
        // A request with an invalid state must not redirect.
        (Err(ApiError::InvalidState), _) => Err(ApiError::InvalidState),
        (Err(error), Some(mut url)) => {
            tracing::info!(
                error = &error as &dyn std::error::Error,
                "connect flow failed"
            );
            url.query_pairs_mut().append_pair("error", error.code());
            Ok(redirect(&url))
        }
        (Err(error), None) => Err(error),
    }
}

/// The parameter `status` of `return_to`.
fn status_parameter(status: ConnectionStatus) -> &'static str {
    match status {
        ConnectionStatus::Active => "connected",
        other => other.into(),
    }
}

fn redirect(url: &Url) -> Response {
    (StatusCode::FOUND, [(LOCATION, url.as_str())]).into_response()
}
