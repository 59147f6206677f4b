//! A connection that a subcommand reads or changes.

use serde_json::Value;
use uuid::Uuid;

use crate::api::Api;
use crate::table::Column;

/// The columns of streams.
pub(super) const STREAMS: &[Column] = &[
    Column::text("STREAM", "/stream"),
    Column::text("STATE", "/state"),
    Column::time("SINCE", "/since"),
    Column::time("COMPLETE THROUGH", "/complete_through"),
    Column::time("NEXT RUN", "/next_run_at"),
    Column::text("NEEDS SCOPE", "/required_scope"),
    Column::text("ERROR", "/error/code"),
    Column::text("CALL", "/error/operation"),
];

/// A connection, with a client in its tenant.
pub(super) struct Connection {
    pub(super) api: Api,
    pub(super) id: Uuid,
    id_text: String,
}

impl Connection {
    /// A connection of the named tenant, or of any tenant that the token reads.
    ///
    /// The API acts on a connection in its tenant, which an operator need not know.
    pub(super) async fn find(api: &Api, id: Uuid) -> anyhow::Result<Self> {
        let found = |api| Self {
            api,
            id,
            id_text: id.to_string(),
        };
        if api.tenant().is_some() {
            return Ok(found(api.clone()));
        }
        let query = [("connection_id", id.to_string())];
        let list = api
            .list(&["v1", "connections"], &query, "connections", Some(1))
            .await?;
        let tenant = list.rows.first().and_then(|row| row["tenant_id"].as_str());
        let tenant = tenant.and_then(|tenant| tenant.parse().ok());
        let tenant: Uuid = tenant.ok_or_else(|| {
            anyhow::anyhow!("connection {id} not found; `poblysh connections list` shows the ids")
        })?;
        Ok(found(api.in_tenant(tenant)))
    }

    /// The connection in detail.
    pub(super) async fn get(&self) -> anyhow::Result<Value> {
        Ok(self.api.get(&self.path(&[]), &[]).await?)
    }

    /// A path below the connection's.
    pub(super) fn path<'a>(&'a self, below: &[&'a str]) -> Vec<&'a str> {
        [&["v1", "connections", self.id_text.as_str()][..], below].concat()
    }
}
