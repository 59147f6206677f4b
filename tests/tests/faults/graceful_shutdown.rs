//! SIGTERM to each process under load, behind a load balancer that follows readiness.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::harness::{
    Endpoints, FeedReader, Load, Pace, Process, System, Webhooks, eventually, free_address,
};

use super::{alone, assert_guarantees, setting};

/// Maximum duration of a shutdown.
const MAX_SHUTDOWN: Duration = Duration::from_secs(30);

/// Terminates the process at `address` and returns how long that took.
///
/// Asserts that its readiness fails while it still responds.
async fn terminate(system: &System, address: SocketAddr) -> Duration {
    let ready = format!("http://{address}/readyz");
    let mut processes = system.processes().await;
    let began = Instant::now();
    let watch = eventually("readiness fails before the process ends", async || {
        let response = system.client.get(&ready).send().await;
        response.expect("the process responds").status().as_u16() == 503
    });
    let ((), status) = tokio::join!(watch, processes.terminate_at(address));
    assert!(status.success(), "{status}");
    began.elapsed()
}

/// Running jobs without a live worker.
async fn orphaned_jobs(system: &System) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT format('%s of an ended worker', kind) FROM jobs j WHERE state = 'running' \
         AND NOT EXISTS (SELECT FROM workers w WHERE w.id = j.worker_id)",
    )
    .fetch_all(system.db.pool())
    .await
    .expect("the query result")
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_process_drains_and_loses_nothing() {
    let _alone = alone().await;
    let rounds = setting("POBLYSH_FAULTS_TERMINATIONS", 1);
    let system = System::with_fast_provider()
        .simulator(|sim| {
            (sim.accounts, sim.providers.github.repositories, sim.history) = (2, 3, 100);
        })
        .workers(2)
        .load_balanced()
        .start()
        .await;
    let mut accounts = system.accounts().await;
    let (account, admin) = accounts.remove(0);
    let tenant = system.tenant("Acme").await;
    let webhooks = Webhooks::prepare(&system, &tenant, (&account, &admin)).await;
    // Its backfill keeps the workers busy.
    let other = system.tenant("Globex").await;
    let (other_account, other_admin) = accounts.remove(0);
    other.connect(&other_account, &other_admin).await;

    let (apis, ingresses) = {
        let processes = system.processes().await;
        let of = |process| processes.addresses(process);
        (of(Process::Api), of(Process::Ingress))
    };
    let reader = FeedReader::start(&tenant, &Endpoints::ready(&apis));
    let endpoints = Endpoints::ready(&ingresses);
    let load = Load::start(&Arc::new(webhooks), &endpoints, Pace::Connections(8));
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
            eprintln!("shutdown: {process:?} ended in {took:?}");
            assert!(took < MAX_SHUTDOWN, "{process:?} took {took:?}");
            assert_eq!(orphaned_jobs(&system).await, Vec::<String>::new());
            let again = match process {
                Process::Worker => free_address(),
                Process::Api | Process::Ingress => address,
            };
            system.processes().await.start(process, again).await;
            if process == Process::Ingress {
                eventually("the balancer uses it again", async || {
                    endpoints.is_ready(again)
                })
                .await;
            }
        }
    }
    let record = load.stop().await;
    assert_eq!(record.failed.len(), 0, "{:?}", record.failed);
    assert_eq!(record.rejected, 0, "deliveries were rejected");
    assert_eq!(reader.failed_reads(), 0, "reads were rejected");
    eprintln!("shutdown: {} acknowledged", record.acknowledged.len());
    assert_guarantees(&system, &tenant, &record, reader).await;
    other.assert_equals_ledger_after_poll(&other_account).await;
}
