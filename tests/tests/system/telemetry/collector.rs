//! A collector that receives OTLP over HTTP.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// The collector.
pub(super) struct Collector(MockServer);

/// Attributes by name.
type Attributes = BTreeMap<String, Value>;

/// A received log record.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) body: String,
    pub(super) trace_id: String,
    attributes: Attributes,
}

/// A received span.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) name: String,
    pub(super) is_error: bool,
    attributes: Attributes,
}

impl Record {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        text(&self.attributes, name)
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        integer(&self.attributes, name)
    }
}

impl Span {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        text(&self.attributes, name)
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        integer(&self.attributes, name)
    }
}

impl Collector {
    pub(super) async fn start() -> Self {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(200))
            .mount(&server)
            .await;
        Self(server)
    }

    pub(super) fn url(&self) -> String {
        self.0.uri()
    }

    /// The received messages of a path.
    async fn received<M: Message + Default>(&self, path: &str) -> Vec<M> {
        let requests = self.0.received_requests().await.expect("recorded");
        let own = requests.iter().filter(|request| request.url.path() == path);
        own.map(|request| M::decode(request.body.as_slice()).expect("OTLP"))
            .collect()
    }

    /// The names of the received metrics, with the process that sent them.
    pub(super) async fn metrics(&self) -> BTreeSet<(String, String)> {
        let mut names = BTreeSet::new();
        for export in self
            .received::<ExportMetricsServiceRequest>("/v1/metrics")
            .await
        {
            for of_process in export.resource_metrics {
                let process = service(of_process.resource);
                for metric in of_process.scope_metrics.into_iter().flat_map(|s| s.metrics) {
                    names.insert((process.clone(), metric.name));
                }
            }
        }
        names
    }

    pub(super) async fn logs(&self) -> Vec<Record> {
        let exports: Vec<ExportLogsServiceRequest> = self.received("/v1/logs").await;
        let scopes = exports
            .into_iter()
            .flat_map(|export| export.resource_logs)
            .flat_map(|of_process| of_process.scope_logs);
        let records = scopes.flat_map(|scope| scope.log_records);
        records
            .map(|record| Record {
                body: match record.body.and_then(|body| body.value) {
                    Some(Value::StringValue(text)) => text,
                    other => panic!("a body that is no text: {other:?}"),
                },
                trace_id: hex::encode(&record.trace_id),
                attributes: attributes(record.attributes),
            })
            .collect()
    }

    pub(super) async fn spans(&self) -> Vec<Span> {
        let exports: Vec<ExportTraceServiceRequest> = self.received("/v1/traces").await;
        let scopes = exports
            .into_iter()
            .flat_map(|export| export.resource_spans)
            .flat_map(|of_process| of_process.scope_spans);
        let spans = scopes.flat_map(|scope| scope.spans);
        spans
            .map(|span| Span {
                name: span.name,
                is_error: span
                    .status
                    .is_some_and(|status| status.code == StatusCode::Error as i32),
                attributes: attributes(span.attributes),
            })
            .collect()
    }
}

fn service(resource: Option<Resource>) -> String {
    let attributes = attributes(resource.expect("a resource").attributes);
    let name = text(&attributes, "service.name");
    name.expect("a process with a name").to_owned()
}

fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    let pairs = pairs.into_iter();
    pairs
        .filter_map(|pair| Some((pair.key, pair.value?.value?)))
        .collect()
}

fn text<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    match attributes.get(name)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn integer(attributes: &Attributes, name: &str) -> Option<i64> {
    match attributes.get(name)? {
        Value::IntValue(value) => Some(*value),
        _ => None,
    }
}
