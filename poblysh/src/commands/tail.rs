//! `poblysh signals tail`: follows the stream of Signals, and resumes it after an interruption.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::signal::{Filter, print};
use crate::api::{Api, ApiError};
use crate::output::Output;
use crate::sse::Parser;

const PATH: [&str; 3] = ["v1", "signals", "stream"];
/// The type of events with a Signal; others may be added.
const SIGNAL: &str = "signal";
const MIN_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(30);

/// Arguments of `tail`.
#[derive(Debug, Args)]
pub(crate) struct TailArguments {
    #[command(flatten)]
    filter: Filter,
    /// Begin after this position, as a page of the feed or an earlier `tail` states it.
    #[arg(long)]
    cursor: Option<String>,
    /// Begin with the oldest Signal of the feed.
    #[arg(long, conflicts_with = "cursor")]
    from_start: bool,
    /// End after this many Signals.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Follows the stream until it has printed enough, or until it is interrupted.
pub(super) async fn run(
    arguments: &TailArguments,
    api: &Api,
    output: Output,
) -> anyhow::Result<()> {
    let mut tail = Tail {
        api,
        output,
        query: arguments.filter.query(),
        cursor: arguments.cursor.clone(),
        left: arguments.count,
    };
    let result = tokio::select! {
        result = tail.follow(arguments.from_start) => result,
        interrupt = tokio::signal::ctrl_c() => interrupt.map_err(Into::into),
    };
    if let Some(cursor) = &tail.cursor {
        output.note(&format!("Continue with --cursor {cursor}"))?;
    }
    result
}

struct Tail<'a> {
    api: &'a Api,
    output: Output,
    query: Vec<(&'static str, String)>,
    /// The position after the last printed Signal.
    cursor: Option<String>,
    /// The number of Signals left to print.
    left: Option<u64>,
}

/// The reason why a stream ended.
enum End {
    /// Enough Signals are printed.
    Done,
    /// The server or the network closed it.
    Closed,
}

impl Tail<'_> {
    async fn follow(&mut self, from_start: bool) -> anyhow::Result<()> {
        if from_start && matches!(self.read_feed().await?, End::Done) {
            return Ok(());
        }
        let mut delay = MIN_DELAY;
        let mut was_open = false;
        loop {
            match self.read_stream().await {
                Ok(End::Done) => return Ok(()),
                Ok(End::Closed) => {
                    was_open = true;
                    delay = MIN_DELAY;
                }
                // The first failure is one of the arguments or of the installation.
                Err(error) if !is_retried(&error, was_open) => return Err(error),
                Err(error) => {
                    self.output.note(&format!("{error}; trying again"))?;
                    delay = (delay * 2).min(MAX_DELAY);
                }
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// Prints the feed from its start to its present end.
    async fn read_feed(&mut self) -> anyhow::Result<End> {
        loop {
            let mut query = self.query.clone();
            query.push(("order", "feed".to_owned()));
            query.extend(self.cursor.clone().map(|cursor| ("cursor", cursor)));
            let page = self.api.get(&["v1", "signals"], &query).await?;
            for signal in page["signals"].as_array().into_iter().flatten() {
                // The page's cursor is after its last Signal, so a shorter print has none.
                if matches!(self.print(signal)?, End::Done) {
                    self.cursor = None;
                    return Ok(End::Done);
                }
            }
            if let Some(cursor) = page["next_cursor"].as_str() {
                self.cursor = Some(cursor.to_owned());
            }
            if page["has_more"] != true {
                return Ok(End::Closed);
            }
        }
    }

    async fn read_stream(&mut self) -> anyhow::Result<End> {
        let last = self.cursor.as_deref();
        let mut response = self.api.stream(&PATH, &self.query, last).await?;
        let mut parser = Parser::default();
        // A broken transfer is like an end: the stream resumes behind the last event.
        while let Ok(Some(chunk)) = response.chunk().await {
            for event in parser.push(&chunk)? {
                let is_signal = event.name.as_deref() == Some(SIGNAL);
                let is_done = if is_signal {
                    self.print(&serde_json::from_str(&event.data)?)?
                } else {
                    End::Closed
                };
                self.cursor = event.id.or(self.cursor.take());
                if matches!(is_done, End::Done) {
                    return Ok(End::Done);
                }
            }
        }
        Ok(End::Closed)
    }

    /// Prints a Signal, and returns whether it was the last one.
    fn print(&mut self, signal: &Value) -> anyhow::Result<End> {
        print(signal, self.output)?;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Ok(End::Done);
            }
        }
        Ok(End::Closed)
    }
}

/// Whether a later attempt may succeed; before the first success only if the API asks to wait.
fn is_retried(error: &anyhow::Error, was_open: bool) -> bool {
    let Some(error) = error.downcast_ref::<ApiError>() else {
        return false;
    };
    error.is_transient() && (was_open || error.delay().is_some())
}
