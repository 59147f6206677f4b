//! The errors of each operation: which codes a status has, with the body of each as an example.
//!
//! The codes of authentication, parameters and bodies follow from the operation; the table
//! [`of_operation`] has the others. The tests of the API compare every response with the document.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use shared::db::api_keys::ApiScope;
use shared::problem::Problem;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use uuid::Uuid;

use super::{RequiredRole, shared_parts};
use crate::error::{ApiError, Conflict, FieldProblem, ProviderFailure};

/// The media type of errors.
const PROBLEM: &str = "application/problem+json";

/// Statuses whose response is the same for many operations, and their components.
const SHARED: &[(u16, &str)] = &[
    (401, "Unauthorized"),
    (413, "PayloadTooLarge"),
    (415, "UnsupportedMediaType"),
    (429, "TooManyRequests"),
    (500, "InternalError"),
    (503, "Unavailable"),
];

/// Operations that accept an `Idempotency-Key`.
const IDEMPOTENT: &[&str] = &[
    "create_api_key",
    "create_connect_link",
    "create_connection_webhook",
    "create_tenant",
    "replay_delivery",
    "retry_job",
    "sync_connection",
    "sync_provider",
];

/// Idempotent operations whose response shows a secret.
const SECRET: &[&str] = &[
    "create_api_key",
    "create_connect_link",
    "create_connection_webhook",
];

/// Whether an operation accepts an `Idempotency-Key`.
pub(super) fn is_idempotent(operation_id: &str) -> bool {
    IDEMPOTENT.contains(&operation_id)
}

/// Adds the error responses of an operation.
pub(super) fn add(id: &str, role: RequiredRole, operation: &mut Operation) {
    let has_body = operation.request_body.is_some();
    let is_operational = operation
        .tags
        .iter()
        .flatten()
        .any(|tag| tag == "operations");
    let mut problems = common(role, has_body, is_operational);
    problems.extend(of_operation(id));
    if is_idempotent(id) {
        problems.push(ApiError::IdempotencyKeyReused.problem());
        if !has_body {
            problems.push(ApiError::PayloadTooLarge.problem());
        }
    }
    if SECRET.contains(&id) {
        problems.push(ApiError::SecretAlreadyShown { id: example_id() }.problem());
    }
    let shared: BTreeMap<&str, Response> = shared_responses().collect();
    for (status, problems) in group(problems) {
        let described = match operation.responses.responses.get(&status.to_string()) {
            Some(RefOr::T(response)) => Some(response.description.clone()),
            _ => None,
        };
        let response = response(status, described.as_deref(), &problems);
        let name = SHARED.iter().find(|(code, _)| *code == status);
        let response = match name {
            Some((_, name)) if is_same(shared.get(name), &response) => {
                Ref::from_response_name(*name).into()
            }
            _ => RefOr::T(response),
        };
        operation
            .responses
            .responses
            .insert(status.to_string(), response);
    }
}

/// The components of statuses that most operations share.
pub(super) fn shared_responses() -> impl Iterator<Item = (&'static str, Response)> {
    let all = group(common(RequiredRole::Tenant, true, false));
    SHARED.iter().filter_map(move |(status, name)| {
        let problems = all.get(status)?;
        let mut response = response(*status, None, problems);
        shared_parts::add_headers(&mut response, &status.to_string(), true);
        Some((*name, response))
    })
}

/// Every code of an error.
pub(super) fn codes() -> Vec<String> {
    let roles = [RequiredRole::Tenant, RequiredRole::Operator];
    let others = [
        ApiError::NoRoute,
        ApiError::MethodNotAllowed,
        ApiError::IdempotencyKeyReused,
        ApiError::SecretAlreadyShown { id: example_id() },
    ];
    let problems = roles
        .into_iter()
        .flat_map(|role| common(role, true, false))
        .chain(ALL_OPERATIONS.iter().flat_map(|id| of_operation(id)))
        .chain(others.iter().map(ApiError::problem));
    let mut codes: Vec<String> = problems.map(|problem| problem.code.to_owned()).collect();
    codes.sort();
    codes.dedup();
    codes
}

/// Whether the component has the content of a response; headers are added to it later.
fn is_same(component: Option<&Response>, response: &Response) -> bool {
    component.is_some_and(|component| {
        component.content == response.content && component.description == response.description
    })
}

fn group(problems: Vec<Problem>) -> BTreeMap<u16, Vec<Problem>> {
    let mut by_status: BTreeMap<u16, Vec<Problem>> = BTreeMap::new();
    for problem in problems {
        let same = by_status.entry(problem.status).or_default();
        if !same.iter().any(|other| other.code == problem.code) {
            same.push(problem);
        }
    }
    by_status
}

fn response(status: u16, described: Option<&str>, problems: &[Problem]) -> Response {
    let codes: Vec<String> = problems
        .iter()
        .map(|problem| format!("`{}`", problem.code))
        .collect();
    let text = described.unwrap_or(default_description(status));
    let mut content = Content::new(Some(Ref::from_schema_name("Problem")));
    for problem in problems {
        let example = ExampleBuilder::new()
            .value(serde_json::to_value(problem).ok())
            .build();
        content
            .examples
            .insert(problem.code.to_owned(), example.into());
    }
    ResponseBuilder::new()
        .description(format!("{text}. Codes: {}", codes.join(", ")))
        .content(PROBLEM, content)
        .build()
}

const fn default_description(status: u16) -> &'static str {
    match status {
        400 => "Parameters, headers or the body are malformed",
        401 => "The credential is missing or invalid",
        403 => "The credential does not allow the request",
        404 => "Not found, or owned by another tenant",
        409 => "The request conflicts with the current state",
        410 => "The cursor has expired",
        413 => "The body exceeds 64 KiB",
        415 => "The media type of the body is not JSON",
        422 => {
            "Fields of the body are invalid, or the `Idempotency-Key` was used with a different request"
        }
        429 => "The API key or its tenant is over its limit, or its client is throttled",
        502 => "The call to the provider failed",
        503 => "The database is unavailable, or the request timed out",
        _ => "Internal error",
    }
}

fn field(name: &str, reason: &str) -> Vec<FieldProblem> {
    vec![FieldProblem::new(name, reason)]
}

/// The problems that follow from the role, the parameters and the body of an operation.
fn common(role: RequiredRole, has_body: bool, is_operational: bool) -> Vec<Problem> {
    let mut errors = vec![ApiError::Panicked, ApiError::TimedOut];
    if is_operational {
        return errors.iter().map(ApiError::problem).collect();
    }
    errors.push(ApiError::Parameters(field(
        "limit",
        "must be an integer from 1 to 200",
    )));
    let second = Duration::from_secs(1);
    let is_authenticated = role != RequiredRole::Public;
    if is_authenticated {
        errors.extend([
            ApiError::Unauthorized,
            ApiError::AuthenticationThrottled {
                retry_after: Duration::from_secs(30),
            },
            ApiError::TooManyRequests {
                retry_after: second,
            },
        ]);
    }
    match role {
        RequiredRole::Public => {}
        RequiredRole::Operator => errors.push(ApiError::OperatorOnly),
        RequiredRole::Tenant => errors.extend([
            ApiError::TenantRequired,
            ApiError::InsufficientScope(ApiScope::ConnectionsRead),
            ApiError::NotFound("tenant"),
        ]),
    }
    if has_body {
        errors.extend([
            ApiError::MalformedBody("EOF while parsing an object at line 1 column 1".to_owned()),
            ApiError::PayloadTooLarge,
            ApiError::UnsupportedMediaType,
            ApiError::Fields(field(
                "name",
                "must have 1 to 200 characters and not be blank",
            )),
        ]);
    }
    let mut problems: Vec<Problem> = errors.iter().map(ApiError::problem).collect();
    problems.push(Problem::unavailable());
    problems
}

/// Operations with errors of their own.
const ALL_OPERATIONS: &[&str] = &[
    "cancel_job",
    "create_api_key",
    "create_connect_link",
    "create_connection_webhook",
    "delete_connection",
    "finish_connect",
    "get_connection",
    "get_delivery",
    "get_health",
    "get_job",
    "get_readiness",
    "get_signal",
    "get_tenant",
    "list_api_keys",
    "list_connection_streams",
    "list_signals",
    "list_unmatched_accounts",
    "open_connect_link",
    "replay_delivery",
    "retry_job",
    "revoke_api_key",
    "start_connect",
    "stream_signals",
    "sync_connection",
    "sync_provider",
    "update_connection",
];

/// The problems of one operation beyond the common ones.
fn of_operation(id: &str) -> Vec<Problem> {
    use ApiError::NotFound;
    let conflict = ApiError::Conflict;
    let connection = || NotFound("connection");
    let errors = match id {
        "create_api_key" | "get_tenant" | "list_api_keys" => vec![NotFound("tenant")],
        "revoke_api_key" => vec![NotFound("tenant"), NotFound("api_key")],
        "create_connect_link" => vec![
            NotFound("provider"),
            ApiError::ReturnToNotAllowed,
            conflict(Conflict::ProviderNotConfigured),
        ],
        "open_connect_link" | "start_connect" | "finish_connect" => return of_flow(id),
        "get_connection" | "list_connection_streams" | "delete_connection" => vec![connection()],
        "update_connection" => vec![connection(), conflict(Conflict::StatusNotChangeable)],
        "create_connection_webhook" => vec![
            connection(),
            conflict(Conflict::WebhookNotSupported),
            conflict(Conflict::ConnectionNotActive),
            conflict(Conflict::WebhookSecretsNotConfigured),
        ],
        "sync_connection" => vec![connection(), conflict(Conflict::ConnectionNotActive)],
        "sync_provider" => vec![NotFound("provider")],
        "get_job" => vec![NotFound("job")],
        "retry_job" => vec![
            NotFound("job"),
            conflict(Conflict::JobNotDead),
            conflict(Conflict::JobUnreadable),
        ],
        "cancel_job" => vec![NotFound("job"), conflict(Conflict::JobFinished)],
        "get_signal" => vec![NotFound("signal")],
        "list_signals" => vec![NotFound("cursor"), ApiError::CursorExpired],
        "stream_signals" => vec![
            NotFound("cursor"),
            ApiError::CursorExpired,
            ApiError::TooManyStreams,
        ],
        "get_delivery" => vec![NotFound("delivery")],
        "replay_delivery" => vec![
            NotFound("delivery"),
            conflict(Conflict::DeliveryNotReplayable),
        ],
        "list_unmatched_accounts" => vec![NotFound("cursor")],
        "get_readiness" | "get_health" => return vec![Problem::unavailable(), draining()],
        _ => Vec::new(),
    };
    errors.iter().map(ApiError::problem).collect()
}

/// The problems of the routes that a browser visits.
fn of_flow(id: &str) -> Vec<Problem> {
    let mut errors = vec![
        ApiError::InvalidState,
        ApiError::NotFound("provider"),
        ApiError::Conflict(Conflict::ProviderNotConfigured),
    ];
    if id != "open_connect_link" {
        errors.push(ApiError::RepeatedProviderFailure(
            ProviderFailure::RateLimited,
        ));
        errors.push(ApiError::RepeatedProviderFailure(
            ProviderFailure::Unavailable,
        ));
        errors.push(ApiError::RepeatedProviderFailure(ProviderFailure::Refused));
    }
    if id == "finish_connect" {
        let reason = "The request was declined at the provider. Start again with a new link.";
        errors.push(ApiError::Denied(reason.to_owned()));
        errors.push(ApiError::Conflict(Conflict::AccountAlreadyConnected));
    }
    errors.iter().map(ApiError::problem).collect()
}

/// The response of a health check during the shutdown.
fn draining() -> Problem {
    let message = "The process is shutting down and accepts no more work.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", message)
}

fn example_id() -> Uuid {
    super::examples::id(0xc1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_name_existing_operations() {
        let (_, document) = crate::router::build();
        let text = serde_json::to_string(&document).expect("JSON");
        for id in ALL_OPERATIONS.iter().chain(IDEMPOTENT) {
            assert!(text.contains(&format!("\"operationId\":\"{id}\"")), "{id}");
        }
        for id in SECRET {
            assert!(is_idempotent(id), "{id}");
        }
        for id in ALL_OPERATIONS {
            assert!(!of_operation(id).is_empty(), "{id}");
        }
    }
}
