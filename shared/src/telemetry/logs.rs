//! The log: one JSON object per line.
//!
//! A line has the fields of its event and of all enclosing spans, so that `request.id` finds all
//! lines of a request.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields, MakeWriter};
use tracing_subscriber::registry::{LookupSpan, Scope};

/// The layer that writes the log of a service to `writer`.
pub(super) fn layer<S, W>(service: &'static str, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    tracing_subscriber::fmt::layer()
        .fmt_fields(JsonFields::new())
        .event_format(JsonLines { service })
        .with_writer(writer)
}

/// Writes panics to the log instead of to standard error.
pub(super) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(
            panic.message = panic.payload_as_str().unwrap_or("(no message)"),
            panic.location = panic.location().map(tracing::field::display),
            panic.backtrace = (backtrace.status() == std::backtrace::BacktraceStatus::Captured)
                .then(|| tracing::field::display(&backtrace)),
            "thread panicked"
        );
    }));
}

struct JsonLines {
    service: &'static str,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = collect::<S, N>(event, context.event_scope());
        let message = fields.remove("message").unwrap_or_default();
        let target = fields
            .remove("log.target")
            .unwrap_or_else(|| event.metadata().target().into());
        fields.retain(|key, _| !key.starts_with("log."));

        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        write!(
            writer,
            "\",\"level\":\"{}\",\"service\":{},\"target\":{target},\"message\":{message}",
            event.metadata().level(),
            Value::from(self.service),
        )?;
        for (key, value) in fields {
            write!(writer, ",{}:{value}", Value::from(key))?;
        }
        writer.write_str("}\n")
    }
}

/// The fields of an event and of its spans; the message is one of them.
pub(super) fn fields<S>(event: &Event<'_>, scope: Option<Scope<'_, S>>) -> Map<String, Value>
where
    S: for<'a> LookupSpan<'a>,
{
    collect::<S, JsonFields>(event, scope)
}

/// Like [`fields`], of spans that are formatted by `N`.
fn collect<S, N>(event: &Event<'_>, scope: Option<Scope<'_, S>>) -> Map<String, Value>
where
    S: for<'a> LookupSpan<'a>,
    N: 'static,
{
    let mut fields = Fields(Map::new());
    for span in scope.into_iter().flat_map(Scope::from_root) {
        if let Some(formatted) = span.extensions().get::<FormattedFields<N>>()
            && let Ok(Value::Object(of_span)) = serde_json::from_str(&formatted.fields)
        {
            // Fields for the exporter of spans are not logged.
            let logged = of_span
                .into_iter()
                .filter(|(key, _)| !key.starts_with("otel."));
            fields.0.extend(logged);
        }
        fields.0.insert("span".to_owned(), span.name().into());
    }
    event.record(&mut fields);
    fields.0
}

/// Collects an event's fields as JSON values.
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        // A field whose name is a keyword of Rust is written `r#type`.
        let name = field.name();
        self.0.insert(
            name.strip_prefix("r#").unwrap_or(name).to_owned(),
            value.into(),
        );
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        // An error's text does not include its source, so the log shows the chain.
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        self.set(field, text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .expect("no writer panicked")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(body: impl FnOnce()) -> Vec<Value> {
        let _second = crate::telemetry::second_subscriber();
        let lines = Lines::default();
        let copy = lines.clone();
        let subscriber =
            tracing_subscriber::registry().with(layer("api-server", move || copy.clone()));
        tracing::subscriber::with_default(subscriber, body);
        let written = lines.0.lock().expect("no writer panicked").clone();
        String::from_utf8(written)
            .expect("the log is text")
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect()
    }

    #[test]
    fn line_has_the_fields_of_event_and_spans() {
        let lines = logged(|| {
            let request = tracing::info_span!(
                "http.request",
                request.id = "r-1",
                http.route = "/v1/signals",
                otel.kind = "server",
                http.response.status_code = tracing::field::Empty,
            );
            let _request = request.enter();
            let inner = tracing::info_span!("query", db.rows = 3, request.note = "a \"quote\"");
            let _inner = inner.enter();
            request.record("http.response.status_code", 200);
            tracing::warn!(duration_ms = 1.5, retried = true, "slow \"one\"\n");
        });
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["service"], "api-server");
        assert_eq!(line["message"], "slow \"one\"\n");
        assert_eq!(line["span"], "query");
        assert_eq!(line["request.id"], "r-1");
        assert_eq!(line["request.note"], "a \"quote\"");
        assert_eq!(line["http.route"], "/v1/signals");
        assert_eq!(line["http.response.status_code"], 200);
        assert_eq!(line["db.rows"], 3);
        assert_eq!(line["duration_ms"], 1.5);
        assert_eq!(line["retried"], true);
        assert!(line.get("otel.kind").is_none());
        let time = line["timestamp"].as_str().expect("a text");
        chrono::DateTime::parse_from_rfc3339(time).expect("RFC 3339");
    }

    #[test]
    fn line_shows_the_chain_of_errors() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);

        let lines = logged(|| {
            let error = Outer(io::Error::other("inner"));
            tracing::error!(error = &error as &dyn std::error::Error, "failed");
        });
        assert_eq!(lines[0]["error"], "outer: inner");
    }
}
