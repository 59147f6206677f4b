//! Command-line arguments of the processes, which need no settings.

use std::net::SocketAddr;
use std::process::{Command, Output};

use tests::harness::{Process, System, free_address};

fn run(process: Process, argument: &str) -> Output {
    Command::new(process.program())
        .arg(argument)
        .env_clear()
        .output()
        .expect("the program starts")
}

#[test]
fn help_and_version_need_no_settings() {
    for process in [Process::Api, Process::Ingress, Process::Worker] {
        let version = run(process, "--version");
        assert!(version.status.success(), "{process:?}");
        let text = String::from_utf8(version.stdout).expect("text");
        assert!(
            text.trim().ends_with(env!("CARGO_PKG_VERSION")),
            "{process:?}: {text}"
        );
        let help = run(process, "--help");
        assert!(help.status.success(), "{process:?}");
        let text = String::from_utf8(help.stdout).expect("text");
        assert!(text.contains(".env.example"), "{process:?}: {text}");
        let unknown = run(process, "--no-such-option");
        assert_eq!(unknown.status.code(), Some(2), "{process:?}");
        assert!(!unknown.stderr.is_empty(), "{process:?} prints an error");
    }
}

const BIND_VARIABLES: [(Process, &str); 3] = [
    (Process::Api, "POBLYSH_API_BIND_ADDR"),
    (Process::Ingress, "POBLYSH_INGRESS_BIND_ADDR"),
    (Process::Worker, "POBLYSH_WORKER_BIND_ADDR"),
];

/// Runs a process's `health` with the address of its server and no other setting.
fn health((process, variable): (Process, &str), address: SocketAddr) -> Output {
    Command::new(process.program())
        .arg("health")
        .env_clear()
        .env(variable, address.to_string())
        .current_dir(std::env::temp_dir())
        .output()
        .expect("the program starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn health_command_reports_readiness() {
    let system = System::with_fast_provider().out_of_process().start().await;
    for of in BIND_VARIABLES {
        let address = system.processes().await.addresses(of.0)[0];
        let output = health(of, address);
        assert!(output.status.success(), "{of:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{of:?}: {output:?}");
    }
    for of in BIND_VARIABLES {
        let output = health(of, free_address());
        assert_eq!(output.status.code(), Some(1), "{of:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("failed to connect"), "{of:?}: {error}");
    }
}
