//! `GET /v1/connect/{provider}/callback`.
//!
//! Browsers send a redirect twice: a reload, an aborted navigation, a prefetch. The second
//! request waits for the answer of the first and gives it again.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::connectors::{Callback, CallbackOutcome, Connector, ExternalAccount, NewGrant};
use shared::crypto::constant_time_eq;
use shared::db::audit::{self, AuditActor, AuditEntry};
use shared::db::connect_links;
use shared::db::connections::{self, ConnectionStatus, NewConnection, NewPending};
use shared::db::oauth_states::{self, OauthState};
use shared::ids::ConnectionId;
use shared::queue::SyncMode;
use tokio::time::Instant;
use url::{Url, form_urlencoded};
use utoipa::ToSchema;

use super::browser::Browser;
use super::choose::Choice;
use super::flow::{self, Begun, Leg, Place};
use crate::error::{ApiError, FieldProblem};
use crate::extract::ProviderPath;
use crate::routes::connections::Connection;
use crate::routes::sync::enqueue_sync;
use crate::state::AppState;

/// The connection that a flow led to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionAnswer {
    connection: Connection,
}

/// How long a repeated callback waits for the answer of the first.
const REPEAT_TIMEOUT: Duration = Duration::from_secs(25);
/// How often it looks for that answer.
const REPEAT_INTERVAL: Duration = Duration::from_millis(200);

/// How a flow, or a leg of it, ended.
enum End {
    /// Another leg follows at the provider.
    GoOn(Url),
    /// The person chooses one of several accounts.
    Choose(Choice),
    /// There is a connection, active or pending.
    Done(Box<Connection>),
}

/// An end as it is kept for the browser that sends the callback again.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptEnd {
    GoOn(Url),
    Choose(Choice),
    Done(ConnectionId),
    Failed,
}

impl KeptEnd {
    fn of(ended: &Result<End, ApiError>) -> Self {
        match ended {
            Ok(End::GoOn(url)) => Self::GoOn(url.clone()),
            Ok(End::Choose(choice)) => Self::Choose(choice.clone()),
            Ok(End::Done(connection)) => Self::Done(connection.id),
            Err(_) => Self::Failed,
        }
    }
}

/// Takes the provider's redirect
///
/// For browsers: whatever parameters the provider adds are handed to its connector.
/// Answers with a redirect to the next leg or to `return_to`; without `return_to`, with
/// the connection. The state serves once, in the browser that began the flow; the same browser
/// gets the same answer again.
#[utoipa::path(
    get,
    path = "/v1/connect/{provider}/callback",
    tag = "connect",
    params(
        ("provider" = String, Path, description = "The provider's slug", pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github"),
        ("state" = String, Query, description = "The leg's one-time state", pattern = "^[A-Za-z0-9_-]{43}$")
    ),
    responses(
        (status = 200, description = "The connection, or the accounts to choose from where the grant covers several: a page for browsers, JSON for others", content(
            (ConnectionAnswer = "application/json"),
            (String = "text/html")
        )),
        (status = 302, description = "On to the next leg or to `return_to`", headers(("Location" = String))),
        (status = 403, body = shared::problem::Problem, content_type = "application/problem+json", description = "The state is unknown, used, expired or another browser's"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "No such provider"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The account belongs to another connection, or the provider is not set up"),
        (status = 502, body = shared::problem::Problem, content_type = "application/problem+json", description = "The provider failed")
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
    let text = only_state(&query)?;
    let connector = state.registry.get(&provider)?;
    let row = flow::find(&state, &provider, text).await?;
    let browser = belongs_to(&row, &headers, &state)?;
    let return_to = row
        .return_to
        .as_deref()
        .and_then(|url| Url::parse(url).ok());
    if !row.used {
        let leg = Leg::open(&state, &row)?;
        // From here on the state is used up: what follows is done even if the browser leaves.
        let app = Arc::clone(&state);
        let (row, provider) = (row.clone(), provider.clone());
        let ended = state
            .see_through(async move {
                if !consume(&app, &row, &browser).await? {
                    return Ok(None);
                }
                let callback = Callback {
                    query,
                    code_verifier: leg.verifier(),
                    redirect_uri: flow::redirect_uri(&app, &provider),
                    carry: leg.carry,
                };
                let ended = match connector.exchange_token(callback).await {
                    Ok(outcome) => {
                        conclude(&app, connector.as_ref(), &row, &browser, outcome).await
                    }
                    Err(error) => Err(ApiError::Connector(error)),
                };
                flow::record_answer(&app, &row, &KeptEnd::of(&ended)).await?;
                ended.map(Some)
            })
            .await;
        if let Some(ended) = ended.transpose() {
            return answer(ended, return_to, &headers);
        }
    }
    answer(repeat(&state, &provider, &row).await, return_to, &headers)
}

/// The end of a leg whose callback came before, once it is known.
async fn repeat(app: &AppState, provider: &str, row: &OauthState) -> Result<End, ApiError> {
    let deadline = Instant::now() + REPEAT_TIMEOUT;
    loop {
        let found = oauth_states::find(&app.db, row.state_hash)
            .await?
            .filter(|row| row.provider == provider)
            .ok_or(ApiError::InvalidState)?;
        if let Some(sealed) = &found.answer {
            return match flow::open_answer(app, &found, sealed)? {
                KeptEnd::GoOn(url) => Ok(End::GoOn(url)),
                KeptEnd::Choose(choice) => Ok(End::Choose(choice)),
                KeptEnd::Done(id) => {
                    let mut tx = app.db.begin(&found.scope).await?;
                    let connection = connections::get(&mut tx, &found.scope, id).await?;
                    tx.commit().await?;
                    let connection = connection.ok_or(ApiError::InvalidState)?;
                    Ok(End::Done(Box::new(connection.into())))
                }
                KeptEnd::Failed => Err(ApiError::InvalidState),
            };
        }
        if Instant::now() >= deadline {
            return Err(ApiError::TimedOut);
        }
        tokio::time::sleep(REPEAT_INTERVAL).await;
    }
}

/// The one state in the query.
fn only_state(query: &[(String, String)]) -> Result<&str, ApiError> {
    let mut states = query.iter().filter(|(name, _)| name == "state");
    let first = states.next().map(|(_, value)| value.as_str());
    match first {
        Some(text) if flow::is_state(text) && states.next().is_none() => Ok(text),
        _ => {
            let problem = FieldProblem::new("state", "must be a state that this API gave");
            Err(ApiError::Parameters(vec![problem]))
        }
    }
}

/// The browser's hash, if the flow was begun in it.
fn belongs_to(
    row: &OauthState,
    headers: &HeaderMap,
    state: &AppState,
) -> Result<[u8; 32], ApiError> {
    let browser = Browser::known(headers, &state.public_url).ok_or(ApiError::InvalidState)?;
    let hash = browser.hash();
    if constant_time_eq(&row.browser_hash, &hash) {
        Ok(hash)
    } else {
        Err(ApiError::InvalidState)
    }
}

async fn consume(app: &AppState, row: &OauthState, browser: &[u8; 32]) -> Result<bool, ApiError> {
    let mut tx = app.db.begin(&row.scope).await?;
    let first = oauth_states::consume(&mut tx, &row.scope, &row.state_hash, browser).await?;
    tx.commit().await?;
    Ok(first)
}

async fn conclude(
    app: &AppState,
    connector: &dyn Connector,
    row: &OauthState,
    browser: &[u8; 32],
    outcome: CallbackOutcome,
) -> Result<End, ApiError> {
    match outcome {
        CallbackOutcome::Continue { carry } => {
            let begun = next_leg(app, row, browser, carry).await?;
            begun.authorize(app, connector).map(End::GoOn)
        }
        CallbackOutcome::Choose { accounts, carry } => {
            let begun = next_leg(app, row, browser, carry).await?;
            let callback = flow::redirect_uri(app, &row.provider);
            let name = connector.descriptor().display_name;
            Ok(End::Choose(Choice::new(name, &begun, callback, accounts)))
        }
        CallbackOutcome::Connected(grant) => connect(app, connector, row, &grant).await,
        CallbackOutcome::AwaitingApproval { requester, account } => {
            wait(app, row, &requester, account.as_deref()).await
        }
        CallbackOutcome::Denied { reason } => Err(ApiError::Denied(reason)),
    }
}

/// Begins the leg that follows this one in the same browser.
async fn next_leg(
    app: &AppState,
    row: &OauthState,
    browser: &[u8; 32],
    carry: serde_json::Value,
) -> Result<Begun, ApiError> {
    let place = Place {
        provider: &row.provider,
        link_hash: row.link_hash,
        browser_hash: *browser,
        return_to: row.return_to.as_deref(),
    };
    let mut tx = app.db.begin(&row.scope).await?;
    let begun = flow::begin(app, &mut tx, &row.scope, &place, Some(carry)).await?;
    tx.commit().await?;
    Ok(begun)
}

/// The connection, its tokens, its backfill and the audit line, in one transaction.
async fn connect(
    app: &AppState,
    connector: &dyn Connector,
    row: &OauthState,
    grant: &NewGrant,
) -> Result<End, ApiError> {
    let descriptor = connector.descriptor();
    let new = NewConnection {
        provider: descriptor.slug,
        account: &grant.account,
        scopes: &grant.scopes,
        exclusive: descriptor.exclusive_accounts,
        polling: descriptor.polling,
        poll_interval_seconds: app.poll_interval_seconds,
        administrator: grant.administrator.as_deref(),
    };
    let scope = &row.scope;
    let mut tx = app.db.begin(scope).await?;
    // One link leads to one connection, whoever else has opened it.
    let waiting = connect_links::use_up(&mut tx, scope, &row.link_hash)
        .await?
        .ok_or(ApiError::InvalidState)?;
    let approved = match waiting {
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
            grant.tokens.as_ref(),
            grant.person.as_ref(),
        )
        .await?;
    // A connection that goes on where its cursors stand has only the gap to fill.
    let gap_only = connected.resumed && connected.connection.backfilled_at.is_some();
    let mode = if gap_only {
        SyncMode::Incremental
    } else {
        SyncMode::Full
    };
    enqueue_sync(&mut tx, scope, &connected.connection, mode).await?;
    let target = id.to_string();
    let entry = AuditEntry::new(AuditActor::Browser, "connection.connected")
        .target(&target)
        .detail(json!({
            "provider": descriptor.slug,
            "resumed": connected.resumed,
            "administrator": grant.administrator,
        }));
    audit::record(&mut tx, scope, &entry).await?;
    tx.commit().await?;
    app.waker.wake();
    Ok(End::Done(Box::new(connected.connection.into())))
}

/// Keeps what an administrator of the account must approve, by opening the same link.
async fn wait(
    app: &AppState,
    row: &OauthState,
    requester: &str,
    account: Option<&ExternalAccount>,
) -> Result<End, ApiError> {
    let scope = &row.scope;
    let mut tx = app.db.begin(scope).await?;
    let known = connect_links::lock(&mut tx, scope, &row.link_hash)
        .await?
        .ok_or(ApiError::InvalidState)?;
    let new = NewPending {
        provider: &row.provider,
        requester,
        account,
        known,
        poll_interval_seconds: app.poll_interval_seconds,
        days: app.approval_days,
    };
    let pending = connections::create_pending(&mut tx, scope, &new).await?;
    connect_links::await_approval(&mut tx, scope, &row.link_hash, pending.id).await?;
    let target = pending.id.to_string();
    let entry = AuditEntry::new(AuditActor::Browser, "connection.requested")
        .target(&target)
        .detail(json!({ "provider": row.provider }));
    audit::record(&mut tx, scope, &entry).await?;
    tx.commit().await?;
    Ok(End::Done(Box::new(pending.into())))
}

/// Tells the browser, by a redirect if it has a place to go to.
fn answer(
    ended: Result<End, ApiError>,
    return_to: Option<Url>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    match (ended, return_to) {
        (Ok(End::GoOn(url)), _) => Ok(redirect(&url)),
        (Ok(End::Choose(choice)), _) => Ok(choice.answer(headers)),
        (Ok(End::Done(connection)), Some(mut url)) => {
            url.query_pairs_mut()
                .append_pair("connection_id", &connection.id.to_string())
                .append_pair("status", word(connection.status));
            Ok(redirect(&url))
        }
        (Ok(End::Done(connection)), None) => Ok(Json(ConnectionAnswer {
            connection: *connection,
        })
        .into_response()),
        // A replay must not be steered anywhere.
        (Err(ApiError::InvalidState), _) => Err(ApiError::InvalidState),
        (Err(error), Some(mut url)) => {
            tracing::info!(
                error = &error as &dyn std::error::Error,
                "a connect flow ends"
            );
            url.query_pairs_mut().append_pair("error", error.code());
            Ok(redirect(&url))
        }
        (Err(error), None) => Err(error),
    }
}

/// How the flow ended, for whoever is returned to.
fn word(status: ConnectionStatus) -> &'static str {
    match status {
        ConnectionStatus::Active => "connected",
        other => other.into(),
    }
}

fn redirect(url: &Url) -> Response {
    (StatusCode::FOUND, [(LOCATION, url.as_str())]).into_response()
}
