//! [`JobQueue`] in memory, for tests.
//!
//! It keeps the promises of the queue that do not depend on the database: order, turns over the
//! tenants, leases, fencing, attempts, backoff, windows, cancellation and retry. The suite in
//! `tests/tests/storage/queue.rs` runs against it and against Postgres.
//!
//! It ignores transactions: each operation takes effect immediately and survives a rollback. Only
//! [`JobQueue::finish_in`] writes nothing if a lease was lost, because its caller rolls back then. A
//! lease that was verified is not held until the transaction ends. It knows no connections and no
//! deliveries: nothing becomes due by itself, a job carries no bytes, and a job that ends without
//! success fails no delivery. It lasts as long as the process.

mod state;

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use shared::clock::SharedClock;
use shared::db::page::{Page, PageRequest};
use shared::db::{DbError, TenantScope, Tx};
use shared::model::{ConnectionId, Enqueued, JobId, JobPayload, NewJob, TenantId, WorkerId};
use shared::queue::jobs::{CancelOutcome, Job, JobFilter};
use shared::queue::{
    ClaimRequest, ClaimedJob, DueWork, Finished, JobQueue, QueueDepth, QueueTotals,
};
use tokio::sync::watch;

use self::state::State;

/// The queue in memory.
pub struct MemoryJobQueue {
    clock: SharedClock,
    state: Mutex<State>,
    notifications: watch::Sender<()>,
    /// The operation that panics.
    fault: Option<&'static str>,
}

impl MemoryJobQueue {
    /// An empty queue whose times are those of this clock.
    pub fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
            notifications: watch::Sender::new(()),
            fault: None,
        }
    }

    /// The same queue, whose operation with this name panics: `claim`, `heartbeat` or `rescue`.
    #[must_use]
    pub fn with_fault(self, operation: &'static str) -> Self {
        Self {
            fault: Some(operation),
            ..self
        }
    }

    /// Enqueues a job outside of a transaction.
    pub fn add(&self, job: &NewJob) -> Enqueued {
        self.state().enqueue(job, self.clock.now())
    }

    /// A job in any state.
    pub fn job(&self, tenant: TenantId, id: JobId) -> Option<Job> {
        self.state().get(tenant, id)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, operation: &str) {
        assert_ne!(self.fault, Some(operation), "this operation panics");
    }
}

#[async_trait]
impl JobQueue for MemoryJobQueue {
    async fn enqueue(&self, _: &mut Tx, job: &NewJob) -> Result<Enqueued, DbError> {
        Ok(self.add(job))
    }

    async fn enqueue_due(&self, _: DueWork) -> Result<u64, DbError> {
        Ok(0)
    }

    async fn notify(&self) -> Result<(), DbError> {
        self.notifications.send_replace(());
        Ok(())
    }

    async fn listen(&self, notified: watch::Sender<()>) {
        let mut notifications = self.notifications.subscribe();
        while notifications.changed().await.is_ok() {
            notified.send_replace(());
        }
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, DbError> {
        self.enter("claim");
        Ok(self.state().claim(request, self.clock.now()))
    }

    async fn verify_lease(&self, _: &mut Tx, job: &ClaimedJob) -> Result<bool, DbError> {
        Ok(self.state().holds_lease(job))
    }

    async fn set_payload(
        &self,
        _: &mut Tx,
        job: &ClaimedJob,
        payload: &JobPayload,
    ) -> Result<bool, DbError> {
        Ok(self.state().set_payload(job, payload))
    }

    async fn finish(&self, finished: &[Finished]) -> Result<Vec<JobId>, DbError> {
        Ok(self.state().finish(finished, self.clock.now()))
    }

    async fn finish_in(&self, _: &mut Tx, finished: &[Finished]) -> Result<Vec<JobId>, DbError> {
        let mut state = self.state();
        let lost = state.lost_leases(finished);
        if lost.is_empty() {
            state.finish(finished, self.clock.now());
        }
        Ok(lost)
    }

    async fn heartbeat(&self, worker: WorkerId) -> Result<DateTime<Utc>, DbError> {
        self.enter("heartbeat");
        let now = self.clock.now();
        self.state().heartbeat(worker, now);
        Ok(now)
    }

    async fn release(&self, worker: WorkerId) -> Result<u64, DbError> {
        Ok(self.state().release(worker, self.clock.now()))
    }

    async fn rescue(&self, worker: WorkerId, held: &[i64]) -> Result<u64, DbError> {
        self.enter("rescue");
        Ok(self.state().rescue(worker, held, self.clock.now()))
    }

    async fn cancellations(&self, worker: WorkerId) -> Result<Vec<JobId>, DbError> {
        Ok(self.state().cancellations(worker))
    }

    async fn get(
        &self,
        _: &mut Tx,
        scope: &TenantScope,
        id: JobId,
    ) -> Result<Option<Job>, DbError> {
        Ok(self.job(scope.tenant_id(), id))
    }

    async fn list(
        &self,
        _: &mut Tx,
        scope: &TenantScope,
        filter: &JobFilter,
        request: &PageRequest,
    ) -> Result<Page<Job>, DbError> {
        let before = request.before.map(JobId);
        let jobs = self.state().list(scope.tenant_id(), filter, before);
        Ok(request.page(jobs, |job| job.id.0))
    }

    async fn count(
        &self,
        _: &mut Tx,
        scope: &TenantScope,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: u32,
    ) -> Result<i64, DbError> {
        let matching = self.state().list(scope.tenant_id(), filter, before).len();
        Ok(i64::try_from(matching)
            .unwrap_or(i64::MAX)
            .min(limit.into()))
    }

    async fn cancel(
        &self,
        _: &mut Tx,
        scope: &TenantScope,
        id: JobId,
    ) -> Result<CancelOutcome, DbError> {
        let now = self.clock.now();
        Ok(self.state().cancel(scope.tenant_id(), id, now))
    }

    async fn cancel_for_connection(
        &self,
        _: &mut Tx,
        scope: &TenantScope,
        connection: ConnectionId,
    ) -> Result<u64, DbError> {
        let now = self.clock.now();
        let cancelled = self
            .state()
            .cancel_for_connection(scope.tenant_id(), connection, now);
        Ok(cancelled)
    }

    async fn depths(&self) -> Result<Vec<QueueDepth>, DbError> {
        Ok(self.state().depths(self.clock.now()))
    }

    async fn totals(&self, _tx: &mut Tx) -> Result<QueueTotals, DbError> {
        Ok(self.state().totals(self.clock.now()))
    }

    async fn waiting_bytes(&self) -> Result<Vec<(TenantId, u64)>, DbError> {
        Ok(Vec::new())
    }
}
