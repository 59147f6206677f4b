//! SIGTERM under load, process by process, behind a balancer that believes readiness.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::harness::{
    Doors, Follower, Load, Pace, Process, System, Webhooks, eventually, free_address,
};

use super::{alone, assert_kept, setting};

/// How long work in hand may take to end.
const PROMISE: Duration = Duration::from_secs(30);

/// Ends the process at `address`, and tells how long that took. Watches that it says so
/// before it stops answering.
async fn terminate(system: &System, address: SocketAddr) -> Duration {
    let ready = format!("http://{address}/readyz");
    let mut processes = system.processes().await;
    let began = Instant::now();
    let watch = eventually("readiness ends before the process does", async || {
        let answer = system.client.get(&ready).send().await;
        answer.expect("it still answers").status().as_u16() == 503
    });
    let ((), status) = tokio::join!(watch, processes.terminate_at(address));
    assert!(status.success(), "{status}");
    began.elapsed()
}

async fn held_jobs(system: &System) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT format('%s of a worker that is gone', kind) FROM jobs j WHERE state = 'running' \
         AND NOT EXISTS (SELECT FROM workers w WHERE w.id = j.worker_id)",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("Postgres answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_process_drains_and_drops_nothing() {
    let _alone = alone().await;
    let rounds = setting("POBLYSH_FAULTS_TERMINATIONS", 1);
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.repositories, sim.history) = (2, 3, 100))
        .workers(2)
        .pairs()
        .start()
        .await;
    let mut accounts = system.accounts().await;
    let (account, admin) = accounts.remove(0);
    let tenant = system.tenant("Acme").await;
    let webhooks = Webhooks::prepare(&system, &tenant, (&account, &admin)).await;
    // Reading its past keeps the workers busy.
    let other = system.tenant("Globex").await;
    let (other_account, other_admin) = accounts.remove(0);
    other.connect(&other_account, &other_admin).await;

    let (apis, ingresses) = {
        let processes = system.processes().await;
        let of = |process| processes.addresses(process);
        (of(Process::Api), of(Process::Ingress))
    };
    let follower = Follower::start(&tenant, &Doors::ready(&apis));
    let doors = Doors::ready(&ingresses);
    let load = Load::start(&Arc::new(webhooks), &doors, Pace::Connections(8));
    for _ in 0..rounds {
        let before = load.acknowledged();
        eventually("the load is taken", async || {
            load.acknowledged() > before + 100
        })
        .await;
        for process in [Process::Ingress, Process::Api, Process::Worker] {
            let some = json!({ "count": 20, "account": other_account });
            system.sim("github/generate", some).await;
            let address = system.processes().await.addresses(process)[0];
            let took = terminate(&system, address).await;
            eprintln!("termination: {process:?} ended in {took:?}");
            assert!(took < PROMISE, "{process:?} took {took:?}");
            assert_eq!(held_jobs(&system).await, Vec::<String>::new());
            let again = match process {
                Process::Worker => free_address(),
                Process::Api | Process::Ingress => address,
            };
            system.processes().await.start(process, again).await;
            if process == Process::Ingress {
                eventually("the balancer has noticed", async || doors.is_open(again)).await;
            }
        }
    }
    let record = load.stop().await;
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    assert_eq!(record.refused, 0, "deliveries were refused");
    assert_eq!(follower.interruptions(), 0, "reads were refused");
    eprintln!("termination: {} acknowledged", record.acknowledged.len());
    assert_kept(&system, &tenant, &record, follower).await;
    other
        .assert_equals_ledger_after_a_poll(&other_account)
        .await;
}
