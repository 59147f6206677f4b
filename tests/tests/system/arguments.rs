//! Command-line arguments of the processes, which need no settings.

use std::process::{Command, Output};

use tests::harness::Process;

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
