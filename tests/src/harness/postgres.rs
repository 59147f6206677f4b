//! Postgres cluster of one test, which it may stop, fill up or replicate.

use std::path::{Path, PathBuf};
use std::process::{Child, Command as Plain, Stdio};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::process::Command;

use super::cluster::{binaries, free_port};

/// Script that removes the cluster when the test process ends, however that happens.
///
/// It waits for its standard input to close, stops the server, unmounts its volume and removes
/// its folder.
const GUARD: &str = r#"
    trap '' INT TERM HUP
    folder=$1
    read -r _ || true
    # Runs as the server's user, who alone may read the data directory; SIGQUIT: immediately.
    if [ -s "$folder/data/postmaster.pid" ]; then
        server=$(head -n 1 "$folder/data/postmaster.pid")
        kill -QUIT "$server"
        while kill -0 "$server"; do sleep 0.05; done
    fi
    if mountpoint -q "$folder/data"; then $2 umount "$folder/data"; fi
    rm -rf "$folder"
"#;

/// Configuration of every test server.
const SETTINGS: &str = "\
    listen_addresses = '127.0.0.1'\n\
    max_connections = 200\n\
    shared_buffers = 64MB\n\
    # Only a crash of the machine loses data this way, not one of the server.\n\
    fsync = off\n\
    synchronous_commit = on\n\
    wal_level = replica\n\
    hot_standby = on\n\
    max_wal_senders = 4\n\
    timezone = 'UTC'\n";

/// Postgres server with its data folder and the process that removes both.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    binaries: PathBuf,
    port: u16,
    owner: Option<(u32, u32)>,
    guard: Child,
}

impl Cluster {
    /// Whether server binaries are installed.
    pub fn is_available() -> bool {
        binaries().is_some()
    }

    /// Starts an empty cluster.
    ///
    /// # Panics
    ///
    /// When there are no server binaries, or it does not start.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts an empty cluster with additional lines of configuration.
    ///
    /// # Panics
    ///
    /// When there are no server binaries, or it does not start.
    pub async fn start_with(settings: &str) -> Self {
        let cluster = Self::prepare();
        cluster.initialize(settings).await;
        cluster.start_server().await;
        cluster
    }

    /// Whether this user may mount a volume.
    pub fn can_mount_volume() -> bool {
        user() == 0
            || as_root("true")
                .status()
                .is_ok_and(|status| status.success())
    }

    /// Starts an empty cluster with all its data on a volume of this size.
    ///
    /// # Panics
    ///
    /// When there are no server binaries, it does not start, or the volume cannot be mounted.
    pub async fn start_on_volume(mebibytes: u32) -> Self {
        let cluster = Self::prepare();
        let own = || Some((user(), id(&["-g"])?));
        let (user, group) = cluster.owner.or_else(own).expect("an owner");
        let data = cluster.data();
        std::fs::create_dir(&data).expect("a folder");
        let options = format!("size={mebibytes}m,uid={user},gid={group},mode=700");
        let mounted = as_root("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&data)
            .status()
            .expect("mount runs");
        assert!(mounted.success(), "a tmpfs can be mounted");
        let small = "max_wal_size = 48MB\nmin_wal_size = 32MB\nwal_recycle = off\n";
        cluster.initialize(small).await;
        cluster.start_server().await;
        cluster
    }

    /// Starts a streaming replica of this cluster.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn replica(&self) -> Self {
        let replica = Self::prepare();
        let mut copy = replica.command("pg_basebackup");
        copy.args(["--write-recovery-conf", "--wal-method=stream", "--no-sync"])
            .args(["--checkpoint=fast", "--dbname", &self.url()])
            .arg("--pgdata")
            .arg(replica.data());
        run_checked(copy, "pg_basebackup").await;
        replica.start_server().await;
        replica
    }

    /// Creates the folder for the server's user and starts its guard.
    fn prepare() -> Self {
        let binaries = binaries().expect("PostgreSQL's server binaries are installed");
        let folder = TempDir::with_prefix("poblysh-cluster.")
            .expect("a folder")
            .keep();
        let owner = owner();
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(&folder, Some(user), Some(group)).expect("given away");
        }
        let mut guard = Plain::new("sh");
        std::os::unix::process::CommandExt::process_group(&mut guard, 0);
        let guard = guard
            .args(["-c", GUARD, "sh"])
            .arg(&folder)
            .arg(if user() == 0 { "" } else { "sudo -n" })
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell starts");
        Self {
            folder,
            binaries,
            port: free_port(),
            owner,
            guard,
        }
    }

    async fn initialize(&self, more: &str) {
        let mut initdb = self.command("initdb");
        initdb
            .args(["--username=postgres", "--auth=trust", "--no-sync"])
            .arg("--pgdata")
            .arg(self.data());
        run_checked(initdb, "initdb").await;
        let path = self.data().join("postgresql.conf");
        let mut settings = std::fs::read_to_string(&path).expect("readable");
        settings.push_str(SETTINGS);
        settings.push_str(more);
        std::fs::write(&path, settings).expect("writable");
    }

    /// A superuser's URL of the maintenance database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The server's data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts the server and waits until it accepts sessions.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_server(&self) {
        assert!(
            self.try_start_server().await,
            "the server starts; its log is {}",
            self.log_tail()
        );
    }

    /// Starts the server; returns whether it accepts sessions.
    pub async fn try_start_server(&self) -> bool {
        let options = format!("-p {} -k {}", self.port, self.folder.display());
        let mut start = self.command("pg_ctl");
        start
            .args([
                "start",
                "--silent",
                "--wait",
                "--timeout=60",
                "-o",
                &options,
            ])
            .arg("--log")
            .arg(self.folder.join("log"))
            .arg("--pgdata")
            .arg(self.data());
        start.status().await.is_ok_and(|status| status.success())
    }

    /// Stops the server like a crash: every backend ends immediately, without a checkpoint.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub async fn stop_immediately(&self) {
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "--silent", "--mode=immediate", "--wait"])
            .arg("--pgdata")
            .arg(self.data());
        run_checked(stop, "pg_ctl stop").await;
    }

    /// Whether the server accepts sessions.
    pub async fn is_reachable(&self) -> bool {
        match PgConnection::connect(&self.url()).await {
            Ok(session) => session.close().await.is_ok(),
            Err(_) => false,
        }
    }

    /// Returns the server's log.
    pub fn read_log(&self) -> String {
        let log = std::fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Returns the last lines of the server's log.
    pub fn log_tail(&self) -> String {
        let log = self.read_log();
        let lines: Vec<&str> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn command(&self, program: &str) -> Command {
        as_owner(self.binaries.join(program), self.owner, &self.folder)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().ok();
    }
}

/// Builds a command that runs as the server's user, in a folder that this user can read.
fn as_owner(program: impl AsRef<Path>, owner: Option<(u32, u32)>, folder: &Path) -> Command {
    let mut command = Command::new(program.as_ref());
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

/// Builds a command that runs as root, by sudo where necessary.
fn as_root(program: &str) -> Plain {
    if user() == 0 {
        return Plain::new(program);
    }
    let mut command = Plain::new("sudo");
    command.args(["-n", program]).stderr(Stdio::null());
    command
}

async fn run_checked(mut command: Command, what: &str) {
    let output = command
        .stderr(Stdio::piped())
        .output()
        .await
        .expect("the program runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {error}");
}

/// Ids of user and group for the server when the tests run as root, which Postgres refuses.
pub(super) fn owner() -> Option<(u32, u32)> {
    if user() != 0 {
        return None;
    }
    let known = ["postgres", "nobody"];
    let user = known.iter().find(|user| id(&["-u", user]).is_some());
    let user = user.expect("a user without rights");
    Some((
        id(&["-u", user]).expect("known"),
        id(&["-g", user]).expect("known"),
    ))
}

/// Id of the user who runs the tests; root's is 0.
fn user() -> u32 {
    id(&["-u"]).expect("every user has one")
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Plain::new("id")
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
