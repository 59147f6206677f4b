//! `poblysh connections diagnose`.

use serde_json::{Value, json};

use super::connection::{Connection, STREAMS};
use super::{deliveries, jobs};
use crate::output::Output;
use crate::table::{text, time};

/// The most deliveries and jobs to show.
const RECENT: usize = 5;
/// The most streams to show by name.
const MAX_STREAMS: usize = 20;

/// Explains the state of a connection.
pub(super) async fn run(connection: &Connection, output: Output) -> anyhow::Result<()> {
    let api = &connection.api;
    let detail = connection.get().await?;
    let of_connection = [("connection_id", connection.id.to_string())];
    let streams = api
        .list(&connection.path(&["streams"]), &[], "streams", None)
        .await?;
    let path = ["v1", "webhook-deliveries"];
    let received = api
        .list(&path, &of_connection, "deliveries", Some(RECENT))
        .await?;
    let run = api
        .list(&["v1", "jobs"], &of_connection, "jobs", Some(RECENT))
        .await?;
    if output.is_json() {
        return Ok(output.json(&json!({
            "connection": detail, "streams": streams.rows, "deliveries": received.rows,
            "jobs": run.rows,
        }))?);
    }
    health(&detail, output)?;
    progress(&detail, output)?;
    scopes(&detail, output)?;
    let notable: Vec<Value> = notable(&streams.rows);
    output.line(&format!("streams    {}", count_states(&streams.rows)))?;
    if !notable.is_empty() {
        output.table(STREAMS, &notable)?;
    }
    section(
        "last deliveries",
        &received.rows,
        deliveries::COLUMNS,
        output,
    )?;
    section("last jobs", &run.rows, jobs::COLUMNS, output)
}

fn section(
    title: &str,
    rows: &[Value],
    columns: &[crate::table::Column],
    output: Output,
) -> anyhow::Result<()> {
    output.line("")?;
    if rows.is_empty() {
        return Ok(output.line(&format!("{title}: none"))?);
    }
    output.line(&format!("{title}:"))?;
    Ok(output.table(columns, rows)?)
}

fn health(detail: &Value, output: Output) -> anyhow::Result<()> {
    let health = &detail["health"];
    let action = &health["action"];
    output.line(&format!(
        "{} {} ({})",
        text(&detail["provider"]),
        text(&detail["account"]["name"]),
        text(&detail["id"])
    ))?;
    output.line(&format!(
        "health     {} since {}: {}",
        text(&health["state"]),
        time(&text(&health["since"])),
        text(&health["reason"])
    ))?;
    output.line(&format!("           {}", text(&health["explanation"])))?;
    let mut act = vec![match action["kind"].as_str() {
        None | Some("none") => "none is needed".to_owned(),
        Some(kind) => format!("{kind} by {}", text(&action["who"]).replace('_', " ")),
    }];
    if let Some(until) = action["until"].as_str() {
        act.push(format!("until {}", time(until)));
    }
    if let Some(url) = action["url"].as_str() {
        act.push(format!("at {url}"));
    }
    output.line(&format!("action     {}", act.join(", ")))?;
    for warning in detail["warnings"].as_array().into_iter().flatten() {
        let (code, message) = (text(&warning["code"]), text(&warning["message"]));
        output.line(&format!("warning    {code}: {message}"))?;
    }
    Ok(())
}

fn progress(detail: &Value, output: Output) -> anyhow::Result<()> {
    let at = |name: &str| time(&text(&detail[name]));
    output.line(&format!(
        "reading    complete through {}, last sync {}, next sync {}",
        at("complete_through"),
        at("last_sync_at"),
        at("next_sync_at")
    ))?;
    if let Some(held) = detail.get("held_back_by").filter(|held| held.is_object()) {
        output.line(&format!(
            "held back  by {} since {}: {} ({})",
            text(&held["stream"]),
            time(&text(&held["since"])),
            text(&held["message"]),
            text(&held["code"])
        ))?;
    }
    let webhooks = &detail["webhooks"];
    output.line(&format!(
        "webhooks   {}, last delivery {}, {} facts missed in 24 h",
        text(&webhooks["state"]),
        time(&text(&webhooks["last_delivery_at"])),
        text(&webhooks["missed_24h"])
    ))?;
    Ok(())
}

fn scopes(detail: &Value, output: Output) -> anyhow::Result<()> {
    let listed = |name: &str| -> Vec<String> {
        let values = detail[name].as_array().into_iter().flatten();
        values.map(text).collect()
    };
    let granted = listed("scopes");
    let missing: Vec<String> = listed("required_scopes")
        .into_iter()
        .filter(|scope| !granted.contains(scope))
        .collect();
    output.line(&format!("scopes     {} granted", granted.len()))?;
    if !missing.is_empty() {
        output.line(&format!("           missing: {}", missing.join(", ")))?;
    }
    Ok(())
}

/// The streams that need attention, or all if there are few.
fn notable(streams: &[Value]) -> Vec<Value> {
    let is_notable = |stream: &&Value| {
        streams.len() <= MAX_STREAMS || !matches!(stream["state"].as_str(), Some("complete"))
    };
    streams
        .iter()
        .filter(is_notable)
        .take(MAX_STREAMS)
        .cloned()
        .collect()
}

fn count_states(streams: &[Value]) -> String {
    let states = ["complete", "reading", "limited", "denied", "failing"];
    let counts = states.map(|state| {
        let has_state = |stream: &&Value| stream["state"] == state;
        (state, streams.iter().filter(has_state).count())
    });
    let parts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    if parts.is_empty() {
        return "none yet".to_owned();
    }
    parts.join(", ")
}
