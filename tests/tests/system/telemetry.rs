//! Metrics, log records and spans as the processes export them.

mod collector;
mod promql;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shared::telemetry::names;
use tests::harness::{DEFAULT_PROVIDER, Process, System, eventually};

use self::collector::{Collector, Record};
use self::promql::Usage;

const DASHBOARD: &str = include_str!("../../../deploy/grafana/dashboard.json");
const RULES: &str = include_str!("../../../deploy/prometheus/rules.yml");

/// Metrics that appear with a failure or an event that this test does not cause.
const RARE: &[&str] = &[
    "poblysh_ingress_backlog_bytes",
    "poblysh_inbox_retries_total",
    "poblysh_job_panics_total",
    "poblysh_rate_limit_waits_total",
    "poblysh_rows_unreadable_total",
    "poblysh_subscription_alert_seconds",
    "poblysh_subscription_expiry_seconds",
    "poblysh_subscriptions_pending",
    "poblysh_sync_stalled_total",
    "poblysh_token_refresh_lost_responses_total",
    "poblysh_token_refreshes_total",
    "poblysh_webhook_missed_total",
];
/// Labels that Prometheus adds to each series.
const TARGET_LABELS: [&str; 2] = ["instance", "job"];

/// Expressions of the dashboard's panels and of the alerts.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push(target["expr"].as_str().expect("an expression").to_owned());
        }
    }
    let query = dashboard.pointer("/templating/list/1/query/query");
    let query = query.and_then(Value::as_str).expect("the variable's query");
    let inner = query.strip_prefix("label_values(").expect("its form");
    found.push(inner.split(',').next().unwrap_or_default().to_owned());
    let mut lines = RULES.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(first) = line.trim().strip_prefix("expr: ") else {
            continue;
        };
        let mut expression = first.trim_start_matches(">-").to_owned();
        while let Some(next) = lines.next_if(|next| first == ">-" && next.starts_with("          "))
        {
            expression.push_str(next);
        }
        found.push(expression);
    }
    found
}

/// The exported series of all processes: names with their labels.
async fn exported(system: &System) -> BTreeMap<String, BTreeSet<String>> {
    let mut addresses = Vec::new();
    for process in [Process::Api, Process::Ingress, Process::Worker] {
        addresses.extend(system.processes().await.addresses(process));
    }
    let mut series: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for address in addresses {
        let response = system.client.get(format!("http://{address}/metrics"));
        let response = response.send().await.expect("a response");
        let text = response.text().await.expect("text");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, labels)) = promql::parse_series(line) else {
                continue;
            };
            series.entry(name).or_default().extend(labels);
        }
    }
    series
}

/// The declared labels of a series; a histogram has several series.
fn declared(series: &str) -> Option<BTreeSet<&'static str>> {
    let base = ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|suffix| series.strip_suffix(suffix))
        .unwrap_or(series);
    let known = |name: &str| {
        let found = names::METRICS.iter().find(|(known, _)| *known == name);
        found.map(|(_, labels)| labels.iter().copied().collect::<BTreeSet<_>>())
    };
    known(series).or_else(|| known(base))
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alerts_use_exported_series() {
    let system = System::with_fast_provider().out_of_process().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    let generate = json!({ "count": 5, "account": account });
    system.sim("github/generate", generate).await;
    system.drain().await;
    let mut series = exported(&system).await;
    eventually("the reads are measured", async || {
        series = exported(&system).await;
        series.contains_key("poblysh_last_sync_age_seconds")
            && series.contains_key("poblysh_queue_oldest_age_seconds")
    })
    .await;

    for (name, labels) in &series {
        let Some(declared) = declared(name) else {
            assert!(name.starts_with("process_"), "{name} is not declared");
            continue;
        };
        for label in labels.iter().filter(|label| *label != "le") {
            assert!(declared.contains(label.as_str()), "{name} has {label}");
        }
    }
    let mut checked = 0;
    for expression in expressions() {
        let usage = Usage::of(&expression);
        assert!(!usage.series.is_empty(), "{expression} selects nothing");
        let mut labels: BTreeSet<String> = TARGET_LABELS.map(str::to_owned).into();
        for (name, used) in &usage.series {
            if name == "up" {
                continue;
            }
            let own = match (series.get(name), declared(name)) {
                (Some(own), _) => own.clone(),
                (None, Some(declared)) if RARE.contains(&name.as_str()) => {
                    declared.into_iter().map(str::to_owned).collect()
                }
                _ => panic!("{name} of {expression} is not exported"),
            };
            for label in used {
                assert!(own.contains(label), "{name} has no {label}: {expression}");
            }
            labels.extend(own);
            checked += 1;
        }
        for label in &usage.grouping {
            assert!(
                labels.contains(label),
                "no series has {label}: {expression}"
            );
        }
    }
    assert!(checked > 50, "{checked} selectors");
}

#[tokio::test(flavor = "multi_thread")]
async fn collector_receives_metrics_and_log_records() {
    let collector = Collector::start().await;
    let system = System::with_fast_provider()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .env("OTEL_BLRP_SCHEDULE_DELAY", "50")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "200")
        .env("POBLYSH_LOG", "info,sync_worker=debug")
        .out_of_process()
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(&account, &admin).await.to_string();
    system.drain().await;
    tenant.get("/v1/connections").await;

    eventually("the metrics of all processes arrive", async || {
        let names = collector.metrics().await;
        ["api-server", "webhook-ingress", "sync-worker"]
            .iter()
            .all(|process| {
                let has = |name: &str| names.contains(&((*process).to_owned(), name.to_owned()));
                has("poblysh_build_info") && has("process_resident_memory_bytes")
            })
            && names.contains(&("sync-worker".to_owned(), "poblysh_jobs_total".to_owned()))
            && names.contains(&(
                "api-server".to_owned(),
                "http.server.request.duration".to_owned(),
            ))
    })
    .await;
    eventually("the lines of the sync have its ids", async || {
        collector.logs().await.iter().any(|record| {
            record.body == "job ended"
                && record.text("job.kind") == Some("sync_connection")
                && record.trace_id.len() == 32
                && record.text("connection.id") == Some(&connection)
                && record.text("provider") == Some(DEFAULT_PROVIDER)
                && record.text("job.outcome") == Some("succeeded")
        })
    })
    .await;
    let tenant_id = tenant.id.to_string();
    eventually("the lines of requests have client and caller", async || {
        let records = collector.logs().await;
        let has_completed = |route: &str, is_right: &dyn Fn(&Record) -> bool| {
            records.iter().any(|record| {
                record.body == "request completed"
                    && record.text("http.route") == Some(route)
                    && record.text("client.address") == Some("127.0.0.1")
                    && is_right(record)
            })
        };
        let by_key = has_completed("/v1/connections", &|record| {
            record.text("api_key.id").is_some()
                && record.text("tenant.id") == Some(&tenant_id)
                && record.integer("http.response.status_code") == Some(200)
        });
        let by_operator = has_completed("/v1/tenants", &|record| {
            record.text("operator.id") == Some("bootstrap")
        });
        by_key && by_operator
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_calls_and_jobs_are_error_spans() {
    let collector = Collector::start().await;
    let system = System::with_fast_provider()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .out_of_process()
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(&account, &admin).await;
    system.drain().await;
    let down = json!({ "target": "request", "effect": "status", "status": 503 });
    system.sim("faults", down).await;
    let sync = json!({ "mode": "incremental" });
    tenant
        .post(&format!("/v1/connections/{connection}/sync"), &sync)
        .await;
    eventually(
        "the failed call and the failed job are errors",
        async || {
            let spans = collector.spans().await;
            let is_error = |name: &str, kind: &str| {
                spans.iter().any(|span| {
                    span.name == name
                        && span.is_error
                        && span.text("error.type").is_some_and(|text| text == kind)
                })
            };
            let has_status = spans.iter().any(|span| {
                span.name == "provider.request"
                    && span.integer("http.response.status_code") == Some(503)
            });
            has_status && is_error("provider.request", "503") && is_error("job", "transient")
        },
    )
    .await;
}
