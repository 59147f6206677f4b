//! The id, span, log line and metrics of every HTTP request, by OpenTelemetry's semantic conventions.
//!
//! Metrics, spans and logs name the matched route, never the path: a path would make a metric per
//! id, and clients could make any number of them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, Span, field};
use uuid::Uuid;

use super::{names, record_trace_id, set_parent};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id that is accepted from a client.
const MAX_REQUEST_ID_LENGTH: usize = 128;

/// The process whose requests are tracked, and the detail of its log.
#[derive(Debug, Clone, Copy)]
pub struct HttpTracking {
    process: &'static str,
    logs_success: bool,
}

impl HttpTracking {
    /// Logs every request.
    pub const fn new(process: &'static str) -> Self {
        Self {
            process,
            logs_success: true,
        }
    }

    /// Logs server errors only, and other requests at `debug`.
    ///
    /// For a process that stores its requests.
    #[must_use]
    pub const fn only_failures(mut self) -> Self {
        self.logs_success = false;
        self
    }
}

/// The client of a request and the scheme of the public URL; the server adds it to each request.
#[derive(Debug, Clone, Copy)]
pub struct RequestOrigin {
    /// The client's address.
    pub address: IpAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
}

impl RequestOrigin {
    fn scheme(extensions: &Extensions) -> &'static str {
        extensions
            .get::<Self>()
            .map_or("http", |origin| origin.scheme)
    }
}

/// The id of a request: the client's `X-Request-Id` if it is valid, else a new one.
///
/// It is an extension of the request and a header of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

impl RequestId {
    fn of(headers: &HeaderMap) -> Self {
        let given = headers
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok());
        let valid = given.filter(|text| {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
            (1..=MAX_REQUEST_ID_LENGTH).contains(&text.len()) && text.bytes().all(is_allowed)
        });
        Self(valid.map_or_else(|| Uuid::now_v7().to_string().into(), Into::into))
    }
}

/// Whether a path is that of a health check or of the metrics.
pub fn is_operational(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/healthz" | "/metrics")
}

/// Middleware that tracks requests.
///
/// For `Router::layer(axum::middleware::from_fn_with_state(tracking, track_http))`.
pub async fn track_http(
    State(tracking): State<HttpTracking>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = RequestId::of(request.headers());
    let method = method_label(request.method());
    let route: Arc<str> = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".into(), |path| path.as_str().into());
    let scheme = RequestOrigin::scheme(request.extensions());
    let span = span(&request, method, &route, &id);
    request.extensions_mut().insert(id.clone());
    let active = ActiveRequest::begin(tracking.process, method, scheme);

    let mut response = next.run(request).instrument(span.clone()).await;
    drop(active);

    let status = response.status();
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let duration = started.elapsed();
    span.record("http.response.status_code", i64::from(status.as_u16()));
    let mut labels = vec![
        metrics::Label::new("process", tracking.process),
        metrics::Label::new("http_request_method", method),
        metrics::Label::new("url_scheme", scheme),
        metrics::Label::new("http_route", Arc::clone(&route)),
        metrics::Label::new("http_response_status_code", status.as_str().to_owned()),
    ];
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", status.as_str());
        labels.push(metrics::Label::new(
            "error_type",
            status.as_str().to_owned(),
        ));
    }
    span.in_scope(|| log(tracking, &route, status, duration.as_secs_f64() * 1000.0));
    metrics::histogram!(names::HTTP_SERVER_REQUEST_DURATION_SECONDS, labels.iter())
        .record(duration);
    response
}

/// A request whose response has not begun; counts until it is dropped.
struct ActiveRequest(metrics::Gauge);

impl ActiveRequest {
    fn begin(process: &'static str, method: &'static str, scheme: &'static str) -> Self {
        let gauge = metrics::gauge!(
            names::HTTP_SERVER_ACTIVE_REQUESTS,
            "process" => process,
            "http_request_method" => method,
            "url_scheme" => scheme
        );
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The span; authentication records the key, the operator and the tenant.
fn span(request: &Request, method: &'static str, route: &str, id: &RequestId) -> Span {
    let (headers, extensions) = (request.headers(), request.extensions());
    let origin = extensions.get::<RequestOrigin>();
    let version = match request.version() {
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    let span = tracing::info_span!(
        "http.request",
        otel.name = format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = field::Empty,
        url.scheme = RequestOrigin::scheme(extensions),
        network.protocol.version = version,
        client.address = origin.map(|origin| field::display(origin.address)),
        error.type = field::Empty,
        request.id = &*id.0,
        api_key.id = field::Empty,
        operator.id = field::Empty,
        tenant.id = field::Empty,
        trace.id = field::Empty,
    );
    if let Some(parent) = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
    {
        set_parent(&span, parent);
    }
    record_trace_id(&span);
    span
}

fn log(tracking: HttpTracking, route: &str, status: StatusCode, duration_ms: f64) {
    let is_operational = is_operational(route);
    if status.is_server_error() && !is_operational {
        tracing::error!(duration_ms, "request failed");
    } else if tracking.logs_success && !is_operational {
        tracing::info!(duration_ms, "request completed");
    } else {
        tracing::debug!(duration_ms, "request completed");
    }
}

/// The method's label: `_OTHER` for unknown ones, of which clients could send any number.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::telemetry::MetricsHandle;

    fn router(process: &'static str) -> Router {
        Router::new()
            .route(
                "/things/{id}",
                get(|request: Request| async move {
                    request
                        .extensions()
                        .get::<RequestId>()
                        .expect("an id")
                        .0
                        .to_string()
                }),
            )
            .layer(from_fn_with_state(HttpTracking::new(process), track_http))
    }

    async fn send(router: Router, method: &str, path: &str, id: Option<&str>) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(id) = id {
            request = request.header(REQUEST_ID, id);
        }
        let request = request.body(Body::empty()).expect("a request");
        router.oneshot(request).await.expect("infallible")
    }

    fn id_of(response: &Response) -> &str {
        response.headers()[REQUEST_ID].to_str().expect("ASCII")
    }

    #[tokio::test]
    async fn invalid_request_id_is_replaced() {
        let response = send(router("ids"), "GET", "/things/1", Some("abc-123")).await;
        assert_eq!(id_of(&response), "abc-123");
        let body = axum::body::to_bytes(response.into_body(), 100)
            .await
            .expect("a body");
        assert_eq!(body, "abc-123");

        let long = "x".repeat(129);
        for bad in [
            Some("two words"),
            Some("<script>"),
            Some(long.as_str()),
            Some(""),
            None,
        ] {
            let response = send(router("ids"), "GET", "/things/1", bad).await;
            Uuid::parse_str(id_of(&response)).expect("a new id");
        }
    }

    #[tokio::test]
    async fn metrics_name_the_route_and_not_the_path() {
        let metrics = MetricsHandle::global().expect("a recorder");
        for (method, path) in [
            ("GET", "/things/secret-1"),
            ("GET", "/things/secret-2"),
            ("PUT", "/things/secret-3"),
            ("BREW", "/nowhere/secret-4"),
        ] {
            send(router("metrics_test"), method, path, None).await;
        }
        let shown = metrics.render();
        for line in [
            "http_request_method=\"GET\",url_scheme=\"http\",http_route=\"/things/{id}\",http_response_status_code=\"200\"} 2",
            "http_request_method=\"PUT\",url_scheme=\"http\",http_route=\"/things/{id}\",http_response_status_code=\"405\"} 1",
            "http_request_method=\"_OTHER\",url_scheme=\"http\",http_route=\"unmatched\",http_response_status_code=\"404\"} 1",
        ] {
            let name = "http_server_request_duration_seconds_count{process=\"metrics_test\"";
            let line = format!("{name},{line}");
            assert!(shown.contains(&line), "{line} is missing in\n{shown}");
        }
        let idle = "http_server_active_requests{process=\"metrics_test\",http_request_method=\"GET\",url_scheme=\"http\"} 0";
        assert!(shown.contains(idle), "{shown}");
        assert!(!shown.contains("secret-"));
    }
}
