//! Slack organizations: one connection for several workspaces.

use serde_json::{Value, json};
use tests::harness::{System, Tenant, eventually};
use uuid::Uuid;

/// Organization with its workspaces.
struct Organization {
    id: String,
    admin: String,
    workspaces: Vec<String>,
}

async fn create_organization(system: &System, workspaces: usize, history: usize) -> Organization {
    let new = json!({
        "domain": "acme", "organization": true, "workspaces": workspaces, "history": history,
    });
    let created = system.sim("slack/accounts", new).await;
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let all = created["workspaces"].as_array().expect("a list");
    Organization {
        id: text(&created["login"]),
        admin: text(&created["admin"]),
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
    let organization = create_organization(&system, 3, 15).await;
    let (tenant, _) = connect(&system, &organization).await;
    tenant.assert_equals_ledger(&organization.id).await;
    assert!(tenant.identities().await.len() > 80, "several pages");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_becomes_its_signals_under_the_organization() {
    let system = System::with_fast_provider().start().await;
    let organization = create_organization(&system, 2, 0).await;
    let (tenant, _) = connect(&system, &organization).await;
    system.drain().await;
    generate(&system, &organization.id, 250).await;
    tenant.assert_equals_ledger(&organization.id).await;
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
    let organization = create_organization(&system, 2, 8).await;
    let (tenant, connection) = connect(&system, &organization).await;
    generate(&system, &organization.id, 150).await;
    tenant
        .assert_equals_ledger_after_poll(&organization.id)
        .await;
    let before = tenant.identities().await;
    let path = format!("/v1/connections/{connection}/sync");
    tenant.post(&path, &json!({ "mode": "full" })).await;
    system.drain().await;
    assert_eq!(tenant.identities().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_finds_unreported_facts_in_every_workspace() {
    let system = System::with_fast_provider().start().await;
    let organization = create_organization(&system, 2, 0).await;
    let (tenant, _) = connect(&system, &organization).await;
    system.drain().await;
    let drop_deliveries = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", drop_deliveries).await;
    for workspace in &organization.workspaces {
        generate(&system, workspace, 80).await;
        act(&system, workspace, "channel.created", json!({})).await;
    }
    let before = tenant.identities().await.len();
    tenant
        .assert_equals_ledger_after_poll(&organization.id)
        .await;
    assert!(tenant.identities().await.len() > before + 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_channel_is_read_once_per_tenant() {
    let system = System::with_fast_provider().start().await;
    let organization = create_organization(&system, 2, 5).await;
    let (outside, admin) = system.accounts_at("slack").await.remove(0);
    let (first, _) = connect(&system, &organization).await;
    let second = system.tenant("Globex").await;
    second.connect_to("slack", &outside, &admin).await;
    system.drain().await;
    let mut channels = Vec::new();
    for to in [&organization.workspaces[1], &outside] {
        let with = json!({ "to": to });
        let shared = act(&system, &organization.workspaces[0], "channel.shared", with).await;
        channels.push(shared["object"]["channel"].clone());
    }
    for channel in &channels {
        for _ in 0..10 {
            let there = json!({ "channel": channel });
            act(
                &system,
                &organization.workspaces[0],
                "message.posted",
                there.clone(),
            )
            .await;
            act(
                &system,
                &organization.workspaces[0],
                "message.replied",
                there,
            )
            .await;
        }
    }
    first
        .assert_equals_ledger_after_poll(&organization.id)
        .await;
    second.assert_equals_ledger_after_poll(&outside).await;
    assert!(
        second.identities().await.len() >= 20,
        "both tenants get the events"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn added_workspace_is_read_until_it_is_removed() {
    let system = System::with_fast_provider().start().await;
    let organization = create_organization(&system, 2, 5).await;
    system
        .simulator
        .change_slack(|slack| slack.workspaces_by_hand = true);
    let (tenant, _) = connect(&system, &organization).await;
    tenant.assert_equals_ledger(&organization.id).await;
    assert!(
        tenant.identities().await.is_empty(),
        "the app is in no workspace yet"
    );
    for workspace in &organization.workspaces {
        let there = json!({ "to": workspace });
        act(&system, &organization.id, "workspace.added", there).await;
    }
    eventually("the workspaces were read", async || {
        tenant.identities().await.len() > 20
    })
    .await;
    tenant.assert_equals_ledger(&organization.id).await;
    let gone = json!({ "to": organization.workspaces[0] });
    act(&system, &organization.id, "workspace.removed", gone).await;
    for workspace in &organization.workspaces {
        generate(&system, workspace, 30).await;
    }
    tenant
        .assert_equals_ledger_after_poll(&organization.id)
        .await;
    let status = tenant.get("/v1/connections").await["connections"][0]["status"].clone();
    assert_eq!(status, "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn bot_name_is_looked_up_when_missing() {
    let system = System::with_fast_provider().start().await;
    let organization = create_organization(&system, 2, 0).await;
    let (tenant, _) = connect(&system, &organization).await;
    system.drain().await;
    for _ in 0..4 {
        act(
            &system,
            &organization.workspaces[1],
            "message.bot",
            json!({}),
        )
        .await;
    }
    tenant.assert_equals_ledger(&organization.id).await;
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
async fn organization_token_rotation_is_transparent() {
    let system = System::with_fast_provider().start().await;
    system.simulator.change_slack(|slack| slack.rotation = true);
    let organization = create_organization(&system, 2, 0).await;
    let (tenant, _) = connect(&system, &organization).await;
    system.drain().await;
    for _ in 0..3 {
        system
            .sim("slack/tokens", json!({ "expire": organization.id }))
            .await;
        generate(&system, &organization.id, 20).await;
        tenant
            .assert_equals_ledger_after_poll(&organization.id)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstalled_organization_ends_only_its_connection() {
    for uninstalled_first in [false, true] {
        let system = System::with_fast_provider().start().await;
        system
            .simulator
            .change_slack(|slack| slack.uninstalled_first = uninstalled_first);
        let organization = create_organization(&system, 2, 3).await;
        let (account, admin) = system.accounts_at("slack").await.remove(0);
        let (tenant, _) = connect(&system, &organization).await;
        let other = system.tenant("Globex").await;
        other.connect_to("slack", &account, &admin).await;
        generate(&system, &organization.id, 20).await;
        tenant.assert_equals_ledger(&organization.id).await;
        act(&system, &organization.id, "app.uninstalled", json!({})).await;
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
async fn workspace_of_connected_organization_cannot_be_connected() {
    let system = System::with_fast_provider().start().await;
    let organization = create_organization(&system, 2, 0).await;
    connect(&system, &organization).await;
    let admin = system.account_of("slack", 2).await;
    assert_eq!(
        admin["organization"], organization.id,
        "the third account is its workspace"
    );
    let admin = admin["admin"].as_str().expect("a person");
    let second = system.tenant("Globex").await;
    let response = second
        .run_connect_flow("slack", &organization.workspaces[0], admin)
        .await;
    assert_eq!(response.status().as_u16(), 400);
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body["code"], "access_denied");
    assert!(
        body["message"]
            .as_str()
            .is_some_and(|text| text.contains("organization")),
        "{body}"
    );
}
