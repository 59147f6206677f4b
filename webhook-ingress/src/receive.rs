//! The two routes: verify, store, acknowledge.

use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use metrics::counter;
use shared::connectors::{Acknowledgement, VerifyError, WebhookVerifier};
use shared::ids::ConnectionId;
use shared::inbox::{InboxError, RawDelivery, Stored};
use shared::problem::Problem;
use shared::server::ClientAddr;
use shared::telemetry::{current_traceparent, names};

use crate::State;
use crate::body::Sender;

/// When to come back after a refusal because too much waits: that passes more slowly than a
/// database that is away.
const BACKLOG_SECONDS: u64 = 15;

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
        count(verifier.descriptor().slug, "not_configured");
        return refused("This provider is not configured, so nothing it sends can be verified.");
    }
    let request = Request {
        client,
        headers,
        body,
        connection: None,
    };
    answer(&state, verifier, request).await
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
        return refused(
            "This provider signs with the app's secret. Send deliveries to /webhooks/{provider}.",
        );
    }
    let request = Request {
        client,
        headers,
        body,
        connection: Some(connection),
    };
    answer(&state, verifier, request).await
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

/// A request for one of the two routes.
struct Request {
    client: ClientAddr,
    headers: HeaderMap,
    body: Body,
    /// The connection in its path.
    connection: Option<ConnectionId>,
}

struct Refusal {
    verdict: &'static str,
    problem: Problem,
}

/// Answers a request. A panic costs that request only; the panic itself is logged where it happens.
async fn answer(state: &State, verifier: &dyn WebhookVerifier, request: Request) -> Response {
    let taken = AssertUnwindSafe(take(state, verifier, request));
    let taken = match taken.catch_unwind().await {
        Ok(taken) => taken,
        Err(_) => Err(panicked()),
    };
    match taken {
        Ok(response) => response,
        Err(Refusal { verdict, problem }) => {
            count(verifier.descriptor().slug, verdict);
            problem.into_response()
        }
    }
}

async fn take(
    state: &State,
    verifier: &dyn WebhookVerifier,
    request: Request,
) -> Result<Response, Refusal> {
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
    // An unsigned request is refused before its connection is looked up or a byte of its body is
    // read.
    if let Some(missing) = missing {
        let message = format!("The header {missing} is missing.");
        return Err(Refusal {
            verdict: "missing_header",
            problem: unauthorized(message),
        });
    }
    let connection = match connection {
        Some(id) => {
            let route = state.keys.route(slug, id, client.network()).await;
            Some(route.map_err(not_genuine)?)
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
        connection,
    };
    let delivery = raw
        .verify(verifier, &*state.keys, current_traceparent())
        .await
        .map_err(not_genuine)?;
    let acknowledgement = delivery.acknowledgement();
    if let Some(handshake) = delivery.handshake() {
        if let Some(secret) = &handshake.secret {
            let taken = state.keys.take_secret(slug, connection, secret).await;
            taken.map_err(not_genuine)?;
        }
        count(slug, "handshake");
        return Ok(respond(acknowledgement));
    }
    match state.inbox.accept(delivery).await {
        Ok(stored) => {
            count(
                slug,
                match stored {
                    Stored::Fresh => "accepted",
                    Stored::DigestOnly => "digest_only",
                    Stored::Duplicate | Stored::Refused => "duplicate",
                },
            );
            Ok(respond(acknowledgement))
        }
        Err(error) => Err(not_taken(&error)),
    }
}

/// The response that the provider demands.
fn respond(acknowledgement: Acknowledgement) -> Response {
    let Acknowledgement {
        status,
        headers,
        body,
    } = acknowledgement;
    (status, headers, Body::from(body)).into_response()
}

fn not_genuine(error: VerifyError) -> Refusal {
    Refusal {
        verdict: error.code(),
        problem: unverified(error),
    }
}

fn count(provider: &'static str, verdict: &'static str) {
    counter!(names::WEBHOOK_DELIVERIES_TOTAL, "provider" => provider, "verdict" => verdict)
        .increment(1);
}

fn panicked() -> Refusal {
    Refusal {
        verdict: "panicked",
        problem: Problem::internal(),
    }
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

/// The answer to a delivery that was not verified.
fn unverified(error: VerifyError) -> Problem {
    match error {
        VerifyError::UnknownConnection => Problem::new(
            StatusCode::NOT_FOUND,
            "connection_not_found",
            "No connection of this provider has this id.",
        ),
        VerifyError::KeysUnavailable => Problem::unavailable(),
        _ => unauthorized(format!("The delivery was refused: {error}.")),
    }
}

fn unauthorized(message: String) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "signature_refused", message)
}

fn refused(message: &str) -> Response {
    unauthorized(message.to_owned()).into_response()
}
