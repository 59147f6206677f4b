//! Slack organizations: one connection for several workspaces.

use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

/// An organization, and the workspaces that the app sees.
struct Organization {
    id: String,
    admin: String,
    workspaces: Vec<String>,
}

async fn organization(system: &System, workspaces: usize, history: usize) -> Organization {
    let new = json!({
        "domain": "acme", "organization": true, "workspaces": workspaces, "history": history,
    });
    let made = system.sim("slack/accounts", new).await;
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let all = made["workspaces"].as_array().expect("a list");
    Organization {
        id: text(&made["login"]),
        admin: text(&made["admin"]),
        workspaces: all.iter().map(|one| text(&one["login"])).collect(),
    }
}

async fn connect<'a>(system: &'a System, organization: &Organization) -> (Tenant<'a>, Uuid) {
    let tenant = system.tenant("Acme").await;
    let connection = tenant
        .connect_to("slack", &organization.id, &organization.admin)
        .await;
    (tenant, connection)
}

async fn generate(system: &System, account: &str, count: usize) {
    let body = json!({ "count": count, "account": account });
    system.sim("slack/generate", body).await;
}

async fn act(system: &System, account: &str, action: &str, more: Value) -> Value {
    let mut body = json!({ "account": account, "action": action });
    for (name, value) in more.as_object().expect("fields") {
        body[name] = value.clone();
    }
    system.sim("slack/act", body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_reads_every_workspace() {
    let system = System::with_fast_provider().start().await;
    let of = organization(&system, 3, 15).await;
    let (tenant, _) = connect(&system, &of).await;
    tenant.assert_equals_ledger(&of.id).await;
    assert!(
        tenant.identities().await.len() > 80,
        "there was much to read"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_becomes_its_signals_under_the_organization() {
    let system = System::with_fast_provider().start().await;
    let of = organization(&system, 2, 0).await;
    let (tenant, _) = connect(&system, &of).await;
    system.drain().await;
    generate(&system, &of.id, 250).await;
    tenant.assert_equals_ledger(&of.id).await;
    let feed = tenant.feed().await;
    assert!(feed.len() > 120, "{}", feed.len());
    for signal in &feed {
        let unnamed = signal["actor"]["name"].is_null() && signal["kind"] != "message_deleted";
        assert!(!unnamed, "{signal}");
        assert!(signal["context"]["name"].is_string(), "{signal}");
        if signal["kind"] == "message_posted" {
            let url = signal["subject"]["url"].as_str().expect("a link");
            assert!(
                url.starts_with("https://acme.enterprise.slack.com/archives/C"),
                "{url}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_polling_agree_on_identity() {
    let system = System::with_fast_provider().start().await;
    let of = organization(&system, 2, 8).await;
    let (tenant, connection) = connect(&system, &of).await;
    generate(&system, &of.id, 150).await;
    tenant.assert_equals_ledger_after_a_poll(&of.id).await;
    let before = tenant.identities().await;
    let path = format!("/v1/connections/{connection}/sync");
    tenant.post(&path, &json!({ "mode": "full" })).await;
    system.drain().await;
    assert_eq!(tenant.identities().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_finds_what_no_event_told_in_any_workspace() {
    let system = System::with_fast_provider().start().await;
    let of = organization(&system, 2, 0).await;
    let (tenant, _) = connect(&system, &of).await;
    system.drain().await;
    let silence = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", silence).await;
    for workspace in &of.workspaces {
        generate(&system, workspace, 80).await;
        act(&system, workspace, "channel.created", json!({})).await;
    }
    let before = tenant.identities().await.len();
    tenant.assert_equals_ledger_after_a_poll(&of.id).await;
    assert!(tenant.identities().await.len() > before + 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_of_two_workspaces_is_read_once_and_one_with_outsiders_reaches_both_tenants() {
    let system = System::with_fast_provider().start().await;
    let of = organization(&system, 2, 5).await;
    let (outside, admin) = system.accounts_at("slack").await.remove(0);
    let (first, _) = connect(&system, &of).await;
    let second = system.tenant("Globex").await;
    second.connect_to("slack", &outside, &admin).await;
    system.drain().await;
    let mut channels = Vec::new();
    for to in [&of.workspaces[1], &outside] {
        let with = json!({ "to": to });
        let shared = act(&system, &of.workspaces[0], "channel.shared", with).await;
        channels.push(shared["object"]["channel"].clone());
    }
    for channel in &channels {
        for _ in 0..10 {
            let there = json!({ "channel": channel });
            act(&system, &of.workspaces[0], "message.posted", there.clone()).await;
            act(&system, &of.workspaces[0], "message.replied", there).await;
        }
    }
    first.assert_equals_ledger_after_a_poll(&of.id).await;
    second.assert_equals_ledger_after_a_poll(&outside).await;
    assert!(second.identities().await.len() >= 20, "both sides are told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_is_added_is_read_and_one_that_is_removed_no_longer() {
    let system = System::with_fast_provider().start().await;
    let of = organization(&system, 2, 5).await;
    system
        .simulator
        .change_slack(|slack| slack.workspaces_by_hand = true);
    let (tenant, _) = connect(&system, &of).await;
    tenant.assert_equals_ledger(&of.id).await;
    assert!(
        tenant.identities().await.is_empty(),
        "the app is nowhere yet"
    );
    for workspace in &of.workspaces {
        let there = json!({ "to": workspace });
        act(&system, &of.id, "workspace.added", there).await;
    }
    eventually("the workspaces were read", async || {
        tenant.identities().await.len() > 20
    })
    .await;
    tenant.assert_equals_ledger(&of.id).await;
    let gone = json!({ "to": of.workspaces[0] });
    act(&system, &of.id, "workspace.removed", gone).await;
    for workspace in &of.workspaces {
        generate(&system, workspace, 30).await;
    }
    tenant.assert_equals_ledger_after_a_poll(&of.id).await;
    let status = tenant.get("/v1/connections").await["connections"][0]["status"].clone();
    assert_eq!(status, "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_without_a_name_of_its_own_is_asked_for() {
    let system = System::with_fast_provider().start().await;
    let of = organization(&system, 2, 0).await;
    let (tenant, _) = connect(&system, &of).await;
    system.drain().await;
    for _ in 0..4 {
        act(&system, &of.workspaces[1], "message.bot", json!({})).await;
    }
    tenant.assert_equals_ledger(&of.id).await;
    let feed = tenant.feed().await;
    let names: Vec<_> = feed
        .iter()
        .filter(|signal| signal["kind"] == "message_posted")
        .map(|signal| signal["actor"]["name"].clone())
        .collect();
    assert!(names.contains(&json!("Build")), "{names:?}");
    assert!(names.contains(&json!("Nightly build")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_an_organization_rotate_and_nobody_notices() {
    let system = System::with_fast_provider().start().await;
    system.simulator.change_slack(|slack| slack.rotation = true);
    let of = organization(&system, 2, 0).await;
    let (tenant, _) = connect(&system, &of).await;
    system.drain().await;
    for _ in 0..3 {
        system.sim("slack/tokens", json!({ "expire": of.id })).await;
        generate(&system, &of.id, 20).await;
        tenant.assert_equals_ledger_after_a_poll(&of.id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstalling_from_an_organization_ends_its_connection_alone() {
    for uninstalled_first in [false, true] {
        let system = System::with_fast_provider().start().await;
        system
            .simulator
            .change_slack(|slack| slack.uninstalled_first = uninstalled_first);
        let of = organization(&system, 2, 3).await;
        let (account, admin) = system.accounts_at("slack").await.remove(0);
        let (tenant, _) = connect(&system, &of).await;
        let other = system.tenant("Globex").await;
        other.connect_to("slack", &account, &admin).await;
        generate(&system, &of.id, 20).await;
        tenant.assert_equals_ledger(&of.id).await;
        act(&system, &of.id, "app.uninstalled", json!({})).await;
        let status = async |tenant: &Tenant<'_>| {
            tenant.get("/v1/connections").await["connections"][0]["status"].clone()
        };
        eventually("the connection ended", async || {
            status(&tenant).await == "disconnected"
        })
        .await;
        assert_eq!(status(&other).await, "active");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_of_a_connected_organization_is_sent_to_the_organization() {
    let system = System::with_fast_provider().start().await;
    let of = organization(&system, 2, 0).await;
    connect(&system, &of).await;
    let admin = system.account_of("slack", 2).await;
    assert_eq!(
        admin["organization"], of.id,
        "the third account is its workspace"
    );
    let admin = admin["admin"].as_str().expect("a person");
    let second = system.tenant("Globex").await;
    let answer = second.walk_to("slack", &of.workspaces[0], admin).await;
    assert_eq!(answer.status().as_u16(), 400);
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["code"], "access_denied");
    assert!(
        body["message"]
            .as_str()
            .is_some_and(|text| text.contains("organization")),
        "{body}"
    );
}
