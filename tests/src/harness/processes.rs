//! The three processes as processes: for tests that kill them.

#![expect(
    clippy::disallowed_methods,
    reason = "a test run is told its server and its PATH by the environment"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// `api-server`.
    Api,
    /// `webhook-ingress`.
    Ingress,
    /// `sync-worker`.
    Worker,
}

impl Process {
    const fn binary(self) -> &'static str {
        match self {
            Self::Api => "api-server",
            Self::Ingress => "webhook-ingress",
            Self::Worker => "sync-worker",
        }
    }

    const fn bind_variable(self) -> &'static str {
        match self {
            Self::Api => "POBLYSH_API_BIND_ADDR",
            Self::Ingress => "POBLYSH_INGRESS_BIND_ADDR",
            Self::Worker => "POBLYSH_WORKER_BIND_ADDR",
        }
    }
}

/// Running processes, with the environment they are started in again.
#[derive(Debug)]
pub struct Processes {
    env: Vec<(String, String)>,
    running: Vec<(Process, SocketAddr, Child)>,
}

impl Processes {
    /// None yet.
    pub const fn new(env: Vec<(String, String)>) -> Self {
        Self {
            env,
            running: Vec::new(),
        }
    }

    /// Starts a process on an address and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not become ready.
    pub async fn start(&mut self, process: Process, address: SocketAddr) {
        let child = Command::new(binary(process.binary()))
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env(process.bind_variable(), address.to_string())
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binaries are built: `cargo build --workspace --bins`");
        self.running.push((process, address, child));
        let url = format!("http://{address}/readyz");
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()
            .expect("a client");
        super::eventually(process.binary(), async || {
            client
                .get(&url)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// The processes that run, with their ids.
    pub fn ids(&self) -> Vec<(Process, u32)> {
        let running = self.running.iter();
        running
            .map(|(process, _, child)| (*process, child.id()))
            .collect()
    }

    /// SIGTERM; answers how the process ended.
    ///
    /// # Panics
    ///
    /// When there is no such process, or it goes on.
    pub async fn terminate(&mut self, process: Process) -> ExitStatus {
        let at = self
            .running
            .iter()
            .position(|(known, ..)| *known == process)
            .expect("running");
        let (_, _, mut child) = self.running.swap_remove(at);
        let told = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(told.success(), "{process:?} was gone already");
        let mut ended = None;
        super::eventually_within(Duration::from_secs(40), "the process ends", async || {
            ended = child.try_wait().expect("it can be asked");
            ended.is_some()
        })
        .await;
        ended.expect("it ended")
    }

    /// kill -9, and the same again on the same address.
    ///
    /// # Panics
    ///
    /// When there is no such process.
    pub async fn kill_and_restart(&mut self, process: Process) {
        let at = self
            .running
            .iter()
            .position(|(known, ..)| *known == process)
            .expect("running");
        let (_, address, mut child) = self.running.swap_remove(at);
        child.kill().expect("it lives");
        child.wait().expect("it ends");
        self.start(process, address).await;
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for (_, _, child) in &mut self.running {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Test binaries lie in `target/<profile>/deps`, the processes one folder above.
fn binary(name: &str) -> PathBuf {
    let mut folder = std::env::current_exe().expect("a path");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    folder.join(name)
}

/// An address nobody listens on at the moment, below the ports that the system gives to
/// outgoing connections, so that nobody takes it by accident before we do.
pub(super) fn free_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::random_range(15_000..31_000)));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
