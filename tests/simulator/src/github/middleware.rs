//! Middleware of all requests: counting, faults, authentication, quotas, `ETag`s, headers.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::caller::Caller;
use super::limits::{Allowance, Holder, Quota, Resource};
use super::metering::MeteredRequest;
use super::reply::{Payload, Reply};
use super::settings::Settings;
use super::{GitHub, rest};
use crate::faults::{Effect, Rule, Target};
use crate::usage::Outcome;
use crate::wire;

type Service = Arc<GitHub>;

/// Adds the middleware of the REST API.
pub(crate) fn wrap_api(routes: Router<Service>, service: &Service) -> Router {
    routes
        .layer(from_fn_with_state(Arc::clone(service), handle_api))
        .with_state(Arc::clone(service))
}

/// Adds the middleware of pages and the token endpoint: faults and counting only.
pub(crate) fn wrap_pages(routes: Router<Service>, service: &Service) -> Router {
    routes
        .layer(from_fn_with_state(Arc::clone(service), handle_page))
        .with_state(Arc::clone(service))
}

/// Response for an unknown path.
pub(crate) async fn unknown_route() -> Reply {
    Reply::not_found()
}

/// Subject of fault rules: `METHOD /path?query` without the API's prefix.
fn subject(request: &Request) -> String {
    let path = request.uri().path();
    let path = path.strip_prefix("/api/v3").unwrap_or(path);
    match request.uri().query() {
        Some(query) => format!("{} {path}?{query}", request.method()),
        None => format!("{} {path}", request.method()),
    }
}

fn route(request: &Request) -> String {
    let matched = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str);
    let path = request.uri().path();
    let path = if matched.contains("{*rest}") {
        rest::route_pattern(path)
    } else {
        matched.to_owned()
    };
    format!(
        "{} {}",
        request.method(),
        path.strip_prefix("/api/v3").unwrap_or(&path)
    )
}

async fn handle_page(State(service): State<Service>, request: Request, next: Next) -> Response {
    let (_running, _) = service.core.stats.start_request();
    let label = route(&request);
    let rule = service
        .core
        .faults
        .pick(Target::Request, &subject(&request), None);
    let response = match rule {
        None => next.run(request).await,
        Some(rule) => match fault_response(&rule).await {
            Some(response) => response,
            None => wire::apply_fault(&rule, next.run(request).await).await,
        },
    };
    service
        .core
        .stats
        .record_response(label, response.status().as_u16());
    response
}

async fn handle_api(State(service): State<Service>, request: Request, next: Next) -> Response {
    let (_running, _) = service.core.stats.start_request();
    let label = route(&request);
    let mut response = api(&service, request, next, &label).await;
    let headers = response.headers_mut();
    let id = format!(
        "{:04X}:{:06X}",
        rand::random::<u16>(),
        rand::random::<u32>()
    );
    insert(headers, "x-github-request-id", &id);
    insert(headers, "x-github-media-type", "github.v3; format=json");
    insert(headers, "x-github-api-version-selected", "2022-11-28");
    insert(headers, "server", "github.com");
    service
        .core
        .stats
        .record_response(label, response.status().as_u16());
    response
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

async fn api(service: &Service, mut request: Request, next: Next, route: &str) -> Response {
    let caller = Caller::identify(service, request.headers());
    let settings = service.settings().clone();
    let metered = MeteredRequest::new(service, &caller, &settings, &request, route);
    let (_in_flight, concurrent) = service.limits.enter(metered.allowance.holder);
    let now = service.core.clock.seconds();
    let (subject, account) = (subject(&request), metered.account.as_deref());
    let rule = service.core.faults.pick(Target::Request, &subject, account);
    if let Some(rule) = &rule {
        let fault_response = match fault_limit(service, rule, metered.allowance, now) {
            Some(response) => Some(response),
            None => fault_response(rule).await,
        };
        if let Some(response) = fault_response {
            metered.record(service, Outcome::Free);
            return response;
        }
    }
    if !request.headers().contains_key(header::USER_AGENT) {
        return no_user_agent();
    }
    if matches!(caller, Caller::Invalid) {
        return Reply::bad_credentials().into_response();
    }
    if let Some(response) = check_limits(service, &metered, &settings, concurrent) {
        metered.record(service, Outcome::Refused);
        return response;
    }
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
    // Search results have no `ETag`.
    let has_tag = metered.is_read && metered.allowance.resource == Resource::Core;
    if has_tag && response.status() == StatusCode::OK {
        response = conditional(
            response,
            metered.token.as_ref(),
            metered.if_none_match.as_ref(),
        );
    }
    let outcome = metered.outcome(&response);
    let quota = if matches!(outcome, Outcome::Charged(..)) {
        service.limits.consume(metered.allowance, now)
    } else {
        service.limits.current(metered.allowance, now)
    };
    metered.record(service, outcome);
    set_rate_limit_headers(service, response.headers_mut(), quota);
    match rule {
        Some(rule) => wire::apply_fault(&rule, response).await,
        None => response,
    }
}

/// Error response if a limit is reached.
///
/// Points and concurrency also count conditional requests.
fn check_limits(
    service: &Service,
    metered: &MeteredRequest,
    settings: &Settings,
    concurrent: usize,
) -> Option<Response> {
    let (now, holder) = (service.core.clock.seconds(), metered.allowance.holder);
    let quota = service.limits.current(metered.allowance, now);
    if !metered.is_free && quota.remaining() == 0 {
        return Some(primary_limit_error(service, holder, quota));
    }
    let max_points = settings.points_per_minute;
    let exceeds_points = max_points.is_some_and(|max| {
        service
            .limits
            .exceeds_points(holder, metered.points, max, now)
    });
    let exceeds_concurrency = settings.max_concurrent.is_some_and(|max| concurrent > max);
    if !exceeds_points && !exceeds_concurrency {
        return None;
    }
    let mut response = secondary_limit_error(StatusCode::FORBIDDEN, Some(60.0)).into_response();
    set_rate_limit_headers(service, response.headers_mut(), quota);
    Some(response)
}

fn no_user_agent() -> Response {
    let text = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required). Check https://developer.github.com for other possible causes.\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

/// Adds the `ETag`, and returns 304 if the client's tag matches.
///
/// A tag is valid only for the token that received it.
fn conditional(
    mut response: Response,
    token: Option<&HeaderValue>,
    if_none_match: Option<&HeaderValue>,
) -> Response {
    let Some(Payload(body)) = response.extensions().get::<Payload>() else {
        return response;
    };
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    token.map(HeaderValue::as_bytes).hash(&mut hasher);
    response
        .headers()
        .get(header::LINK)
        .map(HeaderValue::as_bytes)
        .hash(&mut hasher);
    let tag = format!("W/\"{:016x}{:08x}\"", hasher.finish(), body.len());
    let matches = |header: &HeaderValue| {
        let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        header
            .to_str()
            .is_ok_and(|tags| tags.split(',').any(|known| weak(known) == weak(&tag)))
    };
    if if_none_match.is_some_and(matches) {
        let headers = std::mem::take(response.headers_mut());
        response = StatusCode::NOT_MODIFIED.into_response();
        *response.headers_mut() = headers;
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    insert(response.headers_mut(), "etag", &tag);
    insert(
        response.headers_mut(),
        "cache-control",
        "private, max-age=60, s-maxage=60",
    );
    insert(
        response.headers_mut(),
        "vary",
        "Accept, Authorization, Cookie, X-GitHub-OTP",
    );
    response
}

fn set_rate_limit_headers(service: &Service, headers: &mut HeaderMap, quota: Quota) {
    let resets_at = quota.resets_at - service.core.clock.offset();
    insert(headers, "x-ratelimit-limit", &quota.limit.to_string());
    insert(
        headers,
        "x-ratelimit-remaining",
        &quota.remaining().to_string(),
    );
    insert(headers, "x-ratelimit-used", &quota.used.to_string());
    insert(headers, "x-ratelimit-reset", &resets_at.to_string());
    insert(headers, "x-ratelimit-resource", quota.resource.name());
}

/// 403 for an exhausted quota.
fn primary_limit_error(service: &Service, holder: Holder, quota: Quota) -> Response {
    let holder_text = match holder {
        Holder::Installation(id) => format!("for installation ID {id}"),
        Holder::User(id) => format!("for user ID {id}"),
        Holder::App => format!("for app ID {}", service.app.id),
        Holder::Anonymous => "for 127.0.0.1".to_owned(),
    };
    let mut response = Reply::error_at(
        StatusCode::FORBIDDEN,
        &format!("API rate limit exceeded {holder_text}."),
        "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api",
    )
    .into_response();
    set_rate_limit_headers(service, response.headers_mut(), quota);
    response
}

/// 403 or 429 for too many or too expensive requests.
fn secondary_limit_error(status: StatusCode, retry_after: Option<f64>) -> Reply {
    let reply = Reply::error_at(
        status,
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
        "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits",
    );
    match retry_after {
        Some(seconds) => reply.with("retry-after", &format!("{}", seconds.max(0.0).ceil())),
        None => reply,
    }
}

/// Response of a fault rule that simulates a limit.
fn fault_limit(service: &Service, rule: &Rule, allowance: Allowance, now: i64) -> Option<Response> {
    let wait = Some(rule.seconds.unwrap_or(60.0));
    let reply = match rule.effect {
        Effect::PrimaryLimit => {
            let mut quota = service.limits.current(allowance, now);
            quota.used = quota.limit;
            if let Some(seconds) = rule
                .seconds
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            {
                quota.resets_at = now + i64::try_from(seconds.as_secs()).unwrap_or(3_600);
            } else {
                quota = service.limits.exhaust(allowance, now);
            }
            return Some(primary_limit_error(service, allowance.holder, quota));
        }
        Effect::SecondaryLimit => secondary_limit_error(StatusCode::FORBIDDEN, wait),
        Effect::SecondaryLimitBare => secondary_limit_error(StatusCode::FORBIDDEN, None),
        Effect::TooManyRequests => secondary_limit_error(StatusCode::TOO_MANY_REQUESTS, wait),
        _ => return None,
    };
    let mut response = reply.into_response();
    set_rate_limit_headers(
        service,
        response.headers_mut(),
        service.limits.current(allowance, now),
    );
    Some(response)
}

/// Response of a fault that skips the handler; waits first if the fault is a delay.
async fn fault_response(rule: &Rule) -> Option<Response> {
    match rule.effect {
        Effect::Unauthorized => Some(Reply::bad_credentials().into_response()),
        Effect::Forbidden => Some(Reply::not_permitted("metadata").into_response()),
        Effect::SecondaryLimit | Effect::TooManyRequests => Some(
            secondary_limit_error(
                StatusCode::TOO_MANY_REQUESTS,
                Some(rule.seconds.unwrap_or(60.0)),
            )
            .into_response(),
        ),
        _ => wire::fault_response(rule).await,
    }
}
