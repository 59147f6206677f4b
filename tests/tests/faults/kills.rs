//! Repeated SIGKILLs of all three processes under load.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use provider_sim::Filter;
use rand::RngExt;
use serde_json::json;
use tests::harness::{Endpoints, FeedReader, Process, System};

use super::{alone, assert_no_job_finished_twice, seeded, setting};

#[tokio::test(flavor = "multi_thread")]
async fn signals_equal_the_ledger_after_many_kills() {
    let _alone = alone().await;
    let cycles = setting("POBLYSH_FAULTS_KILLS", 6);
    let (seed, mut rng) = seeded("kills");
    let system = System::with_fast_provider()
        .simulator(|sim| {
            sim.seed = Some(seed);
            (sim.accounts, sim.providers.github.repositories, sim.history) = (1, 2, 20);
        })
        .workers(2)
        .out_of_process()
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    let reader = FeedReader::start(&tenant, &Endpoints::only(&system.api));

    let is_over = AtomicBool::new(false);
    let generate = async {
        while !is_over.load(Ordering::Acquire) {
            let some = json!({ "count": 8, "account": account });
            system.sim("github/generate", some).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let kill = async {
        let kinds = [Process::Api, Process::Ingress, Process::Worker];
        let addresses: Vec<SocketAddr> = {
            let processes = system.processes().await;
            kinds.map(|kind| processes.addresses(kind)).concat()
        };
        for _ in 0..cycles {
            // One random process, and a random part of the others at the same time.
            let first = rng.random_range(0..addresses.len());
            let mut killed = vec![addresses[first]];
            for address in &addresses {
                if *address != addresses[first] && rng.random_range(0..2) == 0 {
                    killed.push(*address);
                }
            }
            system.processes().await.kill_and_restart_all(&killed).await;
        }
        is_over.store(true, Ordering::Release);
    };
    tokio::join!(generate, kill);

    let facts = system.simulator.ledger(&Filter::default()).len();
    let timeout = json!({ "timeout_seconds": 120 });
    system.sim("quiesce", timeout).await;
    tenant.assert_equals_ledger_after_poll(&account).await;
    assert_no_job_finished_twice(&system).await;
    eprintln!(
        "kills: {cycles} cycles, {facts} facts; the feed reader retried {} times",
        reader.failed_reads()
    );
    reader.assert_read_every_signal(&tenant).await;
}
