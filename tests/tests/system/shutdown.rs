//! SIGTERM under load: readiness ends first, nothing is dropped, leases go back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tests::harness::{Process, System, eventually};
use uuid::Uuid;

use super::ingress::{BODY, post, secret, signature, stored};

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_ingress_answers_everything_it_was_sent() {
    let system = System::with_fast_provider().outside().start().await;
    let ended = Arc::new(AtomicBool::new(false));
    let good = signature(secret(&system), BODY.as_bytes());
    let mut ingress = std::mem::replace(
        &mut *system.processes().await,
        tests::harness::Processes::new(vec![]),
    );
    let ready = format!("{}/readyz", system.ingress);

    // What a load balancer does: it sends while the process says that it is ready.
    let send = async || {
        let mut accepted = 0;
        while !ended.load(Ordering::Acquire) {
            let answer = post(&system, &Uuid::new_v4().to_string(), Some(&good), BODY).await;
            assert_eq!(answer.status(), 200);
            accepted += 1;
        }
        accepted
    };
    let watch = async {
        eventually("readiness ends before the process does", async || {
            let answer = system.client.get(&ready).send().await;
            answer.expect("it still answers").status() == 503
        })
        .await;
        ended.store(true, Ordering::Release);
    };
    let terminate = async {
        eventually("the load has begun", async || stored(&system).await > 50).await;
        ingress.terminate(Process::Ingress).await
    };
    let (one, two, three, four, (), status) =
        tokio::join!(send(), send(), send(), send(), watch, terminate);
    assert!(status.success(), "{status}");
    assert_eq!(stored(&system).await, one + two + three + four);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_worker_gives_its_jobs_back() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.repositories, sim.history) = (1, 4, 200))
        .outside()
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    eventually("the backfill has begun", async || {
        !tenant.identities().await.is_empty()
    })
    .await;
    let status = system.processes().await.terminate(Process::Worker).await;
    assert!(status.success(), "{status}");
    let held: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = 'running'")
        .fetch_one(system.db.pool())
        .await
        .expect("Postgres answers");
    assert_eq!(held, 0, "leases that nobody will renew");
    system.start_worker().await;
    system.quiesce().await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
}
