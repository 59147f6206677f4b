//! The three processes as child processes, for tests that kill them.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment names the server and the PATH of a test run"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Variables that a process inherits from the test.
///
/// The path, the coverage file of `scripts/coverage`, and the fake clock's variables of
/// `scripts/test --clock-factor`, under which all processes must show the same time.
pub(super) const INHERITED: [&str; 6] = [
    "PATH",
    "LLVM_PROFILE_FILE",
    "LD_PRELOAD",
    "FAKETIME",
    "FAKETIME_SHARED",
    "NO_FAKE_STAT",
];

/// One of the three programs.
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

    /// Path of the program in this build.
    pub fn program(self) -> PathBuf {
        binary(self.binary())
    }

    const fn bind_variable(self) -> &'static str {
        match self {
            Self::Api => "POBLYSH_API_BIND_ADDR",
            Self::Ingress => "POBLYSH_INGRESS_BIND_ADDR",
            Self::Worker => "POBLYSH_WORKER_BIND_ADDR",
        }
    }
}

/// Differences of one process from the others.
#[derive(Debug, Clone, Default)]
pub struct ProcessOverrides {
    /// Additional variables.
    pub env: Vec<(String, String)>,
    /// Folder of its binary; by default, this build's.
    pub binaries: Option<PathBuf>,
}

/// Running child process.
#[derive(Debug)]
struct Running {
    process: Process,
    address: SocketAddr,
    overrides: ProcessOverrides,
    child: Child,
}

/// Running child processes and the environment of their restarts.
#[derive(Debug)]
pub struct Processes {
    env: Vec<(String, String)>,
    running: Vec<Running>,
}

impl Processes {
    /// Creates an empty set.
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
        self.start_with(process, address, &ProcessOverrides::default())
            .await;
    }

    /// Starts a process with overrides and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not become ready.
    pub async fn start_with(
        &mut self,
        process: Process,
        address: SocketAddr,
        overrides: &ProcessOverrides,
    ) {
        self.spawn(process, address, overrides);
        wait_until_ready(process, address).await;
    }

    fn spawn(&mut self, process: Process, address: SocketAddr, overrides: &ProcessOverrides) {
        let path = match &overrides.binaries {
            Some(folder) => folder.join(process.binary()),
            None => process.program(),
        };
        let child = Command::new(path)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .envs(
                INHERITED
                    .iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .env(process.bind_variable(), address.to_string())
            .envs(overrides.env.iter().map(|(name, value)| (name, value)))
            .current_dir(std::env::temp_dir())
            .stdout(log(process, address))
            .stderr(Stdio::null())
            .spawn()
            .expect("the binaries are built: `cargo build --workspace --bins`");
        self.running.push(Running {
            process,
            address,
            overrides: overrides.clone(),
            child,
        });
    }

    /// Ids of the running processes.
    pub fn ids(&self) -> Vec<(Process, u32)> {
        let running = self.running.iter();
        running
            .map(|instance| (instance.process, instance.child.id()))
            .collect()
    }

    /// Addresses of a program's processes.
    pub fn addresses(&self, process: Process) -> Vec<SocketAddr> {
        let running = self.running.iter();
        running
            .filter(|instance| instance.process == process)
            .map(|instance| instance.address)
            .collect()
    }

    /// Processes that exited without a signal from the harness.
    ///
    /// # Panics
    ///
    /// When a process's status cannot be read.
    pub fn exited(&mut self) -> Vec<(Process, ExitStatus)> {
        let mut exited = Vec::new();
        for instance in &mut self.running {
            if let Some(status) = instance.child.try_wait().expect("a status") {
                exited.push((instance.process, status));
            }
        }
        exited
    }

    /// Largest resident memory of a program's processes in bytes; 0 when none runs.
    ///
    /// # Panics
    ///
    /// When `/proc` cannot be read.
    pub fn resident(&self, process: Process) -> u64 {
        let running = self
            .running
            .iter()
            .filter(|instance| instance.process == process);
        running
            .map(|instance| memory(instance.child.id(), "VmRSS:"))
            .max()
            .unwrap_or(0)
    }

    /// Largest resident memory that a program's processes have had, in bytes; 0 when none runs.
    ///
    /// # Panics
    ///
    /// When `/proc` cannot be read.
    pub fn peak_resident(&self, process: Process) -> u64 {
        let running = self.running.iter();
        let running = running.filter(|instance| instance.process == process);
        running
            .map(|instance| memory(instance.child.id(), "VmHWM:"))
            .max()
            .unwrap_or(0)
    }

    /// CPU time of a program's processes since their start.
    ///
    /// # Panics
    ///
    /// When `/proc` cannot be read.
    pub fn processor_time(&self, process: Process) -> Duration {
        let running = self
            .running
            .iter()
            .filter(|instance| instance.process == process);
        running
            .map(|instance| processor_time(instance.child.id()))
            .sum()
    }

    /// Sends SIGTERM and returns the exit status.
    ///
    /// # Panics
    ///
    /// When there is no such process, or it does not exit.
    pub async fn terminate(&mut self, process: Process) -> ExitStatus {
        let address = self.any(process);
        self.terminate_at(address).await
    }

    /// Sends SIGTERM to the process at an address and returns its exit status.
    ///
    /// # Panics
    ///
    /// When there is no such process, or it does not exit.
    pub async fn terminate_at(&mut self, address: SocketAddr) -> ExitStatus {
        let mut instance = self.take(address);
        let signalled = Command::new("kill")
            .args(["-TERM", &instance.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(
            signalled.success(),
            "{:?} has already exited",
            instance.process
        );
        let mut status = None;
        super::eventually_within(Duration::from_secs(40), "the process exits", async || {
            status = instance.child.try_wait().expect("a status");
            status.is_some()
        })
        .await;
        status.expect("it exited")
    }

    /// Kills a process and starts it again on the same address.
    ///
    /// # Panics
    ///
    /// When there is no such process.
    pub async fn kill_and_restart(&mut self, process: Process) {
        let address = self.any(process);
        self.kill_and_restart_all(&[address]).await;
    }

    /// Kills several processes at once and starts them again on the same addresses.
    ///
    /// # Panics
    ///
    /// When there is no such process.
    pub async fn kill_and_restart_all(&mut self, addresses: &[SocketAddr]) {
        let mut killed: Vec<Running> = addresses.iter().map(|at| self.take(*at)).collect();
        for instance in &mut killed {
            instance.child.kill().expect("it runs");
        }
        for instance in &mut killed {
            instance.child.wait().expect("it exits");
        }
        for instance in &killed {
            self.spawn(instance.process, instance.address, &instance.overrides);
        }
        for instance in killed {
            wait_until_ready(instance.process, instance.address).await;
        }
    }

    fn any(&self, process: Process) -> SocketAddr {
        let found = self
            .running
            .iter()
            .find(|instance| instance.process == process);
        found.expect("running").address
    }

    fn take(&mut self, address: SocketAddr) -> Running {
        let at = self
            .running
            .iter()
            .position(|instance| instance.address == address);
        self.running.remove(at.expect("running"))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for instance in &mut self.running {
            instance.child.kill().ok();
            instance.child.wait().ok();
        }
    }
}

/// Waits until a process is ready.
async fn wait_until_ready(process: Process, address: SocketAddr) {
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
            .is_ok_and(|response| response.status().is_success())
    })
    .await;
}

/// Destination of a process's log: a file in `POBLYSH_TEST_LOGS`, otherwise none.
fn log(process: Process, address: SocketAddr) -> Stdio {
    let Some(folder) = std::env::var_os("POBLYSH_TEST_LOGS") else {
        return Stdio::null();
    };
    let name = format!("{}-{}.log", process.binary(), address.port());
    std::fs::File::options()
        .create(true)
        .append(true)
        .open(PathBuf::from(folder).join(name))
        .map_or_else(|_| Stdio::null(), Stdio::from)
}

/// A figure of a process's memory in bytes, by its name in `/proc`.
fn memory(id: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("on Linux");
    let size = status.lines().find_map(|line| line.strip_prefix(name));
    let size = size.and_then(|rest| rest.split_whitespace().next());
    size.and_then(|figure| figure.parse::<u64>().ok())
        .map_or(0, |kibibytes| kibibytes * 1024)
}

/// CPU time of a process in user and kernel mode; Linux counts hundredths of a second.
///
/// # Panics
///
/// When there is no such process.
pub fn processor_time(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("on Linux");
    // The program's name, which may contain any character, ends with the last bracket.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Path of a program: one folder above the test binaries in `target/<profile>/deps`.
pub(super) fn binary(name: &str) -> PathBuf {
    let mut folder = std::env::current_exe().expect("a path");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    folder.join(name)
}

/// Returns an unused address.
///
/// Its port is below those of outgoing sockets, so that none takes it before the process listens.
pub fn free_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::random_range(15_000..31_000)));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
