//! Row `memory`: each process's memory and CPU time, start time, and program size.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tests::harness::{Process, System};

use crate::installation;
use crate::load::{self, Webhooks};
use crate::report::Row;

/// Webhooks per second under load.
const RATE: u32 = 500;
/// Duration of the idle measurement.
const IDLE: Duration = Duration::from_secs(5);
const MEBIBYTE: f64 = 1024.0 * 1024.0;
/// Number of restarts; the row shows their median.
const STARTS: usize = 5;

/// Each process with its name and the description of its load.
const PROCESSES: [(Process, &str, &str); 3] = [
    (Process::Api, "api-server", "a reader that follows"),
    (Process::Ingress, "webhook-ingress", "500 webhooks/s"),
    (Process::Worker, "sync-worker", "500 webhooks/s"),
];

/// Resources of one process.
struct ResourceUsage {
    memory: f64,
    /// Percent of one processor.
    processor: f64,
}

/// Measures all processes during a future.
async fn measure_processes(
    system: &System,
    during: impl Future<Output = ()>,
) -> Vec<ResourceUsage> {
    let times = async || {
        let processes = system.processes().await;
        PROCESSES.map(|(process, ..)| processes.processor_time(process))
    };
    let (started, before) = (Instant::now(), times().await);
    during.await;
    let (took, after) = (started.elapsed().as_secs_f64(), times().await);
    let processes = system.processes().await;
    let each = PROCESSES.iter().zip(before.iter().zip(after));
    each.map(|((process, ..), (before, after))| ResourceUsage {
        memory: mebibytes(processes.resident(*process)).unwrap_or(f64::NAN),
        processor: after.saturating_sub(*before).as_secs_f64() / took * 100.0,
    })
    .collect()
}

/// Measures each process, idle and under load.
pub(crate) async fn rows(seconds: u32) -> anyhow::Result<Vec<Row>> {
    let system = installation::fast().start().await;
    let idle = measure_processes(&system, tokio::time::sleep(IDLE)).await;
    let tenant = system.tenant("Bench").await;
    let webhooks = Arc::new(Webhooks::prepare(&system, &tenant).await?);
    let mut sent = Ok(());
    let loaded = measure_processes(&system, async {
        let count = usize::try_from(RATE * seconds).unwrap_or(usize::MAX);
        let timeout = Duration::from_secs(u64::from(seconds) + 30);
        let (load, _) = tokio::join!(
            load::open_loop(webhooks, RATE, seconds),
            crate::webhooks::follow(&tenant, count, timeout),
        );
        sent = load.map(drop);
    })
    .await;
    sent?;
    let mut rows = Vec::new();
    for ((process, name, load), (idle, loaded)) in
        PROCESSES.into_iter().zip(idle.into_iter().zip(loaded))
    {
        let program = process.program();
        let bytes = std::fs::metadata(&program)
            .with_context(|| format!("failed to read the size of {}", program.display()))?
            .len();
        let start = measure_start(&system, process).await;
        let memory = "MiB resident";
        let processor = "% of a processor";
        rows.extend([
            Row::new(format!("{name}, idle"), memory, idle.memory, "30"),
            Row::new(format!("{name}, {load}"), memory, loaded.memory, ""),
            Row::new(
                format!("{name}, idle, CPU time"),
                processor,
                idle.processor,
                "",
            ),
            Row::new(
                format!("{name}, {load}, CPU time"),
                processor,
                loaded.processor,
                "",
            ),
            Row::new(format!("{name}, start to ready"), "ms", start, ""),
            Row::new(format!("{name}, program"), "MiB", mebibytes(bytes)?, ""),
        ]);
    }
    Ok(rows)
}

fn mebibytes(bytes: u64) -> anyhow::Result<f64> {
    Ok(f64::from(u32::try_from(bytes)?) / MEBIBYTE)
}

/// Milliseconds until a killed process is ready again.
async fn measure_start(system: &System, process: Process) -> f64 {
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let mut processes = system.processes().await;
        let started = Instant::now();
        processes.kill_and_restart(process).await;
        took.push(started.elapsed());
    }
    crate::report::milliseconds(&took, 50)
}
