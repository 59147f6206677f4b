//! `poblysh tenants`.

use clap::Subcommand;
use serde_json::json;
use uuid::Uuid;

use super::limit::Limit;
use crate::api::Api;
use crate::output::Output;
use crate::table::{Column, text};

const COLUMNS: &[Column] = &[
    Column::text("ID", "/id"),
    Column::text("NAME", "/name"),
    Column::time("CREATED", "/created_at"),
];

/// A subcommand of `tenants`.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantsCommand {
    /// List the tenants.
    List(Limit),
    /// Show a tenant.
    Get {
        /// The tenant's id.
        id: Uuid,
    },
    /// Create a tenant.
    Create {
        /// The name, as the connect pages show it.
        name: String,
    },
}

/// Runs a subcommand.
pub(crate) async fn run(command: TenantsCommand, api: &Api, output: Output) -> anyhow::Result<()> {
    match command {
        TenantsCommand::List(limit) => {
            let list = api
                .list(&["v1", "tenants"], &[], "tenants", limit.rows())
                .await?;
            output.list("tenants", &list, COLUMNS)?;
        }
        TenantsCommand::Get { id } => {
            let tenant = api.get(&["v1", "tenants", &id.to_string()], &[]).await?;
            output.object(&tenant, COLUMNS)?;
        }
        TenantsCommand::Create { name } => {
            let body = json!({ "name": name });
            let tenant = api.post(&["v1", "tenants"], Some(&body)).await?;
            output.done(&tenant, &format!("Tenant {} created.", text(&tenant["id"])))?;
        }
    }
    Ok(())
}
