//! Rows of a page that could not be read: kept with the page, counted once.

use metrics::counter;
use shared::connectors::UnreadableRow;
use shared::db::Tx;
use shared::inbox::{self, ReadFrom};
use shared::telemetry::names;

use super::run::Run;
use crate::jobs::JobFailure;

impl Run<'_> {
    /// Keeps the rows of a page that could not be read. Answers how many are new.
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
        let from = ReadFrom {
            connection: self.caller.connection,
            provider: self.caller.connector.descriptor().slug,
            account_id: &self.caller.account.id,
            stream,
        };
        Ok(inbox::keep_unreadable(tx, &self.caller.scope, &from, rows).await?)
    }

    /// Counts rows that were kept, and says so in the log.
    pub(super) fn report_unreadable(&self, stream: &str, count: u64) {
        if count == 0 {
            return;
        }
        let provider = self.caller.connector.descriptor().slug;
        tracing::warn!(
            connection.id = %self.caller.connection,
            provider,
            stream.key = stream,
            rows = count,
            "rows could not be read, reading the stream without them"
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
