//! The three processes as processes: for tests that kill them.

#![expect(
    clippy::disallowed_methods,
    reason = "a test run is told its server and its PATH by the environment"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Variables that a process inherits from the test: the path, the file for coverage counts of
/// `scripts/coverage`, and those of the fake clock of `scripts/test --clock-factor`, under which
/// all processes must show the same time.
const INHERITED: [&str; 6] = [
    "PATH",
    "LLVM_PROFILE_FILE",
    "LD_PRELOAD",
    "FAKETIME",
    "FAKETIME_SHARED",
    "NO_FAKE_STAT",
];

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

    /// Where its program lies, of this build.
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

/// How one process differs from the others.
#[derive(Debug, Clone, Default)]
pub struct Variation {
    /// Variables of its own.
    pub env: Vec<(String, String)>,
    /// Where its binary lies, if not where this build's do.
    pub binaries: Option<PathBuf>,
}

/// One that was started.
#[derive(Debug)]
struct Running {
    process: Process,
    address: SocketAddr,
    variation: Variation,
    child: Child,
}

/// Running processes, with the environment they are started in again.
#[derive(Debug)]
pub struct Processes {
    env: Vec<(String, String)>,
    running: Vec<Running>,
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
        self.start_as(process, address, &Variation::default()).await;
    }

    /// Starts a process that differs from the others, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not become ready.
    pub async fn start_as(&mut self, process: Process, address: SocketAddr, variation: &Variation) {
        self.spawn(process, address, variation);
        ready(process, address).await;
    }

    fn spawn(&mut self, process: Process, address: SocketAddr, variation: &Variation) {
        let path = match &variation.binaries {
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
            .envs(variation.env.iter().map(|(name, value)| (name, value)))
            .current_dir(std::env::temp_dir())
            .stdout(log(process, address))
            .stderr(Stdio::null())
            .spawn()
            .expect("the binaries are built: `cargo build --workspace --bins`");
        self.running.push(Running {
            process,
            address,
            variation: variation.clone(),
            child,
        });
    }

    /// The processes that were started, with their ids.
    pub fn ids(&self) -> Vec<(Process, u32)> {
        let running = self.running.iter();
        running.map(|one| (one.process, one.child.id())).collect()
    }

    /// Where the processes of a kind listen.
    pub fn addresses(&self, process: Process) -> Vec<SocketAddr> {
        let running = self.running.iter();
        running
            .filter(|one| one.process == process)
            .map(|one| one.address)
            .collect()
    }

    /// Those that have ended by themselves.
    ///
    /// # Panics
    ///
    /// When one cannot be asked.
    pub fn ended(&mut self) -> Vec<(Process, ExitStatus)> {
        let mut ended = Vec::new();
        for one in &mut self.running {
            if let Some(status) = one.child.try_wait().expect("it can be asked") {
                ended.push((one.process, status));
            }
        }
        ended
    }

    /// The most bytes of memory that any process of a kind holds at the moment; none when none
    /// runs.
    ///
    /// # Panics
    ///
    /// When the system does not tell.
    pub fn resident(&self, process: Process) -> u64 {
        let running = self.running.iter().filter(|one| one.process == process);
        running
            .map(|one| resident(one.child.id()))
            .max()
            .unwrap_or(0)
    }

    /// How long processors have worked for the processes of a kind, since those began.
    ///
    /// # Panics
    ///
    /// When the system does not tell.
    pub fn processor_time(&self, process: Process) -> Duration {
        let running = self.running.iter().filter(|one| one.process == process);
        running.map(|one| processor_time(one.child.id())).sum()
    }

    /// SIGTERM; answers how the process ended.
    ///
    /// # Panics
    ///
    /// When there is no such process, or it goes on.
    pub async fn terminate(&mut self, process: Process) -> ExitStatus {
        let address = self.any(process);
        self.terminate_at(address).await
    }

    /// SIGTERM to the process at an address; answers how it ended.
    ///
    /// # Panics
    ///
    /// When there is no such process, or it goes on.
    pub async fn terminate_at(&mut self, address: SocketAddr) -> ExitStatus {
        let mut one = self.take(address);
        let told = Command::new("kill")
            .args(["-TERM", &one.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(told.success(), "{:?} was gone already", one.process);
        let mut ended = None;
        super::eventually_within(Duration::from_secs(40), "the process ends", async || {
            ended = one.child.try_wait().expect("it can be asked");
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
        let address = self.any(process);
        self.kill_and_restart_all(&[address]).await;
    }

    /// kill -9 to all of these at once, and the same again on the same addresses.
    ///
    /// # Panics
    ///
    /// When there is no such process.
    pub async fn kill_and_restart_all(&mut self, addresses: &[SocketAddr]) {
        let mut killed: Vec<Running> = addresses.iter().map(|at| self.take(*at)).collect();
        for one in &mut killed {
            one.child.kill().expect("it lives");
        }
        for one in &mut killed {
            one.child.wait().expect("it ends");
        }
        for one in &killed {
            self.spawn(one.process, one.address, &one.variation);
        }
        for one in killed {
            ready(one.process, one.address).await;
        }
    }

    fn any(&self, process: Process) -> SocketAddr {
        let found = self.running.iter().find(|one| one.process == process);
        found.expect("running").address
    }

    fn take(&mut self, address: SocketAddr) -> Running {
        let at = self.running.iter().position(|one| one.address == address);
        self.running.remove(at.expect("running"))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for one in &mut self.running {
            one.child.kill().ok();
            one.child.wait().ok();
        }
    }
}

/// Waits until a process says that it is ready.
async fn ready(process: Process, address: SocketAddr) {
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

/// Where a process's log goes: nowhere, unless a folder for it is named.
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

/// Bytes of memory that a process holds.
fn resident(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("on Linux");
    let size = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = size.and_then(|rest| rest.split_whitespace().next());
    size.and_then(|figure| figure.parse::<u64>().ok())
        .map_or(0, |kibibytes| kibibytes * 1024)
}

/// How long processors have worked for a process, in user mode and in the kernel; Linux counts
/// hundredths of a second.
///
/// # Panics
///
/// When there is no such process.
pub fn processor_time(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("on Linux");
    // The program's name, which may hold anything, ends with the last bracket.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
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
pub fn free_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::random_range(15_000..31_000)));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
