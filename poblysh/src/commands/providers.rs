//! `poblysh providers`.

use crate::api::{Api, List};
use crate::output::Output;
use crate::table::Column;

const COLUMNS: &[Column] = &[
    Column::text("PROVIDER", "/slug"),
    Column::text("NAME", "/display_name"),
    Column::text("CONFIGURED", "/configured"),
    Column::text("WEBHOOK URL", "/webhook_url"),
];

/// Lists the providers.
pub(crate) async fn run(api: &Api, output: Output) -> anyhow::Result<()> {
    let mut found = api.get(&["v1", "providers"], &[]).await?;
    if output.is_json() {
        return Ok(output.json(&found)?);
    }
    let rows = found["providers"].as_array_mut().map(std::mem::take);
    let list = List {
        rows: rows.unwrap_or_default(),
        next_cursor: None,
    };
    Ok(output.list("providers", &list, COLUMNS)?)
}
