//! The metrics recorder of the process.

use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::{TelemetryError, names};

/// The interval at which recorded values are moved to their buckets.
///
/// It bounds the memory while `/metrics` is not read.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The process's recorder of metrics.
#[derive(Clone)]
pub struct MetricsHandle(PrometheusHandle);

/// Reads CPU time, memory and open files of the process (`process_…`) from the operating system.
static PROCESS: LazyLock<metrics_process::Collector> = LazyLock::new(Default::default);
/// The recorder: one per process, because the macros of the `metrics` crate write to one.
static RECORDER: Mutex<Option<MetricsHandle>> = Mutex::new(None);

impl MetricsHandle {
    /// The process's recorder; the first call installs it.
    pub fn global() -> Result<Self, TelemetryError> {
        let mut recorder = RECORDER
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(handle) = &*recorder {
            return Ok(handle.clone());
        }
        let handle = Self(
            builder()?
                .install_recorder()
                .map_err(TelemetryError::Metrics)?,
        );
        names::describe_all();
        PROCESS.describe();
        let upkeep = handle.0.clone();
        std::thread::Builder::new()
            .name("metrics-upkeep".to_owned())
            .spawn(move || {
                loop {
                    std::thread::sleep(UPKEEP_INTERVAL);
                    upkeep.run_upkeep();
                }
            })
            .map_err(|error| TelemetryError::Client(error.into()))?;
        *recorder = Some(handle.clone());
        Ok(handle)
    }

    /// All values in the Prometheus text format, those of the process read now.
    pub fn render(&self) -> String {
        PROCESS.collect();
        self.0.render()
    }
}

impl std::fmt::Debug for MetricsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsHandle")
    }
}

fn builder() -> Result<PrometheusBuilder, TelemetryError> {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in names::BUCKETS {
        builder = builder
            .set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)
            .map_err(TelemetryError::Metrics)?;
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_buckets_and_descriptions() {
        let recorder = builder().expect("valid buckets").build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            names::describe_all();
            for (name, _) in names::BUCKETS {
                metrics::histogram!(*name).record(0.3);
            }
            for name in [
                names::WEBHOOK_DELIVERIES_TOTAL,
                names::INBOX_RETRIES_TOTAL,
                names::JOBS_TOTAL,
                names::SIGNALS_TOTAL,
                names::TOKEN_REFRESHES_TOTAL,
                names::TOKEN_REFRESH_LOST_RESPONSES_TOTAL,
                names::RATE_LIMIT_WAITS_TOTAL,
            ] {
                metrics::counter!(name).increment(1);
            }
            for name in [
                names::QUEUE_DEPTH,
                names::QUEUE_OLDEST_AGE_SECONDS,
                names::FEED_WATERMARK_LAG_SECONDS,
                names::SUBSCRIPTION_EXPIRY_SECONDS,
                names::SUBSCRIPTION_ALERT_SECONDS,
                names::SUBSCRIPTIONS_PENDING,
            ] {
                metrics::gauge!(name).set(1.0);
            }
        });
        let text = handle.render();
        let types = text.lines().filter(|line| line.starts_with("# TYPE"));
        let mut count = 0;
        for line in types {
            let name = line
                .split(' ')
                .nth(2)
                .expect("a type line names its metric");
            assert!(
                text.contains(&format!("# HELP {name} ")),
                "{name} has no description"
            );
            count += 1;
        }
        assert_eq!(count, 18);
        assert!(
            text.contains("http_server_request_duration_seconds_bucket{le=\"0.5\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("http_server_request_duration_seconds_bucket{le=\"0.25\"} 0"),
            "{text}"
        );
        assert!(
            !text.contains("quantile"),
            "histograms, not summaries: {text}"
        );
    }

    #[test]
    fn recorder_is_installed_once() {
        let one = MetricsHandle::global().expect("first");
        let two = MetricsHandle::global().expect("second");
        metrics::counter!(names::JOBS_TOTAL, "kind" => "recorder_is_installed_once").increment(2);
        assert!(
            one.render()
                .contains("kind=\"recorder_is_installed_once\"} 2")
        );
        assert!(
            two.render()
                .contains("kind=\"recorder_is_installed_once\"} 2")
        );
    }
}
