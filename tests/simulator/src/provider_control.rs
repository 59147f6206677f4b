//! Routes of the control API that every provider has under `/_sim/{provider}/`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Core;
use super::action::ActionOutcome;
use super::lock::Shared;
use super::provider::Provider;

/// A provider, as the common routes of its control API use it.
pub(crate) trait Controlled: Provider + 'static {
    /// Settings that tests change at runtime.
    type Settings: Clone + Serialize + DeserializeOwned + Send + Sync;
    /// Body of a request for a new account; an absent body is the default.
    type NewAccount: DeserializeOwned + Default + Send;
    /// Action and its parameters.
    type ActionParams: DeserializeOwned + Send;

    fn core(&self) -> &Core;
    fn shared_settings(&self) -> &Shared<Self::Settings>;
    /// Replaces changes that are no fields of the settings.
    fn expand_changes(_changes: &mut Map<String, Value>) {}
    /// Applies new settings to the world.
    fn apply_settings(&self, _settings: &Self::Settings) {}
    /// All accounts as JSON.
    fn accounts(&self) -> Vec<Value>;
    /// Adds an account and returns it as JSON.
    fn add_account(&self, new: Self::NewAccount) -> Result<Value, ControlError>;
    /// Performs an action at the current time.
    fn act(&self, params: &Self::ActionParams) -> Result<Performed, ControlError>;
    /// Generates facts now, in one account or in random ones, and returns their numbers.
    fn generate(
        &self,
        account: Option<&str>,
        count: usize,
    ) -> impl Future<Output = Result<Value, ControlError>> + Send;
}

/// Result of an action, with its deliveries if the provider reports them.
#[derive(Debug)]
pub(crate) struct Performed {
    pub(crate) outcome: ActionOutcome,
    /// Ids of the deliveries.
    pub(crate) deliveries: Option<Vec<String>>,
}

impl From<ActionOutcome> for Performed {
    fn from(outcome: ActionOutcome) -> Self {
        Self {
            outcome,
            deliveries: None,
        }
    }
}

/// Error response of the control API, after which nothing has changed.
#[derive(Debug)]
pub(crate) struct ControlError {
    status: StatusCode,
    message: String,
}

impl ControlError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// The state of the world does not allow the request.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// The body has an unknown name or an invalid value.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}

/// The common routes of a provider.
pub(crate) fn routes<P: Controlled>(service: &P) -> Router<Arc<P>> {
    let path = |name: &str| format!("/_sim/{}/{name}", service.source());
    Router::new()
        .route(&path("accounts"), get(accounts::<P>).post(add_account::<P>))
        .route(&path("act"), post(act::<P>))
        .route(&path("generate"), post(generate::<P>))
        .route(
            &path("settings"),
            get(settings::<P>).post(change_settings::<P>),
        )
}

async fn accounts<P: Controlled>(State(service): State<Arc<P>>) -> Json<Value> {
    Json(json!({ "accounts": service.accounts() }))
}

async fn add_account<P: Controlled>(
    State(service): State<Arc<P>>,
    body: Option<Json<P::NewAccount>>,
) -> Result<(StatusCode, Json<Value>), ControlError> {
    let Json(new) = body.unwrap_or_default();
    let account = service.add_account(new)?;
    Ok((StatusCode::CREATED, Json(account)))
}

async fn act<P: Controlled>(
    State(service): State<Arc<P>>,
    Json(params): Json<P::ActionParams>,
) -> Result<Json<Value>, ControlError> {
    let Performed {
        outcome,
        deliveries,
    } = service.act(&params)?;
    let visible = service.visible();
    let ledger = &service.core().ledger;
    let rows = outcome.facts.iter();
    let facts: Vec<_> = rows
        .filter_map(|seq| ledger.entry(*seq, &visible))
        .collect();
    let mut response = json!({ "object": outcome.object, "facts": facts });
    if let Some(deliveries) = deliveries {
        response["deliveries"] = json!(deliveries);
    }
    Ok(Json(response))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GenerateRequest {
    count: usize,
    account: Option<String>,
}

async fn generate<P: Controlled>(
    State(service): State<Arc<P>>,
    Json(body): Json<GenerateRequest>,
) -> Result<Json<Value>, ControlError> {
    let account = body.account.as_deref();
    service.generate(account, body.count).await.map(Json)
}

async fn settings<P: Controlled>(State(service): State<Arc<P>>) -> Json<P::Settings> {
    Json(service.shared_settings().read().clone())
}

/// Replaces the given fields; an unknown field or invalid value changes nothing.
async fn change_settings<P: Controlled>(
    State(service): State<Arc<P>>,
    Json(mut changes): Json<Map<String, Value>>,
) -> Result<Json<P::Settings>, ControlError> {
    P::expand_changes(&mut changes);
    let new = merge_settings(service.shared_settings(), changes)?;
    service.apply_settings(&new);
    Ok(Json(new))
}

/// Replaces the given fields of settings and returns all.
pub(crate) fn merge_settings<S: Clone + Serialize + DeserializeOwned>(
    settings: &Shared<S>,
    changes: Map<String, Value>,
) -> Result<S, ControlError> {
    let mut all = json!(*settings.read());
    for (name, value) in changes {
        match all.get_mut(&name) {
            Some(field) => *field = value,
            None => return Err(ControlError::invalid(format!("unknown setting {name}"))),
        }
    }
    let new: S =
        serde_json::from_value(all).map_err(|error| ControlError::invalid(error.to_string()))?;
    settings.change(|settings| *settings = new.clone());
    Ok(new)
}
