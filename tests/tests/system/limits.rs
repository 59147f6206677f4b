//! Rate limits, expired tokens and failures of the provider.

use serde_json::{Value, json};
use sqlx::Row;
use tests::harness::{Process, System, eventually};

async fn count_installation_tokens(system: &System) -> u64 {
    let url = format!("{}/_sim/stats", system.simulator.base_url());
    let stats: Value = system
        .client
        .get(url)
        .send()
        .await
        .expect("answers")
        .json()
        .await
        .expect("JSON");
    stats["counters"]["github.installation_tokens"]
        .as_u64()
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_one_token() {
    let system = System::with_fast_provider()
        .simulator(|sim| {
            (sim.accounts, sim.providers.github.repositories, sim.history) = (1, 4, 10);
        })
        .workers(2)
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(&account, &admin).await;
    tenant.assert_equals_ledger(&account).await;
    assert_eq!(
        count_installation_tokens(&system).await,
        1,
        "the first token"
    );
    system
        .sim("github/tokens", json!({ "expire": "installation" }))
        .await;
    for mode in ["incremental", "full"] {
        tenant
            .post(
                &format!("/v1/connections/{connection}/sync"),
                &json!({ "mode": mode }),
            )
            .await;
    }
    system.drain().await;
    assert_eq!(
        count_installation_tokens(&system).await,
        2,
        "one renewal for all workers"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limited_run_is_rescheduled_and_completes() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 15)
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    for effect in ["secondary_limit", "too_many_requests"] {
        let fault = json!({ "target": "request", "effect": effect, "count": 1, "seconds": 3.0, "pattern": "issues" });
        system.sim("faults", fault).await;
    }
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    eventually("the run was rescheduled", async || {
        sqlx::query(
            "SELECT attempts, last_error->>'code' AS code FROM jobs WHERE last_error IS NOT NULL",
        )
        .fetch_all(system.db.pool())
        .await
        .expect("the query result")
        .iter()
        .any(|row| {
            row.get::<Option<String>, _>("code").as_deref() == Some("rate_limited")
                && row.get::<i16, _>("attempts") == 0
        })
    })
    .await;
    tenant.assert_equals_ledger(&account).await;
    system.assert_no_dead_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_provider_failure_loses_nothing() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 25)
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    for effect in ["status", "reset", "truncate"] {
        let fault =
            json!({ "target": "request", "effect": effect, "count": 1, "pattern": "pulls" });
        system.sim("faults", fault).await;
    }
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    tenant.assert_equals_ledger(&account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_without_progress_is_counted_and_explained() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 5)
        .out_of_process()
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    let limit = json!({
        "target": "request", "effect": "too_many_requests", "seconds": 600.0,
        "pattern": "installation/repositories",
    });
    system.sim("faults", limit).await;
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(&account, &admin).await;
    let path = format!("/v1/connections/{connection}");
    eventually("the connection shows its error", async || {
        tenant.get(&path).await["last_error"]["code"] == "rate_limited"
    })
    .await;
    let worker = system.processes().await.addresses(Process::Worker)[0];
    let stalled = system
        .metric(
            &format!("http://{worker}"),
            "poblysh_sync_stalled_total",
            "rate_limited",
        )
        .await;
    assert!(stalled >= 1.0, "{stalled}");
}
