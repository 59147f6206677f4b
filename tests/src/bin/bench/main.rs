//! Measures what the design promises in numbers, beside what plain Postgres does on the same
//! machine in the same run. `scripts/bench` builds and starts it; it never fails on a number.
//!
//! The load generator shares the machine with what it measures. Where a latency is reported,
//! requests go out on a schedule whatever the answers do, and time counts from the schedule.
#![expect(clippy::print_stdout, reason = "this program's output is its purpose")]

mod backfill;
mod fill;
mod footprint;
mod growth;
mod held_open;
mod line;
mod load;
mod peers;
mod pgbench;
mod queue;
mod reads;
mod report;
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
    /// Signals in the table that `feed-reads` reads from.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(10_000..))]
    signals: u32,
    /// Finished jobs, filed deliveries and Signals beside which `growth` measures; may be
    /// repeated.
    #[arg(long, default_values_t = [1_000_000], value_parser = clap::value_parser!(u32).range(10_000..))]
    done: Vec<u32>,
    /// Seconds for which `held-open` leaves a transaction open.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    open_seconds: u32,
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
    Queue,
    QueueIdle,
    FeedReads,
    Backfill,
    Footprint,
    Growth,
    HeldOpen,
}

impl RowName {
    /// How much is to have piled up where a row is measured; it is measured beside each, the least
    /// first.
    fn beside(self, arguments: &Arguments) -> BTreeSet<u32> {
        match self {
            Self::Growth => arguments.done.iter().copied().collect(),
            _ => BTreeSet::from([0]),
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let wanted = if arguments.rows.is_empty() {
        RowName::value_variants().to_vec()
    } else {
        arguments.rows.clone()
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut growth = None;
    for name in wanted {
        for beside in name.beside(&arguments) {
            for round in 1..=arguments.repeat {
                eprintln!("{name:?}, {round} of {}", arguments.repeat);
                let measured = measure(name, &arguments, beside, &mut growth).await?;
                // A long run tells what it has, and what it has told is not lost with it.
                eprint!("{}", report::table(&measured));
                report::merge(&mut rows, measured);
            }
        }
    }
    if arguments.json {
        println!("{}", report::json(&rows));
    } else {
        print!("{}", report::table(&rows));
    }
    Ok(())
}

async fn measure(
    name: RowName,
    arguments: &Arguments,
    beside: u32,
    growth: &mut Option<Growth>,
) -> anyhow::Result<Vec<Row>> {
    let pgbench = pgbench::Pgbench {
        program: arguments.pgbench.clone(),
        seconds: arguments.seconds,
    };
    match name {
        RowName::Ingress => webhooks::acknowledged(&pgbench).await,
        RowName::AckLatency => webhooks::acknowledgement(arguments.seconds).await,
        RowName::ToFeed => webhooks::to_feed(arguments.seconds).await,
        RowName::Queue => queue::throughput(&pgbench, &arguments.peers).await,
        RowName::QueueIdle => queue::idle(arguments.seconds).await,
        RowName::FeedReads => reads::pages(&pgbench, arguments.signals).await,
        RowName::Backfill => backfill::run().await,
        RowName::Footprint => footprint::measure(arguments.seconds).await,
        RowName::Growth => {
            // What has piled up is written once, and stays for the next round.
            let mut grown = match growth.take() {
                Some(grown) => grown,
                None => Growth::begin().await?,
            };
            grown.grow(beside).await?;
            growth.insert(grown).round(arguments.seconds).await
        }
        RowName::HeldOpen => held_open::rows(arguments.open_seconds).await,
    }
}
