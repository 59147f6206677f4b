//! The row about backfill: how fast one worker reads an account that answers at once.

use std::time::Instant;

use tests::harness::{System, eventually};

use crate::report::Row;

/// Things that happened in the account before it is connected.
const HISTORY: usize = 4000;

/// Signals per second from the simulated provider, which works on the same cores.
pub(crate) async fn run() -> anyhow::Result<Vec<Row>> {
    let system = System::builder()
        .outside()
        .simulator(|simulator| {
            simulator.accounts = 1;
            simulator.repositories = 4;
            simulator.history = HISTORY;
        })
        .start()
        .await;
    let tenant = system.tenant("Bench").await;
    let accounts = system.accounts().await;
    let (account, person) = accounts.first().expect("the simulator has an account");
    let started = Instant::now();
    tenant.connect(account, person).await;
    eventually("the backfill is done", async || {
        sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM connections WHERE backfilled_at IS NOT NULL",
        )
        .fetch_one(system.db.pool())
        .await
        .is_ok_and(|done| done > 0)
    })
    .await;
    let took = started.elapsed().as_secs_f64();
    let stored: i32 = sqlx::query_scalar("SELECT count(*)::integer FROM signals")
        .fetch_one(system.db.pool())
        .await?;
    eprintln!("  {stored} Signals in {took:.1} s");
    Ok(vec![Row::new(
        "backfill by one worker",
        "Signals/s",
        f64::from(stored) / took,
        "10000",
    )])
}
