//! `poblysh jobs`.

use clap::Subcommand;
use uuid::Uuid;

use super::limit::{Limit, query};
use crate::api::Api;
use crate::output::Output;
use crate::table::{Column, text};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("ID", "/id"),
    Column::text("KIND", "/kind"),
    Column::text("PROVIDER", "/provider"),
    Column::text("STATE", "/state"),
    Column::text("ATTEMPTS", "/attempts"),
    Column::time("CREATED", "/created_at"),
    Column::time("NEXT RUN", "/next_run_at"),
    Column::text("ERROR", "/error/code"),
];

const FIELDS: &[Column] = &[
    Column::text("id", "/id"),
    Column::text("kind", "/kind"),
    Column::text("provider", "/provider"),
    Column::text("connection", "/connection_id"),
    Column::text("state", "/state"),
    Column::text("attempts", "/attempts"),
    Column::text("max attempts", "/max_attempts"),
    Column::text("cursor window", "/cursor_window"),
    Column::time("created", "/created_at"),
    Column::time("started", "/started_at"),
    Column::time("finished", "/finished_at"),
    Column::time("next run", "/next_run_at"),
    Column::text("error", "/error/code"),
    Column::text("message", "/error/message"),
];

/// A subcommand of `jobs`.
#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs, newest first.
    List {
        /// A state: queued, running, succeeded, dead or cancelled.
        #[arg(long)]
        state: Option<String>,
        /// A kind, such as `sync_connection`.
        #[arg(long)]
        kind: Option<String>,
        /// A connection's id.
        #[arg(long, value_name = "ID")]
        connection: Option<Uuid>,
        /// A provider's slug.
        #[arg(long)]
        provider: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a job.
    Get {
        /// The job's id.
        id: Uuid,
    },
    /// Run a dead or cancelled job again.
    Retry {
        /// The job's id.
        id: Uuid,
    },
    /// Cancel a job.
    Cancel {
        /// The job's id.
        id: Uuid,
    },
}

/// Runs a subcommand.
pub(crate) async fn run(command: JobsCommand, api: &Api, output: Output) -> anyhow::Result<()> {
    let act = async |id: Uuid, action: &str| {
        let answer = api
            .post(&["v1", "jobs", &id.to_string(), action], None)
            .await?;
        let state = text(&answer["job"]["state"]);
        output.done(&answer, &format!("Job {id} is {state}."))?;
        anyhow::Ok(())
    };
    match command {
        JobsCommand::List {
            state,
            kind,
            connection,
            provider,
            limit,
        } => {
            let query = query([
                ("state", state),
                ("kind", kind),
                ("connection_id", connection.map(|id| id.to_string())),
                ("provider", provider),
            ]);
            let list = api
                .list(&["v1", "jobs"], &query, "jobs", limit.rows())
                .await?;
            output.list("jobs", &list, COLUMNS)?;
        }
        JobsCommand::Get { id } => {
            let job = api.get(&["v1", "jobs", &id.to_string()], &[]).await?;
            output.object(&job, FIELDS)?;
        }
        JobsCommand::Retry { id } => act(id, "retry").await?,
        JobsCommand::Cancel { id } => act(id, "cancel").await?,
    }
    Ok(())
}
