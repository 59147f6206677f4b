//! Invalid settings: the process names all of them without their values, and exits.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tests::harness::{OPERATOR_TOKEN, Process, free_address};

pub(crate) const KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

/// Time limit until a process exits because of its settings.
const EXIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a process with only these settings until it exits.
pub(crate) fn run(process: Process, settings: &[(&str, &str)]) -> Output {
    let mut child = Command::new(process.program())
        .env_clear()
        .envs(settings.iter().copied())
        .current_dir(std::env::temp_dir())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binaries are built: `cargo build --workspace --bins`");
    let started = Instant::now();
    while child.try_wait().expect("a status").is_none() {
        if started.elapsed() > EXIT_TIMEOUT {
            child.kill().expect("it runs");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().expect("an exit status")
}

/// Asserts that the process rejects these settings and names all of `variables`.
#[track_caller]
fn assert_rejected(process: Process, settings: &[(&str, &str)], variables: &[&str]) {
    let output = run(process, settings);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{process:?} {settings:?}");
    for variable in variables {
        assert!(error.contains(variable), "{process:?} {variable}: {error}");
    }
    for (name, value) in settings {
        let is_secret = ["KEY", "TOKEN", "SECRET"]
            .iter()
            .any(|word| name.contains(word));
        assert!(!is_secret || !error.contains(value), "{name}: {error}");
    }
}

#[test]
fn missing_and_malformed_settings_are_named_at_once() {
    let address = free_address().to_string();
    assert_rejected(
        Process::Api,
        &[("POBLYSH_API_BIND_ADDR", "nowhere")],
        &[
            "POBLYSH_API_BIND_ADDR",
            "POBLYSH_DATABASE_URL",
            "POBLYSH_CRYPTO_KEY",
            "POBLYSH_OPERATOR_TOKEN",
        ],
    );
    assert_rejected(
        Process::Ingress,
        &[
            ("POBLYSH_INGRESS_BIND_ADDR", address.as_str()),
            ("POBLYSH_TRUSTED_PROXIES", "anywhere"),
        ],
        &["POBLYSH_DATABASE_URL", "POBLYSH_TRUSTED_PROXIES"],
    );
    assert_rejected(
        Process::Worker,
        &[("POBLYSH_WORKER_CONCURRENCY", "0")],
        &[
            "POBLYSH_DATABASE_URL",
            "POBLYSH_CRYPTO_KEY",
            "POBLYSH_WORKER_CONCURRENCY",
        ],
    );
}

#[test]
fn insecure_settings_are_rejected() {
    let address = free_address().to_string();
    let assert_api_refuses = |name, value| {
        let mut settings = vec![
            (
                "POBLYSH_DATABASE_URL",
                "postgres://user@127.0.0.1:1/database",
            ),
            ("POBLYSH_API_BIND_ADDR", address.as_str()),
            ("POBLYSH_CRYPTO_KEY", KEY),
            ("POBLYSH_OPERATOR_TOKEN", OPERATOR_TOKEN),
        ];
        settings.retain(|(known, _)| *known != name);
        settings.push((name, value));
        assert_rejected(Process::Api, &settings, &[name]);
    };
    let repeated = "a".repeat(40);
    for (name, value) in [
        ("POBLYSH_PUBLIC_API_URL", "http://connect.example.com"),
        ("POBLYSH_PUBLIC_WEBHOOK_URL", "http://192.0.2.1:8081"),
        ("POBLYSH_OPERATOR_TOKEN", "short"),
        ("POBLYSH_OPERATOR_TOKEN", repeated.as_str()),
        ("POBLYSH_SLACK_WEBHOOK_SECRET", "xyzzy"),
        ("POBLYSH_SLACK_WEBHOOK_SECRET", repeated.as_str()),
        ("POBLYSH_INGRESS_CRYPTO_KEY", KEY),
    ] {
        assert_api_refuses(name, value);
    }
    for name in [
        "POBLYSH_GITHUB_WEBHOOK_SECRET",
        "POBLYSH_JIRA_CLIENT_SECRET",
    ] {
        let settings = [
            (
                "POBLYSH_DATABASE_URL",
                "postgres://user@127.0.0.1:1/database",
            ),
            ("POBLYSH_INGRESS_BIND_ADDR", address.as_str()),
            (name, "xyzzy"),
        ];
        assert_rejected(Process::Ingress, &settings, &[name]);
    }
}
