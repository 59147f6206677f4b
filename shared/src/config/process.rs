//! The settings of the three processes.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::reader::{REPETITIVE, is_repetitive};
use super::{Reader, TrustedProxies};

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
    /// The address it listens on.
    pub bind_addr: SocketAddr,
    /// The separate address of health checks and metrics, if there is one.
    pub telemetry_bind_addr: Option<SocketAddr>,
    /// The proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,
    /// Its URL for browsers and Story Hunter.
    pub public_url: Url,
    /// The operators' bearer tokens; several during a rotation.
    pub operator_tokens: Vec<SecretString>,
}

impl ApiConfig {
    /// Reads the settings of the api-server.
    ///
    /// `API_BIND_ADDR`, `API_TELEMETRY_BIND_ADDR`, `TRUSTED_PROXIES`, `PUBLIC_API_URL`,
    /// `OPERATOR_TOKEN`.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        let bind_addr = reader.socket_addr("API_BIND_ADDR", loopback(8080));
        let public_url = public_url(reader, "PUBLIC_API_URL", bind_addr);
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
            bind_addr,
            telemetry_bind_addr: telemetry_addr(reader, "API_TELEMETRY_BIND_ADDR", bind_addr),
            trusted_proxies: trusted_proxies(reader),
            public_url,
            operator_tokens,
        }
    }
}

/// Settings of the webhook-ingress.
#[derive(Debug, Clone)]
pub struct IngressConfig {
    /// The address it listens on.
    pub bind_addr: SocketAddr,
    /// The separate address of health checks and metrics, if there is one.
    pub telemetry_bind_addr: Option<SocketAddr>,
    /// The proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,
    /// Its URL for providers.
    pub public_webhook_url: Url,
    /// The maximum number of bytes of deliveries that wait to be processed; above it, deliveries
    /// are rejected.
    pub backlog_bytes: u64,
    /// The same limit for one tenant.
    pub tenant_backlog_bytes: u64,
    /// The maximum number of bytes of unmatched deliveries of one account; above it, only digests
    /// are kept.
    pub unmatched_account_bytes: u64,
    /// The same limit for all accounts together.
    pub unmatched_bytes: u64,
}

impl IngressConfig {
    /// Reads the settings of the webhook-ingress.
    ///
    /// `INGRESS_BIND_ADDR`, `INGRESS_TELEMETRY_BIND_ADDR`, `TRUSTED_PROXIES`,
    /// `PUBLIC_WEBHOOK_URL`, `INGRESS_MAX_BACKLOG_MIB`, `INGRESS_TENANT_BACKLOG_MIB`,
    /// `INGRESS_UNMATCHED_MIB`, `INGRESS_UNMATCHED_ACCOUNT_MIB`.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        let bind_addr = reader.socket_addr("INGRESS_BIND_ADDR", loopback(8081));
        let mut mebibytes = |name, default: u64| reader.within(name, default, 1, 1 << 24);
        let backlog = mebibytes("INGRESS_MAX_BACKLOG_MIB", 8192);
        let tenant_backlog = mebibytes("INGRESS_TENANT_BACKLOG_MIB", backlog.div_ceil(4));
        let unmatched = mebibytes("INGRESS_UNMATCHED_MIB", 4096);
        let account = mebibytes("INGRESS_UNMATCHED_ACCOUNT_MIB", unmatched.div_ceil(64));
        Self {
            bind_addr,
            telemetry_bind_addr: telemetry_addr(reader, "INGRESS_TELEMETRY_BIND_ADDR", bind_addr),
            trusted_proxies: trusted_proxies(reader),
            public_webhook_url: public_webhook_url(reader),
            backlog_bytes: backlog << 20,
            tenant_backlog_bytes: tenant_backlog << 20,
            unmatched_account_bytes: account << 20,
            unmatched_bytes: unmatched << 20,
        }
    }
}

/// The ingress's URL for providers: `PUBLIC_WEBHOOK_URL`, or one made of `INGRESS_BIND_ADDR`.
pub fn public_webhook_url(reader: &mut Reader<'_>) -> Url {
    let bind_addr = reader.socket_addr("INGRESS_BIND_ADDR", loopback(8081));
    public_url(reader, "PUBLIC_WEBHOOK_URL", bind_addr)
}

fn trusted_proxies(reader: &mut Reader<'_>) -> TrustedProxies {
    reader.parsed("TRUSTED_PROXIES", TrustedProxies::default())
}

fn telemetry_addr(reader: &mut Reader<'_>, name: &str, other: SocketAddr) -> Option<SocketAddr> {
    if !reader.is_set(name) {
        return None;
    }
    let address = reader.socket_addr(name, loopback(0));
    if address == other && address.port() != 0 {
        reader.problem(name, "must differ from the address of the server itself");
    }
    Some(address)
}

/// Settings of the sync-worker.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The address of health checks and metrics.
    pub bind_addr: SocketAddr,
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
    /// `WORKER_BIND_ADDR`, `PUBLIC_WEBHOOK_URL`, `WORKER_CONCURRENCY`, `POLL_INTERVAL_SECONDS`,
    /// `BACKFILL_DAYS`, `RECONCILE_INTERVAL_SECONDS`, `RECONCILE_WINDOW_DAYS`,
    /// `DELIVERY_RETENTION_DAYS`, `JOB_RETENTION_DAYS`.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        Self {
            bind_addr: reader.socket_addr("WORKER_BIND_ADDR", loopback(8082)),
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

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The configured URL, or one made of the bind address, with loopback for "all interfaces".
fn public_url(reader: &mut Reader<'_>, name: &str, bind_addr: SocketAddr) -> Url {
    let mut reachable = bind_addr;
    if bind_addr.ip().is_unspecified() {
        reachable.set_ip(match bind_addr.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let url = reader.url(name, &format!("http://{reachable}"));
    if url.scheme() == "http" && !is_loopback(&url) {
        reader.problem(name, "must begin with https:// unless its host is loopback");
    }
    url
}

/// Whether a URL's host is loopback.
///
/// Names below `localhost` are not, because some resolvers send them to the network.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
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
    fn plain_public_urls_are_rejected_off_loopback() {
        for (url, is_rejected) in [
            ("http://connect.example.com", true),
            ("http://10.0.0.1:8080", true),
            ("https://connect.example.com", false),
            ("http://127.0.0.1:8080", false),
            ("http://[::1]:8080", false),
            ("http://localhost:8080", false),
            ("http://app.localhost:8080", true),
        ] {
            let pairs = [
                ("POBLYSH_OPERATOR_TOKEN", TOKEN),
                ("POBLYSH_PUBLIC_API_URL", url),
            ];
            assert_eq!(api(&pairs).is_err(), is_rejected, "{url}");
            let worker = worker(&[("POBLYSH_PUBLIC_WEBHOOK_URL", url)]);
            assert_eq!(worker.is_err(), is_rejected, "{url}");
        }
        let bound = [
            ("POBLYSH_OPERATOR_TOKEN", TOKEN),
            ("POBLYSH_API_BIND_ADDR", "10.0.0.1:80"),
        ];
        assert!(
            api(&bound)
                .expect_err("not reachable")
                .contains("POBLYSH_PUBLIC_API_URL")
        );
    }

    #[test]
    fn telemetry_address_differs_from_the_server() {
        let read = |address| {
            let env = Env::from_pairs([
                ("POBLYSH_INGRESS_BIND_ADDR", "127.0.0.1:81"),
                ("POBLYSH_INGRESS_TELEMETRY_BIND_ADDR", address),
                ("POBLYSH_TRUSTED_PROXIES", "10.0.0.0/8,::1"),
            ]);
            let mut reader = Reader::new(&env);
            let config = IngressConfig::from_reader(&mut reader);
            reader
                .finish()
                .map(|()| config.telemetry_bind_addr.is_some())
        };
        assert_eq!(read(""), Ok(false));
        assert_eq!(read("127.0.0.1:82"), Ok(true));
        assert!(read("127.0.0.1:81").is_err());
    }

    #[test]
    fn public_url_with_a_query_is_rejected() {
        let error = api(&[
            ("POBLYSH_OPERATOR_TOKEN", TOKEN),
            ("POBLYSH_PUBLIC_API_URL", "https://example.com/?a=b"),
        ])
        .expect_err("query");
        assert!(error.contains("POBLYSH_PUBLIC_API_URL"));
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
