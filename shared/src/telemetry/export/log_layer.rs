//! The layer that exports the lines of the log as OpenTelemetry log records.
//!
//! A record has the same fields as the line. The SDK adds the ids of the current trace and span.

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::telemetry::logs;

/// Crates that take part in an export: their events would cause the next one.
const EXPORTING: [&str; 5] = ["opentelemetry", "hyper", "reqwest", "h2", "rustls"];

/// Exports each event.
#[derive(Debug)]
pub(in crate::telemetry) struct OtlpLogs(SdkLogger);

impl OtlpLogs {
    pub(in crate::telemetry) fn new(provider: &SdkLoggerProvider) -> Self {
        Self(provider.logger("poblysh"))
    }
}

impl<S> Layer<S> for OtlpLogs
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let target = metadata.target();
        if EXPORTING.iter().any(|name| target.starts_with(name)) {
            return;
        }
        let mut fields = logs::fields(event, context.event_scope(event));
        let mut record = self.0.create_log_record();
        record.set_target(target);
        record.set_severity_number(severity(*metadata.level()));
        record.set_severity_text(metadata.level().as_str());
        if let Some(message) = fields.remove("message") {
            record.set_body(any(message));
        }
        // They are in the record's own fields.
        fields.remove("trace.id");
        for (key, value) in fields {
            record.add_attribute(key, any(value));
        }
        self.0.emit(record);
    }
}

const fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warn,
        Level::INFO => Severity::Info,
        Level::DEBUG => Severity::Debug,
        Level::TRACE => Severity::Trace,
    }
}

fn any(value: Value) -> AnyValue {
    match value {
        Value::String(text) => AnyValue::String(text.into()),
        Value::Bool(flag) => AnyValue::Boolean(flag),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => AnyValue::Int(whole),
            (None, Some(number)) => AnyValue::Double(number),
            (None, None) => AnyValue::String(number.to_string().into()),
        },
        other => AnyValue::String(other.to_string().into()),
    }
}
