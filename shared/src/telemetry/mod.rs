//! What the processes tell about themselves: JSON logs, traces, metrics and health.
//!
//! [`init`] sets up all of it once per process and returns a guard that flushes what is
//! left when the process ends. Spans go out over OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT`
//! is set; one trace runs from a webhook's request through the job's row
//! ([`current_traceparent`], [`set_parent`]) to the Signal. No secret may be passed to a
//! span, an event or a label: nothing here can take it out again.

mod export;
mod health;
mod http;
mod lifecycle;
mod logs;
mod metrics;
pub mod names;
mod traceparent;

pub use health::{CheckFailed, Health, OperationalApi, is_operational, operational_routes};
pub use http::{HttpTracking, RequestId, track_http};
pub use lifecycle::{Lifecycle, LifecycleError, panic_message, shutdown_signal};
pub use metrics::MetricsHandle;
pub use traceparent::{current_traceparent, link_traceparent, set_parent};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::Env;

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A variable cannot be used.
    #[error("{variable} {reason}")]
    Setting {
        /// The variable's full name.
        variable: &'static str,
        /// What is wrong, without the value.
        reason: &'static str,
    },
    /// The exporter of traces cannot be built.
    #[error("the exporter of traces cannot be built")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// The client of the exporter cannot be built.
    #[error("the client of the exporter of traces cannot be built")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The metrics recorder cannot be installed.
    #[error("the metrics recorder cannot be installed")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
    /// Logs go somewhere already.
    #[error("a tracing subscriber is installed already")]
    Logs(#[source] tracing_subscriber::util::TryInitError),
}

/// Keeps telemetry going; flushes what is left when dropped.
#[derive(Debug)]
#[must_use = "telemetry ends when this is dropped"]
pub struct Telemetry {
    metrics: MetricsHandle,
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// What `/metrics` shows.
    pub fn metrics(&self) -> MetricsHandle {
        self.metrics.clone()
    }

    /// Sends the spans that have not gone out yet. Waits for the collector, but not long.
    pub async fn shutdown(mut self) {
        if let Some(traces) = self.traces.take() {
            // The provider waits for its own thread; a runtime's thread must not.
            let flushed = tokio::task::spawn_blocking(move || export::finish(&traces)).await;
            if let Err(error) = flushed {
                tracing::warn!(error = %error, "the last spans were not sent");
            }
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = self.traces.take() {
            export::finish(&traces);
        }
    }
}

/// Sets up logs, traces and metrics of this process. `service` is its name in traces
/// unless `OTEL_SERVICE_NAME` says otherwise. `POBLYSH_LOG` filters the log (`info`).
pub fn init(service: &'static str, env: &Env) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::try_new(env.get("POBLYSH_LOG").unwrap_or("info")).map_err(|_| {
        TelemetryError::Setting {
            variable: "POBLYSH_LOG",
            reason: "is not a tracing filter",
        }
    })?;
    let traces = export::provider(service, env)?;
    let metrics = MetricsHandle::global()?;
    let exported = traces.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("poblysh"))
            .with_location(false)
            .with_threads(false)
            .with_filter(export::filter())
    });
    tracing_subscriber::registry()
        .with(logs::layer(service, std::io::stdout).with_filter(filter))
        .with(exported)
        .try_init()
        .map_err(TelemetryError::Logs)?;
    logs::log_panics();
    Ok(Telemetry { metrics, traces })
}

/// A subscriber to hold beside the one under test. While there is only one, `tracing` asks
/// the current thread's about each new callsite, so that a test on another thread, which
/// has none, would switch the callsite off for all.
#[cfg(test)]
pub(crate) fn second_subscriber() -> tracing::Dispatch {
    tracing::Dispatch::new(tracing_subscriber::registry())
}
