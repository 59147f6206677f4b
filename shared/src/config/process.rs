//! The settings that only one of the processes has.

use std::collections::HashSet;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Reader;
use super::reader::{REPETITIVE, is_repetitive};
use super::service::{public_api_url, public_webhook_url};

/// The shortest operator token, in characters.
const MIN_OPERATOR_TOKEN_LENGTH: usize = 32;
/// The fewest different characters of an operator token.
///
/// Of 32 random hexadecimal digits, one in ten million has fewer.
const MIN_OPERATOR_TOKEN_CHARACTERS: usize = 8;
const DAY: Duration = Duration::from_hours(24);

/// Settings of the api-server.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Its URL for browsers and Story Hunter.
    pub public_url: Url,
    /// The operators' bearer tokens; several during a rotation.
    pub operator_tokens: Vec<SecretString>,
}

impl ApiConfig {
    /// Reads the settings of the api-server.
    ///
    /// `PUBLIC_API_URL`, `OPERATOR_TOKEN`.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        let public_url = public_api_url(reader);
        let operator_tokens = reader.required_secrets("OPERATOR_TOKEN");
        if operator_tokens
            .iter()
            .any(|token| token.expose_secret().chars().count() < MIN_OPERATOR_TOKEN_LENGTH)
        {
            reader.problem(
                "OPERATOR_TOKEN",
                format!("must have at least {MIN_OPERATOR_TOKEN_LENGTH} characters"),
            );
        }
        let repeats = |token: &SecretString| {
            let distinct: HashSet<char> = token.expose_secret().chars().collect();
            distinct.len() < MIN_OPERATOR_TOKEN_CHARACTERS
        };
        if operator_tokens.iter().any(repeats) {
            reader.problem(
                "OPERATOR_TOKEN",
                "has too few different characters; generate it with `openssl rand -hex 32`",
            );
        }
        // Headers cannot carry other characters.
        if operator_tokens.iter().any(|token| {
            !token
                .expose_secret()
                .bytes()
                .all(|byte| byte.is_ascii_graphic())
        }) {
            reader.problem("OPERATOR_TOKEN", "must consist of visible ASCII characters");
        }
        if operator_tokens.iter().any(is_repetitive) {
            reader.problem("OPERATOR_TOKEN", REPETITIVE);
        }
        Self {
            public_url,
            operator_tokens,
        }
    }
}

/// Settings of the webhook-ingress.
#[derive(Debug, Clone)]
pub struct IngressConfig {
    /// The maximum number of bytes of deliveries that wait to be processed.
    ///
    /// Above it, deliveries are rejected.
    pub backlog_bytes: u64,
    /// The same limit for one tenant.
    pub tenant_backlog_bytes: u64,
    /// The maximum number of bytes of unmatched deliveries of one account.
    ///
    /// Above it, only digests are kept.
    pub unmatched_account_bytes: u64,
    /// The same limit for all accounts together.
    pub unmatched_bytes: u64,
}

impl IngressConfig {
    /// Reads the settings of the webhook-ingress.
    ///
    /// `INGRESS_MAX_BACKLOG_MIB`, `INGRESS_TENANT_BACKLOG_MIB`, `INGRESS_UNMATCHED_MIB`,
    /// `INGRESS_UNMATCHED_ACCOUNT_MIB`.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        let mut mebibytes = |name, default: u64| reader.within(name, default, 1, 1 << 24);
        let backlog = mebibytes("INGRESS_MAX_BACKLOG_MIB", 8192);
        let tenant_backlog = mebibytes("INGRESS_TENANT_BACKLOG_MIB", backlog.div_ceil(4));
        let unmatched = mebibytes("INGRESS_UNMATCHED_MIB", 4096);
        let account = mebibytes("INGRESS_UNMATCHED_ACCOUNT_MIB", unmatched.div_ceil(64));
        Self {
            backlog_bytes: backlog << 20,
            tenant_backlog_bytes: tenant_backlog << 20,
            unmatched_account_bytes: account << 20,
            unmatched_bytes: unmatched << 20,
        }
    }
}

/// Settings of the sync-worker.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The ingress's URL, which subscriptions name.
    pub public_webhook_url: Url,
    /// The maximum number of jobs at the same time.
    pub concurrency: usize,
    /// The poll interval of connections without their own.
    pub poll_interval: Duration,
    /// The length of a new connection's backfill.
    pub backfill: Duration,
    /// The interval between reconciliation passes of a stream.
    pub reconcile_interval: Duration,
    /// The length of the window that a reconciliation pass reads again.
    pub reconcile_window: Duration,
    /// The time for which deliveries are kept.
    pub delivery_retention: Duration,
    /// The time for which finished jobs are kept.
    pub job_retention: Duration,
}

impl WorkerConfig {
    /// Reads the settings of the sync-worker.
    ///
    /// `PUBLIC_WEBHOOK_URL`, `WORKER_CONCURRENCY`, `POLL_INTERVAL_SECONDS`, `BACKFILL_DAYS`,
    /// `RECONCILE_INTERVAL_SECONDS`, `RECONCILE_WINDOW_DAYS`, `DELIVERY_RETENTION_DAYS`,
    /// `JOB_RETENTION_DAYS`.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        Self {
            public_webhook_url: public_webhook_url(reader),
            concurrency: reader.within("WORKER_CONCURRENCY", 16, 1, 1024),
            poll_interval: Duration::from_secs(reader.within(
                "POLL_INTERVAL_SECONDS",
                300,
                30,
                DAY.as_secs(),
            )),
            backfill: days(reader, "BACKFILL_DAYS", 90),
            reconcile_interval: Duration::from_secs(reader.within(
                "RECONCILE_INTERVAL_SECONDS",
                DAY.as_secs(),
                60,
                DAY.as_secs() * 30,
            )),
            reconcile_window: days(reader, "RECONCILE_WINDOW_DAYS", 7),
            delivery_retention: days(reader, "DELIVERY_RETENTION_DAYS", 30),
            job_retention: days(reader, "JOB_RETENTION_DAYS", 14),
        }
    }
}

fn days(reader: &mut Reader<'_>, name: &str, default: u32) -> Duration {
    DAY * reader.within(name, default, 1, 3650)
}

#[cfg(test)]
mod tests {
    use super::super::Env;
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn api(pairs: &[(&str, &str)]) -> Result<ApiConfig, String> {
        let env = Env::from_pairs(pairs.iter().copied());
        let mut reader = Reader::new(&env);
        let config = ApiConfig::from_reader(&mut reader);
        reader
            .finish()
            .map(|()| config)
            .map_err(|error| error.to_string())
    }

    fn worker(pairs: &[(&str, &str)]) -> Result<WorkerConfig, String> {
        let env = Env::from_pairs(pairs.iter().copied());
        let mut reader = Reader::new(&env);
        let config = WorkerConfig::from_reader(&mut reader);
        reader
            .finish()
            .map(|()| config)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn operator_tokens_with_few_characters_are_rejected() {
        for weak in ["a".repeat(32), "abcabc".repeat(8), "0123456".repeat(6)] {
            assert!(
                api(&[("POBLYSH_OPERATOR_TOKEN", &weak)])
                    .expect_err("weak")
                    .contains("too few different characters"),
                "{weak}"
            );
        }
    }

    #[test]
    fn weak_operator_tokens_are_rejected() {
        assert!(
            api(&[])
                .expect_err("missing")
                .contains("POBLYSH_OPERATOR_TOKEN is not set")
        );
        assert!(
            api(&[("POBLYSH_OPERATOR_TOKEN", &format!("{TOKEN},short"))])
                .expect_err("short")
                .contains("at least 32 characters")
        );
        assert!(
            api(&[("POBLYSH_OPERATOR_TOKEN", &format!("{TOKEN} {TOKEN}"))])
                .expect_err("blank inside")
                .contains("visible ASCII")
        );
    }

    #[test]
    fn repetitive_operator_tokens_are_rejected() {
        for token in ["a".repeat(40), "abcabc".repeat(8), "0101".repeat(10)] {
            let error = api(&[("POBLYSH_OPERATOR_TOKEN", &token)]).expect_err("repetitive");
            assert!(error.contains("repeats"), "{error}");
        }
    }

    #[test]
    fn worker_settings_have_defaults_and_bounds() {
        let config = worker(&[]).expect("valid");
        assert_eq!(config.concurrency, 16);
        assert_eq!(config.poll_interval, Duration::from_mins(5));
        assert_eq!(config.backfill, DAY * 90);
        assert_eq!(config.delivery_retention, DAY * 30);
        assert_eq!(config.job_retention, DAY * 14);

        let error = worker(&[
            ("POBLYSH_WORKER_CONCURRENCY", "0"),
            ("POBLYSH_POLL_INTERVAL_SECONDS", "0"),
            ("POBLYSH_BACKFILL_DAYS", "-1"),
        ])
        .expect_err("three problems");
        assert_eq!(error.lines().count(), 4, "{error}");
    }
}
