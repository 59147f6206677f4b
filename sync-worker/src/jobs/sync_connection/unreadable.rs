//! Rows of a page that the connector could not read: stored with the page, counted once.

use metrics::counter;
use shared::connectors::UnreadableRow;
use shared::db::Tx;
use shared::inbox::{self, PollSource};
use shared::telemetry::names;

use super::run::Run;
use crate::failure::JobFailure;

impl Run<'_> {
    /// Stores the unreadable rows of a page; returns how many are new.
    pub(super) async fn keep_unreadable(
        &self,
        tx: &mut Tx,
        stream: &str,
        rows: &[UnreadableRow],
    ) -> Result<u64, JobFailure> {
        for row in rows {
            tracing::debug!(
                stream.key = stream,
                row.id = row.id,
                reason = row.reason,
                "failed to read a row"
            );
        }
        let from = PollSource {
            connection: self.session.connection,
            provider: self.session.connector.descriptor().slug,
            account_id: &self.session.account.id,
            stream,
        };
        Ok(inbox::keep_unreadable(tx, &self.session.scope, &from, rows).await?)
    }

    /// Counts and logs unreadable rows that were stored.
    pub(super) fn report_unreadable(&self, stream: &str, count: u64) {
        if count == 0 {
            return;
        }
        let provider = self.session.connector.descriptor().slug;
        tracing::warn!(
            connection.id = %self.session.connection,
            provider,
            stream.key = stream,
            rows = count,
            "failed to read rows, continuing the stream without them"
        );
        let stream_type = stream.split(':').next().unwrap_or_default().to_owned();
        counter!(
            names::ROWS_UNREADABLE_TOTAL,
            "provider" => provider,
            "stream_type" => stream_type
        )
        .increment(count);
    }
}
