//! Rotation of both crypto keys, after which the previous keys can be removed.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::json;
use shared::config::Env;
use shared::service::{Lifecycle, Service};
use shared::telemetry::MetricsHandle;
use tests::harness::{System, Tenant, eventually};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::ingress::signature;
use crate::jira::rotate_webhook_secret;

const NEW_KEY: &str = "MTIzNDU2Nzg5MGFiY2RlZmdoaWprbG1ub3BxcnN0dXY=";
const NEW_INGRESS_KEY: &str = "dnV0c3JxcG9ubWxramloZ2ZlZGNiYTA5ODc2NTQzMjE=";

/// Environment after the rotation, with or without the previous keys.
fn rotated_env(system: &System, keeps_previous: bool) -> BTreeMap<String, String> {
    let mut env = system.env.clone();
    for (name, new) in [("", NEW_KEY), ("INGRESS_", NEW_INGRESS_KEY)] {
        let previous = env.insert(format!("POBLYSH_{name}CRYPTO_KEY"), new.to_owned());
        if keeps_previous {
            let name = format!("POBLYSH_{name}CRYPTO_PREVIOUS_KEYS");
            env.insert(name, previous.expect("a key"));
        }
    }
    env
}

/// Lists the ids of the keys that seal tokens, and of those that seal webhook keys.
async fn list_key_ids(system: &System) -> [BTreeSet<Vec<u8>>; 2] {
    let mut found = [BTreeSet::new(), BTreeSet::new()];
    for (kind, statement) in [
        (0, "SELECT access_token FROM credentials"),
        (0, "SELECT refresh_token FROM credentials"),
        (1, "SELECT secret FROM webhook_secrets"),
    ] {
        let sealed: Vec<Option<Vec<u8>>> = sqlx::query_scalar(statement)
            .fetch_all(system.db.pool())
            .await
            .expect("the query result");
        let ids = sealed
            .into_iter()
            .flatten()
            .map(|value| value[..5].to_vec());
        found[kind].extend(ids);
    }
    found
}

/// Starts another api-server of the system, which reseals all values at its start.
async fn start_api(env: BTreeMap<String, String>) -> (String, Lifecycle) {
    let config = api_server::Config::from_env(&Env::from_pairs(env)).expect("settings");
    let metrics = MetricsHandle::global().expect("a recorder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server = api_server::start(config, listener, metrics).await;
    address_and_lifecycle(&server.expect("it starts"))
}

async fn start_ingress(env: BTreeMap<String, String>) -> (String, Lifecycle) {
    let config = webhook_ingress::Config::from_env(&Env::from_pairs(env)).expect("settings");
    let metrics = MetricsHandle::global().expect("a recorder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server = webhook_ingress::start(config, listener, metrics).await;
    address_and_lifecycle(&server.expect("it starts"))
}

fn address_and_lifecycle(service: &Service) -> (String, Lifecycle) {
    let url = format!("http://{}", service.address());
    (url, service.lifecycle().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_reseals_everything_with_new_keys() {
    let mut system = System::with_fast_provider()
        .workers(0)
        .env("POBLYSH_SLACK_USER_SCOPES", "channels:history")
        .start()
        .await;
    let tenant = system.tenant("Acme").await;
    let mut connections = Vec::new();
    for provider in ["slack", "jira"] {
        let (account, admin) = system.accounts_at(provider).await.remove(0);
        connections.push(tenant.connect_to(provider, &account, &admin).await);
    }
    let jira = connections[1];
    let webhook = rotate_webhook_secret(&tenant, jira).await;
    let secret = webhook["secret"].as_str().expect("a secret").to_owned();
    let tenant = (tenant.id, tenant.key);
    let before = list_key_ids(&system).await;
    assert_eq!(before.each_ref().map(BTreeSet::len), [1, 1]);
    let persons: i64 =
        sqlx::query_scalar("SELECT count(*) FROM credentials WHERE holder LIKE 'user:%'")
            .fetch_one(system.db.pool())
            .await
            .expect("a number");
    assert_eq!(persons, 1);

    let (_, first) = start_api(rotated_env(&system, true)).await;
    eventually("all values are sealed with the new keys", async || {
        let now = list_key_ids(&system).await;
        now.each_ref().map(BTreeSet::len) == [1, 1] && now[0] != before[0] && now[1] != before[1]
    })
    .await;
    // The next pass finds no value to reseal, which its metrics show.
    let (url, second) = start_api(rotated_env(&system, true)).await;
    eventually("no value needs the previous keys", async || {
        let metrics = system.client.get(format!("{url}/metrics")).send().await;
        let text = metrics.expect("a response").text().await.expect("text");
        let lines = text.lines();
        let values: Vec<&str> = lines
            .filter(|line| line.starts_with("poblysh_sealed_values{"))
            .filter_map(|line| line.rsplit(' ').next())
            .collect();
        values == ["0", "0", "0", "0"]
    })
    .await;

    // All values can be opened without the previous keys.
    let (ingress, third) = start_ingress(rotated_env(&system, false)).await;
    let body = json!({ "webhookEvent": "jira:issue_created", "timestamp": 1 }).to_string();
    let response = system
        .client
        .post(format!("{ingress}/webhooks/jira/{jira}"))
        .header("x-atlassian-webhook-identifier", Uuid::new_v4().to_string())
        .header("x-hub-signature", signature(&secret, body.as_bytes()))
        .body(body)
        .send()
        .await
        .expect("an ingress response");
    assert_eq!(response.status().as_u16(), 200);
    system.env = rotated_env(&system, false);
    system.start_worker().await;
    let tenant = Tenant::new(&system, tenant.0, tenant.1);
    for connection in connections {
        let path = format!("/v1/connections/{connection}");
        eventually("the backfill is done", async || {
            !tenant.get(&path).await["backfilled_at"].is_null()
        })
        .await;
    }
    let dead = tenant.request(Method::GET, "/v1/jobs?state=dead", None);
    let dead: serde_json::Value = dead.await.json().await.expect("JSON");
    assert_eq!(dead["jobs"], json!([]));
    for lifecycle in [first, second, third] {
        lifecycle.draining().cancel();
        lifecycle.aborted().cancel();
    }
}
