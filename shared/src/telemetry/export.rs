//! The export of spans, logs and metrics over OTLP (HTTP with protobuf).
//!
//! OpenTelemetry's variables configure it. They are read from [`Env`] instead of by the SDK, so
//! that those of a `.env` file count too. Exports run on the SDK's threads with a separate runtime,
//! so that a flush works while the process's runtime stops.

mod log_layer;
mod metrics;
mod settings;

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{LogExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Runtime;
use tracing::Level;
use tracing_subscriber::filter::Targets;

pub(super) use self::log_layer::OtlpLogs;
use self::metrics::MetricsExport;
use self::settings::{Collector, Signal, resource, sampler};
use super::{MetricsHandle, TelemetryError};
use crate::config::Env;

/// The maximum time that the shutdown waits for the collector.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// The exports of the process; each is absent without an endpoint or when it is disabled.
#[derive(Debug)]
pub(super) struct Exports {
    pub(super) traces: Option<SdkTracerProvider>,
    pub(super) logs: Option<SdkLoggerProvider>,
    metrics: Option<MetricsExport>,
}

impl Exports {
    /// Starts the exports that are configured.
    pub(super) fn start(
        service: &'static str,
        env: &Env,
        metrics: &MetricsHandle,
    ) -> Result<Self, TelemetryError> {
        Ok(Self {
            traces: provider(service, env)?,
            logs: log_provider(service, env)?,
            metrics: match Collector::of(Signal::Metrics, env)? {
                Some(collector) => Some(MetricsExport::start(
                    collector,
                    settings::metric_interval(env)?,
                    &resource(service, env)?,
                    metrics.clone(),
                )?),
                None => None,
            },
        })
    }

    /// Whether nothing is exported.
    pub(super) const fn is_empty(&self) -> bool {
        self.traces.is_none() && self.logs.is_none() && self.metrics.is_none()
    }

    /// Sends what is left and ends the exports. Blocks for [`FLUSH_TIMEOUT`] at most, for each.
    pub(super) fn shut_down(&mut self) {
        if let Some(traces) = self.traces.take() {
            shut_down(&traces);
        }
        if let Some(metrics) = self.metrics.take() {
            metrics.shut_down();
        }
        // Last, because the others log their failures.
        if let Some(logs) = self.logs.take()
            && let Err(error) = logs.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            tracing::warn!(%error, "failed to export the last log records");
        }
    }
}

/// The provider of traces; `None` without an endpoint or when the SDK is disabled.
fn provider(service: &'static str, env: &Env) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    let Some(collector) = Collector::of(Signal::Traces, env)? else {
        return Ok(None);
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(collector.endpoint)
        .with_timeout(collector.timeout)
        .with_headers(collector.headers)
        .with_http_client(CollectorClient::new(collector.timeout)?)
        .build()
        .map_err(TelemetryError::Exporter)?;
    let provider = SdkTracerProvider::builder()
        .with_resource(resource(service, env)?)
        .with_sampler(sampler(env)?)
        .with_batch_exporter(exporter)
        .build();
    Ok(Some(provider))
}

/// The provider of log records; `None` without an endpoint or when the SDK is disabled.
fn log_provider(
    service: &'static str,
    env: &Env,
) -> Result<Option<SdkLoggerProvider>, TelemetryError> {
    let Some(collector) = Collector::of(Signal::Logs, env)? else {
        return Ok(None);
    };
    let exporter = LogExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(collector.endpoint)
        .with_timeout(collector.timeout)
        .with_headers(collector.headers)
        .with_http_client(CollectorClient::new(collector.timeout)?)
        .build()
        .map_err(TelemetryError::Exporter)?;
    let provider = SdkLoggerProvider::builder()
        .with_resource(resource(service, env)?)
        .with_batch_exporter(exporter)
        .build();
    Ok(Some(provider))
}

/// The exported spans: those of our crates from `info` on, independent of the log's filter.
pub(super) fn filter() -> Targets {
    let crates = ["shared", "api_server", "webhook_ingress", "sync_worker"];
    Targets::new().with_targets(crates.map(|target| (target, Level::INFO)))
}

/// Flushes the remaining spans and ends the export. Blocks for [`FLUSH_TIMEOUT`] at most.
fn shut_down(provider: &SdkTracerProvider) {
    if let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
        tracing::warn!(%error, "failed to export the last spans");
    }
}

/// The HTTP client of the exporters, called on the SDK's threads.
#[derive(Debug, Clone)]
struct CollectorClient(reqwest::Client);

/// The runtime of requests to the collector.
///
/// It is never dropped, because a thread of another runtime must not drop it.
static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("otlp-export")
        .enable_all()
        .build()
});

/// The runtime, if it could be created.
fn runtime() -> Result<&'static Runtime, TelemetryError> {
    RUNTIME
        .as_ref()
        .map_err(|error| TelemetryError::Client(error.kind().to_string().into()))
}

impl CollectorClient {
    fn new(timeout: Duration) -> Result<Self, TelemetryError> {
        runtime()?;
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .build()
            .map_err(|error| TelemetryError::Client(error.without_url().into()))?;
        Ok(Self(client))
    }
}

#[async_trait]
impl HttpClient for CollectorClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let runtime = RUNTIME.as_ref().map_err(|error| error.kind().to_string())?;
        let client = self.0.clone();
        let task = runtime.spawn(async move { client.send_bytes(request).await });
        task.await?
    }
}

#[cfg(test)]
mod tests;
