//! `poblysh signals`.

use clap::Subcommand;
use uuid::Uuid;

use super::limit::{Limit, query};
use super::signal::Filter;
use super::tail::{self, TailArguments};
use crate::api::{Api, List};
use crate::output::Output;
use crate::table::Column;

const COLUMNS: &[Column] = &[
    Column::text("ID", "/id"),
    Column::time("AT", "/timestamp"),
    Column::text("SOURCE", "/source"),
    Column::text("KIND", "/kind"),
    Column::text("ACTOR", "/actor/name"),
    Column::text("CONTEXT", "/context/name"),
    Column::text("SUBJECT", "/subject/title"),
];

const FIELDS: &[Column] = &[
    Column::text("id", "/id"),
    Column::text("tenant", "/tenant_id"),
    Column::text("connection", "/connection_id"),
    Column::text("source", "/source"),
    Column::text("kind", "/kind"),
    Column::time("timestamp", "/timestamp"),
    Column::time("received", "/received_at"),
    Column::text("actor", "/actor/name"),
    Column::text("context", "/context/name"),
    Column::text("subject", "/subject/title"),
    Column::text("URL", "/subject/url"),
    Column::text("dedupe key", "/dedupe_key"),
    Column::text("payload", "/payload/normalized"),
];

const KINDS: &[Column] = &[
    Column::text("KIND", "/kind"),
    Column::text("PROVIDERS", "/providers"),
    Column::text("DESCRIPTION", "/description"),
];

/// A subcommand of `signals`.
#[derive(Debug, Subcommand)]
pub(crate) enum SignalsCommand {
    /// List Signals, newest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// Only those that happened at or after this time (RFC 3339).
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Only those that happened before this time (RFC 3339).
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a Signal; --json includes its payload.
    Get {
        /// The Signal's id.
        id: Uuid,
    },
    /// List the kinds.
    Kinds,
    /// Print Signals as they arrive.
    Tail(TailArguments),
}

/// Runs a subcommand.
pub(crate) async fn run(command: SignalsCommand, api: &Api, output: Output) -> anyhow::Result<()> {
    match command {
        SignalsCommand::List {
            filter,
            since,
            until,
            limit,
        } => {
            let mut parameters = filter.query();
            parameters.push(("order", "recent".to_owned()));
            parameters.extend(query([("since", since), ("until", until)]));
            let list = api
                .list(&["v1", "signals"], &parameters, "signals", limit.rows())
                .await?;
            output.list("signals", &list, COLUMNS)?;
        }
        SignalsCommand::Get { id } => {
            let signal = api.get(&["v1", "signals", &id.to_string()], &[]).await?;
            output.object(&signal, FIELDS)?;
        }
        SignalsCommand::Kinds => {
            let mut found = api.get(&["v1", "signals", "kinds"], &[]).await?;
            if output.is_json() {
                return Ok(output.json(&found)?);
            }
            let list = List {
                rows: found["kinds"]
                    .as_array_mut()
                    .map(std::mem::take)
                    .unwrap_or_default(),
                next_cursor: None,
            };
            output.list("kinds", &list, KINDS)?;
        }
        SignalsCommand::Tail(arguments) => tail::run(&arguments, api, output).await?,
    }
    Ok(())
}
