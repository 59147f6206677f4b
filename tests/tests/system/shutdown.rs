//! SIGTERM under load: readiness ends first, no request is dropped, leases are returned.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tests::harness::{Process, System, eventually};
use uuid::Uuid;

use super::ingress::{BODY, count_deliveries, post, secret, signature};

#[tokio::test(flavor = "multi_thread")]
async fn terminated_ingress_answers_every_request() {
    let system = System::with_fast_provider().out_of_process().start().await;
    let ended = Arc::new(AtomicBool::new(false));
    let good = signature(secret(&system), BODY.as_bytes());
    let mut ingress = std::mem::replace(
        &mut *system.processes().await,
        tests::harness::Processes::new(vec![]),
    );
    let ready = format!("{}/readyz", system.ingress);

    // Like a load balancer, the client sends while the process is ready.
    let send = async || {
        let mut accepted = 0;
        while !ended.load(Ordering::Acquire) {
            let response = post(&system, &Uuid::new_v4().to_string(), Some(&good), BODY).await;
            assert_eq!(response.status(), 200);
            accepted += 1;
        }
        accepted
    };
    let watch = async {
        eventually("readiness ends before the process does", async || {
            let response = system.client.get(&ready).send().await;
            response.expect("a response while shutting down").status() == 503
        })
        .await;
        ended.store(true, Ordering::Release);
    };
    let terminate = async {
        eventually("the load has started", async || {
            count_deliveries(&system).await > 50
        })
        .await;
        ingress.terminate(Process::Ingress).await
    };
    let (one, two, three, four, (), status) =
        tokio::join!(send(), send(), send(), send(), watch, terminate);
    assert!(status.success(), "{status}");
    assert_eq!(count_deliveries(&system).await, one + two + three + four);
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_worker_returns_its_jobs() {
    let system = System::with_fast_provider()
        .simulator(|sim| {
            (sim.accounts, sim.providers.github.repositories, sim.history) = (1, 4, 200);
        })
        .out_of_process()
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    eventually("the backfill has started", async || {
        !tenant.identities().await.is_empty()
    })
    .await;
    let status = system.processes().await.terminate(Process::Worker).await;
    assert!(status.success(), "{status}");
    let held: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = 'running'")
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
    assert_eq!(held, 0, "leases of the terminated worker");
    system.start_worker().await;
    system.quiesce().await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}
