//! JSON logs, traces and metrics of a process.
//!
//! [`init`] sets up telemetry once per process and returns a guard that flushes it when the process
//! ends. Spans, log records and metrics are exported over OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` is
//! set; one trace covers a webhook request, the job's row ([`current_traceparent`], [`set_parent`])
//! and the Signal. Never pass a secret to a span, an event or a label: nothing here removes it.

mod export;
mod http;
mod logs;
mod metrics;
pub mod names;
mod traceparent;

pub use http::{HttpTracking, RequestId, RequestOrigin, is_operational, track_http};
pub use metrics::MetricsHandle;
pub use traceparent::{current_traceparent, link_traceparent, record_trace_id, set_parent};

use opentelemetry::trace::TracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use self::export::{Exports, OtlpLogs};
use crate::config::Env;

/// The error of setting up telemetry.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// An invalid environment variable.
    #[error("{variable} {reason}")]
    Setting {
        /// The variable's full name.
        variable: &'static str,
        /// The problem, without the value.
        reason: &'static str,
    },
    /// An exporter could not be built.
    #[error("failed to build an OTLP exporter")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// The exporter's HTTP client could not be built.
    #[error("failed to build the HTTP client of the OTLP exporters")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The metrics recorder could not be installed.
    #[error("failed to install the metrics recorder")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
    /// The process has a tracing subscriber already.
    #[error("failed to install the tracing subscriber")]
    Logs(#[source] tracing_subscriber::util::TryInitError),
}

/// The telemetry of the process; sends what is left to the collector when dropped.
#[derive(Debug)]
#[must_use = "telemetry ends when this is dropped"]
pub struct Telemetry {
    metrics: MetricsHandle,
    exports: Option<Exports>,
}

impl Telemetry {
    /// The recorder behind `/metrics`.
    pub fn metrics(&self) -> MetricsHandle {
        self.metrics.clone()
    }

    /// Sends what is left to the collector, within a few seconds.
    pub async fn shutdown(mut self) {
        if let Some(mut exports) = self.exports.take() {
            // The providers block on their own threads, which a thread of the runtime must not.
            let flushed = tokio::task::spawn_blocking(move || exports.shut_down()).await;
            if let Err(error) = flushed {
                tracing::warn!(error = %error, "failed to end the exports");
            }
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(exports) = &mut self.exports {
            exports.shut_down();
        }
    }
}

/// Sets up logs, traces and metrics of this process.
///
/// `service` is its name in traces unless `OTEL_SERVICE_NAME` is set. `POBLYSH_LOG` filters the log
/// (`info`).
pub fn init(service: &'static str, env: &Env) -> Result<Telemetry, TelemetryError> {
    let filter = || {
        EnvFilter::try_new(env.get("POBLYSH_LOG").unwrap_or("info")).map_err(|_| {
            TelemetryError::Setting {
                variable: "POBLYSH_LOG",
                reason: "is not a tracing filter",
            }
        })
    };
    let log_filter = filter()?;
    let metrics = MetricsHandle::global()?;
    let exports = Exports::start(service, env, &metrics)?;
    ::metrics::gauge!(
        names::BUILD_INFO,
        "process" => service,
        "version" => env!("CARGO_PKG_VERSION")
    )
    .set(1.0);
    let spans = exports.traces.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("poblysh"))
            .with_location(false)
            .with_threads(false)
            .with_filter(export::filter())
    });
    let records = match &exports.logs {
        Some(provider) => Some(OtlpLogs::new(provider).with_filter(filter()?)),
        None => None,
    };
    tracing_subscriber::registry()
        .with(logs::layer(service, std::io::stdout).with_filter(log_filter))
        .with(spans)
        .with(records)
        .try_init()
        .map_err(TelemetryError::Logs)?;
    logs::log_panics();
    Ok(Telemetry {
        metrics,
        exports: Some(exports).filter(|exports| !exports.is_empty()),
    })
}

/// A second subscriber, which tests hold beside the one under test.
///
/// With only one subscriber, `tracing` registers a new callsite with the current thread's
/// subscriber. A test on another thread, which has none, would disable the callsite for all.
#[cfg(test)]
pub(crate) fn second_subscriber() -> tracing::Dispatch {
    tracing::Dispatch::new(tracing_subscriber::registry())
}
