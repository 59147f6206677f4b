//! `poblysh connections`.

use anyhow::ensure;
use clap::Subcommand;
use serde_json::json;
use uuid::Uuid;

use super::connection::{Connection, STREAMS};
use super::diagnose;
use super::limit::{Limit, joined, query};
use crate::api::Api;
use crate::output::Output;
use crate::table::{Column, text};

const COLUMNS: &[Column] = &[
    Column::text("ID", "/id"),
    Column::text("PROVIDER", "/provider"),
    Column::text("ACCOUNT", "/account/name"),
    Column::text("STATUS", "/status"),
    Column::text("HEALTH", "/health/state"),
    Column::text("REASON", "/health/reason"),
    Column::time("SINCE", "/health/since"),
    Column::text("TENANT", "/tenant_id"),
];

const FIELDS: &[Column] = &[
    Column::text("id", "/id"),
    Column::text("tenant", "/tenant_id"),
    Column::text("provider", "/provider"),
    Column::text("account", "/account/name"),
    Column::text("status", "/status"),
    Column::text("health", "/health/state"),
    Column::text("explanation", "/health/explanation"),
    Column::time("complete through", "/complete_through"),
    Column::time("backfilled", "/backfilled_at"),
    Column::time("last sync", "/last_sync_at"),
    Column::time("next sync", "/next_sync_at"),
    Column::time("last Signal", "/last_signal_at"),
    Column::text("scopes", "/scopes"),
    Column::time("created", "/created_at"),
];

/// A subcommand of `connections`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConnectionsCommand {
    /// List connections.
    List {
        /// A provider's slug; repeatable.
        #[arg(long = "provider", value_name = "PROVIDER")]
        providers: Vec<String>,
        /// A status, such as `active` or `needs_reauth`; repeatable.
        #[arg(long = "status", value_name = "STATUS")]
        statuses: Vec<String>,
        /// A state of health, such as `degraded` or `action_required`; repeatable.
        #[arg(long = "health", value_name = "STATE")]
        health: Vec<String>,
        /// Only those whose part of the feed does not advance.
        #[arg(long)]
        behind: bool,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a connection.
    Get {
        /// The connection's id.
        id: Uuid,
    },
    /// Explain a connection's state: health, action, streams, scopes, deliveries and jobs.
    Diagnose {
        /// The connection's id.
        id: Uuid,
    },
    /// List the streams of a connection.
    Streams {
        /// The connection's id.
        id: Uuid,
        /// A state: reading, complete, denied, limited or failing; repeatable.
        #[arg(long = "state", value_name = "STATE")]
        states: Vec<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Sync a connection now.
    Sync {
        /// The connection's id.
        id: Uuid,
        /// Read the whole backfill again instead of the changes.
        #[arg(long)]
        full: bool,
    },
    /// Pause a connection.
    Pause {
        /// The connection's id.
        id: Uuid,
    },
    /// Resume a paused connection.
    Resume {
        /// The connection's id.
        id: Uuid,
    },
    /// End a connection: revoke its grant and delete its subscriptions. Its Signals are kept.
    Disconnect {
        /// The connection's id.
        id: Uuid,
        /// Confirm the end of the connection.
        #[arg(long)]
        yes: bool,
    },
}

/// Runs a subcommand.
pub(crate) async fn run(
    command: ConnectionsCommand,
    api: &Api,
    output: Output,
) -> anyhow::Result<()> {
    match command {
        ConnectionsCommand::List {
            providers,
            statuses,
            health,
            behind,
            limit,
        } => {
            let query = query([
                ("provider", joined(&providers)),
                ("status", joined(&statuses)),
                ("health", joined(&health)),
                ("behind", behind.then(|| "true".to_owned())),
            ]);
            let path = ["v1", "connections"];
            let list = api.list(&path, &query, "connections", limit.rows()).await?;
            output.list("connections", &list, COLUMNS)?;
        }
        ConnectionsCommand::Get { id } => {
            let connection = Connection::find(api, id).await?.get().await?;
            output.object(&connection, FIELDS)?;
        }
        ConnectionsCommand::Diagnose { id } => {
            diagnose::run(&Connection::find(api, id).await?, output).await?;
        }
        ConnectionsCommand::Streams { id, states, limit } => {
            let connection = Connection::find(api, id).await?;
            let query = query([("state", joined(&states))]);
            let path = connection.path(&["streams"]);
            let list = connection
                .api
                .list(&path, &query, "streams", limit.rows())
                .await?;
            output.list("streams", &list, STREAMS)?;
        }
        ConnectionsCommand::Sync { id, full } => {
            let connection = Connection::find(api, id).await?;
            let body = json!({ "mode": if full { "full" } else { "incremental" } });
            let answer = connection
                .api
                .post(&connection.path(&["sync"]), Some(&body))
                .await?;
            let job = text(&answer["job"]["id"]);
            output.done(&answer, &format!("Job {job} syncs the connection."))?;
        }
        ConnectionsCommand::Pause { id } => change(api, id, "paused", output).await?,
        ConnectionsCommand::Resume { id } => change(api, id, "active", output).await?,
        ConnectionsCommand::Disconnect { id, yes } => {
            ensure!(
                yes,
                "`disconnect` ends the grant, and the team must connect again; add --yes to confirm"
            );
            let connection = Connection::find(api, id).await?;
            connection.api.delete(&connection.path(&[])).await?;
            let value = json!({ "id": id, "status": "disconnected" });
            output.done(&value, &format!("Connection {id} is disconnected."))?;
        }
    }
    Ok(())
}

async fn change(api: &Api, id: Uuid, status: &str, output: Output) -> anyhow::Result<()> {
    let connection = Connection::find(api, id).await?;
    let body = json!({ "status": status });
    let changed = connection.api.patch(&connection.path(&[]), &body).await?;
    let sentence = format!("Connection {id} is {}.", text(&changed["status"]));
    Ok(output.done(&changed, &sentence)?)
}
