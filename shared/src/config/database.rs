//! The settings of a process's database.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Reader;

/// One of the three processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Process {
    /// `api-server`.
    Api,
    /// `webhook-ingress`.
    Ingress,
    /// `sync-worker`.
    Worker,
}

impl Process {
    /// The process's name in logs, metrics and traces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api-server",
            Self::Ingress => "webhook-ingress",
            Self::Worker => "sync-worker",
        }
    }

    /// The variable of the address that the process listens on, without prefix.
    pub const fn bind_variable(self) -> &'static str {
        match self {
            Self::Api => "API_BIND_ADDR",
            Self::Ingress => "INGRESS_BIND_ADDR",
            Self::Worker => "WORKER_BIND_ADDR",
        }
    }

    /// The variable of the separate address of health checks and metrics, without prefix.
    ///
    /// The worker's server serves nothing else, so it has none.
    pub const fn telemetry_bind_variable(self) -> Option<&'static str> {
        match self {
            Self::Api => Some("API_TELEMETRY_BIND_ADDR"),
            Self::Ingress => Some("INGRESS_TELEMETRY_BIND_ADDR"),
            Self::Worker => None,
        }
    }

    /// The port that the process listens on by default.
    pub(super) const fn default_port(self) -> u16 {
        match self {
            Self::Api => 8080,
            Self::Ingress => 8081,
            Self::Worker => 8082,
        }
    }

    /// The variable of the process's own database URL, without prefix.
    const fn url_variable(self) -> &'static str {
        match self {
            Self::Api => "API_DATABASE_URL",
            Self::Ingress => "INGRESS_DATABASE_URL",
            Self::Worker => "WORKER_DATABASE_URL",
        }
    }

    const fn default_sessions(self) -> u32 {
        match self {
            Self::Api | Self::Worker => 8,
            Self::Ingress => 4,
        }
    }
}

/// The database of a process.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// The URL for reads and writes.
    pub url: SecretString,
    /// The URL of a read replica, which may lag; only for the api-server.
    pub read_url: Option<SecretString>,
    /// A separate URL for `LISTEN`; only for the sync-worker.
    pub listen_url: Option<SecretString>,
    /// Whether a pooler in between assigns sessions per transaction.
    pub is_pooled: bool,
    /// The maximum number of sessions of the process.
    pub max_sessions: u32,
}

impl DatabaseConfig {
    /// `DATABASE_URL`, for the migrator and tools.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        let url = reader.required_secret("DATABASE_URL");
        check(reader, "DATABASE_URL", &url);
        let max_sessions = reader.within("DATABASE_MAX_SESSIONS", 4, 1, 1000);
        Self {
            url,
            read_url: None,
            listen_url: None,
            is_pooled: false,
            max_sessions,
        }
    }

    /// The process's own URL, or else `DATABASE_URL`.
    pub fn for_process(reader: &mut Reader<'_>, process: Process) -> Self {
        let own = process.url_variable();
        let name = if reader.is_set(own) {
            own
        } else {
            "DATABASE_URL"
        };
        let url = reader.required_secret(name);
        check(reader, name, &url);

        let mut optional = |of: Process, name: &str| {
            let url = reader.optional_secret(name).filter(|_| process == of)?;
            check(reader, name, &url);
            Some(url)
        };
        let read_url = optional(Process::Api, "API_READ_DATABASE_URL");
        let listen_url = optional(Process::Worker, "WORKER_LISTEN_DATABASE_URL");
        let max_sessions =
            reader.within("DATABASE_MAX_SESSIONS", process.default_sessions(), 1, 1000);
        Self {
            url,
            read_url,
            listen_url,
            is_pooled: is_pooled(reader),
            max_sessions,
        }
    }
}

/// `DATABASE_POOLING`: whether a pooler assigns sessions per `session` or `transaction`.
fn is_pooled(reader: &mut Reader<'_>) -> bool {
    const NAME: &str = "DATABASE_POOLING";
    match reader.optional_string(NAME).as_deref() {
        None | Some("session") => false,
        Some("transaction") => true,
        Some(_) => {
            reader.problem(NAME, "must be session or transaction");
            false
        }
    }
}

/// Records a problem if the URL is not one of Postgres; a missing one is recorded already.
fn check(reader: &mut Reader<'_>, name: &str, url: &SecretString) {
    let text = url.expose_secret();
    if text.is_empty() {
        return;
    }
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => {}
        _ => reader.problem(name, "must be a URL that begins with postgres://"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Env;
    use super::*;

    fn read(pairs: &[(&str, &str)], process: Process) -> Result<DatabaseConfig, String> {
        let env = Env::from_pairs(pairs.iter().copied());
        let mut reader = Reader::new(&env);
        let config = DatabaseConfig::for_process(&mut reader, process);
        reader
            .finish()
            .map(|()| config)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn process_prefers_its_own_url() {
        let pairs = [
            ("POBLYSH_DATABASE_URL", "postgres://owner@h/db"),
            ("POBLYSH_WORKER_DATABASE_URL", "postgres://worker@h/db"),
            ("POBLYSH_API_READ_DATABASE_URL", "postgres://replica/db"),
        ];
        let worker = read(&pairs, Process::Worker).expect("valid");
        assert_eq!(worker.url.expose_secret(), "postgres://worker@h/db");
        assert!(worker.read_url.is_none());
        assert_eq!(worker.max_sessions, 8);

        let api = read(&pairs, Process::Api).expect("valid");
        assert_eq!(api.url.expose_secret(), "postgres://owner@h/db");
        assert!(api.read_url.is_some());

        assert_eq!(
            read(&pairs, Process::Ingress).expect("valid").max_sessions,
            4
        );
    }

    #[test]
    fn missing_or_invalid_url_is_named() {
        assert!(
            read(&[], Process::Api)
                .expect_err("missing")
                .contains("POBLYSH_DATABASE_URL")
        );
        let error = read(
            &[("POBLYSH_INGRESS_DATABASE_URL", "mysql://pw@h/db")],
            Process::Ingress,
        )
        .expect_err("not Postgres");
        assert!(error.contains("POBLYSH_INGRESS_DATABASE_URL"));
        assert!(!error.contains("pw"));
    }

    #[test]
    fn pooling_mode_is_read() {
        let url = ("POBLYSH_DATABASE_URL", "postgres://h/db");
        let direct = ("POBLYSH_WORKER_LISTEN_DATABASE_URL", "postgres://d/db");
        assert!(!read(&[url], Process::Worker).expect("valid").is_pooled);
        let pooling = ("POBLYSH_DATABASE_POOLING", "transaction");
        let worker = read(&[url, pooling, direct], Process::Worker).expect("valid");
        assert!(worker.is_pooled && worker.listen_url.is_some());
        let api = read(&[url, pooling, direct], Process::Api).expect("valid");
        assert!(api.is_pooled && api.listen_url.is_none());
        let error = read(&[url, ("POBLYSH_DATABASE_POOLING", "yes")], Process::Api);
        assert!(
            error
                .expect_err("neither")
                .contains("POBLYSH_DATABASE_POOLING")
        );
    }

    #[test]
    fn zero_connections_are_rejected() {
        let pairs = [
            ("POBLYSH_DATABASE_URL", "postgres://h/db"),
            ("POBLYSH_DATABASE_MAX_SESSIONS", "0"),
        ];
        assert!(read(&pairs, Process::Api).is_err());
    }
}
