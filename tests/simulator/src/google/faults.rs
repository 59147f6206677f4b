//! Faults of requests, on every path of the family, and their statistics.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, OriginalUri, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::{Google, bearer};
use crate::faults::{Effect, Rule, Target};
use crate::wire;

/// Maximum size of a request's body.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// Middleware that applies the faults of a request and counts its response.
pub(super) async fn apply(
    State(service): State<Arc<Google>>,
    request: Request,
    next: Next,
) -> Response {
    let (_running, _) = service.core.stats.start_request();
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let account = account(&service, &parts.headers, &body);
    // Inside a nested router, the request's own URI lacks the prefix.
    let uri = parts.extensions.get::<OriginalUri>();
    let uri = uri.map_or(&parts.uri, |OriginalUri(uri)| uri);
    let subject = format!("{} {uri}", parts.method);
    let path = parts.extensions.get::<MatchedPath>();
    let path = path.map_or("/google", MatchedPath::as_str).to_owned();
    let route = format!("{} {path}", parts.method);
    let faults = &service.core.faults;
    let rule = faults.pick(Target::Request, &subject, account.as_deref());
    let request = Request::from_parts(parts, Body::from(body));
    let response = match &rule {
        None => next.run(request).await,
        Some(rule) => {
            if let Some(response) = wire::fault_response(rule)
                .await
                .or_else(|| fault_response(rule))
            {
                response
            } else {
                wire::apply_fault(rule, next.run(request).await).await
            }
        }
    };
    let status = response.status().as_u16();
    service.core.stats.record_response(route, status);
    response
}

/// Person of the token in a request's header, query or form.
fn account(service: &Google, headers: &axum::http::HeaderMap, body: &[u8]) -> Option<String> {
    let state = service.state();
    if let Some(token) = bearer(headers) {
        return state.tokens.owner(token).map(str::to_owned);
    }
    let mut fields = url::form_urlencoded::parse(body);
    let (_, token) = fields.find(|(name, _)| matches!(&**name, "refresh_token" | "token"))?;
    state.tokens.owner(&token).map(str::to_owned)
}

/// Error response of an injected fault.
fn fault_response(rule: &Rule) -> Option<Response> {
    let wait = rule.seconds.unwrap_or(30.0).max(0.0).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of seconds"
    )]
    let wait = Some(wait as u64);
    let limit = |status, reason, message: &str| {
        ApiError::new(status, reason, message).domain("usageLimits")
    };
    let exceeded = "User Rate Limit Exceeded";
    let error = match rule.effect {
        Effect::TooManyRequests => limit(
            StatusCode::TOO_MANY_REQUESTS,
            "rateLimitExceeded",
            "Rate Limit Exceeded",
        )
        .retry_after(wait),
        Effect::PrimaryLimit => limit(
            StatusCode::FORBIDDEN,
            "dailyLimitExceeded",
            "Daily Limit Exceeded",
        ),
        Effect::SecondaryLimit => {
            limit(StatusCode::FORBIDDEN, "userRateLimitExceeded", exceeded).retry_after(wait)
        }
        Effect::SecondaryLimitBare => {
            limit(StatusCode::FORBIDDEN, "userRateLimitExceeded", exceeded)
        }
        Effect::Unauthorized => ApiError::unauthorized(),
        Effect::Forbidden => ApiError::missing_scope("googleapis.com", "unknown"),
        _ => return None,
    };
    Some(error.into_response())
}
