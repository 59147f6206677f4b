//! `poblysh overview`.

use serde_json::{Map, Value};

use crate::api::Api;
use crate::output::Output;
use crate::table::{Column, text, time};

const DELIVERIES: &[Column] = &[
    Column::text("PROVIDER", "/provider"),
    Column::text("RESULT", "/result"),
    Column::text("REQUESTS IN 24 H", "/requests"),
    Column::time("LAST", "/last_at"),
];

/// Shows counts over all tenants.
pub(crate) async fn run(api: &Api, output: Output) -> anyhow::Result<()> {
    let overview = api.get(&["v1", "overview"], &[]).await?;
    if output.is_json() {
        return Ok(output.json(&overview)?);
    }
    let connections = &overview["connections"];
    output.line(&format!(
        "{} of {} connections need attention ({})",
        connections["need_attention"],
        connections["total"],
        time(&text(&overview["at"]))
    ))?;
    for provider in connections["by_provider"].as_array().into_iter().flatten() {
        let health = counts(provider["by_health"].as_object());
        output.line(&format!("  {}: {health}", text(&provider["provider"])))?;
    }
    let queue = &overview["queue"];
    output.line(&format!(
        "jobs: {} due (oldest {} s), {} running, {} scheduled, {} dead; {} workers",
        queue["due"],
        seconds(&queue["oldest_seconds"]),
        queue["running"],
        queue["scheduled"],
        queue["dead"],
        queue["workers"]
    ))?;
    output.line(&format!(
        "feed: {} s behind",
        seconds(&overview["feed"]["lag_seconds"])
    ))?;
    let deliveries = overview["deliveries"].as_array();
    if let Some(rows) = deliveries.filter(|rows| !rows.is_empty()) {
        output.table(DELIVERIES, rows)?;
    }
    Ok(())
}

/// Counts above zero by name.
fn counts(of: Option<&Map<String, Value>>) -> String {
    let counts = of.into_iter().flatten();
    let positive = counts.filter(|(_, count)| count.as_i64() != Some(0));
    let parts: Vec<String> = positive
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    parts.join(", ")
}

fn seconds(value: &Value) -> String {
    value
        .as_f64()
        .map_or_else(|| "?".to_owned(), |seconds| format!("{seconds:.1}"))
}
