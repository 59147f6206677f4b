//! Measures what the design promises in numbers, beside what plain Postgres does on the same
//! machine in the same run. `scripts/bench` builds and starts it; it never fails on a number.
//!
//! The load generator shares the machine with what it measures. Where a latency is reported,
//! requests go out on a schedule whatever the answers do, and time counts from the schedule.
#![expect(clippy::print_stdout, reason = "this program's output is its purpose")]

mod backfill;
mod connections;
mod fill;
mod footprint;
mod growth;
mod held_open;
mod installation;
mod line;
mod load;
mod paced;
mod peers;
mod pgbench;
mod queue;
mod reads;
mod report;
mod storage;
mod streams;
mod webhooks;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use growth::Growth;
use peers::Peers;
use report::Row;

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
    /// Finished jobs, filed deliveries and Signals beside which `growth` measures; may be
    /// repeated.
    #[arg(long, default_values_t = [1_000_000], value_parser = clap::value_parser!(u32).range(10_000..))]
    done: Vec<u32>,
    /// Seconds for which `held-open` leaves a transaction open.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    open_seconds: u32,
    /// Rows of another run, as `--json` prints them, to print with this run's.
    #[arg(long)]
    measured: Option<PathBuf>,
    /// The pgbench of the server that is measured.
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
    Sustained,
    Queue,
    QueueNoop,
    QueueIdle,
    FeedReads,
    Streams,
    Backfill,
    Storage,
    Connections,
    Footprint,
    Growth,
    HeldOpen,
    GithubQuota,
    SlackWorkspace,
}

impl RowName {
    /// Whether it takes hours of a faked clock. Such a row is measured only where it is named.
    const fn is_paced(self) -> bool {
        matches!(self, Self::GithubQuota | Self::SlackWorkspace)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let wanted = if arguments.rows.is_empty() {
        let all = RowName::value_variants().iter().copied();
        all.filter(|name| !name.is_paced()).collect()
    } else {
        arguments.rows.clone()
    };
    let mut rounds = Rounds {
        repeat: arguments.repeat,
        rows: Vec::new(),
    };
    for name in wanted {
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

/// What was measured, round by round.
struct Rounds {
    repeat: u32,
    rows: Vec<Row>,
}

impl Rounds {
    async fn of(
        &mut self,
        name: RowName,
        mut measure: impl AsyncFnMut() -> anyhow::Result<Vec<Row>>,
    ) -> anyhow::Result<()> {
        // Hours are measured once.
        let repeat = if name.is_paced() { 1 } else { self.repeat };
        for round in 1..=repeat {
            eprintln!("{name:?}, {round} of {repeat}");
            let measured = measure().await?;
            // A long run tells what it has, and what it has told is not lost with it.
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
        RowName::Ingress => rounds.of(name, || webhooks::acknowledged(pgbench)).await,
        RowName::AckLatency => rounds.of(name, || webhooks::acknowledgement(seconds)).await,
        RowName::ToFeed => rounds.of(name, || webhooks::to_feed(seconds)).await,
        RowName::Sustained => rounds.of(name, || webhooks::sustained(seconds)).await,
        RowName::Queue => {
            rounds
                .of(name, || queue::throughput(pgbench, &arguments.peers))
                .await
        }
        RowName::QueueNoop => {
            rounds
                .of(name, || queue::no_op(pgbench, &arguments.peers))
                .await
        }
        RowName::QueueIdle => rounds.of(name, || queue::idle(seconds)).await,
        RowName::FeedReads => {
            rounds
                .of(name, || reads::pages(pgbench, arguments.signals))
                .await
        }
        RowName::Streams => {
            rounds
                .of(name, || streams::rows(seconds, arguments.signals))
                .await
        }
        RowName::Backfill => rounds.of(name, backfill::run).await,
        RowName::Storage => rounds.of(name, storage::rows).await,
        RowName::Connections => rounds.of(name, || connections::rows(seconds)).await,
        RowName::Footprint => rounds.of(name, || footprint::measure(seconds)).await,
        RowName::Growth => {
            // What has piled up is written once, and stays for the next round.
            let mut growth = Growth::begin().await?;
            for done in arguments.done.iter().collect::<BTreeSet<_>>() {
                growth.grow(*done).await?;
                rounds.of(name, || growth.round(seconds)).await?;
            }
            Ok(())
        }
        RowName::HeldOpen => {
            let seconds = arguments.open_seconds;
            rounds.of(name, || held_open::rows(seconds)).await
        }
        RowName::GithubQuota => rounds.of(name, paced::github_quota).await,
        RowName::SlackWorkspace => rounds.of(name, paced::slack_workspace).await,
    }
}
