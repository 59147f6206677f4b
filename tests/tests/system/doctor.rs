//! `poblysh doctor`: a healthy installation, and faults of settings, database, keys and URLs.

use serde_json::{Value, json};
use tests::harness::{Poblysh, System, TestDb, free_address};

use crate::jira::rotate_webhook_secret;
use crate::settings::KEY;

/// Another key than that of the tests' systems.
const OTHER_KEY: &str = "MTIzNDU2Nzg5MGFiY2RlZmdoaWprbG1ub3BxcnN0dXY=";

/// Runs the checks and returns their JSON; the exit status agrees with it.
pub(crate) async fn check(command: &Poblysh, parts: &[&str]) -> Value {
    let mut arguments = vec!["--json", "doctor"];
    for part in parts {
        arguments.extend(["--only", part]);
    }
    let output = command.run(&arguments).await;
    let report: Value =
        serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let failures = with_status(&report, "failure").len();
    assert_eq!(report["failures"], json!(failures));
    assert_eq!(output.status, Some(i32::from(failures > 0)), "{report}");
    for check in report["checks"].as_array().expect("a list") {
        let is_ok = check["status"] == "ok";
        assert_eq!(check["cure"].is_null(), is_ok, "{check}");
    }
    report
}

/// The checks with a status, by name.
pub(crate) fn with_status(report: &Value, status: &str) -> Vec<String> {
    let checks = report["checks"].as_array().expect("a list").iter();
    checks
        .filter(|check| check["status"] == status)
        .map(|check| check["check"].as_str().expect("a name").to_owned())
        .collect()
}

/// Asserts that a check has this status, and that its message or cure contains a text.
#[track_caller]
pub(crate) fn assert_found(report: &Value, check: &str, status: &str, named: &str) {
    let checks = report["checks"].as_array().expect("a list");
    let found = checks.iter().any(|one| {
        let has = |field: &str| one[field].as_str().is_some_and(|text| text.contains(named));
        one["check"] == check && one["status"] == status && (has("message") || has("cure"))
    });
    assert!(found, "{check} {status} {named}: {report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn healthy_installation_has_no_failure() {
    let system = System::with_fast_provider().start().await;
    let (account, _, _) = system.connect_account("github").await;
    let act = json!({ "account": account, "action": "issues.opened" });
    system.sim("github/act", act).await;
    system.drain().await;
    let command = Poblysh::of(&system);
    let report = check(&command, &[]).await;
    assert_eq!(with_status(&report, "failure"), [""; 0], "{report:#}");
    let ok = with_status(&report, "ok");
    for name in [
        "settings.api-server",
        "settings.webhook-ingress",
        "settings.sync-worker",
        "database.api-server",
        "database.version",
        "database.lz4",
        "database.roles",
        "database.schema",
        "database.clock",
        "keys.tokens",
        "keys.webhook_keys",
        "github.app",
        "github.permissions",
        "github.events",
        "github.webhook_url",
        "github.deliveries",
        "github.client",
        "slack.client",
        "slack.signing_secret",
        "slack.app_token",
        "jira.client",
        "google_drive.client",
        "google_calendar.client",
        "gmail.client",
        "gmail.pushes",
        "zoho_cliq.client",
        "zoho_mail.client",
        "zoho_mail.data_centers",
    ] {
        assert!(ok.iter().any(|one| one == name), "{name}: {report:#}");
    }
    // Tests run without TLS, on loopback.
    let warnings = with_status(&report, "warning");
    let expected = [
        "urls.api",
        "urls.webhooks",
        "google_drive.channels",
        "google_calendar.channels",
    ];
    assert_eq!(warnings, expected, "{report:#}");

    let text = command
        .text(&["doctor", "--only", "database", "--only", "keys"])
        .await;
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("ok       database.version")),
        "{text}"
    );
    assert!(
        lines.last().is_some_and(|line| line.contains("0 failures")),
        "{text}"
    );
    assert!(!text.contains("settings."), "{text}");
    let secrets = system
        .env
        .iter()
        .filter(|(name, _)| name.contains("SECRET"));
    for (name, secret) in secrets {
        assert!(
            !report.to_string().contains(secret.as_str()),
            "{name} is shown"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_settings_and_urls_are_named() {
    let system = System::with_fast_provider().workers(0).start().await;
    let command = Poblysh::of(&system);

    let broken = command
        .set("POBLYSH_CRYPTO_KEY", "")
        .set("POBLYSH_WORKER_CONCURRENCY", "0");
    let report = check(&broken, &["settings"]).await;
    assert_found(
        &report,
        "settings.api-server",
        "failure",
        "POBLYSH_CRYPTO_KEY",
    );
    assert_found(
        &report,
        "settings.sync-worker",
        "failure",
        "POBLYSH_WORKER_CONCURRENCY",
    );
    assert_found(&report, "settings.webhook-ingress", "ok", "valid");
    let output = broken
        .run(&[
            "doctor",
            "--process",
            "webhook-ingress",
            "--only",
            "settings",
        ])
        .await;
    assert_eq!(output.status, Some(0), "{output:?}");

    let nowhere = format!("http://{}", free_address());
    let report = check(&command.set("POBLYSH_PUBLIC_API_URL", &nowhere), &["urls"]).await;
    assert_found(&report, "urls.api", "failure", "Start the process");
    let swapped = command
        .set("POBLYSH_PUBLIC_WEBHOOK_URL", &system.api)
        .set("POBLYSH_PUBLIC_API_URL", &system.ingress);
    let report = check(&swapped, &["urls"]).await;
    assert_found(
        &report,
        "urls.webhooks",
        "failure",
        "another server than the webhook-ingress",
    );
    assert_found(
        &report,
        "urls.api",
        "failure",
        "another server than the api-server",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_database_are_named() {
    let empty = TestDb::empty().await;
    let command = Poblysh::with_env(&[("POBLYSH_DATABASE_URL", empty.url())]);
    let report = check(&command, &["database"]).await;
    // The roles belong to the cluster, so they may exist without the schema.
    let is_named = report.to_string().contains("poblysh migrate up");
    assert!(
        is_named && !with_status(&report, "failure").is_empty(),
        "{report:#}"
    );

    let url = format!("postgres://poblysh@{}/none", free_address());
    let report = check(&command.set("POBLYSH_DATABASE_URL", &url), &["database"]).await;
    for process in ["api-server", "webhook-ingress", "sync-worker"] {
        let check = format!("database.{process}");
        assert_found(&report, &check, "failure", "PostgreSQL runs");
    }

    command.text(&["migrate", "up"]).await;
    let report = check(&command, &["database"]).await;
    assert_eq!(with_status(&report, "failure"), [""; 0], "{report:#}");
    sqlx::query("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m2999_newer', 0)")
        .execute(empty.pool())
        .await
        .expect("the owner's rights");
    let report = check(&command, &["database"]).await;
    assert_found(&report, "database.schema", "warning", "m2999_newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_keys_are_named() {
    let system = System::with_fast_provider().workers(0).start().await;
    let tenant = system.tenant("Acme").await;
    let mut connections = Vec::new();
    for provider in ["slack", "jira"] {
        let (account, admin) = system.accounts_at(provider).await.remove(0);
        connections.push(tenant.connect_to(provider, &account, &admin).await);
    }
    rotate_webhook_secret(&tenant, connections[1]).await;
    let command = Poblysh::of(&system);
    let report = check(&command, &["keys"]).await;
    assert_eq!(with_status(&report, "failure"), [""; 0], "{report:#}");

    let lost = command.set("POBLYSH_CRYPTO_KEY", OTHER_KEY);
    let report = check(&lost, &["keys"]).await;
    assert_found(
        &report,
        "keys.tokens",
        "failure",
        "POBLYSH_CRYPTO_PREVIOUS_KEYS",
    );
    assert_found(
        &report,
        "keys.tokens",
        "failure",
        &connections[0].to_string(),
    );
    let rotating = lost.set("POBLYSH_CRYPTO_PREVIOUS_KEYS", KEY);
    let report = check(&rotating, &["keys"]).await;
    assert_found(&report, "keys.tokens", "ok", "still need a previous key");

    let report = check(&command.set("POBLYSH_INGRESS_CRYPTO_KEY", ""), &["keys"]).await;
    assert_found(
        &report,
        "keys.webhook_keys",
        "failure",
        "POBLYSH_INGRESS_CRYPTO_KEY",
    );

    sqlx::query("UPDATE credentials SET access_token = set_byte(access_token, 20, 255 - get_byte(access_token, 20)) WHERE connection_id = $1")
        .bind(connections[0])
        .execute(system.db.pool())
        .await
        .expect("the owner's rights");
    let report = check(&command, &["keys"]).await;
    assert_found(&report, "keys.tokens", "failure", "were changed");
}
