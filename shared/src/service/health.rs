//! Liveness, readiness and metrics over HTTP.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::future::BoxFuture;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use utoipa::{OpenApi, ToSchema};

use crate::problem::Problem;
use crate::telemetry::MetricsHandle;

/// The error of a failed check; only the log shows it.
pub type CheckError = Box<dyn Error + Send + Sync>;

/// The timeout of a check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// The time for which a check's result is cached, so that many probes cost one check.
const CHECK_CACHE_TTL: Duration = Duration::from_secs(1);

type Check = Box<dyn Fn() -> BoxFuture<'static, Result<(), CheckError>> + Send + Sync>;

/// The readiness of this process.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    metrics: MetricsHandle,
    draining: AtomicBool,
    check: Check,
    check_timeout: Duration,
    last: Mutex<Option<CheckResult>>,
}

#[derive(Clone, Copy)]
struct CheckResult {
    checked_at: Instant,
    is_passing: bool,
}

impl Health {
    /// Ready while `check` succeeds within 1 s and no shutdown has begun.
    pub fn new<F, Fut, E>(metrics: MetricsHandle, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<CheckError>,
    {
        Self::with_timeout(metrics, check, CHECK_TIMEOUT)
    }

    fn with_timeout<F, Fut, E>(metrics: MetricsHandle, check: F, check_timeout: Duration) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<CheckError>,
    {
        let check: Check = Box::new(move || {
            let outcome = check();
            Box::pin(async move { outcome.await.map_err(Into::into) })
        });
        Self(Arc::new(Inner {
            metrics,
            draining: AtomicBool::new(false),
            check,
            check_timeout,
            last: Mutex::new(None),
        }))
    }

    /// Marks this process as not ready, because a shutdown has begun.
    pub fn begin_drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether a shutdown has begun.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Whether this process accepts work now.
    pub async fn is_ready(&self) -> bool {
        !self.is_draining() && self.passes().await
    }

    /// The check's result, at most [`CHECK_CACHE_TTL`] old; simultaneous callers share one check.
    async fn passes(&self) -> bool {
        let mut last = self.0.last.lock().await;
        if let Some(outcome) = *last
            && outcome.checked_at.elapsed() < CHECK_CACHE_TTL
        {
            return outcome.is_passing;
        }
        let before = last.is_none_or(|outcome| outcome.is_passing);
        let is_passing = match timeout(self.0.check_timeout, (self.0.check)()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(error = &*error as &dyn Error, "readiness check failed");
                false
            }
            Err(_) => {
                tracing::warn!("readiness check timed out");
                false
            }
        };
        if is_passing && !before {
            tracing::info!("readiness check succeeded again");
        }
        *last = Some(CheckResult {
            checked_at: Instant::now(),
            is_passing,
        });
        is_passing
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health")
            .field("draining", &self.is_draining())
            .finish_non_exhaustive()
    }
}

/// `GET /livez`, `/readyz`, its alias `/healthz`, and `/metrics`.
///
/// [`is_operational`](crate::telemetry::is_operational) recognizes their paths.
pub fn operational_routes(state: Health) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/healthz", get(healthz))
        .route("/metrics", get(render_metrics))
        .with_state(state)
}

/// The OpenAPI description of these routes.
#[derive(OpenApi)]
#[openapi(
    paths(livez, readyz, healthz, render_metrics),
    tags((name = "operations", description = "For supervisors, load balancers and Prometheus"))
)]
pub struct OperationalApi;

/// The status of a process.
#[derive(Serialize, ToSchema)]
struct HealthStatus {
    /// `alive` or `ready`.
    status: &'static str,
}

/// Whether the process runs.
///
/// Responds while the process runs.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "get_liveness",
    tag = "operations",
    responses((status = 200, description = "The process runs", body = HealthStatus))
)]
async fn livez() -> impl IntoResponse {
    Json(HealthStatus { status: "alive" })
}

/// Whether the process accepts work.
///
/// It does while PostgreSQL responds with the right role and no shutdown has begun.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "get_readiness",
    tag = "operations",
    responses((status = 200, description = "The process accepts work", body = HealthStatus))
)]
async fn readyz(State(health): State<Health>) -> Response {
    if health.is_ready().await {
        return Json(HealthStatus { status: "ready" }).into_response();
    }
    if health.is_draining() {
        let message = "The process is shutting down and accepts no more work.";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", message).into_response();
    }
    Problem::unavailable().into_response()
}

/// Whether the process accepts work.
///
/// An alias of `/readyz`.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "get_health",
    tag = "operations",
    responses((status = 200, description = "The process accepts work", body = HealthStatus))
)]
async fn healthz(health: State<Health>) -> Response {
    readyz(health).await
}

/// Counters, gauges and histograms of this process.
///
/// In the text format of Prometheus; `docs/operations.md` lists the metrics.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "get_metrics",
    tag = "operations",
    responses((status = 200, description = "Prometheus text format", body = String, content_type = "text/plain"))
)]
async fn render_metrics(State(health): State<Health>) -> impl IntoResponse {
    let format = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], health.0.metrics.render())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    fn health<F, Fut>(check: F) -> Health
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), &'static str>> + Send + 'static,
    {
        Health::new(MetricsHandle::global().expect("a recorder"), check)
    }

    async fn get(health: &Health, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = operational_routes(health.clone())
            .oneshot(request)
            .await
            .expect("infallible");
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20)
            .await
            .expect("a body");
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn draining_process_is_alive_but_not_ready() {
        let health = health(|| async { Ok(()) });
        assert_eq!(get(&health, "/readyz").await.0, StatusCode::OK);
        assert_eq!(get(&health, "/healthz").await.0, StatusCode::OK);

        health.begin_drain();
        let (status, body) = get(&health, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("draining"), "{body}");
        assert_eq!(
            get(&health, "/healthz").await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(get(&health, "/livez").await.0, StatusCode::OK);
    }

    #[test]
    fn documented_routes_are_operational() {
        let document = OperationalApi::openapi();
        assert_eq!(document.paths.paths.len(), 4);
        for path in document.paths.paths.keys() {
            assert!(crate::telemetry::is_operational(path), "{path}");
        }
    }

    #[tokio::test]
    async fn failed_check_does_not_reveal_its_cause() {
        let health = health(|| async { Err("password of the database") });
        let (status, body) = get(&health, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!body.contains("password"), "{body}");
    }

    #[tokio::test]
    async fn hanging_check_times_out() {
        let metrics = MetricsHandle::global().expect("a recorder");
        let hangs = std::future::pending::<Result<(), &str>>;
        let health = Health::with_timeout(metrics, hangs, Duration::from_millis(30));
        assert!(!health.is_ready().await);
        assert_eq!(CHECK_TIMEOUT, Duration::from_secs(1));
    }

    #[tokio::test]
    async fn many_probes_cost_one_check() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let health = health(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        });
        for _ in 0..50 {
            assert!(health.is_ready().await);
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1);

        let stale = Instant::now()
            .checked_sub(CHECK_CACHE_TTL)
            .expect("the clock runs for a while");
        *health.0.last.lock().await = Some(CheckResult {
            checked_at: stale,
            is_passing: true,
        });
        assert!(health.is_ready().await);
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text() {
        let health = health(|| async { Ok(()) });
        metrics::counter!(crate::telemetry::names::SIGNALS_TOTAL, "source" => "health_test")
            .increment(1);
        let (status, body) = get(&health, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(
            body.contains("poblysh_signals_total{source=\"health_test\"} 1"),
            "{body}"
        );
    }
}
