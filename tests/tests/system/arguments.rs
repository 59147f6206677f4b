//! Command-line arguments of the programs, which need no settings.

use std::process::{Command, Output};

use tests::harness::{Poblysh, Process};

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

#[tokio::test]
async fn command_starts_nothing_with_help_and_version() {
    let command = Poblysh::with_env(&[]);
    let version = command.text(&["--version"]).await;
    assert_eq!(
        version.trim(),
        concat!("poblysh ", env!("CARGO_PKG_VERSION"))
    );
    let help = command.text(&["--help"]).await;
    for named in [
        "doctor",
        "migrate",
        "signals",
        "POBLYSH_TOKEN",
        "Exit status",
    ] {
        assert!(help.contains(named), "{named}: {help}");
    }
    for subcommand in ["doctor", "connect", "tenants", "migrate"] {
        let help = command.text(&[subcommand, "--help"]).await;
        assert!(help.contains("Usage: poblysh"), "{subcommand}: {help}");
    }
    let unknown = command.run(&["--no-such-option"]).await;
    assert_eq!(unknown.status, Some(2));
    assert!(unknown.stderr.contains("--no-such-option"), "{unknown:?}");
}

#[tokio::test]
async fn completions_and_pages_name_every_subcommand() {
    let command = Poblysh::with_env(&[]);
    let completions = command.text(&["completions", "bash"]).await;
    let page = command.text(&["man"]).await;
    for named in ["doctor", "connections", "deliveries", "overview"] {
        assert!(completions.contains(named), "{named}");
        assert!(page.contains(named), "{named}: {page}");
    }
    assert!(page.contains(".TH"), "{page}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8");
    command.text(&["man", "--to", path]).await;
    for name in ["poblysh.1", "poblysh-doctor.1", "poblysh-signals-tail.1"] {
        let page = std::fs::read_to_string(folder.path().join(name));
        assert!(page.is_ok_and(|page| page.contains(".TH")), "{name}");
    }
}
