//! Rotation of both crypto keys: everything that they have sealed moves, used or not, and the former
//! keys are needed by nothing in the end.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::json;
use shared::config::Env;
use shared::telemetry::{Lifecycle, MetricsHandle};
use tests::harness::{System, Tenant, eventually};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::ingress::signature;
use crate::jira::webhook_of;

const NEW_KEY: &str = "MTIzNDU2Nzg5MGFiY2RlZmdoaWprbG1ub3BxcnN0dXY=";
const NEW_INGRESS_KEY: &str = "dnV0c3JxcG9ubWxramloZ2ZlZGNiYTA5ODc2NTQzMjE=";

/// The environment after the rotation, and whether the former keys are still there.
fn rotated(system: &System, keeps_former: bool) -> BTreeMap<String, String> {
    let mut env = system.env.clone();
    for (name, new) in [("", NEW_KEY), ("INGRESS_", NEW_INGRESS_KEY)] {
        let former = env.insert(format!("POBLYSH_{name}CRYPTO_KEY"), new.to_owned());
        if keeps_former {
            let name = format!("POBLYSH_{name}CRYPTO_PREVIOUS_KEYS");
            env.insert(name, former.expect("a key"));
        }
    }
    env
}

/// The keys of sealed values, by their ids: of tokens, and of webhook keys.
async fn keys_in_use(system: &System) -> [BTreeSet<Vec<u8>>; 2] {
    let mut found = [BTreeSet::new(), BTreeSet::new()];
    for (kind, statement) in [
        (0, "SELECT access_token FROM credentials"),
        (0, "SELECT refresh_token FROM credentials"),
        (0, "SELECT access_token FROM person_credentials"),
        (0, "SELECT refresh_token FROM person_credentials"),
        (1, "SELECT secret FROM webhook_secrets"),
    ] {
        let sealed: Vec<Option<Vec<u8>>> = sqlx::query_scalar(statement)
            .fetch_all(system.db.pool())
            .await
            .expect("Postgres answers");
        let ids = sealed.into_iter().flatten().map(|it| it[..5].to_vec());
        found[kind].extend(ids);
    }
    found
}

/// Another api-server of the same system; it begins with a pass over what is sealed.
async fn start_api(env: BTreeMap<String, String>) -> (String, Lifecycle) {
    let config = api_server::Config::from_env(&Env::from_pairs(env)).expect("settings");
    let metrics = MetricsHandle::global().expect("a recorder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server = api_server::serve(config, metrics, listener).await;
    let server = server.expect("it starts");
    let url = format!("http://{}", server.address());
    (url, server.lifecycle().clone())
}

async fn start_ingress(env: BTreeMap<String, String>) -> (String, Lifecycle) {
    let config = webhook_ingress::Config::from_env(&Env::from_pairs(env)).expect("settings");
    let metrics = MetricsHandle::global().expect("a recorder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let life = webhook_ingress::start(config, listener, metrics).expect("it starts");
    (format!("http://{address}"), life)
}

#[tokio::test(flavor = "multi_thread")]
async fn former_keys_are_needed_by_nothing_after_a_rotation() {
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
    let made = webhook_of(&tenant, jira).await;
    let secret = made["secret"].as_str().expect("a secret").to_owned();
    let tenant = (tenant.id, tenant.key);
    let before = keys_in_use(&system).await;
    assert_eq!(before.each_ref().map(BTreeSet::len), [1, 1]);
    let persons: i64 = sqlx::query_scalar("SELECT count(*) FROM person_credentials")
        .fetch_one(system.db.pool())
        .await
        .expect("a number");
    assert_eq!(persons, 1);

    let (_, first) = start_api(rotated(&system, true)).await;
    eventually("everything is under the new keys", async || {
        let now = keys_in_use(&system).await;
        now.each_ref().map(BTreeSet::len) == [1, 1] && now[0] != before[0] && now[1] != before[1]
    })
    .await;
    // The next pass finds nothing, and says so.
    let (url, second) = start_api(rotated(&system, true)).await;
    eventually("the former keys are needed by nothing", async || {
        let metrics = system.client.get(format!("{url}/metrics")).send().await;
        let text = metrics.expect("an answer").text().await.expect("text");
        let lines = text.lines();
        let values: Vec<&str> = lines
            .filter(|line| line.starts_with("poblysh_sealed_values{"))
            .filter_map(|line| line.rsplit(' ').next())
            .collect();
        values == ["0", "0", "0", "0"]
    })
    .await;

    // Without the former keys everything opens.
    let (ingress, third) = start_ingress(rotated(&system, false)).await;
    let body = json!({ "webhookEvent": "jira:issue_created", "timestamp": 1 }).to_string();
    let answer = system
        .client
        .post(format!("{ingress}/webhooks/jira/{jira}"))
        .header("x-atlassian-webhook-identifier", Uuid::new_v4().to_string())
        .header("x-hub-signature", signature(&secret, body.as_bytes()))
        .body(body)
        .send()
        .await
        .expect("the ingress answers");
    assert_eq!(answer.status().as_u16(), 200);
    system.env = rotated(&system, false);
    system.start_worker().await;
    let tenant = Tenant::new(&system, tenant.0, tenant.1);
    for connection in connections {
        let path = format!("/v1/connections/{connection}");
        eventually("the connection is read", async || {
            !tenant.get(&path).await["backfilled_at"].is_null()
        })
        .await;
    }
    let dead = tenant.request(Method::GET, "/v1/jobs?state=dead", None);
    let dead: serde_json::Value = dead.await.json().await.expect("JSON");
    assert_eq!(dead["jobs"], json!([]));
    for life in [first, second, third] {
        life.soft().cancel();
        life.hard().cancel();
    }
}
