//! kill -9, under load: what was acknowledged is there, once.

use serde_json::json;
use tests::harness::{Process, System};

#[tokio::test(flavor = "multi_thread")]
async fn killed_processes_lose_nothing_that_was_acknowledged() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.accounts, sim.repositories, sim.history) = (1, 2, 40))
        .workers(2)
        .outside()
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    for _ in 0..5 {
        for process in [Process::Ingress, Process::Worker] {
            system
                .sim(
                    "github/generate",
                    json!({ "count": 60, "account": account }),
                )
                .await;
            system.processes().await.kill_and_restart(process).await;
        }
    }
    // Deliveries that met a dead ingress were never acknowledged; the provider has them.
    system.quiesce().await;
    system.sweep().await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
}
