//! `GET /v1/connect/{provider}/callback`.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use secrecy::{ExposeSecret, SecretString};
use shared::connectors::{Callback, CallbackOutcome, Connector};
use shared::crypto::constant_time_eq;
use shared::db::oauth_states::{self, OauthState};
use url::{Url, form_urlencoded};

use super::account_picker::AccountPicker;
use super::authorization_step::{self, AuthorizationStep, FlowTarget, StartedStep};
use super::browser_binding::BrowserBinding;
use super::flow_error::FlowError;
use super::grant;
use super::outcome::{self, StepError, StepOutcome};
use super::response::{self, ConnectionResponse, ShownFlow};
use super::unusable_grant::{revoke_unless_shared, revoke_unstored};
use crate::error::{ApiError, FieldProblem};
use crate::extract::ProviderPath;
use crate::pages::connect::FailureContext;
use crate::pages::prefers_html;
use crate::state::AppState;

/// Handle the provider's redirect
///
/// For browsers. The provider's connector receives all parameters. The response is a redirect to
/// the next step or to `return_to`; without `return_to`, the connection. A client that accepts
/// `text/html` gets a page, also of an error. A state is used once, in the browser that started the
/// flow; a repeated request of the same browser gets the same response.
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
) -> Result<Response, FlowError> {
    let mut context = FailureContext::default();
    let query = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .into_owned()
        .collect();
    finish(&state, &provider, query, &headers, &mut context)
        .await
        .map_err(|error| FlowError { error, context })
}

async fn finish(
    app: &Arc<AppState>,
    provider: &str,
    query: Vec<(String, String)>,
    headers: &HeaderMap,
    context: &mut FailureContext,
) -> Result<Response, ApiError> {
    let token = parse_state(&query)?;
    let connector = super::connector(app, provider, context)?;
    let row = authorization_step::find(app, provider, token).await?;
    let browser_hash = verify_browser(&row, headers, app)?;
    let return_to = row
        .return_to
        .as_deref()
        .and_then(|url| Url::parse(url).ok());
    let step = AuthorizationStep::open(app, &row)?;
    let flow = ShownFlow {
        app,
        scope: &row.scope,
        descriptor: connector.descriptor(),
        headers,
        return_to: return_to.as_ref(),
        link_token: Some(&step.link_token),
    };
    let outcome = run_once(app, &connector, &row, browser_hash, &step, query.clone()).await;
    let failed = match outcome {
        Ok(outcome) => return flow.respond(outcome, &query).await,
        Err(failed) => failed,
    };
    if let (Some(url), false) = (&return_to, matches!(failed.error, ApiError::InvalidState)) {
        return Ok(return_with_error(url, &failed.error));
    }
    if prefers_html(headers) {
        context.team = Some(response::team(app, &row.scope).await?);
        context.account = failed.account;
        let token = step.link_token.expose_secret();
        context.start = Some(response::link_url(app, provider, token).into());
    }
    Err(failed.error)
}

/// Runs the step, or waits for its outcome if an earlier callback runs it.
async fn run_once(
    app: &Arc<AppState>,
    connector: &Arc<dyn Connector>,
    row: &OauthState,
    browser_hash: [u8; 32],
    step: &AuthorizationStep,
    query: Vec<(String, String)>,
) -> Result<StepOutcome, StepError> {
    if !row.used {
        let callback = Callback {
            query,
            code_verifier: step.verifier(),
            redirect_uri: authorization_step::redirect_uri(app, &row.provider),
            context: step.context.clone(),
        };
        let run = StepRun {
            app: Arc::clone(app),
            connector: Arc::clone(connector),
            row: row.clone(),
            browser_hash,
            link_token: step.link_token.clone(),
        };
        // The state is consumed now, so the rest must run even if the browser disconnects.
        let outcome = app.run_to_completion(run.run(callback)).await?;
        if let Some(outcome) = outcome {
            return outcome;
        }
    }
    outcome::await_stored(app, &row.provider, row).await
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

/// The redirect to `return_to` after a failure.
fn return_with_error(return_to: &Url, error: &ApiError) -> Response {
    tracing::info!(
        error = error as &dyn std::error::Error,
        "connect flow failed"
    );
    let mut url = return_to.clone();
    url.query_pairs_mut().append_pair("error", error.code());
    response::redirect(&url)
}

/// The first callback of a step.
struct StepRun {
    app: Arc<AppState>,
    connector: Arc<dyn Connector>,
    row: OauthState,
    browser_hash: [u8; 32],
    link_token: SecretString,
}

impl StepRun {
    /// Runs the step and stores its outcome; `None` if the state is already consumed.
    async fn run(
        self,
        callback: Callback,
    ) -> Result<Option<Result<StepOutcome, StepError>>, ApiError> {
        if !self.consume().await? {
            return Ok(None);
        }
        let outcome = match self.connector.exchange_token(callback).await {
            Ok(outcome) => self.handle(outcome).await,
            Err(error) => Err(ApiError::Connector(error).into()),
        };
        outcome::store(&self.app, &self.row, &outcome).await?;
        Ok(Some(outcome))
    }

    async fn consume(&self) -> Result<bool, ApiError> {
        let row = &self.row;
        let mut tx = self.app.db.begin(&row.scope).await?;
        let is_first =
            oauth_states::consume(&mut tx, &row.scope, &row.state_hash, &self.browser_hash).await?;
        tx.commit().await?;
        Ok(is_first)
    }

    async fn handle(&self, outcome: CallbackOutcome) -> Result<StepOutcome, StepError> {
        let (app, row, connector) = (&*self.app, &self.row, self.connector.as_ref());
        match outcome {
            CallbackOutcome::NextStep { context } => {
                let started = self.next_step(context).await?;
                Ok(StepOutcome::Redirect(started.authorize(app, connector)?))
            }
            CallbackOutcome::Choose { accounts, context } => {
                let started = self.next_step(context).await?;
                let callback = authorization_step::redirect_uri(app, &row.provider);
                let picker = AccountPicker::new(&started, callback, accounts);
                Ok(StepOutcome::PickAccount(picker))
            }
            CallbackOutcome::Connected(grant) => {
                match grant::connect(app, connector, row, &grant).await {
                    Ok(connection) => Ok(StepOutcome::Done(Box::new(connection))),
                    Err(failure) => {
                        revoke_unstored(app, connector, &row.scope, &grant, &failure).await;
                        Err(StepError {
                            error: failure.error,
                            account: Some(grant.account.name.clone()),
                        })
                    }
                }
            }
            CallbackOutcome::AwaitingApproval { requester, account } => {
                let pending = grant::create_pending(app, row, &requester, account.as_deref());
                Ok(StepOutcome::Done(Box::new(pending.await?)))
            }
            CallbackOutcome::Denied { reason } => Err(ApiError::Denied(reason).into()),
            CallbackOutcome::Rejected { reason, grant } => {
                revoke_unless_shared(app, connector, &row.scope, &grant).await;
                Err(ApiError::Denied(reason).into())
            }
            CallbackOutcome::Failed { error, grant } => {
                revoke_unless_shared(app, connector, &row.scope, &grant).await;
                Err(ApiError::Connector(error).into())
            }
        }
    }

    /// Starts the next step in the same browser.
    async fn next_step(&self, context: serde_json::Value) -> Result<StartedStep, ApiError> {
        let (app, row) = (&*self.app, &self.row);
        let target = FlowTarget {
            provider: &row.provider,
            link_token: &self.link_token,
            browser_hash: self.browser_hash,
            return_to: row.return_to.as_deref(),
        };
        let mut tx = app.db.begin(&row.scope).await?;
        let started =
            authorization_step::start_step(app, &mut tx, &row.scope, &target, Some(context))
                .await?;
        tx.commit().await?;
        Ok(started)
    }
}
