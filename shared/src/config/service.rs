//! The settings that every process has: its addresses and its database.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::Url;

use super::{ConfigError, DatabaseConfig, Env, Process, Reader, TrustedProxies};

/// The addresses and the database of a process.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// The process.
    pub process: Process,
    /// The address that it listens on.
    pub bind_addr: SocketAddr,
    /// The separate address of health checks and metrics, if there is one.
    pub telemetry_bind_addr: Option<SocketAddr>,
    /// The proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,
    /// Whether clients reach it over HTTPS, through a proxy that terminates TLS.
    pub is_https: bool,
    /// Postgres.
    pub database: DatabaseConfig,
}

impl ServiceConfig {
    /// Reads the settings of a process's server and of its database.
    ///
    /// `<PROCESS>_BIND_ADDR` and those of [`DatabaseConfig::for_process`]. The api-server and the
    /// ingress, which have clients, also read `<PROCESS>_TELEMETRY_BIND_ADDR`, `TRUSTED_PROXIES`
    /// and their public URL; the worker serves health checks and metrics only.
    pub fn for_process(reader: &mut Reader<'_>, process: Process) -> Self {
        let bind_addr = bind_addr(reader, process);
        let telemetry = process.telemetry_bind_variable();
        let telemetry_bind_addr =
            telemetry.and_then(|name| telemetry_addr(reader, name, bind_addr));
        let public_url = match process {
            Process::Api => Some(public_api_url(reader)),
            Process::Ingress => Some(public_webhook_url(reader)),
            Process::Worker => None,
        };
        let proxies = public_url
            .as_ref()
            .map(|_| reader.parsed("TRUSTED_PROXIES", TrustedProxies::default()));
        Self {
            process,
            bind_addr,
            telemetry_bind_addr,
            trusted_proxies: proxies.unwrap_or_default(),
            is_https: public_url.is_some_and(|url| url.scheme() == "https"),
            database: DatabaseConfig::for_process(reader, process),
        }
    }
}

/// The api-server's URL for browsers and readers of the feed.
///
/// `PUBLIC_API_URL`, or one made of `API_BIND_ADDR`.
pub fn public_api_url(reader: &mut Reader<'_>) -> Url {
    let bind_addr = bind_addr(reader, Process::Api);
    public_url(reader, "PUBLIC_API_URL", bind_addr)
}

/// The ingress's URL for providers.
///
/// `PUBLIC_WEBHOOK_URL`, or one made of `INGRESS_BIND_ADDR`.
pub fn public_webhook_url(reader: &mut Reader<'_>) -> Url {
    let bind_addr = bind_addr(reader, Process::Ingress);
    public_url(reader, "PUBLIC_WEBHOOK_URL", bind_addr)
}

/// The address of a process's health checks, for programs on the same host.
///
/// `<PROCESS>_TELEMETRY_BIND_ADDR` or `<PROCESS>_BIND_ADDR`; other settings are not read.
pub fn health_addr(env: &Env, process: Process) -> Result<SocketAddr, ConfigError> {
    let mut reader = Reader::new(env);
    let bind_addr = bind_addr(&mut reader, process);
    let telemetry = process.telemetry_bind_variable();
    let telemetry = telemetry.and_then(|name| telemetry_addr(&mut reader, name, bind_addr));
    reader.finish()?;
    Ok(reachable(telemetry.unwrap_or(bind_addr)))
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

fn bind_addr(reader: &mut Reader<'_>, process: Process) -> SocketAddr {
    reader.socket_addr(process.bind_variable(), loopback(process.default_port()))
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

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// A bind address, with loopback for "all interfaces".
const fn reachable(bind_addr: SocketAddr) -> SocketAddr {
    let ip = match bind_addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, bind_addr.port())
}

/// The configured URL, or one made of the bind address.
fn public_url(reader: &mut Reader<'_>, name: &str, bind_addr: SocketAddr) -> Url {
    let reachable = reachable(bind_addr);
    let url = reader.url(name, &format!("http://{reachable}"));
    if url.scheme() == "http" && !is_loopback(&url) {
        reader.problem(name, "must begin with https:// unless its host is loopback");
    }
    url
}

#[cfg(test)]
mod tests {
    use super::super::Env;
    use super::*;

    const DATABASE: (&str, &str) = ("POBLYSH_DATABASE_URL", "postgres://h/db");

    /// Reads settings from these variables and the URL of a database.
    fn read<T>(
        pairs: &[(&str, &str)],
        settings: impl FnOnce(&mut Reader<'_>) -> T,
    ) -> Result<T, String> {
        let env = Env::from_pairs(pairs.iter().copied().chain([DATABASE]));
        let mut reader = Reader::new(&env);
        let settings = settings(&mut reader);
        let finished = reader.finish().map_err(|error| error.to_string());
        finished.map(|()| settings)
    }

    fn service(pairs: &[(&str, &str)], process: Process) -> Result<ServiceConfig, String> {
        read(pairs, |reader| ServiceConfig::for_process(reader, process))
    }

    #[test]
    fn public_urls_follow_the_bind_address() {
        let api = |pairs: &[(&str, &str)]| read(pairs, public_api_url).expect("valid").to_string();
        assert_eq!(api(&[]), "http://127.0.0.1:8080/");
        let any = [("POBLYSH_API_BIND_ADDR", "0.0.0.0:9000")];
        assert_eq!(api(&any), "http://127.0.0.1:9000/");

        let any = [("POBLYSH_INGRESS_BIND_ADDR", "[::]:9001")];
        let webhook = read(&any, public_webhook_url).expect("valid");
        assert_eq!(webhook.as_str(), "http://[::1]:9001/");
    }

    #[test]
    fn health_checks_are_on_the_separate_address() {
        let addr = |process, pairs: &[(&str, &str)]| {
            let env = Env::from_pairs(pairs.iter().copied());
            health_addr(&env, process).map(|address| address.to_string())
        };
        let api = ("POBLYSH_API_BIND_ADDR", "0.0.0.0:9000");
        let telemetry = ("POBLYSH_API_TELEMETRY_BIND_ADDR", "[::]:9080");
        let found = |process, pairs: &[(&str, &str)]| addr(process, pairs).expect("valid");
        assert_eq!(found(Process::Api, &[]), "127.0.0.1:8080");
        assert_eq!(found(Process::Api, &[api]), "127.0.0.1:9000");
        assert_eq!(found(Process::Api, &[api, telemetry]), "[::1]:9080");
        let worker = ("POBLYSH_WORKER_BIND_ADDR", "10.0.0.7:9002");
        assert_eq!(found(Process::Worker, &[worker]), "10.0.0.7:9002");
        let error = addr(Process::Api, &[("POBLYSH_API_BIND_ADDR", "nowhere")]);
        let error = error.expect_err("malformed").to_string();
        assert!(error.contains("POBLYSH_API_BIND_ADDR"), "{error}");
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
            for (name, process) in [
                ("POBLYSH_PUBLIC_API_URL", Process::Api),
                ("POBLYSH_PUBLIC_WEBHOOK_URL", Process::Ingress),
            ] {
                let config = service(&[(name, url)], process);
                assert_eq!(config.is_err(), is_rejected, "{name} {url}");
                match config {
                    Ok(config) => assert_eq!(config.is_https, url.starts_with("https:"), "{url}"),
                    Err(error) => assert!(error.contains(name), "{error}"),
                }
            }
        }
        let bound = [("POBLYSH_API_BIND_ADDR", "10.0.0.1:80")];
        let error = service(&bound, Process::Api).expect_err("not reachable");
        assert!(error.contains("POBLYSH_PUBLIC_API_URL"), "{error}");
    }

    #[test]
    fn public_url_with_a_query_is_rejected() {
        let pairs = [("POBLYSH_PUBLIC_API_URL", "https://example.com/?a=b")];
        let error = service(&pairs, Process::Api).expect_err("query");
        assert!(error.contains("POBLYSH_PUBLIC_API_URL"), "{error}");
    }

    #[test]
    fn telemetry_address_differs_from_the_server() {
        let read = |address| {
            let pairs = [
                ("POBLYSH_INGRESS_BIND_ADDR", "127.0.0.1:81"),
                ("POBLYSH_INGRESS_TELEMETRY_BIND_ADDR", address),
                ("POBLYSH_TRUSTED_PROXIES", "10.0.0.0/8,::1"),
            ];
            service(&pairs, Process::Ingress).map(|config| config.telemetry_bind_addr.is_some())
        };
        assert_eq!(read(""), Ok(false));
        assert_eq!(read("127.0.0.1:82"), Ok(true));
        assert!(read("127.0.0.1:81").is_err());
    }

    #[test]
    fn worker_ignores_settings_of_servers_with_clients() {
        let config = service(&[("POBLYSH_TRUSTED_PROXIES", "anywhere")], Process::Worker);
        assert_eq!(config.expect("valid").bind_addr, loopback(8082));
    }

    #[test]
    fn address_that_is_read_twice_is_one_problem() {
        let pairs = [("POBLYSH_INGRESS_BIND_ADDR", "nowhere")];
        let error = service(&pairs, Process::Ingress).expect_err("malformed");
        assert_eq!(error.lines().count(), 2, "{error}");
    }
}
