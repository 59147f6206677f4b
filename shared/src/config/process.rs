//! What each of the three processes needs to know about itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Reader;

/// The fewest characters of an operator's token.
const OPERATOR_TOKEN_LENGTH: usize = 32;
const DAY: Duration = Duration::from_hours(24);

/// Settings of the api-server.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Where it listens.
    pub bind_addr: SocketAddr,
    /// Where browsers and Story Hunter find it.
    pub public_url: Url,
    /// Bearer tokens of operators; several while one replaces another.
    pub operator_tokens: Vec<SecretString>,
}

impl ApiConfig {
    /// `API_BIND_ADDR`, `PUBLIC_API_URL`, `OPERATOR_TOKEN`.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        let bind_addr = reader.socket_addr("API_BIND_ADDR", loopback(8080));
        let public_url = public_url(reader, "PUBLIC_API_URL", bind_addr);
        let operator_tokens = reader.required_secrets("OPERATOR_TOKEN");
        if operator_tokens
            .iter()
            .any(|token| token.expose_secret().chars().count() < OPERATOR_TOKEN_LENGTH)
        {
            reader.problem(
                "OPERATOR_TOKEN",
                format!("must have at least {OPERATOR_TOKEN_LENGTH} characters"),
            );
        }
        // A header cannot carry anything else, so such a token could never be used.
        if operator_tokens.iter().any(|token| {
            !token
                .expose_secret()
                .bytes()
                .all(|byte| byte.is_ascii_graphic())
        }) {
            reader.problem("OPERATOR_TOKEN", "must consist of visible ASCII characters");
        }
        Self {
            bind_addr,
            public_url,
            operator_tokens,
        }
    }
}

/// Settings of the webhook-ingress.
#[derive(Debug, Clone)]
pub struct IngressConfig {
    /// Where it listens.
    pub bind_addr: SocketAddr,
    /// Where providers find it.
    pub public_webhook_url: Url,
    /// Bytes of deliveries that may wait to be processed; beyond, more are refused.
    pub backlog_bytes: u64,
}

impl IngressConfig {
    /// `INGRESS_BIND_ADDR`, `PUBLIC_WEBHOOK_URL`, `INGRESS_BACKLOG_MIB`.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        let bind_addr = reader.socket_addr("INGRESS_BIND_ADDR", loopback(8081));
        let public_webhook_url = public_url(reader, "PUBLIC_WEBHOOK_URL", bind_addr);
        let backlog_mebibytes: u64 = reader.within("INGRESS_BACKLOG_MIB", 8192, 1, 1 << 24);
        Self {
            bind_addr,
            public_webhook_url,
            backlog_bytes: backlog_mebibytes << 20,
        }
    }
}

/// Settings of the sync-worker.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Where it serves health and metrics.
    pub bind_addr: SocketAddr,
    /// Where providers find the ingress: subscriptions name it.
    pub public_webhook_url: Url,
    /// Jobs at a time.
    pub concurrency: usize,
    /// How often a connection without its own interval is polled.
    pub poll_interval: Duration,
    /// How far back a new connection is read.
    pub backfill: Duration,
    /// How long deliveries are kept.
    pub delivery_retention: Duration,
    /// How long finished jobs are kept.
    pub job_retention: Duration,
}

impl WorkerConfig {
    /// `WORKER_BIND_ADDR`, `PUBLIC_WEBHOOK_URL`, `WORKER_CONCURRENCY`, `POLL_INTERVAL_SECONDS`, `BACKFILL_DAYS`,
    /// `DELIVERY_RETENTION_DAYS`, `JOB_RETENTION_DAYS`.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        Self {
            bind_addr: reader.socket_addr("WORKER_BIND_ADDR", loopback(8082)),
            public_webhook_url: IngressConfig::from_reader(reader).public_webhook_url,
            concurrency: reader.within("WORKER_CONCURRENCY", 16, 1, 1024),
            poll_interval: Duration::from_secs(reader.within(
                "POLL_INTERVAL_SECONDS",
                300,
                30,
                DAY.as_secs(),
            )),
            backfill: days(reader, "BACKFILL_DAYS", 90),
            delivery_retention: days(reader, "DELIVERY_RETENTION_DAYS", 30),
            job_retention: days(reader, "JOB_RETENTION_DAYS", 14),
        }
    }
}

fn days(reader: &mut Reader<'_>, name: &str, default: u32) -> Duration {
    DAY * reader.within(name, default, 1, 3650)
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The configured URL, else one made of the bind address. An address that means "all
/// interfaces" is no place to go to: loopback stands in for it.
fn public_url(reader: &mut Reader<'_>, name: &str, bind_addr: SocketAddr) -> Url {
    let mut reachable = bind_addr;
    if bind_addr.ip().is_unspecified() {
        reachable.set_ip(match bind_addr.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    reader.url(name, &format!("http://{reachable}"))
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
    fn public_urls_follow_the_bind_address() {
        let config = api(&[("POBLYSH_OPERATOR_TOKEN", TOKEN)]).expect("valid");
        assert_eq!(config.public_url.as_str(), "http://127.0.0.1:8080/");

        let config = api(&[
            ("POBLYSH_OPERATOR_TOKEN", TOKEN),
            ("POBLYSH_API_BIND_ADDR", "0.0.0.0:9000"),
        ])
        .expect("valid");
        assert_eq!(config.public_url.as_str(), "http://127.0.0.1:9000/");

        let env = Env::from_pairs([("POBLYSH_INGRESS_BIND_ADDR", "[::]:9001")]);
        let ingress = IngressConfig::from_reader(&mut Reader::new(&env));
        assert_eq!(ingress.public_webhook_url.as_str(), "http://[::1]:9001/");
    }

    #[test]
    fn weak_operator_tokens_are_refused() {
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
    fn a_public_url_with_a_query_is_refused() {
        let error = api(&[
            ("POBLYSH_OPERATOR_TOKEN", TOKEN),
            ("POBLYSH_PUBLIC_API_URL", "https://example.com/?a=b"),
        ])
        .expect_err("query");
        assert!(error.contains("POBLYSH_PUBLIC_API_URL"));
    }

    #[test]
    fn the_worker_has_defaults_and_bounds() {
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
