//! `PgBouncer` in transaction mode in front of Postgres.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use url::Url;

use super::cluster::free_port;
use super::postgres::owner;

/// Script that runs the program until its standard input closes.
///
/// The input closes however the test process ends.
const GUARD: &str = r#"
    trap '' INT TERM HUP
    "$@" &
    pooler=$!
    read -r _ || true
    kill -KILL "$pooler"
"#;

/// Running `PgBouncer`.
#[derive(Debug)]
pub struct Pooler {
    port: u16,
    _folder: TempDir,
    guard: Child,
}

impl Pooler {
    /// Path of the program, if it is installed.
    pub fn program() -> Option<PathBuf> {
        let known = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"];
        known.iter().map(PathBuf::from).find(|path| path.exists())
    }

    /// Starts it in front of the server of `url`, with this pool size per database and user.
    ///
    /// # Panics
    ///
    /// When it is not installed or cannot be started.
    pub fn start(url: &str, connections: u32) -> Self {
        let program = Self::program().expect("pgbouncer is installed");
        let url = Url::parse(url).expect("a URL");
        let (host, server) = (url.host_str().expect("a host"), url.port().expect("a port"));
        let folder = TempDir::with_prefix("poblysh-pooler.").expect("a folder");
        let path = folder.path().to_owned();
        let port = free_port();
        let settings = format!(
            "[databases]\n* = host={host} port={server}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             pool_mode = transaction\ndefault_pool_size = {connections}\n\
             max_client_conn = 500\nauth_type = trust\nauth_file = {}\n",
            path.join("users").display()
        );
        std::fs::write(path.join("settings"), settings).expect("writable");
        std::fs::write(path.join("users"), "\"postgres\" \"\"\n").expect("writable");
        let mut guard = Command::new("sh");
        std::os::unix::process::CommandExt::process_group(&mut guard, 0);
        guard.args(["-c", GUARD, "sh"]);
        // PgBouncer refuses to run as root, as Postgres does.
        if let Some((user, group)) = owner() {
            std::os::unix::fs::chown(&path, Some(user), Some(group)).expect("given away");
            guard
                .arg("setpriv")
                .args([format!("--reuid={user}"), format!("--regid={group}")])
                .arg("--clear-groups");
        }
        let guard = guard
            .arg(program)
            .arg("--quiet")
            .arg(path.join("settings"))
            .current_dir(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell starts");
        Self {
            port,
            _folder: folder,
            guard,
        }
    }

    /// Returns the URL of the same database through the pooler.
    ///
    /// # Panics
    ///
    /// When `url` is invalid.
    pub fn through(&self, url: &str) -> String {
        let mut url = Url::parse(url).expect("a URL");
        url.set_port(Some(self.port)).expect("a port");
        url.to_string()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().ok();
    }
}
