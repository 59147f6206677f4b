//! Row `backfill`: speed of one worker against a provider without delays.

use anyhow::Context;
use tests::harness::eventually;

use crate::installation;
use crate::report::Row;

/// Facts per repository before the account is connected.
const HISTORY: usize = 4000;

/// Measures Signals per second from the simulated provider, which uses the same cores.
pub(crate) async fn rows() -> anyhow::Result<Vec<Row>> {
    let system = installation::fast()
        .simulator(|simulator| {
            simulator.accounts = 1;
            simulator.providers.github.repositories = 4;
            simulator.history = HISTORY;
        })
        .start()
        .await;
    let tenant = system.tenant("Bench").await;
    let accounts = system.accounts().await;
    let (account, person) = accounts.first().expect("the simulator has an account");
    tenant.connect(account, person).await;
    // Measured from the start of the first job to the end of the last, without the consent.
    let mut took = None;
    eventually("the backfill is done", async || {
        took = sqlx::query_scalar::<_, Option<f64>>(
            "SELECT extract(epoch FROM max(j.finished_at) - min(j.started_at))::float8 \
             FROM job_history j JOIN connections c \
                 ON (c.tenant_id, c.id) = (j.tenant_id, j.connection_id) \
             WHERE j.kind = 'sync_connection' AND c.backfilled_at IS NOT NULL",
        )
        .fetch_one(system.db.pool())
        .await
        .unwrap_or_default();
        took.is_some()
    })
    .await;
    let took = took.context("the backfill has no duration")?;
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
