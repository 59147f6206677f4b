//! kill -9, again and again, over all three processes under load.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::RngExt;
use serde_json::json;
use tests::harness::{Doors, Follower, Process, System};
use tests::simulator::Filter;

use super::{alone, assert_no_job_ended_twice, seeded, setting};

#[tokio::test(flavor = "multi_thread")]
async fn after_many_kills_signals_equal_the_ledger() {
    let _alone = alone().await;
    let cycles = setting("POBLYSH_FAULTS_KILLS", 6);
    let (seed, mut rng) = seeded("kills");
    let system = System::with_fast_provider()
        .simulator(|sim| {
            sim.seed = Some(seed);
            (sim.accounts, sim.repositories, sim.history) = (1, 2, 20);
        })
        .workers(2)
        .outside()
        .start()
        .await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    tenant.connect(&account, &admin).await;
    let follower = Follower::start(&tenant, &Doors::only(&system.api));

    let over = AtomicBool::new(false);
    let happen = async {
        while !over.load(Ordering::Acquire) {
            let some = json!({ "count": 8, "account": account });
            system.sim("github/generate", some).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let kill = async {
        let kinds = [Process::Api, Process::Ingress, Process::Worker];
        let everybody: Vec<SocketAddr> = {
            let processes = system.processes().await;
            kinds.map(|kind| processes.addresses(kind)).concat()
        };
        for _ in 0..cycles {
            // Some of them at once; whoever is named last is always among them.
            let first = rng.random_range(0..everybody.len());
            let mut doomed = vec![everybody[first]];
            for address in &everybody {
                if *address != everybody[first] && rng.random_range(0..2) == 0 {
                    doomed.push(*address);
                }
            }
            system.processes().await.kill_and_restart_all(&doomed).await;
        }
        over.store(true, Ordering::Release);
    };
    tokio::join!(happen, kill);

    let facts = system.simulator.ledger(&Filter::default()).len();
    let patience = json!({ "timeout_seconds": 120 });
    system.sim("quiesce", patience).await;
    tenant.assert_equals_ledger_after_a_poll(&account).await;
    assert_no_job_ended_twice(&system).await;
    eprintln!(
        "kills: {cycles} cycles, {facts} facts; the follower asked again {} times",
        follower.interruptions()
    );
    follower.assert_saw_everything(&tenant).await;
}
