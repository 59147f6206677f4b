//! The one route: verify, file, acknowledge.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics::counter;
use shared::connectors::{Connector, RegistryError};
use shared::ids::ConnectionId;
use shared::inbox::{InboxError, RawDelivery, Stored};
use shared::problem::Problem;
use shared::telemetry::{current_traceparent, names};

use crate::State;

/// When to come back after a refusal because too much waits: that passes more slowly than a
/// database that is away.
const BACKLOG_SECONDS: u64 = 15;

/// `POST /webhooks/{provider}`: signed with the app's secret.
pub(crate) async fn by_app(
    Extract(state): Extract<State>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(Path(provider)) = path else {
        return not_found().await.into_response();
    };
    let connector = match state.registry.get(&provider) {
        Ok(connector) => connector,
        Err(RegistryError::Unknown(_)) => return not_found().await.into_response(),
        Err(RegistryError::NotConfigured(slug)) => {
            count(slug, "not_configured");
            return refused(
                "This provider is not configured, so nothing it sends can be verified.",
            );
        }
    };
    let slug = connector.descriptor().slug;
    match take(&state, &*connector, headers, body).await {
        Ok(response) => response,
        Err(Refusal { verdict, problem }) => {
            count(slug, verdict);
            problem.into_response()
        }
    }
}

/// `POST /webhooks/{provider}/{connection_id}`: signed with a connection's own secret. No
/// provider of the registry signs that way, so there is nothing such a request could match.
pub(crate) async fn by_connection(
    Extract(state): Extract<State>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Response {
    let Ok(Path((provider, connection))) = path else {
        return not_found().await.into_response();
    };
    if matches!(
        state.registry.get(&provider),
        Err(RegistryError::Unknown(_))
    ) || connection.parse::<ConnectionId>().is_err()
    {
        return not_found().await.into_response();
    }
    refused("This provider signs with the app's secret; deliveries go to /webhooks/{provider}.")
}

/// Anything else.
pub(crate) async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "There is nothing here. Deliveries go to /webhooks/{provider}.",
    )
}

/// Anything but POST.
pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Deliveries are sent with POST.",
    )
}

struct Refusal {
    verdict: &'static str,
    problem: Problem,
}

async fn take(
    state: &State,
    connector: &dyn Connector,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let descriptor = connector.descriptor();
    let slug = descriptor.slug;
    // An unsigned request is refused before a byte of its body is read.
    if let Some(missing) = descriptor
        .required_headers
        .iter()
        .find(|name| !headers.contains_key(**name))
    {
        let message = format!("The header {missing} is missing.");
        return Err(Refusal {
            verdict: "missing_header",
            problem: unauthorized(message),
        });
    }
    let read = state
        .bodies
        .read(&headers, body, descriptor.max_webhook_bytes)
        .await;
    let read = read.map_err(|problem| Refusal {
        verdict: problem.code,
        problem,
    })?;
    // The body has been read, so that its connection can be used again.
    state.inbox.has_room().map_err(|error| not_taken(&error))?;
    let raw = RawDelivery {
        headers,
        body: read.bytes,
        received_at: state.clock.now(),
    };
    let delivery = raw
        .verify(connector, current_traceparent())
        .map_err(|error| Refusal {
            verdict: error.code(),
            problem: unauthorized(format!("The delivery was refused: {error}.")),
        })?;
    if let Some(reply) = delivery.reply() {
        count(slug, "handshake");
        return Ok((
            [(header::CONTENT_TYPE, reply.content_type)],
            reply.body.clone(),
        )
            .into_response());
    }
    match state.inbox.accept(delivery).await {
        Ok(stored) => {
            count(
                slug,
                if stored == Stored::Fresh {
                    "accepted"
                } else {
                    "duplicate"
                },
            );
            Ok(StatusCode::OK.into_response())
        }
        Err(error) => Err(not_taken(&error)),
    }
}

fn count(provider: &'static str, verdict: &'static str) {
    counter!(names::WEBHOOK_DELIVERIES_TOTAL, "provider" => provider, "verdict" => verdict)
        .increment(1);
}

/// Without fault of the sender's, who is to try again.
fn not_taken(error: &InboxError) -> Refusal {
    let (verdict, problem) = match error {
        InboxError::Full => ("full", Problem::unavailable()),
        InboxError::Backlogged => ("backlogged", backlogged()),
        InboxError::NotCommitted => ("not_committed", Problem::unavailable()),
        InboxError::Closed => ("closed", Problem::unavailable()),
    };
    Refusal { verdict, problem }
}

fn backlogged() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "backlogged",
        "More has arrived than could be processed yet. Try again later.",
    )
    .with_retry_after(BACKLOG_SECONDS)
}

fn unauthorized(message: String) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "signature_refused", message)
}

fn refused(message: &str) -> Response {
    unauthorized(message.to_owned()).into_response()
}
