//! `poblysh doctor`: faults of the apps at the providers, each found without a team's consent.

use serde_json::{Value, json};
use tests::harness::{Poblysh, System, eventually, free_address};

use crate::doctor::{assert_found, check};

/// A private key of another app.
const OTHER_APP: &str = include_str!("../../../shared/src/connectors/github/fixtures/test-app.pem");

/// A secret that no provider issued.
const WRONG: &str = "0123456789abcdef0123456789abcdee";

async fn providers(command: &Poblysh) -> Value {
    check(command, &["providers"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_of_apps_are_named() {
    let system = System::with_fast_provider().workers(0).start().await;
    let command = Poblysh::of(&system);
    let nowhere = format!("http://{}", free_address());
    for (variable, value, found, cure) in [
        (
            "GITHUB_PRIVATE_KEY",
            OTHER_APP,
            "github.app",
            "POBLYSH_GITHUB_PRIVATE_KEY",
        ),
        ("GITHUB_APP_ID", "1", "github.app", "POBLYSH_GITHUB_APP_ID"),
        (
            "GITHUB_APP_SLUG",
            "another",
            "github.app",
            "POBLYSH_GITHUB_APP_SLUG=signals-simulated",
        ),
        (
            "GITHUB_CLIENT_ID",
            "Iv1.another",
            "github.client_id",
            "POBLYSH_GITHUB_CLIENT_ID",
        ),
        (
            "GITHUB_CLIENT_SECRET",
            WRONG,
            "github.client",
            "POBLYSH_GITHUB_CLIENT_SECRET",
        ),
        (
            "SLACK_CLIENT_SECRET",
            WRONG,
            "slack.client",
            "POBLYSH_SLACK_CLIENT_SECRET",
        ),
        (
            "SLACK_CLIENT_ID",
            "1.2",
            "slack.client",
            "POBLYSH_SLACK_CLIENT_ID",
        ),
        (
            "SLACK_APP_TOKEN",
            "xapp-1-A0123456789-another",
            "slack.app_token",
            "POBLYSH_SLACK_APP_TOKEN",
        ),
        (
            "JIRA_CLIENT_ID",
            "another",
            "jira.client",
            "POBLYSH_JIRA_CLIENT_ID",
        ),
        ("JIRA_AUTH_BASE_URL", &nowhere, "jira.client", "DNS"),
        (
            "GOOGLE_CLIENT_SECRET",
            WRONG,
            "gmail.client",
            "POBLYSH_GOOGLE_CLIENT_SECRET",
        ),
        (
            "GMAIL_PUSH_ACCOUNT",
            "",
            "gmail.pushes",
            "POBLYSH_GMAIL_PUSH_ACCOUNT",
        ),
        (
            "ZOHO_CLIENT_ID",
            "another",
            "zoho_cliq.client",
            "POBLYSH_ZOHO_CLIENT_ID",
        ),
        (
            "ZOHO_CLIENT_SECRET_EU",
            WRONG,
            "zoho_mail.client",
            "POBLYSH_ZOHO_CLIENT_SECRET_EU",
        ),
    ] {
        let broken = command.set(&format!("POBLYSH_{variable}"), value);
        assert_found(&providers(&broken).await, found, "failure", cure);
    }
    for (variable, value, found, cure) in [
        (
            "SLACK_WEBHOOK_SECRET",
            "not-the-form-of-a-signing-secret",
            "slack.signing_secret",
            "Verification Token",
        ),
        (
            "GITHUB_WEBHOOK_SECRET",
            "",
            "github.webhook_secret",
            "POBLYSH_GITHUB_WEBHOOK_SECRET",
        ),
    ] {
        let suspicious = command.set(&format!("POBLYSH_{variable}"), value);
        assert_found(&providers(&suspicious).await, found, "warning", cure);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotating_secret_and_missing_app_are_named() {
    let system = System::with_fast_provider().workers(0).start().await;
    let command = Poblysh::of(&system);
    let rotating = format!("{WRONG},{}", system.env["POBLYSH_JIRA_CLIENT_SECRET"]);
    let rotating = command.set("POBLYSH_JIRA_CLIENT_SECRET", &rotating);
    assert_found(
        &providers(&rotating).await,
        "jira.client",
        "warning",
        "1 of 2",
    );
    let off = command.set("POBLYSH_GITHUB_APP_ID", "");
    assert_found(
        &providers(&off).await,
        "providers.settings",
        "failure",
        "--only settings",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_registration_of_github_app_is_named() {
    let system = System::with_fast_provider().start().await;
    let command = Poblysh::of(&system);
    let (account, _, _) = system.connect_account("github").await;
    let settings = async |changes: Value| system.sim("github/settings", changes).await;

    settings(json!({ "permissions": { "metadata": "read", "issues": "read" } })).await;
    let report = providers(&command).await;
    assert_found(&report, "github.permissions", "failure", "members:read");
    settings(json!({ "events": ["push"] })).await;
    assert_found(
        &providers(&command).await,
        "github.events",
        "warning",
        "pull_request",
    );

    settings(json!({ "rotate_webhook_secret": true })).await;
    let act = json!({ "account": account, "action": "issues.opened" });
    system.sim("github/act", act).await;
    system.sim("quiesce", json!({})).await;
    let report = providers(&command).await;
    assert_found(
        &report,
        "github.deliveries",
        "failure",
        "POBLYSH_GITHUB_WEBHOOK_SECRET",
    );
    eventually("the ingress has counted the rejected webhook", async || {
        let report = providers(&command).await;
        report.to_string().contains("github.webhooks")
    })
    .await;
    assert_found(
        &providers(&command).await,
        "github.webhooks",
        "failure",
        "mismatch",
    );

    let elsewhere = "https://hooks.example.com/webhooks/github";
    settings(json!({ "webhook_url": elsewhere })).await;
    assert_found(
        &providers(&command).await,
        "github.webhook_url",
        "failure",
        elsewhere,
    );
    settings(json!({ "webhook_url": "" })).await;
    assert_found(
        &providers(&command).await,
        "github.webhook_url",
        "failure",
        "no webhook",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_are_checked_without_database() {
    let system = System::with_fast_provider().workers(0).start().await;
    let url = format!("postgres://poblysh@{}/none", free_address());
    let command = Poblysh::of(&system).set("POBLYSH_DATABASE_URL", &url);
    let report = providers(&command).await;
    assert_found(&report, "github.app", "ok", "registered");
    assert_found(&report, "slack.client", "ok", "accepts");
}
