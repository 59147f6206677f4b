//! Fetching a page of a stream from the provider.

use std::sync::{Arc, Mutex, PoisonError};

use shared::connectors::{SyncPage, SyncRequest};
use shared::http::{self, Priority};

use super::reconciliation::reconcile_from;
use super::run::Run;
use super::stream_queue::{Pass, StreamTask};
use crate::failure::JobFailure;

impl Run<'_> {
    /// Fetches the next page of a stream, and notes its last call to the provider.
    pub(super) async fn fetch(&self, task: &mut StreamTask) -> Result<SyncPage, JobFailure> {
        let noted = Mutex::new(None);
        let last_call = &noted;
        let stream = &task.stream;
        let upper_bound = if task.pass == Pass::Reconciliation {
            stream.pending_upper_bound.unwrap_or(self.upper_bound)
        } else {
            self.upper_bound
        };
        let reconcile_from = (task.pass == Pass::Reconciliation)
            .then(|| reconcile_from(stream, upper_bound, self.reconcile_window()));
        let connector = self.session.connector;
        connector
            .descriptor()
            .verify_stream_scope(&stream.spec.key, &self.granted_scopes)?;
        let is_backfill = self.is_backfill || (self.requested_only && task.is_resync());
        let priority = match task.pass {
            Pass::Reconciliation => Priority::Reconciliation,
            _ if is_backfill => Priority::Backfill(self.job.tenant_id),
            _ if self.requested_only => Priority::Immediate,
            _ => Priority::Poll,
        };
        let page = self
            .session
            .call(|access| {
                let request = SyncRequest {
                    access,
                    stream: stream.spec.clone(),
                    cursor: stream.cursor.clone(),
                    backfill_from: stream.backfill_from,
                    resync_from: stream.resync_from.filter(|_| reconcile_from.is_none()),
                    reconcile_from,
                    failures: stream.page_size.equivalent_failures(),
                    upper_bound,
                    priority,
                    directory: Arc::clone(&self.directory),
                };
                Box::pin(async move {
                    let calls = http::with_page_deadline(connector.sync(request));
                    let (page, operation) = calls.await;
                    *last_call.lock().unwrap_or_else(PoisonError::into_inner) = operation;
                    page
                })
            })
            .await;
        let key = stream.spec.key.clone();
        task.last_call = noted.into_inner().unwrap_or_else(PoisonError::into_inner);
        page.map_err(|failure| match failure {
            JobFailure::Provider(error) => error.of_stream(&key).into(),
            other => other,
        })
    }
}
