//! A Signal as a line, and the filters of Signals.

use clap::Args;
use serde_json::Value;
use uuid::Uuid;

use super::limit::{joined, query};
use crate::output::Output;
use crate::table::{text, time};

/// Filters of Signals.
#[derive(Debug, Clone, Args)]
pub(crate) struct Filter {
    /// A provider's slug; repeatable.
    #[arg(long = "source", value_name = "PROVIDER")]
    sources: Vec<String>,
    /// A kind, such as `pr_merged`; repeatable.
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// A connection's id; repeatable.
    #[arg(long = "connection", value_name = "ID")]
    connections: Vec<Uuid>,
}

impl Filter {
    /// The parameters of the query.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let ids: Vec<String> = self.connections.iter().map(Uuid::to_string).collect();
        query([
            ("source", joined(&self.sources)),
            ("kind", joined(&self.kinds)),
            ("connection_id", joined(&ids)),
        ])
    }
}

/// Prints a Signal as one line.
pub(super) fn print(signal: &Value, output: Output) -> std::io::Result<()> {
    if output.is_json() {
        return output.json_line(signal);
    }
    output.line(&format!(
        "{}  {}  {}  {}  {}  {}",
        time(&text(&signal["timestamp"])),
        text(&signal["source"]),
        text(&signal["kind"]),
        text(&signal["actor"]["name"]),
        text(&signal["context"]["name"]),
        text(&signal["subject"]["title"])
    ))
}
