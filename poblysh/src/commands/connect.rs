//! `poblysh connect`: a connect link, and the way to its connection.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};

use super::connection::Connection;
use crate::api::Api;
use crate::output::Output;
use crate::table::text;

/// The interval between two looks at the connections.
const INTERVAL: Duration = Duration::from_secs(2);

/// Arguments of `connect`.
#[derive(Debug, Args)]
pub(crate) struct ConnectArguments {
    /// The provider's slug, as `poblysh providers` lists it.
    provider: String,
    /// The URL to which the browser returns at the end.
    #[arg(long, value_name = "URL")]
    return_to: Option<String>,
    /// Print the link, and do not wait for the connection.
    #[arg(long)]
    no_wait: bool,
    /// End when the account is connected, and do not wait for the backfill.
    #[arg(long, conflicts_with = "no_wait")]
    no_backfill: bool,
}

/// Creates a link, prints it, and waits for its connection.
pub(crate) async fn run(
    arguments: &ConnectArguments,
    api: &Api,
    output: Output,
) -> anyhow::Result<()> {
    let provider = arguments.provider.as_str();
    let before = statuses(api, provider).await?;
    let body = json!({ "return_to": arguments.return_to });
    let link = api.post(&["v1", "connect", provider], Some(&body)).await?;
    let url = text(&link["authorize_url"]);
    if arguments.no_wait {
        return Ok(output.done(&link, &url)?);
    }
    // With --json, stdout has the connection only.
    if output.is_json() {
        output.note(&url)?;
    } else {
        output.line(&url)?;
    }
    let expires_at = link["expires_at"].as_str().context("the link has no end")?;
    let expires_at: DateTime<Utc> = expires_at.parse().context("the link's end is no time")?;
    output.note("Open the link in a browser; waiting for the consent.")?;
    let connected = wait_for_connection(api, provider, &before, expires_at, output).await?;
    let connection = Connection::find(api, connected).await?;
    if !arguments.no_backfill {
        wait_for_backfill(&connection, output).await?;
    }
    let detail = connection.get().await?;
    let (account, id) = (text(&detail["account"]["name"]), text(&detail["id"]));
    Ok(output.done(&detail, &format!("{account} is connected: {id}"))?)
}

/// The connections of the tenant at the provider by id, with their statuses.
async fn statuses(api: &Api, provider: &str) -> anyhow::Result<HashMap<String, Value>> {
    let query = [("provider", provider.to_owned())];
    let list = api
        .list(&["v1", "connections"], &query, "connections", None)
        .await?;
    let rows = list.rows.into_iter();
    Ok(rows
        .map(|mut row| (text(&row["id"]), row["status"].take()))
        .collect())
}

/// Waits for a connection that is new, or that is active again.
async fn wait_for_connection(
    api: &Api,
    provider: &str,
    before: &HashMap<String, Value>,
    expires_at: DateTime<Utc>,
    output: Output,
) -> anyhow::Result<uuid::Uuid> {
    let mut expires_at = expires_at;
    let mut is_pending = false;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = statuses(api, provider).await?;
        let changed = |status: &str| {
            now.iter()
                .find(|(id, is)| *is == status && before.get(*id) != Some(*is))
                .map(|(id, _)| id.clone())
        };
        if let Some(id) = changed("active") {
            return Ok(id.parse()?);
        }
        if let Some(id) = changed("pending").filter(|_| !is_pending) {
            is_pending = true;
            let connection = Connection::find(api, id.parse()?).await?.get().await?;
            let end = connection["approval"]["expires_at"].as_str();
            expires_at = end.and_then(|end| end.parse().ok()).unwrap_or(expires_at);
            output.note(&format!(
                "An administrator of the account must open the same link, before {expires_at}."
            ))?;
        }
        if SystemClock.now() > expires_at {
            bail!(
                "the link has expired without a new connection; an account that was connected \
                 before shows no change"
            );
        }
    }
}

/// Waits until the backfill has ended, and shows its progress.
async fn wait_for_backfill(connection: &Connection, output: Output) -> anyhow::Result<()> {
    let mut shown = String::new();
    loop {
        let detail = connection.get().await?;
        if detail["backfilled_at"].is_string() {
            return Ok(());
        }
        if detail["status"] != "active" {
            bail!(
                "the connection is {} before its backfill has ended: {}",
                text(&detail["status"]),
                text(&detail["health"]["explanation"])
            );
        }
        let progress = describe(&detail);
        if progress != shown {
            output.note(&progress)?;
            shown = progress;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The progress of a backfill as a sentence.
fn describe(detail: &Value) -> String {
    let backfill = &detail["backfill"];
    let Some(part) = backfill["progress"].as_f64() else {
        return "The backfill begins.".to_owned();
    };
    format!(
        "Backfill: {:.0} %, {} of {} streams read.",
        part * 100.0,
        text(&backfill["streams_read"]),
        text(&backfill["streams"])
    )
}
