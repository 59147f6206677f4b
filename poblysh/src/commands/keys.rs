//! `poblysh keys`.

use anyhow::Context;
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
    Column::text("HINT", "/hint"),
    Column::text("SCOPES", "/scopes"),
    Column::time("LAST USED", "/last_used_at"),
    Column::time("EXPIRES", "/expires_at"),
    Column::time("REVOKED", "/revoked_at"),
];

/// A subcommand of `keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List the keys of the tenant.
    List(Limit),
    /// Create a key of the tenant, and print it once.
    Create {
        /// The name.
        name: String,
        /// A scope, such as `signals:read`; repeatable. All scopes without it.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// The days until the key expires; it does not expire without them.
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// Revoke a key of the tenant.
    Revoke {
        /// The key's id.
        id: Uuid,
    },
}

/// Runs a subcommand.
pub(crate) async fn run(command: KeysCommand, api: &Api, output: Output) -> anyhow::Result<()> {
    let tenant = api
        .tenant()
        .context("name the tenant of the keys with --tenant ID")?;
    let tenant = tenant.to_string();
    let path = ["v1", "tenants", &tenant, "api-keys"];
    match command {
        KeysCommand::List(limit) => {
            let list = api.list(&path, &[], "api_keys", limit.rows()).await?;
            output.list("api_keys", &list, COLUMNS)?;
        }
        KeysCommand::Create {
            name,
            scopes,
            expires_in_days,
        } => {
            let mut body = json!({ "name": name });
            if !scopes.is_empty() {
                body["scopes"] = json!(scopes);
            }
            if let Some(days) = expires_in_days {
                body["expires_in_days"] = json!(days);
            }
            let key = api.post(&path, Some(&body)).await?;
            if output.is_json() {
                output.json(&key)?;
            } else {
                output.line(&text(&key["key"]))?;
                output.note("Keep the key: it is shown once.")?;
            }
        }
        KeysCommand::Revoke { id } => {
            let id = id.to_string();
            api.delete(&["v1", "tenants", &tenant, "api-keys", &id])
                .await?;
            output.done(
                &json!({ "id": id, "revoked": true }),
                &format!("Key {id} revoked."),
            )?;
        }
    }
    Ok(())
}
