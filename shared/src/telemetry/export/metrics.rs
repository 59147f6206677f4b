//! The export of metrics: the text of `/metrics`, converted and sent at an interval.
//!
//! Both show the same values, and an event costs nothing more than for `/metrics` alone. The metrics
//! of OpenTelemetry's conventions get their original names.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::sync::watch;

use super::settings::Collector;
use super::{CollectorClient, FLUSH_TIMEOUT, runtime};
use crate::telemetry::{MetricsHandle, TelemetryError};

/// The running export.
#[derive(Debug)]
pub(super) struct MetricsExport {
    stop: watch::Sender<bool>,
    stopped: mpsc::Receiver<()>,
}

impl MetricsExport {
    /// Starts the export on the runtime of the exporters.
    pub(super) fn start(
        collector: Collector,
        interval: Duration,
        resource: &opentelemetry_sdk::Resource,
        metrics: MetricsHandle,
    ) -> Result<Self, TelemetryError> {
        let client = CollectorClient::new(collector.timeout)?.0;
        let attributes = resource.iter();
        let attributes = attributes.map(|(key, value)| attribute(key.as_str(), &value.as_str()));
        let resource = Resource {
            attributes: attributes.collect(),
            ..Resource::default()
        };
        let started_at = unix_nanos();
        let (stop, mut stopping) = watch::channel(false);
        let (ended, stopped) = mpsc::channel();
        runtime()?.spawn(async move {
            loop {
                let pause = tokio::time::timeout(interval, stopping.wait_for(|stop| *stop));
                let is_last = pause.await.is_ok();
                let request = request(&metrics.render(), &resource, started_at, unix_nanos());
                send(&client, &collector, request).await;
                if is_last {
                    break;
                }
            }
            // The receiver may have given up.
            ended.send(()).ok();
        });
        Ok(Self { stop, stopped })
    }

    /// Exports the last values.
    pub(super) fn shut_down(self) {
        self.stop.send_replace(true);
        if self.stopped.recv_timeout(FLUSH_TIMEOUT).is_err() {
            tracing::warn!("failed to export the last metrics");
        }
    }
}

async fn send(client: &reqwest::Client, collector: &Collector, body: ExportMetricsServiceRequest) {
    let mut request = client
        .post(&collector.endpoint)
        .header("content-type", "application/x-protobuf")
        .body(body.encode_to_vec());
    for (name, value) in &collector.headers {
        request = request.header(name, value);
    }
    let sent = request.send().await;
    if let Err(error) = sent.and_then(reqwest::Response::error_for_status) {
        let error = error.without_url();
        tracing::warn!(%error, "failed to export metrics");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "OTLP has the time of the process, as the SDK's other signals"
)]
fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

/// Names of OpenTelemetry's conventions, by their names in Prometheus.
const CONVENTIONS: [(&str, &str); 7] = [
    (
        "http_server_request_duration_seconds",
        "http.server.request.duration",
    ),
    ("http_server_active_requests", "http.server.active_requests"),
    ("http_request_method", "http.request.method"),
    ("http_route", "http.route"),
    ("http_response_status_code", "http.response.status_code"),
    ("url_scheme", "url.scheme"),
    ("error_type", "error.type"),
];

fn conventional(name: &str) -> &str {
    let found = CONVENTIONS.iter().find(|(ours, _)| *ours == name);
    found.map_or(name, |&(_, theirs)| theirs)
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let name = conventional(name);
    let number = (name == "http.response.status_code")
        .then(|| value.parse().ok())
        .flatten();
    let value = number.map_or_else(
        || any_value::Value::StringValue(value.to_owned()),
        any_value::Value::IntValue,
    );
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// The labels of a sample.
type Labels = Vec<(String, String)>;

/// A metric with its samples, which have the name of the metric or one with a suffix.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    samples: Vec<(String, Labels, f64)>,
}

/// Converts the Prometheus text of all metrics.
fn request(
    text: &str,
    resource: &Resource,
    start_time: u64,
    time: u64,
) -> ExportMetricsServiceRequest {
    let times = Times { start_time, time };
    let metrics = parse(text)
        .into_iter()
        .filter_map(|(name, family)| {
            Some(Metric {
                name: conventional(&name).to_owned(),
                description: family.help.clone(),
                unit: unit(&name).to_owned(),
                data: Some(times.data(&name, family)?),
                ..Metric::default()
            })
        })
        .collect();
    let scope = InstrumentationScope {
        name: "poblysh".to_owned(),
        ..InstrumentationScope::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource.clone()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

fn unit(name: &str) -> &'static str {
    let base = name.strip_suffix("_total").unwrap_or(name);
    if base.ends_with("_seconds") {
        "s"
    } else if base.ends_with("_bytes") {
        "By"
    } else {
        "1"
    }
}

/// The times of all data points.
#[derive(Clone, Copy)]
struct Times {
    start_time: u64,
    time: u64,
}

impl Times {
    fn data(self, name: &str, family: Family) -> Option<metric::Data> {
        let temporality = AggregationTemporality::Cumulative as i32;
        Some(match family.kind.as_str() {
            "counter" => metric::Data::Sum(Sum {
                data_points: self.numbers(family),
                aggregation_temporality: temporality,
                is_monotonic: true,
            }),
            "gauge" => metric::Data::Gauge(Gauge {
                data_points: self.numbers(family),
            }),
            "histogram" => metric::Data::Histogram(Histogram {
                data_points: self.histograms(name, family),
                aggregation_temporality: temporality,
            }),
            _ => return None,
        })
    }

    fn numbers(self, family: Family) -> Vec<NumberDataPoint> {
        let samples = family.samples.into_iter();
        let points = samples.map(|(_, labels, value)| NumberDataPoint {
            attributes: attributes(&labels),
            start_time_unix_nano: self.start_time,
            time_unix_nano: self.time,
            value: Some(number_data_point::Value::AsDouble(value)),
            ..NumberDataPoint::default()
        });
        points.collect()
    }

    /// Joins the samples of each histogram; the text has cumulative counts.
    fn histograms(self, name: &str, family: Family) -> Vec<HistogramDataPoint> {
        let mut points: BTreeMap<Labels, HistogramDataPoint> = BTreeMap::new();
        for (sample, mut labels, value) in family.samples {
            let bound = labels
                .iter()
                .position(|(key, _)| key == "le")
                .map(|position| labels.remove(position).1);
            let point = points.entry(labels).or_default();
            match (sample.strip_prefix(name), bound) {
                (Some("_bucket"), Some(bound)) => {
                    let before: u64 = point.bucket_counts.iter().sum();
                    point
                        .bucket_counts
                        .push(whole(value).saturating_sub(before));
                    if let Some(bound) = bound.parse().ok().filter(|bound: &f64| bound.is_finite())
                    {
                        point.explicit_bounds.push(bound);
                    }
                }
                (Some("_sum"), _) => point.sum = Some(value),
                (Some("_count"), _) => point.count = whole(value),
                _ => {}
            }
        }
        let complete = points
            .into_iter()
            .map(|(labels, point)| HistogramDataPoint {
                attributes: attributes(&labels),
                start_time_unix_nano: self.start_time,
                time_unix_nano: self.time,
                ..point
            });
        complete.collect()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are whole, positive and far below 2^53"
)]
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    let pairs = labels.iter();
    pairs.map(|(name, value)| attribute(name, value)).collect()
}

/// Parses the Prometheus text format, as this process writes it.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
            name.clone_into(&mut current);
        } else if let Some(sample) = parse_sample(line) {
            let family = families.entry(current.clone()).or_default();
            family.samples.push(sample);
        }
    }
    families
}

fn parse_sample(line: &str) -> Option<(String, Labels, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some((series.to_owned(), Vec::new(), value));
    };
    let mut parsed = Vec::new();
    let mut rest = labels.strip_suffix('}')?;
    while let Some((key, quoted)) = rest.split_once("=\"") {
        let (text, after) = unquote(quoted)?;
        parsed.push((key.trim_start_matches(',').to_owned(), text));
        rest = after;
    }
    Some((name.to_owned(), parsed, value))
}

/// The text before the closing quote, and the rest behind it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((text, &quoted[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => text.push('\n'),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP poblysh_jobs_total Jobs finished, by kind and outcome\n\
        # TYPE poblysh_jobs_total counter\n\
        poblysh_jobs_total{kind=\"sync\",outcome=\"a \\\"b\\\"\"} 3\n\n\
        # TYPE poblysh_sse_streams gauge\n\
        poblysh_sse_streams 2\n\n\
        # TYPE http_server_request_duration_seconds histogram\n\
        http_server_request_duration_seconds_bucket{http_response_status_code=\"200\",le=\"0.1\"} 1\n\
        http_server_request_duration_seconds_bucket{http_response_status_code=\"200\",le=\"0.5\"} 4\n\
        http_server_request_duration_seconds_bucket{http_response_status_code=\"200\",le=\"+Inf\"} 6\n\
        http_server_request_duration_seconds_sum{http_response_status_code=\"200\"} 3.5\n\
        http_server_request_duration_seconds_count{http_response_status_code=\"200\"} 6\n";

    fn converted(name: &str) -> Metric {
        let request = request(TEXT, &Resource::default(), 1, 2);
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let found = metrics.iter().find(|metric| metric.name == name);
        found.expect("the metric").clone()
    }

    #[test]
    fn counters_and_gauges_are_converted() {
        let jobs = converted("poblysh_jobs_total");
        assert_eq!(jobs.description, "Jobs finished, by kind and outcome");
        let Some(metric::Data::Sum(sum)) = jobs.data else {
            panic!("a sum");
        };
        assert!(sum.is_monotonic);
        let value = sum.data_points[0].value;
        assert_eq!(value, Some(number_data_point::Value::AsDouble(3.0)));
        assert_eq!(
            sum.data_points[0].attributes[1],
            attribute("outcome", "a \"b\"")
        );
        let streams = converted("poblysh_sse_streams");
        assert!(matches!(streams.data, Some(metric::Data::Gauge(_))));
    }

    #[test]
    fn histogram_has_counts_per_bucket_and_conventional_names() {
        let requests = converted("http.server.request.duration");
        assert_eq!(requests.unit, "s");
        let Some(metric::Data::Histogram(histogram)) = requests.data else {
            panic!("a histogram");
        };
        let point = &histogram.data_points[0];
        assert_eq!(point.bucket_counts, [1, 3, 2]);
        assert_eq!(point.explicit_bounds, [0.1, 0.5]);
        assert_eq!((point.count, point.sum), (6, Some(3.5)));
        let status = &point.attributes[0];
        assert_eq!(status.key, "http.response.status_code");
        let value = status.value.as_ref().and_then(|value| value.value.clone());
        assert_eq!(value, Some(any_value::Value::IntValue(200)));
    }
}
