//! SIGKILL under load: every acknowledged delivery has exactly one Signal.

use serde_json::json;
use tests::harness::{Process, System};

#[tokio::test(flavor = "multi_thread")]
async fn killed_processes_lose_no_acknowledged_delivery() {
    let system = System::with_fast_provider()
        .simulator(|sim| {
            (sim.accounts, sim.providers.github.repositories, sim.history) = (1, 2, 40);
        })
        .workers(2)
        .out_of_process()
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
    // The provider keeps deliveries that a killed ingress did not acknowledge.
    system.quiesce().await;
    system.redeliver().await;
    tenant.assert_equals_ledger_after_poll(&account).await;
}
