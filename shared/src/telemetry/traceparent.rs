//! W3C Trace Context (level 1): the header that carries a trace across a request or a row.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The current span as a `traceparent`; `None` when spans are not exported.
pub fn current_traceparent() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| format(span))
}

/// Makes the span a child of a stored `traceparent`.
///
/// It works only before the span is first entered. A malformed value is ignored.
pub fn set_parent(span: &Span, traceparent: &str) {
    let Some(parent) = parse(traceparent) else {
        return;
    };
    if let Err(error) = span.set_parent(Context::new().with_remote_span_context(parent)) {
        // This is normal when spans are not exported.
        tracing::trace!(%error, "failed to set the parent of a span");
    }
}

/// Links the span to a stored `traceparent`, such as a retry to the previous attempt.
///
/// A malformed value is ignored.
pub fn link_traceparent(span: &Span, traceparent: &str) {
    if let Some(other) = parse(traceparent) {
        span.add_link(other);
    }
}

/// Records the id of a span's trace in its field `trace.id`, if spans are exported.
///
/// For the log; call it after [`set_parent`].
pub fn record_trace_id(span: &Span) {
    let context = span.context();
    let context = context.span();
    let context = context.span_context();
    if context.is_valid() {
        span.record("trace.id", tracing::field::display(context.trace_id()));
    }
}

fn format(span: &SpanContext) -> String {
    format!(
        "00-{}-{}-{:02x}",
        span.trace_id(),
        span.span_id(),
        span.trace_flags().to_u8()
    )
}

/// Parses `version-trace-parent-flags`.
///
/// As the specification requires, hex is lower case, ids are not zero, version `ff` is invalid,
/// version `00` has no further part, and a later version may have one.
fn parse(text: &str) -> Option<SpanContext> {
    let text = text.trim();
    let mut parts = text.splitn(5, '-');
    let version = hex(parts.next()?, 2)?;
    let trace = hex(parts.next()?, 32)?;
    let parent = hex(parts.next()?, 16)?;
    let flags = hex(parts.next()?, 2)?;
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    // Other flags have no meaning in these versions.
    let flags = TraceFlags::new(u8::try_from(flags).ok()?) & TraceFlags::SAMPLED;
    let context = SpanContext::new(
        TraceId::from(trace),
        SpanId::from(u64::try_from(parent).ok()?),
        flags,
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

fn hex(text: &str, length: usize) -> Option<u128> {
    let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != length || !text.bytes().all(lower_hex) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of the specification.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn example_of_the_specification_round_trips() {
        let span = parse(EXAMPLE).expect("valid");
        assert_eq!(format(&span), EXAMPLE);
        assert!(span.is_sampled());
        assert!(span.is_remote());
    }

    #[test]
    fn malformed_values_are_rejected() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn later_version_may_have_further_parts() {
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-what-else";
        assert_eq!(
            parse(later).map(|span| format(&span)).as_deref(),
            Some(EXAMPLE)
        );
    }

    proptest! {
        #[test]
        fn no_text_causes_a_panic(text in ".{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn every_valid_context_round_trips(trace in 1..u128::MAX, span in 1..u64::MAX, sampled: bool) {
            let text = format!("00-{trace:032x}-{span:016x}-0{}", u8::from(sampled));
            prop_assert_eq!(parse(&text).map(|span| format(&span)), Some(text));
        }
    }
}
