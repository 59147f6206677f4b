//! NUL in what a provider says: Postgres can hold it neither as text nor in JSON, and it costs
//! nothing but itself.

use serde_json::{Value, json};
use tests::harness::{System, eventually};

/// Where NULs are put into a provider's words.
struct Case {
    provider: &'static str,
    /// What happens at the provider.
    action: &'static str,
    /// The field before whose text one is put in answers, and to which requests.
    answered: (&'static str, &'static str),
    /// The same of deliveries.
    delivered: &'static str,
    /// A field of the connection that shows it, by its JSON pointer.
    shown: Option<&'static str>,
}

fn replace(target: &str, pattern: &str, field: &str) -> Value {
    json!({
        "target": target, "pattern": pattern, "effect": "replace",
        "find": format!("\"{field}\":\""), "put": format!("\"{field}\":\"\\u0000"),
    })
}

async fn costs_nothing(case: &Case) {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.history) = (1, 20))
        .start()
        .await;
    let (pattern, field) = case.answered;
    system
        .sim("faults", replace("request", pattern, field))
        .await;
    system
        .sim("faults", replace("delivery", "", case.delivered))
        .await;
    let (account, admin) = system.accounts_at(case.provider).await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect_to(case.provider, &account, &admin).await;
    eventually("the past is read", async || {
        let path = format!("/v1/connections/{connection}");
        !tenant.get(&path).await["backfilled_at"].is_null()
    })
    .await;
    for _ in 0..10 {
        let act = json!({ "account": account, "action": case.action });
        system.sim(&format!("{}/act", case.provider), act).await;
    }
    tenant.assert_equals_ledger_after_a_poll(&account).await;
    let shown = tenant.get(&format!("/v1/connections/{connection}")).await;
    assert_eq!(shown["status"], "active");
    // A search may have deferred a stream on which the feed has everything.
    let held = &shown["held_back_by"];
    let is_held = !held.is_null() && held["code"] != "deferred";
    assert!(shown["last_error"].is_null() && !is_held, "{shown}");
    if let Some(pointer) = case.shown {
        let text = shown.pointer(pointer).and_then(Value::as_str);
        assert!(text.is_some_and(|it| it.starts_with('\u{fffd}')), "{shown}");
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
    .expect("Postgres answers");
    assert_eq!(nuls, 0);
    assert!(replacements > 0, "nothing had a NUL");
}

#[tokio::test(flavor = "multi_thread")]
async fn nul_in_githubs_words_costs_nothing() {
    costs_nothing(&Case {
        provider: "github",
        action: "issues.opened",
        answered: ("GET /app/installations", "repository_selection"),
        delivered: "login",
        shown: None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nul_in_slacks_words_costs_nothing() {
    costs_nothing(&Case {
        provider: "slack",
        action: "message.posted",
        answered: ("", "name"),
        delivered: "name",
        shown: Some("/account/name"),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nul_in_jiras_words_costs_nothing() {
    costs_nothing(&Case {
        provider: "jira",
        action: "issue.created",
        answered: ("", "name"),
        delivered: "name",
        shown: None,
    })
    .await;
}
