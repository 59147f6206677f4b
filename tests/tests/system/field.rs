//! Bugs that users reported of other GitHub integrations, tested on the whole system.
//!
//! `tests/README.md` lists every report with its tests.

use serde_json::{Value, json};
use tests::harness::{System, eventually};

/// GitHub accepts a new token only seconds after it was made.
#[tokio::test(flavor = "multi_thread")]
async fn gh_fresh_token_refused_for_2s_keeps_grant() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    let expired = json!({ "expire": "installation" });
    system.sim("github/tokens", expired).await;
    let rejected = json!({
        "target": "request", "pattern": "GET /installation/repositories",
        "effect": "unauthorized",
    });
    system.sim("faults", rejected).await;
    let path = format!("/v1/connections/{connection}");
    eventually("several new tokens were rejected", async || {
        let shown = tenant.get(&path).await;
        assert_eq!(shown["status"], "active", "{shown:#}");
        tenant.poll().await;
        let refusals = system.faults().await[0]["applied"].as_u64();
        refusals.expect("a count") >= 4
    })
    .await;
    system.clear_faults().await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    assert_eq!(tenant.get(&path).await["status"], "active");
}

async fn star(system: &System, account: &str, who: &str) -> Value {
    let act = json!({
        "account": account, "repository": "service-1", "action": "star.created",
        "login": format!("{account}-{who}"),
    });
    system.sim("github/act", act).await["facts"][0].clone()
}

/// The list of stars has a row without a time before another new row.
#[tokio::test(flavor = "multi_thread")]
async fn poison_row_stops_no_stream_of_stars() {
    let system = System::with_fast_provider().start().await;
    let (account, tenant, connection) = system.connect_account("github").await;
    let lost = json!({ "target": "delivery", "effect": "drop_silently" });
    system.sim("faults", lost).await;
    let first = star(&system, &account, "dev-1").await;
    // GitHub has whole seconds: the rows must differ in their times.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    star(&system, &account, "dev-2").await;
    let time = first["time"].as_str().expect("a time");
    let without_time = json!({
        "target": "request", "pattern": "GET /repos/*/stargazers", "effect": "replace",
        "find": format!("\"starred_at\":\"{time}\""), "put": "\"starred_at\":null",
    });
    system.sim("faults", without_time).await;
    tenant.poll().await;
    system.drain().await;
    let (missing, extra) = tenant.difference(&[&account]).await;
    let missing: Vec<String> = missing.into_iter().map(|(_, key)| key).collect();
    assert_eq!(json!(missing), json!([first["dedupe_key"]]));
    assert!(extra.is_empty(), "{extra:?}");

    let path = format!("/v1/webhook-deliveries?outcome=failed&connection_id={connection}");
    let kept = tenant.get(&path).await["deliveries"].clone();
    assert_eq!(kept.as_array().map(Vec::len), Some(1), "{kept:#}");
    assert_eq!(kept[0]["event"], "poll.stargazers");
    let shown = tenant.get(&format!("/v1/connections/{connection}")).await;
    assert_eq!(shown["status"], "active", "{shown:#}");
    assert_eq!(shown["last_error"], Value::Null, "{shown:#}");

    // Once the row has its time, a full sync reads it.
    system.clear_faults().await;
    let full = json!({ "mode": "full" });
    tenant.post("/v1/sync/github", &full).await;
    tenant.assert_equals_ledger(&account).await;
}
