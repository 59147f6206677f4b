//! Faults of requests, on every path of the family, and their statistics.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, OriginalUri, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Zoho;
use super::access::token;
use crate::faults::{Effect, Rule, Target};
use crate::wire;

/// Maximum size of a request's body.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// Builds the error response of a fault in the form of a product.
pub(crate) type ErrorForm = fn(Effect) -> Option<Response>;

/// Middleware that applies the faults of a request and counts its response.
pub(super) async fn apply(
    State((service, error_form)): State<(Arc<Zoho>, ErrorForm)>,
    request: Request,
    next: Next,
) -> Response {
    let (_running, _) = service.core.stats.start_request();
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let query = parts.uri.query().unwrap_or_default();
    let account = account(&service, &parts.headers, query, &body);
    // Inside a nested router, the request's own URI lacks the prefix.
    let uri = parts.extensions.get::<OriginalUri>();
    let uri = uri.map_or(&parts.uri, |OriginalUri(uri)| uri);
    let subject = format!("{} {uri}", parts.method);
    let path = parts.extensions.get::<MatchedPath>();
    let path = path.map_or("/zoho", MatchedPath::as_str).to_owned();
    let route = format!("{} {path}", parts.method);
    let faults = &service.core.faults;
    let rule = faults.pick(Target::Request, &subject, account.as_deref());
    let request = Request::from_parts(parts, Body::from(body));
    let response = match &rule {
        None => next.run(request).await,
        Some(rule) => {
            if let Some(response) = wire::fault_response(rule)
                .await
                .or_else(|| Some(with_end(rule, error_form(rule.effect)?)))
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

/// Adds the end of a limit that the rule chooses. Zoho itself states none.
fn with_end(rule: &Rule, mut response: Response) -> Response {
    if response.status() == StatusCode::TOO_MANY_REQUESTS
        && let Some(seconds) = rule.seconds
        && let Ok(value) = format!("{}", seconds.max(0.0).ceil()).parse()
    {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// Person of the token in a request's header, query or form.
fn account(service: &Zoho, headers: &HeaderMap, query: &str, body: &[u8]) -> Option<String> {
    let state = service.state();
    if let Some(token) = token(headers) {
        return state.tokens.owner(token).map(str::to_owned);
    }
    let query = url::form_urlencoded::parse(query.as_bytes());
    let mut fields = query.chain(url::form_urlencoded::parse(body));
    let (_, token) = fields.find(|(name, _)| matches!(&**name, "refresh_token" | "token"))?;
    state.tokens.owner(&token).map(str::to_owned)
}
