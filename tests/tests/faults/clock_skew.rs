//! Clock skew of minutes between all processes.

use std::path::PathBuf;

use serde_json::json;
use sqlx::Row;
use tests::harness::{Process, ProcessOverrides, System, free_address};

use super::{alone, assert_no_job_finished_twice, setting, skip};

/// The path of libfaketime, which sets the clock of a process.
fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    let known = folders.filter_map(|folder| Some(folder.ok()?.path().join("faketime")));
    known
        .map(|folder| folder.join("libfaketime.so.1"))
        .find(|library| library.exists())
}

/// Overrides for a process with a clock offset.
fn off_by(library: &std::path::Path, offset: &str) -> ProcessOverrides {
    let library = library.to_string_lossy().into_owned();
    let env = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME", offset),
        // The monotonic clock stays correct, as on a host with a wrong time of day.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    ProcessOverrides {
        env: env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..ProcessOverrides::default()
    }
}

/// Asserts that no lease was lost, no poll is misscheduled, and no Signal is misdated.
async fn assert_leases_and_schedules(system: &System) {
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM jobs WHERE lost_attempts > 0) \
              + (SELECT count(*) FROM job_history WHERE last_error->>'code' = 'worker_lost') \
                  AS lost, \
             (SELECT count(*) FROM workers WHERE expires_at > now()) AS workers, \
             (SELECT count(*) FROM connection_routes WHERE polling \
              AND next_sync_at NOT BETWEEN now() - interval '2 s' AND now() + interval '34 s') \
                  AS misplaced, \
             (SELECT count(*) FROM signals \
              WHERE received_at NOT BETWEEN now() - interval '5 min' AND now() + interval '2 s') \
                  AS misdated",
    )
    .fetch_one(system.db.pool())
    .await
    .expect("the query result");
    let count = |name: &str| row.get::<i64, _>(name);
    assert_eq!(count("lost"), 0, "a lease was lost");
    assert_eq!(count("workers"), 2, "a worker counts as dead");
    assert_eq!(count("misplaced"), 0, "a poll is due at a wrong time");
    assert_eq!(count("misdated"), 0, "a Signal has a wrong time of receipt");
}

/// A counter of the nth process of a kind.
async fn metric(system: &System, process: Process, number: usize, name: &str, label: &str) -> f64 {
    let address = system.processes().await.addresses(process)[number];
    system
        .metric(&format!("http://{address}"), name, label)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_skew_changes_no_lease_schedule_or_signature() {
    let _alone = alone().await;
    let Some(library) = faketime() else {
        return skip("clock skew", "libfaketime is not installed");
    };
    let rounds = setting("POBLYSH_FAULTS_CLOCK_ROUNDS", 1);
    let system = System::with_fast_provider()
        .simulator(|sim| {
            (sim.accounts, sim.providers.github.repositories, sim.history) = (1, 2, 40);
        })
        .env("POBLYSH_POLL_INTERVAL_SECONDS", "30")
        .workers(0)
        .override_process(Process::Api, off_by(&library, "-10m"))
        .override_process(Process::Ingress, off_by(&library, "+10m"))
        .start()
        .await;
    for offset in ["-5m", "+5m"] {
        let worker = off_by(&library, offset);
        let mut processes = system.processes().await;
        processes
            .start_with(Process::Worker, free_address(), &worker)
            .await;
    }
    system.simulator.change_slack(|slack| slack.rotation = true);
    let tenant = system.tenant("Acme").await;
    let (github, admin) = system.accounts().await.remove(0);
    let (slack, member) = system.accounts_at("slack").await.remove(0);
    tenant.connect(&github, &admin).await;
    tenant.connect_to("slack", &slack, &member).await;
    for _ in 0..rounds {
        // A page that takes longer than a lease, and a rate limit of two seconds.
        for (effect, pattern, seconds) in [
            ("slow", "GET /repos/*", 12),
            ("secondary_limit", "GET /repos/*", 2),
        ] {
            let fault = json!({ "target": "request", "pattern": pattern, "effect": effect,
                                "seconds": seconds, "count": 1 });
            system.sim("faults", fault).await;
        }
        tenant.poll().await;
        // Token refreshes are signed with a time.
        system
            .sim("github/tokens", json!({ "expire": "installation" }))
            .await;
        system.sim("slack/tokens", json!({ "expire": slack })).await;
        for (provider, account) in [("github", &github), ("slack", &slack)] {
            let some = json!({ "count": 40, "account": account });
            system.sim(&format!("{provider}/generate"), some).await;
        }
        system.drain().await;
        let left = system.faults().await;
        assert!(left.is_empty(), "faults that did not occur: {left:?}");
        assert_leases_and_schedules(&system).await;
    }
    // Facts of the last round may be later than the upper bound of its run.
    tenant.poll().await;
    system.drain().await;
    tenant.assert_equals_ledgers(&[&github, &slack]).await;
    assert_no_job_finished_twice(&system).await;
    let rejected = metric(
        &system,
        Process::Ingress,
        0,
        "poblysh_webhook_deliveries_total",
        "stale",
    )
    .await;
    assert!(rejected < 1.0, "{rejected} deliveries were rejected");
    for worker in 0..2 {
        let done = metric(
            &system,
            Process::Worker,
            worker,
            "poblysh_jobs_total",
            "succeeded",
        )
        .await;
        eprintln!("clock skew: worker {worker} finished {done} jobs");
        assert!(done > 0.0, "worker {worker} finished no job");
    }
}
