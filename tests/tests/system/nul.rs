//! NUL characters in a provider's text, which Postgres can store neither as text nor in JSON.
//!
//! They are replaced, and no delivery, row or job fails.

use serde_json::{Value, json};
use tests::harness::{System, eventually};

/// Fields of a provider's data that begin with a NUL.
struct Case {
    provider: &'static str,
    /// Action at the provider.
    action: &'static str,
    /// Pattern of requests, and field of their responses.
    response_field: (&'static str, &'static str),
    /// Field of deliveries.
    delivery_field: &'static str,
    /// JSON pointer to a field of the connection that shows the replacement.
    connection_field: Option<&'static str>,
}

fn replace(target: &str, pattern: &str, field: &str) -> Value {
    json!({
        "target": target, "pattern": pattern, "effect": "replace",
        "find": format!("\"{field}\":\""), "put": format!("\"{field}\":\"\\u0000"),
    })
}

async fn assert_no_fact_is_lost(case: &Case) {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 20))
        .start()
        .await;
    let (pattern, field) = case.response_field;
    system
        .sim("faults", replace("request", pattern, field))
        .await;
    system
        .sim("faults", replace("delivery", "", case.delivery_field))
        .await;
    let (account, admin) = system.accounts_at(case.provider).await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to(case.provider, &account, &admin).await;
    eventually("the backfill is done", async || {
        let path = format!("/v1/connections/{connection}");
        !tenant.get(&path).await["backfilled_at"].is_null()
    })
    .await;
    for _ in 0..10 {
        let act = json!({ "account": account, "action": case.action });
        system.sim(&format!("{}/act", case.provider), act).await;
    }
    tenant.assert_equals_ledger_after_poll(&account).await;
    let shown = tenant.get(&format!("/v1/connections/{connection}")).await;
    assert_eq!(shown["status"], "active");
    // A search may have deferred a stream whose facts are all in the feed.
    let held = &shown["held_back_by"];
    let is_held = !held.is_null() && held["code"] != "deferred";
    assert!(shown["last_error"].is_null() && !is_held, "{shown}");
    if let Some(pointer) = case.connection_field {
        let text = shown.pointer(pointer).and_then(Value::as_str);
        assert!(
            text.is_some_and(|text| text.starts_with('\u{fffd}')),
            "{shown}"
        );
    }
    let dead = tenant.get("/v1/jobs?state=dead").await;
    assert_eq!(dead["jobs"], json!([]));
    let failed = tenant.get("/v1/webhook-deliveries?outcome=failed").await;
    assert_eq!(failed["deliveries"], json!([]));
    let (nuls, replacements): (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE strpos(stored::text, '\\u0000') > 0), \
             count(*) FILTER (WHERE strpos(stored::text, '\\ufffd') > 0 \
                 OR strpos(stored::text, chr(65533)) > 0) \
         FROM ( \
             SELECT settings AS stored FROM connections UNION ALL \
             SELECT to_json(account_name) FROM connections UNION ALL \
             SELECT detail FROM directory_entries UNION ALL \
             SELECT to_json(name) FROM directory_entries UNION ALL \
             SELECT target FROM subscriptions UNION ALL SELECT target FROM cursors UNION ALL \
             SELECT cursor FROM cursors UNION ALL SELECT body FROM signals UNION ALL \
             SELECT raw FROM signals UNION ALL SELECT detail FROM audit_log) s",
    )
    .fetch_one(system.db.pool())
    .await
    .expect("the query result");
    assert_eq!(nuls, 0);
    assert!(replacements > 0, "nothing had a NUL");
}

#[tokio::test(flavor = "multi_thread")]
async fn nul_in_github_text_loses_no_fact() {
    assert_no_fact_is_lost(&Case {
        provider: "github",
        action: "issues.opened",
        response_field: ("GET /app/installations", "repository_selection"),
        delivery_field: "login",
        connection_field: None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nul_in_slack_text_loses_no_fact() {
    assert_no_fact_is_lost(&Case {
        provider: "slack",
        action: "message.posted",
        response_field: ("", "name"),
        delivery_field: "name",
        connection_field: Some("/account/name"),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nul_in_jira_text_loses_no_fact() {
    assert_no_fact_is_lost(&Case {
        provider: "jira",
        action: "issue.created",
        response_field: ("", "name"),
        delivery_field: "name",
        connection_field: None,
    })
    .await;
}
