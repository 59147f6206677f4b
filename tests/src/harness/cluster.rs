//! Postgres for the test run: from the environment, local binaries, or a container.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment names the server and the PATH of a test run"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testcontainers::core::wait::LogWaitStrategy;
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{GenericImage, ImageExt};
use tokio::sync::OnceCell;

static URL: OnceCell<String> = OnceCell::const_new();

/// A superuser's URL of the maintenance database.
pub(super) async fn url() -> &'static str {
    URL.get_or_init(async || {
        if let Ok(url) = std::env::var("POBLYSH_TEST_DATABASE_URL") {
            return url;
        }
        match binaries() {
            Some(folder) => start_throwaway(&folder),
            None => PostgresContainer::start().await.url,
        }
    })
    .await
}

/// Returns the folder of the newest local server binaries.
pub(super) fn binaries() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("POBLYSH_POSTGRES_BIN") {
        return Some(PathBuf::from(folder));
    }
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    folders.sort();
    folders.reverse();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders
        .into_iter()
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

/// Starts a cluster that ends with this process.
///
/// The shell that runs it waits for its standard input to close, which happens however this
/// process ends.
fn start_throwaway(binaries: &Path) -> String {
    let port = free_port();
    let script = r#"
        set -eu
        bin=$1 port=$2
        dir=$(mktemp -d /tmp/poblysh-test.XXXXXX)
        run=
        if [ "$(id -u)" = 0 ]; then
            user=postgres; id -u "$user" >/dev/null 2>&1 || user=nobody
            chown "$user" "$dir"
            run="setpriv --reuid=$user --regid=$(id -g "$user") --clear-groups"
        fi
        $run "$bin/initdb" -D "$dir/data" -U postgres -A trust --no-sync >/dev/null
        $run "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -h 127.0.0.1 \
            -c fsync=off -c max_connections=300 </dev/null >"$dir/log" 2>&1 &
        server=$!
        until "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; do
            kill -0 "$server" || { cat "$dir/log" >&2; exit 1; }
            sleep 0.1
        done
        echo ready
        read -r _ || true
        kill -INT "$server"
        wait "$server" || true
        rm -rf "$dir"
    "#;
    let mut child = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(binaries)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell starts");
    let mut line = String::new();
    let output = child.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("readable");
    assert_eq!(line.trim(), "ready", "the throwaway cluster does not start");
    // The pipe must stay open until this process ends.
    std::mem::forget(child);
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

/// Postgres in a container, which is removed when this process ends.
#[derive(Debug)]
pub struct PostgresContainer {
    /// The container's name.
    pub name: String,
    /// A superuser's URL of the maintenance database.
    pub url: String,
}

impl PostgresContainer {
    /// The image's repository.
    pub const IMAGE: &str = "postgres";
    /// Its tag.
    pub const TAG: &str = "17-alpine";

    /// Starts a container and waits until Postgres accepts sessions.
    ///
    /// # Panics
    ///
    /// When no container engine is reachable.
    pub async fn start() -> Self {
        let name = format!("poblysh-test-{}", uuid::Uuid::new_v4().simple());
        // Registered before the start, during which this process may end.
        remove_at_exit(&name);
        let container = GenericImage::new(Self::IMAGE, Self::TAG)
            .with_exposed_port(5432.tcp())
            // The image starts the server twice; the first time for its setup, without network.
            .with_wait_for(WaitFor::log(
                LogWaitStrategy::stdout_or_stderr("database system is ready to accept connections")
                    .with_times(2),
            ))
            .with_container_name(&name)
            .with_env_var("POSTGRES_PASSWORD", "postgres")
            .with_env_var("POSTGRES_INITDB_ARGS", "--no-sync")
            .start()
            .await
            .expect(
                "no POBLYSH_TEST_DATABASE_URL, no local server binaries, and no container engine",
            );
        let port = container
            .get_host_port_ipv4(5432.tcp())
            .await
            .expect("a mapped port");
        std::mem::forget(container);
        let url = format!("postgres://postgres:postgres@127.0.0.1:{port}/postgres");
        Self { name, url }
    }
}

/// Script that removes a container when this process ends, however that happens.
///
/// It waits for its standard input to close. Its process group keeps Ctrl-C away from it.
const REMOVER: &str = r#"
    trap '' INT TERM HUP
    name=$1
    read -r _ || true
    docker rm --force --volumes "$name" 2>/dev/null && exit
    podman rm --force --volumes "$name" 2>/dev/null && exit
    socket=${DOCKER_HOST:-unix:///var/run/docker.sock}
    curl --silent --fail --request DELETE --unix-socket "${socket#unix://}" \
        "http://engine/containers/$name?force=true&v=true"
"#;

fn remove_at_exit(container: &str) {
    let mut remover = Command::new("sh");
    std::os::unix::process::CommandExt::process_group(&mut remover, 0);
    let remover = remover
        .args(["-c", REMOVER, "sh", container])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a shell starts");
    // The pipe must stay open until this process ends.
    std::mem::forget(remover);
}

pub(super) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}
