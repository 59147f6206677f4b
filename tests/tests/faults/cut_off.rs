//! A worker that cannot reach Postgres while another takes over what it held.
//!
//! It is cut off in the middle of calls to providers, once with its connections ended and once
//! with nothing said at all, as when packets are lost; what it still writes when it is back
//! must change nothing, and what a provider was asked for must have been asked for once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::harness::{
    Doors, Follower, Load, Pace, Process, System, Tenant, Variation, Webhooks, eventually,
    free_address,
};

use super::{alone, assert_no_job_ended_twice, assert_nothing_lost, setting};

#[derive(Debug, Clone, Copy)]
enum Way {
    /// Every connection ends.
    Ended,
    /// Nothing passes any more.
    Silent,
}

/// The leases under which a provider is waited for: for a page of GitHub's, and for a webhook
/// of Jira's to be made.
async fn waiting(system: &System) -> Vec<i64> {
    sqlx::query_scalar(
        "SELECT lease_token FROM jobs WHERE state = 'running' AND (kind, provider) \
         IN (('sync_connection', 'github'), ('maintain_subscriptions', 'jira'))",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("Postgres answers")
}

/// Whether all of them are somebody else's by now, or done.
async fn passed_on(system: &System, held: &[i64]) -> bool {
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE lease_token = ANY ($1)")
        .bind(held)
        .fetch_one(system.db.pool())
        .await
        .expect("Postgres answers");
    left == 0
}

/// Makes both workers' common work: a connection at two providers, whose first calls are slow.
async fn connect_slowly(system: &System, tenant: &Tenant<'_>) -> (String, String) {
    for pattern in ["GET /repos/*", "POST*/rest/api/3/webhook"] {
        let slow = json!({ "target": "request", "pattern": pattern, "effect": "slow",
                           "seconds": 25, "count": 1 });
        system.sim("faults", slow).await;
    }
    let (github, admin) = system.accounts().await.remove(1);
    tenant.connect(&github, &admin).await;
    let (jira, admin) = system.accounts_at("jira").await.remove(0);
    tenant.connect_to("jira", &jira, &admin).await;
    (github, jira)
}

async fn webhooks_at_jira(system: &System) -> usize {
    let url = format!("{}/_sim/jira/webhooks", system.simulator.base_url());
    let answer = system.client.get(url).send().await.expect("an answer");
    let body: Value = answer.json().await.expect("JSON");
    body["webhooks"].as_array().expect("a list").len()
}

async fn cut_off(way: Way) {
    let lasts = Duration::from_secs(setting("POBLYSH_FAULTS_CUT_SECONDS", 0));
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.repositories, sim.history) = (2, 2, 30))
        .workers(0)
        .outside()
        .start()
        .await;
    let through = Variation {
        env: vec![(
            "POBLYSH_WORKER_DATABASE_URL".to_owned(),
            system.wire.through(system.db.url()),
        )],
        ..Variation::default()
    };
    let first = free_address();
    system
        .processes()
        .await
        .start_as(Process::Worker, first, &through)
        .await;
    let tenant = system.tenant("Acme").await;
    let (account, admin) = system.accounts().await.remove(0);
    let webhooks = Webhooks::prepare(&system, &tenant, (&account, &admin)).await;
    system.drain().await;
    let follower = Follower::start(&tenant, &Doors::only(&system.api));
    let doors = Doors::only(&system.ingress);
    let load = Load::start(&Arc::new(webhooks), &doors, Pace::PerSecond(40));
    let other = system.tenant("Globex").await;
    let (github, jira) = connect_slowly(&system, &other).await;
    let mut held = Vec::new();
    eventually("the first worker waits for both providers", async || {
        held = waiting(&system).await;
        held.len() == 2
    })
    .await;
    system
        .processes()
        .await
        .start(Process::Worker, free_address())
        .await;
    let began = Instant::now();
    match way {
        Way::Ended => system.wire.cut(),
        Way::Silent => system.wire.freeze(),
    }
    eventually("the other worker has taken over", async || {
        passed_on(&system, &held).await
    })
    .await;
    let passed = began.elapsed();
    tokio::time::sleep(lasts.saturating_sub(passed)).await;
    system.wire.mend();
    eventually("the first worker is back", async || {
        let url = format!("http://{first}/readyz");
        let answer = system.client.get(url).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
    eprintln!("cut off ({way:?}): the leases had passed on after {passed:?}");
    assert!(passed < Duration::from_secs(20), "{passed:?}");
    let record = load.stop().await;
    assert_nothing_lost(&system, &tenant, &record.keys()).await;
    assert_no_job_ended_twice(&system).await;
    other.assert_equals_ledgers(&[&github, &jira]).await;
    assert_eq!(webhooks_at_jira(&system).await, 1, "asked for twice");
    follower.assert_saw_everything(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_connections_end_has_no_second_effect() {
    let _alone = alone().await;
    cut_off(Way::Ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_hears_nothing_has_no_second_effect() {
    let _alone = alone().await;
    cut_off(Way::Silent).await;
}
