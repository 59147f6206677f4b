//! A Postgres of a test's own: stopped, filled up, copied and cut off without harm to others.

use std::path::{Path, PathBuf};
use std::process::{Child, Command as Plain, Stdio};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::process::Command;

use super::cluster::{binaries, free_port};

/// Ends the server, unmounts its volume and removes its folder once the test process is gone,
/// however it went: then this shell's standard input closes.
const GUARD: &str = r#"
    trap '' INT TERM HUP
    folder=$1
    read -r _ || true
    # As its own user, because nobody else may read the data directory; SIGQUIT: immediately.
    if [ -s "$folder/data/postmaster.pid" ]; then
        server=$(head -n 1 "$folder/data/postmaster.pid")
        kill -QUIT "$server"
        while kill -0 "$server"; do sleep 0.05; done
    fi
    if mountpoint -q "$folder/data"; then $2 umount "$folder/data"; fi
    rm -rf "$folder"
"#;

/// What every server of a test is started with.
const SETTINGS: &str = "\
    listen_addresses = '127.0.0.1'\n\
    max_connections = 200\n\
    shared_buffers = 64MB\n\
    # The server's death loses nothing this way, only the computer's would.\n\
    fsync = off\n\
    synchronous_commit = on\n\
    wal_level = replica\n\
    hot_standby = on\n\
    max_wal_senders = 4\n\
    timezone = 'UTC'\n";

/// A server, its data, and what removes both.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    binaries: PathBuf,
    port: u16,
    owner: Option<(u32, u32)>,
    guard: Child,
}

impl Cluster {
    /// Whether there are programs to run one with.
    pub fn is_possible() -> bool {
        binaries().is_some()
    }

    /// An empty cluster that runs.
    ///
    /// # Panics
    ///
    /// When there are no server binaries, or it does not start.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// An empty cluster that runs with these lines of configuration beside the usual ones.
    ///
    /// # Panics
    ///
    /// When there are no server binaries, or it does not start.
    pub async fn start_with(settings: &str) -> Self {
        let cluster = Self::prepare();
        cluster.initialize(settings).await;
        cluster.start_again().await;
        cluster
    }

    /// Whether a volume can be made for one.
    pub fn can_have_a_volume() -> bool {
        user() == 0
            || as_root("true")
                .status()
                .is_ok_and(|status| status.success())
    }

    /// An empty cluster that runs, with all its data on a volume of this size.
    ///
    /// # Panics
    ///
    /// Also when the volume cannot be made.
    pub async fn start_on_small_volume(mebibytes: u32) -> Self {
        let cluster = Self::prepare();
        let own = || Some((user(), id(&["-g"])?));
        let (user, group) = cluster.owner.or_else(own).expect("somebody owns it");
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
        cluster.start_again().await;
        cluster
    }

    /// A streaming replica of this cluster, which runs and follows.
    ///
    /// # Panics
    ///
    /// When it does not come to run.
    pub async fn replica(&self) -> Self {
        let replica = Self::prepare();
        let mut copy = replica.command("pg_basebackup");
        copy.args(["--write-recovery-conf", "--wal-method=stream", "--no-sync"])
            .args(["--checkpoint=fast", "--dbname", &self.url()])
            .arg("--pgdata")
            .arg(replica.data());
        succeed(copy, "pg_basebackup").await;
        replica.start_again().await;
        replica
    }

    /// A folder that the server's user can use, and its guard.
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
        succeed(initdb, "initdb").await;
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

    /// The folder on the server's volume where its data lies.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts the server and waits until it takes connections.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn start_again(&self) {
        assert!(
            self.try_start().await,
            "the server starts; its log is {}",
            self.log()
        );
    }

    /// Starts the server; whether it takes connections.
    pub async fn try_start(&self) -> bool {
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

    /// Stops the server as a crash would: every backend ends at once, nothing is written.
    ///
    /// # Panics
    ///
    /// When it was not running.
    pub async fn stop_immediately(&self) {
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "--silent", "--mode=immediate", "--wait"])
            .arg("--pgdata")
            .arg(self.data());
        succeed(stop, "pg_ctl stop").await;
    }

    /// Whether the server runs and answers.
    pub async fn answers(&self) -> bool {
        match PgConnection::connect(&self.url()).await {
            Ok(connection) => connection.close().await.is_ok(),
            Err(_) => false,
        }
    }

    /// The server's log.
    pub fn whole_log(&self) -> String {
        let log = std::fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The end of the server's log.
    pub fn log(&self) -> String {
        let log = self.whole_log();
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

/// A program that runs as the server's user, from a folder that this user can read.
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

/// A program that runs as root, if we may.
fn as_root(program: &str) -> Plain {
    if user() == 0 {
        return Plain::new(program);
    }
    let mut command = Plain::new("sudo");
    command.args(["-n", program]).stderr(Stdio::null());
    command
}

async fn succeed(mut command: Command, what: &str) {
    let output = command
        .stderr(Stdio::piped())
        .output()
        .await
        .expect("it can be run");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {words}");
}

/// Whom a server must run as when we are root, whom it refuses: ids of user and group.
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

/// The number of the user who runs the tests; root's is 0.
fn user() -> u32 {
    id(&["-u"]).expect("everybody has one")
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Plain::new("id")
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
