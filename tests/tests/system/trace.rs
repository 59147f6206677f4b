//! Traces from a webhook's request to its Signal, received by a collector.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use serde_json::json;
use tests::harness::{System, eventually};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Name of a process and of a span.
type SpanName = (String, String);

/// Returns the received spans by trace id.
async fn traces(collector: &MockServer) -> BTreeMap<String, BTreeSet<SpanName>> {
    let mut traces: BTreeMap<String, BTreeSet<SpanName>> = BTreeMap::new();
    let requests = collector.received_requests().await.expect("recorded");
    let of_traces = requests
        .iter()
        .filter(|request| request.url.path() == "/v1/traces");
    for request in of_traces {
        let export = ExportTraceServiceRequest::decode(request.body.as_slice()).expect("OTLP");
        for of_process in export.resource_spans {
            let attributes = of_process.resource.expect("a resource").attributes;
            let service = attributes
                .into_iter()
                .find(|attribute| attribute.key == "service.name")
                .and_then(|attribute| attribute.value?.value);
            let Some(Value::StringValue(service)) = service else {
                panic!("a process without a name");
            };
            for span in of_process.scope_spans.into_iter().flat_map(|s| s.spans) {
                let trace = traces.entry(hex::encode(&span.trace_id)).or_default();
                trace.insert((service.clone(), span.name));
            }
        }
    }
    traces
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_covers_webhook_job_and_signal() {
    let collector = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/traces"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&collector)
        .await;
    let system = System::with_fast_provider()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.uri())
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .out_of_process()
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    system.drain().await;
    system
        .sim("github/generate", json!({ "count": 5, "account": account }))
        .await;
    system.drain().await;

    let stored: Vec<(String, String)> = sqlx::query_as(
        "SELECT DISTINCT s.traceparent, d.traceparent FROM signals s \
         JOIN deliveries d ON d.traceparent = s.traceparent \
         JOIN job_history j ON j.kind = 'process_deliveries' \
         AND substr(j.traceparent, 4, 32) = substr(s.traceparent, 4, 32)",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("the query result");
    assert!(!stored.is_empty(), "Signals carry their delivery's trace");
    let ids: BTreeSet<&str> = stored.iter().map(|(signal, _)| &signal[3..35]).collect();
    let expected = [
        ("webhook-ingress", "POST /webhooks/{provider}"),
        ("sync-worker", "delivery.normalize"),
    ]
    .map(|(process, span)| (process.to_owned(), span.to_owned()));
    eventually("every trace has both processes' spans", async || {
        let traces = traces(&collector).await;
        ids.iter().all(|id| {
            let spans = traces.get(*id);
            spans.is_some_and(|spans| expected.iter().all(|span| spans.contains(span)))
        })
    })
    .await;
}
