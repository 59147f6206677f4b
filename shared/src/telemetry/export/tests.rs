//! Tests of the settings and of traces that reach the collector.

use opentelemetry::trace::TracerProvider;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::settings::{
    ENDPOINT, HEADERS, PROTOCOL, SAMPLER, SAMPLER_ARG, TIMEOUT, endpoint, pairs,
};
use super::*;
use crate::telemetry::{current_traceparent, link_traceparent, set_parent};

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn rejected(pairs: &[(&str, &str)]) -> String {
    let mut all = vec![(ENDPOINT, "http://127.0.0.1:4318")];
    all.extend_from_slice(pairs);
    provider("sync-worker", &Env::from_pairs(all))
        .expect_err("rejected")
        .to_string()
}

#[test]
fn nothing_is_exported_without_an_endpoint() {
    assert!(
        provider("sync-worker", &Env::default())
            .expect("valid")
            .is_none()
    );
    let disabled = Env::from_pairs([
        (ENDPOINT, "http://127.0.0.1:4318"),
        ("OTEL_SDK_DISABLED", "true"),
    ]);
    assert!(provider("sync-worker", &disabled).expect("valid").is_none());
    assert_eq!(current_traceparent(), None);
}

#[test]
fn invalid_settings_are_named() {
    for (variable, value) in [
        (ENDPOINT, "s3cret"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://s3cret"),
        (PROTOCOL, "grpc-s3cret"),
        (TIMEOUT, "s3cret"),
        (HEADERS, "s3cret"),
        (SAMPLER, "s3cret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "s3cret"),
    ] {
        let error = rejected(&[(variable, value)]);
        assert!(error.starts_with(variable), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    let error = rejected(&[(SAMPLER, "traceidratio"), (SAMPLER_ARG, "2")]);
    assert!(error.starts_with(SAMPLER_ARG), "{error}");
}

#[test]
fn endpoint_follows_the_specification() {
    let of =
        |pairs: &[(&str, &str)]| endpoint(Signal::Traces, &Env::from_pairs(pairs.iter().copied()));
    let base = of(&[(ENDPOINT, "http://collector:4318/")]).expect("valid");
    assert_eq!(base.as_deref(), Some("http://collector:4318/v1/traces"));
    let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/x");
    let own = of(&[(ENDPOINT, "http://other"), own]).expect("valid");
    assert_eq!(own.as_deref(), Some("http://c/x"));
}

#[test]
fn header_values_are_percent_decoded() {
    let env = Env::from_pairs([(HEADERS, "authorization=Basic%20a+b==, x-team = one ,")]);
    assert_eq!(
        pairs(&env, HEADERS).expect("valid"),
        [
            ("authorization".to_owned(), "Basic a+b==".to_owned()),
            ("x-team".to_owned(), "one".to_owned())
        ]
    );
}

/// One trace covers a webhook request, the job's row, the worker and a retry.
#[tokio::test]
async fn trace_continues_from_the_request_to_the_worker() {
    let _second = crate::telemetry::second_subscriber();
    let collector = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/traces"))
        .and(header("content-type", "application/x-protobuf"))
        .and(header("x-team", "stories"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&collector)
        .await;
    let env = Env::from_pairs([
        (ENDPOINT, collector.uri().as_str()),
        (HEADERS, "x-team=stories"),
        ("OTEL_SERVICE_NAME", "renamed-worker"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=staging,service.name=other",
        ),
    ]);
    let provider = provider("sync-worker", &env)
        .expect("valid")
        .expect("an endpoint is set");
    let exported = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("test"))
        .with_filter(filter());
    let subscriber = tracing_subscriber::registry().with(exported);

    let incoming = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (stored, attempt) = tracing::subscriber::with_default(subscriber, || {
        let request = tracing::info_span!("http.request");
        set_parent(&request, incoming);
        let stored = request.in_scope(current_traceparent).expect("exported");

        let job = tracing::info_span!("job.process_delivery");
        set_parent(&job, &stored);
        let attempt = job.in_scope(current_traceparent).expect("exported");

        let retry = tracing::info_span!("job.retry");
        set_parent(&retry, &stored);
        link_traceparent(&retry, &attempt);
        retry.in_scope(|| tracing::info_span!("signal.store").in_scope(|| ()));
        tracing::info_span!(target: "hyper::proto", "foreign.noise").in_scope(|| ());
        (stored, attempt)
    });
    shut_down(&provider);

    assert_eq!(stored[..36], incoming[..36], "the caller's trace continues");
    assert_ne!(stored, incoming);
    assert_eq!(attempt[..36], incoming[..36], "and through the row");

    let received = collector.received_requests().await.expect("recorded");
    assert_eq!(received.len(), 1, "the flush sends the remaining spans");
    let body = &received[0].body;
    for text in [
        "http.request",
        "job.process_delivery",
        "job.retry",
        "signal.store",
        "renamed-worker",
        "staging",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(contains(body, text.as_bytes()), "{text} is missing");
    }
    assert!(!contains(body, b"foreign.noise"));
    assert!(!contains(body, b"sync-worker"), "OTEL_SERVICE_NAME wins");

    // Field 1 of a link is the trace id, field 2 the span id, both with their length.
    let link = [
        &[0x0a, 16][..],
        &hex::decode(&attempt[3..35]).expect("hex"),
        &[0x12, 8],
        &hex::decode(&attempt[36..52]).expect("hex"),
    ]
    .concat();
    assert!(
        contains(body, &link),
        "the retry links to the attempt before it"
    );
}
