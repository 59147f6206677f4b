//! OpenTelemetry's variables for the exports.
//!
//! A variable of one signal, such as `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, wins over the one of all.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::Sampler;
use uuid::Uuid;

use crate::config::Env;
use crate::telemetry::TelemetryError;

/// The specification's default timeout of an export.
const EXPORT_TIMEOUT_MS: u64 = 10_000;
/// The specification's default interval between two exports of metrics.
const METRIC_INTERVAL_MS: u64 = 60_000;

pub(super) const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
pub(super) const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
pub(super) const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
pub(super) const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
pub(super) const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
pub(super) const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const METRIC_INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";

/// A kind of telemetry that is exported.
#[derive(Debug, Clone, Copy)]
pub(super) enum Signal {
    Traces,
    Metrics,
    Logs,
}

/// The names of a signal's own variables.
struct Variables {
    exporter: &'static str,
    endpoint: &'static str,
    headers: &'static str,
    timeout: &'static str,
    protocol: &'static str,
}

impl Signal {
    /// The path below the endpoint of all signals.
    const fn path(self) -> &'static str {
        match self {
            Self::Traces => "v1/traces",
            Self::Metrics => "v1/metrics",
            Self::Logs => "v1/logs",
        }
    }

    const fn variables(self) -> Variables {
        match self {
            Self::Traces => Variables {
                exporter: "OTEL_TRACES_EXPORTER",
                endpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                headers: "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
                timeout: "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
                protocol: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            },
            Self::Metrics => Variables {
                exporter: "OTEL_METRICS_EXPORTER",
                endpoint: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                headers: "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
                timeout: "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
                protocol: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
            },
            Self::Logs => Variables {
                exporter: "OTEL_LOGS_EXPORTER",
                endpoint: "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
                headers: "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
                timeout: "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT",
                protocol: "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
            },
        }
    }
}

/// Where a signal is sent.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) endpoint: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) timeout: Duration,
}

impl Collector {
    /// The collector of a signal; `None` without an endpoint, with the exporter `none`, or when the
    /// SDK is disabled.
    pub(super) fn of(signal: Signal, env: &Env) -> Result<Option<Self>, TelemetryError> {
        let variables = signal.variables();
        let is_disabled = env
            .get("OTEL_SDK_DISABLED")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let is_chosen = match env.get(variables.exporter) {
            None | Some("otlp") => true,
            Some("none") => false,
            Some(_) => {
                return Err(TelemetryError::Setting {
                    variable: variables.exporter,
                    reason: "is neither otlp nor none",
                });
            }
        };
        let Some(endpoint) = endpoint(signal, env)?.filter(|_| is_chosen && !is_disabled) else {
            return Ok(None);
        };
        check_protocol(&variables, env)?;
        let headers = either(env, variables.headers, HEADERS);
        let timeout = either(env, variables.timeout, TIMEOUT);
        Ok(Some(Self {
            endpoint,
            headers: pairs(env, headers)?.into_iter().collect(),
            timeout: milliseconds(env, timeout, EXPORT_TIMEOUT_MS)?,
        }))
    }
}

/// The interval between two exports of metrics.
pub(super) fn metric_interval(env: &Env) -> Result<Duration, TelemetryError> {
    milliseconds(env, METRIC_INTERVAL, METRIC_INTERVAL_MS)
}

/// The signal's own variable if it is set, else the one of all signals.
fn either(env: &Env, own: &'static str, all: &'static str) -> &'static str {
    if env.get(own).is_some() { own } else { all }
}

pub(super) fn endpoint(signal: Signal, env: &Env) -> Result<Option<String>, TelemetryError> {
    let own = signal.variables().endpoint;
    let (variable, text) = if let Some(text) = env.get(own) {
        (own, text.to_owned())
    } else if let Some(base) = env.get(ENDPOINT) {
        let base = base.trim_end_matches('/');
        (ENDPOINT, format!("{base}/{}", signal.path()))
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

fn check_protocol(variables: &Variables, env: &Env) -> Result<(), TelemetryError> {
    for variable in [variables.protocol, PROTOCOL] {
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

fn milliseconds(
    env: &Env,
    variable: &'static str,
    default: u64,
) -> Result<Duration, TelemetryError> {
    let milliseconds = match env.get(variable).map(str::parse) {
        None => default,
        Some(Ok(milliseconds)) if milliseconds > 0 => milliseconds,
        Some(_) => {
            let reason = "is not a number of milliseconds";
            return Err(TelemetryError::Setting { variable, reason });
        }
    };
    Ok(Duration::from_millis(milliseconds))
}

/// The resource attributes of the process.
pub(super) fn resource(service: &'static str, env: &Env) -> Result<Resource, TelemetryError> {
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

pub(super) fn sampler(env: &Env) -> Result<Sampler, TelemetryError> {
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
pub(super) fn pairs(
    env: &Env,
    variable: &'static str,
) -> Result<Vec<(String, String)>, TelemetryError> {
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
