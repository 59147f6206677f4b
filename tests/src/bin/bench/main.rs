//! Benchmarks of the design's targets, compared with plain Postgres in the same run.
//!
//! `scripts/bench` builds and starts this program; it never fails on a number. The load generator
//! shares the machine with the measured system. Latencies are measured in an open loop: requests
//! are sent on a schedule independent of the responses, and time counts from the schedule.
#![expect(clippy::print_stdout, reason = "this program's output is its purpose")]

mod backfill;
mod connections;
mod http_client;
mod installation;
mod load;
mod long_transaction;
mod memory;
mod paced;
mod peers;
mod pgbench;
mod push;
mod queue;
mod reads;
mod report;
mod scale;
mod seed;
mod storage;
mod streams;
mod webhooks;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use peers::Peers;
use report::Row;
use scale::Scale;

/// Measures the rows of the design's table and prints them.
#[derive(Parser)]
struct Arguments {
    /// Only this row; may be repeated.
    #[arg(long = "row", value_enum)]
    rows: Vec<RowName>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Seconds of load per measurement.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Measurements per row; the table shows the median and the spread.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Signals in the table that `feed-reads` and `streams` read from.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(10_000..))]
    signals: u32,
    /// Finished jobs, deliveries and Signals in the large database of `scale`; may be repeated.
    #[arg(long, default_values_t = [1_000_000], value_parser = clap::value_parser!(u32).range(10_000..))]
    done: Vec<u32>,
    /// Seconds for which `long-transaction` leaves a transaction open.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    open_seconds: u32,
    /// Messages and files in the accounts of `gmail-mailbox` and `google-drive-files`.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..))]
    objects: u32,
    /// File with rows of another run in the format of `--json`, which are added to this run's.
    #[arg(long)]
    measured: Option<PathBuf>,
    /// Path of pgbench.
    #[arg(long, default_value = "pgbench")]
    pgbench: PathBuf,
    #[command(flatten)]
    peers: Peers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RowName {
    Ingress,
    AckLatency,
    ToFeed,
    PushToFeed,
    Sustained,
    Queue,
    QueueNoop,
    QueueIdle,
    FeedReads,
    Streams,
    Backfill,
    Storage,
    Connections,
    Memory,
    Scale,
    LongTransaction,
    GithubQuota,
    SlackWorkspace,
    GmailMailbox,
    GoogleDriveFiles,
}

impl RowName {
    /// Whether the row takes hours of a fake clock and is measured only on request.
    const fn is_paced(self) -> bool {
        matches!(
            self,
            Self::GithubQuota | Self::SlackWorkspace | Self::GmailMailbox | Self::GoogleDriveFiles
        )
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let rows = if arguments.rows.is_empty() {
        let all = RowName::value_variants().iter().copied();
        all.filter(|name| !name.is_paced()).collect()
    } else {
        arguments.rows.clone()
    };
    let mut rounds = Rounds {
        repeat: arguments.repeat,
        rows: Vec::new(),
    };
    for name in rows {
        measure(name, &arguments, &mut rounds).await?;
    }
    if let Some(path) = &arguments.measured {
        rounds.rows.extend(report::read(path)?);
    }
    if arguments.json {
        println!("{}", report::json(&rounds.rows));
    } else {
        print!("{}", report::table(&rounds.rows));
    }
    Ok(())
}

/// Measured rows, merged over all rounds.
struct Rounds {
    repeat: u32,
    rows: Vec<Row>,
}

impl Rounds {
    async fn run(
        &mut self,
        name: RowName,
        mut measure: impl AsyncFnMut() -> anyhow::Result<Vec<Row>>,
    ) -> anyhow::Result<()> {
        // Rows that take hours are measured once.
        let repeat = if name.is_paced() { 1 } else { self.repeat };
        for round in 1..=repeat {
            eprintln!("{name:?}, {round} of {repeat}");
            let measured = measure().await?;
            // Printed after each round, so that an aborted run does not lose its results.
            eprint!("{}", report::table(&measured));
            report::merge(&mut self.rows, measured);
        }
        Ok(())
    }
}

async fn measure(name: RowName, arguments: &Arguments, rounds: &mut Rounds) -> anyhow::Result<()> {
    let seconds = arguments.seconds;
    let pgbench = &pgbench::Pgbench {
        program: arguments.pgbench.clone(),
        seconds,
    };
    match name {
        RowName::Ingress => rounds.run(name, || webhooks::acknowledged(pgbench)).await,
        RowName::AckLatency => rounds.run(name, || webhooks::ack_latency(seconds)).await,
        RowName::ToFeed => rounds.run(name, || webhooks::to_feed(seconds)).await,
        RowName::PushToFeed => rounds.run(name, || push::rows(seconds)).await,
        RowName::Sustained => rounds.run(name, || webhooks::sustained(seconds)).await,
        RowName::Queue => {
            rounds
                .run(name, || queue::throughput(pgbench, &arguments.peers))
                .await
        }
        RowName::QueueNoop => {
            rounds
                .run(name, || queue::no_op(pgbench, &arguments.peers))
                .await
        }
        RowName::QueueIdle => rounds.run(name, || queue::idle(seconds)).await,
        RowName::FeedReads => {
            rounds
                .run(name, || reads::pages(pgbench, arguments.signals))
                .await
        }
        RowName::Streams => {
            rounds
                .run(name, || streams::rows(seconds, arguments.signals))
                .await
        }
        RowName::Backfill => rounds.run(name, backfill::rows).await,
        RowName::Storage => rounds.run(name, storage::rows).await,
        RowName::Connections => rounds.run(name, || connections::rows(seconds)).await,
        RowName::Memory => rounds.run(name, || memory::rows(seconds)).await,
        RowName::Scale => {
            // The rows are written once and stay for all rounds.
            let mut scale = Scale::create().await?;
            for done in arguments.done.iter().collect::<BTreeSet<_>>() {
                scale.grow(*done).await?;
                rounds.run(name, || scale.round(seconds)).await?;
            }
            Ok(())
        }
        RowName::LongTransaction => {
            let seconds = arguments.open_seconds;
            rounds.run(name, || long_transaction::rows(seconds)).await
        }
        RowName::GithubQuota => rounds.run(name, paced::github_quota).await,
        RowName::SlackWorkspace => rounds.run(name, paced::slack_workspace).await,
        RowName::GmailMailbox => {
            rounds
                .run(name, || paced::gmail_mailbox(arguments.objects))
                .await
        }
        RowName::GoogleDriveFiles => {
            rounds
                .run(name, || paced::google_drive_files(arguments.objects))
                .await
        }
    }
}
