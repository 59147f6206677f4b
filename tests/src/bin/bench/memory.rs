//! The row about memory: what each process holds while nothing happens.

use std::time::Duration;

use anyhow::Context;
use tests::harness::{Process, System};

use crate::report::Row;

/// Resident memory five seconds after everything was ready.
pub(crate) async fn idle() -> anyhow::Result<Vec<Row>> {
    let system = System::builder().outside().start().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut rows = Vec::new();
    for (process, id) in system.processes().await.ids() {
        let name = match process {
            Process::Api => "api-server, idle",
            Process::Ingress => "webhook-ingress, idle",
            Process::Worker => "sync-worker, idle",
        };
        rows.push(Row::new(name, "MiB resident", resident(id)?, "30"));
    }
    Ok(rows)
}

fn resident(id: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{id}/status");
    let status = std::fs::read_to_string(&path)
        .with_context(|| format!("{path}: memory is measured on Linux only"))?;
    let kibibytes: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|figure| figure.parse().ok())
        .context("no resident size")?;
    Ok(kibibytes / 1024.0)
}
