//! The export of spans over OTLP (HTTP with protobuf).
//!
//! OpenTelemetry's variables configure it. They are read from [`Env`] instead of by the SDK, so
//! that those of a `.env` file count too. Exports run on the SDK's thread with a separate runtime,
//! so that a flush works while the process's runtime stops.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::runtime::Runtime;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use uuid::Uuid;

use super::TelemetryError;
use crate::config::Env;

/// The maximum time that the shutdown waits for the collector.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// The specification's default timeout of an export.
const EXPORT_TIMEOUT_MS: u64 = 10_000;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const TRACES_HEADERS: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const TRACES_TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// The provider of traces; `None` without an endpoint or when the SDK is disabled.
pub(super) fn provider(
    service: &'static str,
    env: &Env,
) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    let disabled = env
        .get("OTEL_SDK_DISABLED")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let Some(endpoint) = endpoint(env)?.filter(|_| !disabled) else {
        return Ok(None);
    };
    check_protocol(env)?;
    let timeout = timeout(env)?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_timeout(timeout)
        .with_headers(headers(env)?)
        .with_http_client(CollectorClient::new(timeout)?)
        .build()
        .map_err(TelemetryError::Exporter)?;
    let provider = SdkTracerProvider::builder()
        .with_resource(resource(service, env)?)
        .with_sampler(sampler(env)?)
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
pub(super) fn shut_down(provider: &SdkTracerProvider) {
    if let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
        tracing::warn!(%error, "failed to export the last spans");
    }
}

fn endpoint(env: &Env) -> Result<Option<String>, TelemetryError> {
    let (variable, text) = if let Some(text) = env.get(TRACES_ENDPOINT) {
        (TRACES_ENDPOINT, text.to_owned())
    } else if let Some(base) = env.get(ENDPOINT) {
        (
            ENDPOINT,
            format!("{}/v1/traces", base.trim_end_matches('/')),
        )
    } else {
        return Ok(None);
    };
    match url::Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Some(text)),
        _ => Err(TelemetryError::Setting {
            variable,
            reason: "is not an http or https URL",
        }),
    }
}

fn check_protocol(env: &Env) -> Result<(), TelemetryError> {
    for variable in [TRACES_PROTOCOL, PROTOCOL] {
        match env.get(variable) {
            None => {}
            Some("http/protobuf") => return Ok(()),
            Some(_) => {
                let reason = "names a protocol other than http/protobuf";
                return Err(TelemetryError::Setting { variable, reason });
            }
        }
    }
    Ok(())
}

fn timeout(env: &Env) -> Result<Duration, TelemetryError> {
    let variable = if env.get(TRACES_TIMEOUT).is_some() {
        TRACES_TIMEOUT
    } else {
        TIMEOUT
    };
    let milliseconds = match env.get(variable).map(str::parse) {
        None => EXPORT_TIMEOUT_MS,
        Some(Ok(milliseconds)) if milliseconds > 0 => milliseconds,
        Some(_) => {
            let reason = "is not a number of milliseconds";
            return Err(TelemetryError::Setting { variable, reason });
        }
    };
    Ok(Duration::from_millis(milliseconds))
}

fn headers(env: &Env) -> Result<HashMap<String, String>, TelemetryError> {
    let variable = if env.get(TRACES_HEADERS).is_some() {
        TRACES_HEADERS
    } else {
        HEADERS
    };
    Ok(pairs(env, variable)?.into_iter().collect())
}

/// The resource attributes of the process.
fn resource(service: &'static str, env: &Env) -> Result<Resource, TelemetryError> {
    const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let defaults = [
        KeyValue::new("service.name", service),
        KeyValue::new("service.namespace", "poblysh"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", Uuid::now_v7().to_string()),
    ];
    let given = pairs(env, ATTRIBUTES)?
        .into_iter()
        .map(|(key, value)| KeyValue::new(key, value));
    let mut builder = Resource::builder()
        .with_attributes(defaults)
        .with_attributes(given);
    if let Some(name) = env.get("OTEL_SERVICE_NAME") {
        builder = builder.with_service_name(name.to_owned());
    }
    Ok(builder.build())
}

fn sampler(env: &Env) -> Result<Sampler, TelemetryError> {
    let ratio = || match env.get(SAMPLER_ARG).map(str::parse::<f64>) {
        None => Ok(1.0),
        Some(Ok(ratio)) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        Some(_) => Err(TelemetryError::Setting {
            variable: SAMPLER_ARG,
            reason: "is not a number between 0 and 1",
        }),
    };
    let parent_based = |root| Sampler::ParentBased(Box::new(root));
    Ok(match env.get(SAMPLER) {
        None | Some("parentbased_always_on") => parent_based(Sampler::AlwaysOn),
        Some("parentbased_always_off") => parent_based(Sampler::AlwaysOff),
        Some("parentbased_traceidratio") => parent_based(Sampler::TraceIdRatioBased(ratio()?)),
        Some("always_on") => Sampler::AlwaysOn,
        Some("always_off") => Sampler::AlwaysOff,
        Some("traceidratio") => Sampler::TraceIdRatioBased(ratio()?),
        Some(_) => {
            let reason = "names no sampler of the specification";
            return Err(TelemetryError::Setting {
                variable: SAMPLER,
                reason,
            });
        }
    })
}

/// `key=value` pairs separated by commas, values percent-encoded (as W3C Baggage).
fn pairs(env: &Env, variable: &'static str) -> Result<Vec<(String, String)>, TelemetryError> {
    let malformed = TelemetryError::Setting {
        variable,
        reason: "is not a comma-separated list of key=value",
    };
    let mut pairs = Vec::new();
    for item in env
        .get(variable)
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
    {
        if item.is_empty() {
            continue;
        }
        let Some((key, value)) = item.split_once('=') else {
            return Err(malformed);
        };
        // Form decoding would turn a plus into a space.
        let encoded = format!("v={}", value.trim().replace('+', "%2B"));
        let decoded = url::form_urlencoded::parse(encoded.as_bytes()).next();
        pairs.push((
            key.trim().to_owned(),
            decoded
                .map(|(_, value)| value.into_owned())
                .unwrap_or_default(),
        ));
    }
    Ok(pairs)
}

/// The HTTP client of the exporter, called on the SDK's thread.
#[derive(Debug)]
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

impl CollectorClient {
    fn new(timeout: Duration) -> Result<Self, TelemetryError> {
        if let Err(error) = &*RUNTIME {
            return Err(TelemetryError::Client(error.kind().to_string().into()));
        }
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
