//! Other queues in Postgres, each a program under `tests/peers`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Deserialize;
use tests::harness::TestDb;
use tokio::process::Command;

use crate::report::Comparison;

/// Paths of the peers' programs; a missing path means that the peer is not installed.
#[derive(Args)]
pub(crate) struct Peers {
    /// Folder with the peers that run in Node.js and their packages.
    #[arg(long)]
    node_peers: Option<PathBuf>,
    /// Path of the program that uses apalis-postgres.
    #[arg(long)]
    apalis_peer: Option<PathBuf>,
}

/// Report that a peer prints when all jobs are done.
#[derive(Deserialize)]
struct Report {
    jobs: u32,
    seconds: f64,
    job_ms: f64,
}

impl Peers {
    /// Measures jobs per second of each peer, one after the other, each in a new database.
    ///
    /// `job` is the duration of a job, `target` the ratio that our queue must reach.
    pub(crate) async fn run(
        &self,
        jobs: u32,
        concurrent: u32,
        job: Duration,
        target: &'static str,
    ) -> anyhow::Result<Vec<Comparison>> {
        let node = self.node_peers.as_deref();
        let peers = [
            (
                "graphile-worker, batched",
                node.map(|folder| in_node(folder, "graphile-worker.mjs")),
            ),
            (
                "pg-boss, batches of 500",
                node.map(|folder| in_node(folder, "pg-boss.mjs")),
            ),
            (
                "apalis-postgres, batches of 500",
                self.apalis_peer.as_deref().map(Command::new),
            ),
        ];
        let mut measured = Vec::new();
        for (name, command) in peers {
            let Some(command) = command else {
                measured.push(Comparison::missing(name, "not installed", target));
                continue;
            };
            let rate = measure(command, name, [jobs, concurrent], job).await?;
            measured.push(Comparison::new(name, rate, target));
        }
        Ok(measured)
    }
}

fn in_node(folder: &Path, script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(folder.join(script));
    command
}

async fn measure(
    mut command: Command,
    name: &str,
    [jobs, concurrent]: [u32; 2],
    job: Duration,
) -> anyhow::Result<f64> {
    let database = TestDb::empty().await;
    let output = command
        .arg(database.url())
        .args([jobs, concurrent].map(|count| count.to_string()))
        .arg(job.as_millis().to_string())
        .output()
        .await
        .with_context(|| format!("failed to run {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {errors}");
    let report: Report = serde_json::from_str(&text)
        .with_context(|| format!("{name} printed no figures: {text} {errors}"))?;
    ensure!(report.jobs == jobs, "{name} ran {} jobs", report.jobs);
    let rate = f64::from(jobs) / report.seconds;
    eprintln!("  {name}: {rate:.0}/s, a job took {:.2} ms", report.job_ms);
    Ok(rate)
}
