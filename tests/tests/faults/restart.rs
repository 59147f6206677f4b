//! Postgres dies and comes back, under load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tests::harness::{
    Cluster, Doors, Follower, Load, Pace, Process, System, Tenant, TestDb, Webhooks, eventually,
    eventually_within,
};

use super::{alone, assert_kept, can_start_servers, setting};

/// How soon everything must work again.
const PROMISE: Duration = Duration::from_secs(5);

async fn status(system: &System, url: String) -> u16 {
    let answer = system.client.get(url).send().await;
    answer.expect("it still answers").status().as_u16()
}

/// All of them run, and say that they can do nothing.
async fn assert_waiting(system: &System) {
    let addresses = {
        let processes = system.processes().await;
        [Process::Api, Process::Ingress, Process::Worker].map(|one| processes.addresses(one)[0])
    };
    for address in addresses {
        eventually("unready", async || {
            status(system, format!("http://{address}/readyz")).await == 503
        })
        .await;
        assert_eq!(status(system, format!("http://{address}/livez")).await, 200);
    }
}

/// Waits until deliveries are acknowledged, the feed is given, and a delivery that came after
/// `back` is in it.
async fn serving_again(system: &System, tenant: &Tenant<'_>, load: &Load, back: Instant) {
    eventually_within(PROMISE * 3, "everything works again", async || {
        let record = load.record();
        let fresh = record.acknowledged.iter().find(|(at, _)| *at > back);
        let Some((_, number)) = fresh else {
            return false;
        };
        let stored: Option<String> = sqlx::query_scalar(
            "SELECT id::text FROM signals WHERE tenant_id = $1 AND dedupe_key = $2",
        )
        .bind(tenant.id)
        .bind(tests::harness::webhooks::key_of(*number))
        .fetch_optional(system.db.pool())
        .await
        .unwrap_or_default();
        let Some(id) = stored else { return false };
        let path = format!("/v1/signals/{id}");
        let answer = tenant.request(reqwest::Method::GET, &path, None).await;
        let feed = tenant
            .request(reqwest::Method::GET, "/v1/signals", None)
            .await;
        answer.status().is_success() && feed.status().is_success()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_crashes_and_returns_ends_nobody_and_loses_nothing() {
    let _alone = alone().await;
    if !can_start_servers("restart") {
        return;
    }
    let rounds = setting("POBLYSH_FAULTS_RESTARTS", 2);
    let cluster = Cluster::start().await;
    let system = System::with_fast_provider()
        .database(TestDb::within(&cluster).await)
        .outside()
        .start()
        .await;
    let tenant = system.tenant("Acme").await;
    let (account, admin) = system.accounts().await.remove(0);
    let webhooks = Webhooks::prepare(&system, &tenant, (&account, &admin)).await;
    let follower = Follower::start(&tenant, &Doors::only(&system.api));
    let doors = Doors::only(&system.ingress);
    let load = Load::start(&Arc::new(webhooks), &doors, Pace::PerSecond(100));
    for round in 1..=rounds {
        let before = load.acknowledged();
        eventually("the load is taken", async || {
            load.acknowledged() > before + 50
        })
        .await;
        cluster.stop_immediately().await;
        let refused = load.record().refused;
        assert_waiting(&system).await;
        eventually("deliveries are refused", async || {
            load.record().refused > refused
        })
        .await;
        cluster.start_again().await;
        let back = Instant::now();
        serving_again(&system, &tenant, &load, back).await;
        let took = back.elapsed();
        eprintln!("restart {round}: everything worked again after {took:?}");
        assert!(took < PROMISE, "it took {took:?}");
    }
    assert_eq!(system.processes().await.ended(), vec![], "somebody went");
    let record = load.stop().await;
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    eprintln!(
        "restart: {} acknowledged, {} refused with Retry-After",
        record.acknowledged.len(),
        record.refused
    );
    assert_kept(&system, &tenant, &record, follower).await;
}
