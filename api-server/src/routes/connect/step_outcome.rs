//! Outcomes of authorization steps: stored for repeated callbacks, and their responses.

use axum::Json;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shared::db::connections::ConnectionStatus;
use shared::model::ConnectionId;
use url::Url;
use utoipa::ToSchema;

use super::account_picker::AccountPicker;
use crate::error::ApiError;
use crate::routes::connections::Connection;

/// The connection that a flow created.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionResponse {
    connection: Connection,
}

/// The outcome of an authorization step.
pub(super) enum StepOutcome {
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
pub(super) enum StoredOutcome {
    Redirect(Url),
    PickAccount(AccountPicker),
    Done(ConnectionId),
    Failed,
}

impl StoredOutcome {
    pub(super) fn from_result(outcome: &Result<StepOutcome, ApiError>) -> Self {
        match outcome {
            Ok(StepOutcome::Redirect(url)) => Self::Redirect(url.clone()),
            Ok(StepOutcome::PickAccount(picker)) => Self::PickAccount(picker.clone()),
            Ok(StepOutcome::Done(connection)) => Self::Done(connection.id),
            Err(_) => Self::Failed,
        }
    }
}

/// Converts the outcome to a response: a redirect if the flow has a `return_to`.
pub(super) fn to_response(
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
