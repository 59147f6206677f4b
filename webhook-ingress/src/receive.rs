//! The two webhook routes: verify, store, acknowledge.

use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use shared::connectors::{Acknowledgement, VerifyError, WebhookVerifier};
use shared::inbox::{InboxError, RawDelivery, StoreOutcome};
use shared::model::ConnectionId;
use shared::problem::Problem;
use shared::server::ClientAddr;
use shared::telemetry::current_traceparent;

use crate::State;
use crate::body::Sender;

/// `Retry-After` while the backlog is full.
///
/// A full backlog lasts longer than an outage of Postgres.
const BACKLOG_RETRY_AFTER_SECONDS: u64 = 15;

/// `POST /webhooks/{provider}`: signed with the app's secret.
pub(crate) async fn by_app(
    Extract(state): Extract<State>,
    path: Result<Path<String>, PathRejection>,
    Extension(client): Extension<ClientAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(Path(provider)) = path else {
        return not_found().await.into_response();
    };
    let Some(verifier) = state.webhooks.get(&provider) else {
        return not_found().await.into_response();
    };
    if !verifier.is_configured() {
        let slug = verifier.descriptor().slug;
        state.results.count(slug, None, "not_configured");
        return unauthorized_response(
            "The provider is not configured, so its deliveries cannot be verified.",
        );
    }
    let request = Request {
        client,
        headers,
        body,
        connection: None,
    };
    respond(&state, verifier, request).await
}

/// `POST /webhooks/{provider}/{connection_id}`: signed with a connection's own secret.
pub(crate) async fn by_connection(
    Extract(state): Extract<State>,
    path: Result<Path<(String, String)>, PathRejection>,
    Extension(client): Extension<ClientAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(Path((provider, connection))) = path else {
        return not_found().await.into_response();
    };
    let verifier = state.webhooks.get(&provider);
    let (Some(verifier), Ok(connection)) = (verifier, connection.parse::<ConnectionId>()) else {
        return not_found().await.into_response();
    };
    let descriptor = verifier.descriptor();
    if descriptor.connection_webhooks.is_none() {
        return unauthorized_response(
            "The provider signs with the app's secret. Send deliveries to /webhooks/{provider}.",
        );
    }
    let request = Request {
        client,
        headers,
        body,
        connection: Some(connection),
    };
    respond(&state, verifier, request).await
}

/// The response to any other path.
pub(crate) async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "Not found. Send deliveries to /webhooks/{provider}.",
    )
}

/// The response to any method but POST.
pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Method not allowed. Send deliveries with POST.",
    )
}

/// A request for one of the two routes.
struct Request {
    client: ClientAddr,
    headers: HeaderMap,
    body: Body,
    /// The connection in the path.
    connection: Option<ConnectionId>,
}

/// A request that is not acknowledged, with its value of the metric's label.
struct ReceiveError {
    result: &'static str,
    problem: Problem,
}

/// Handles a request and counts its errors.
///
/// A panic fails its own request only; the panic hook logs it.
async fn respond(state: &State, verifier: &dyn WebhookVerifier, request: Request) -> Response {
    let connection = request.connection;
    let handled = AssertUnwindSafe(handle(state, verifier, request));
    let result = match handled.catch_unwind().await {
        Ok(result) => result,
        Err(_) => Err(panicked()),
    };
    match result {
        Ok(response) => response,
        Err(ReceiveError { result, problem }) => {
            let slug = verifier.descriptor().slug;
            state.results.count(slug, connection, result);
            problem.into_response()
        }
    }
}

async fn handle(
    state: &State,
    verifier: &dyn WebhookVerifier,
    request: Request,
) -> Result<Response, ReceiveError> {
    let Request {
        client,
        headers,
        body,
        connection,
    } = request;
    let descriptor = verifier.descriptor();
    let slug = descriptor.slug;
    let mut required = descriptor.required_headers.iter().copied();
    let missing = match connection {
        None => required.find(|name| !headers.contains_key(*name)),
        Some(_) => descriptor
            .connection_webhooks
            .and_then(|own| own.missing_header(&headers)),
    };
    // An unsigned request is rejected before its connection is looked up or its body is read.
    if let Some(missing) = missing {
        let message = format!("The header {missing} is missing.");
        return Err(ReceiveError {
            result: "missing_header",
            problem: unauthorized(message),
        });
    }
    let connection = match connection {
        Some(id) => {
            let route = state.keys.route(slug, id, client.network()).await;
            Some(route.map_err(verification_error)?)
        }
        None => None,
    };
    let sender = Sender {
        client: client.network(),
        provider: slug,
    };
    let read = state
        .bodies
        .read(sender, &headers, body, descriptor.max_webhook_bytes)
        .await;
    let read = read.map_err(|problem| ReceiveError {
        result: problem.code,
        problem,
    })?;
    // Only after the body was read, so that the client can reuse its socket.
    state
        .inbox
        .has_room()
        .map_err(|error| intake_error(&error))?;
    let raw = RawDelivery {
        headers,
        body: read.bytes,
        received_at: state.clock.now(),
        connection,
    };
    let delivery = raw
        .verify(verifier, &*state.keys, current_traceparent())
        .await
        .map_err(verification_error)?;
    let acknowledgement = delivery.acknowledgement();
    if let Some(handshake) = delivery.handshake() {
        if let Some(secret) = &handshake.secret {
            let stored = state.keys.accept_secret(slug, connection, secret).await;
            stored.map_err(verification_error)?;
        }
        state.results.count(slug, None, "handshake");
        return Ok(acknowledge(acknowledgement));
    }
    match state.inbox.accept(delivery).await {
        Ok(outcome) => {
            state.results.count(
                slug,
                None,
                match outcome {
                    StoreOutcome::New => "accepted",
                    StoreOutcome::DigestOnly => "digest_only",
                    StoreOutcome::Duplicate | StoreOutcome::Rejected => "duplicate",
                },
            );
            Ok(acknowledge(acknowledgement))
        }
        Err(error) => Err(intake_error(&error)),
    }
}

/// The response that the provider requires.
fn acknowledge(acknowledgement: Acknowledgement) -> Response {
    let Acknowledgement {
        status,
        headers,
        body,
    } = acknowledgement;
    (status, headers, Body::from(body)).into_response()
}

fn verification_error(error: VerifyError) -> ReceiveError {
    ReceiveError {
        result: error.code(),
        problem: verification_problem(error),
    }
}

fn panicked() -> ReceiveError {
    ReceiveError {
        result: "panicked",
        problem: Problem::internal(),
    }
}

/// An error of ours, after which the provider may send the delivery again.
fn intake_error(error: &InboxError) -> ReceiveError {
    let (result, problem) = match error {
        InboxError::Full => ("full", Problem::unavailable()),
        InboxError::Backlogged => ("backlogged", backlogged()),
        InboxError::NotCommitted => ("not_committed", Problem::unavailable()),
        InboxError::Closed => ("closed", Problem::unavailable()),
    };
    ReceiveError { result, problem }
}

fn backlogged() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "backlogged",
        "The delivery backlog is full. Try again later.",
    )
    .with_retry_after(BACKLOG_RETRY_AFTER_SECONDS)
}

/// The response to a delivery that failed verification.
fn verification_problem(error: VerifyError) -> Problem {
    match error {
        VerifyError::UnknownConnection => Problem::new(
            StatusCode::NOT_FOUND,
            "connection_not_found",
            "Connection not found.",
        ),
        VerifyError::KeysUnavailable => Problem::unavailable(),
        _ => unauthorized(format!("The delivery was rejected: {error}.")),
    }
}

fn unauthorized(message: String) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "signature_refused", message)
}

fn unauthorized_response(message: &str) -> Response {
    unauthorized(message.to_owned()).into_response()
}
