//! `poblysh deliveries`.

use clap::Subcommand;
use uuid::Uuid;

use super::limit::{Limit, query};
use crate::api::Api;
use crate::output::Output;
use crate::table::{Column, text};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("ID", "/id"),
    Column::time("RECEIVED", "/received_at"),
    Column::text("PROVIDER", "/provider"),
    Column::text("EVENT", "/event"),
    Column::text("OUTCOME", "/outcome"),
    Column::text("SIGNALS", "/signals"),
    Column::text("DETAIL", "/outcome_detail"),
];

const FIELDS: &[Column] = &[
    Column::text("id", "/id"),
    Column::text("provider", "/provider"),
    Column::text("connection", "/connection_id"),
    Column::text("account", "/account_id"),
    Column::text("event", "/event"),
    Column::text("dedupe id", "/dedupe_id"),
    Column::text("source", "/source"),
    Column::text("result", "/result"),
    Column::text("outcome", "/outcome"),
    Column::text("detail", "/outcome_detail"),
    Column::text("Signals", "/signals"),
    Column::time("received", "/received_at"),
    Column::time("processed", "/processed_at"),
    Column::text("bytes", "/body_bytes"),
];

const UNMATCHED: &[Column] = &[
    Column::text("PROVIDER", "/provider"),
    Column::text("ACCOUNT", "/account_id"),
    Column::text("DELIVERIES", "/deliveries"),
    Column::text("BYTES", "/bytes"),
    Column::text("OVER QUOTA", "/over_quota"),
    Column::time("LAST", "/last_received_at"),
];

/// A subcommand of `deliveries`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeliveriesCommand {
    /// List deliveries, newest first.
    List {
        /// A provider's slug.
        #[arg(long)]
        provider: Option<String>,
        /// An outcome: pending, processed, ignored, failed or unmatched.
        #[arg(long)]
        outcome: Option<String>,
        /// A connection's id.
        #[arg(long, value_name = "ID")]
        connection: Option<Uuid>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a delivery; --json includes headers, and for operators the body.
    Get {
        /// The delivery's id.
        id: Uuid,
    },
    /// Process a delivery again.
    Replay {
        /// The delivery's id.
        id: Uuid,
    },
    /// List the accounts whose deliveries match no connection.
    Unmatched {
        /// A provider's slug.
        #[arg(long)]
        provider: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
}

/// Runs a subcommand.
pub(crate) async fn run(
    command: DeliveriesCommand,
    api: &Api,
    output: Output,
) -> anyhow::Result<()> {
    let path = ["v1", "webhook-deliveries"];
    match command {
        DeliveriesCommand::List {
            provider,
            outcome,
            connection,
            limit,
        } => {
            let query = query([
                ("provider", provider),
                ("outcome", outcome),
                ("connection_id", connection.map(|id| id.to_string())),
            ]);
            let list = api.list(&path, &query, "deliveries", limit.rows()).await?;
            output.list("deliveries", &list, COLUMNS)?;
        }
        DeliveriesCommand::Get { id } => {
            let id = id.to_string();
            let delivery = api.get(&[path[0], path[1], &id], &[]).await?;
            output.object(&delivery, FIELDS)?;
        }
        DeliveriesCommand::Replay { id } => {
            let answer = api
                .post(&[path[0], path[1], &id.to_string(), "replay"], None)
                .await?;
            let job = text(&answer["job"]["id"]);
            output.done(&answer, &format!("Delivery {id} is replayed by job {job}."))?;
        }
        DeliveriesCommand::Unmatched { provider, limit } => {
            let query = query([("provider", provider)]);
            let path = ["v1", "unmatched-accounts"];
            let list = api
                .list(&path, &query, "unmatched_accounts", limit.rows())
                .await?;
            output.list("unmatched_accounts", &list, UNMATCHED)?;
        }
    }
    Ok(())
}
