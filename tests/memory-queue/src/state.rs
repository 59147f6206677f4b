//! The jobs of the queue and their transitions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use shared::model::{
    ConnectionId, Enqueued, JobError, JobId, JobKind, JobPayload, JobState, NewJob, TenantId,
    WorkerId,
};
use shared::queue::jobs::{CancelOutcome, Job, JobFilter};
use shared::queue::{
    ClaimRequest, ClaimedJob, Due, Finished, LEASE_SECONDS, MAX_LOST_ATTEMPTS, QueueDepth,
    QueueTotals, Transition,
};

/// The number of attempts of a job, as in Postgres.
const MAX_ATTEMPTS: i16 = 3;

/// A queued or running job.
struct Entry {
    tenant: TenantId,
    job: Job,
    run_at: DateTime<Utc>,
    lost_attempts: i16,
    lease: Option<Lease>,
}

struct Lease {
    worker: WorkerId,
    token: i64,
    started_at: DateTime<Utc>,
}

/// The jobs of a queue.
#[derive(Default)]
pub(crate) struct State {
    jobs: BTreeMap<JobId, Entry>,
    finished: BTreeMap<JobId, (TenantId, Job)>,
    /// When the leases of each worker expire.
    workers: HashMap<WorkerId, DateTime<Utc>>,
    last_token: i64,
    /// The tenant of the last claimed job; the next claim begins after it.
    last_tenant: Option<TenantId>,
}

fn lease_time() -> TimeDelta {
    TimeDelta::from_std(Duration::from_secs_f64(LEASE_SECONDS)).unwrap_or_default()
}

impl Entry {
    fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.job.state == JobState::Queued && self.run_at <= now
    }

    /// The order among the jobs of a tenant.
    fn position(&self) -> (i16, DateTime<Utc>, JobId) {
        (self.job.kind.priority(), self.run_at, self.job.id)
    }

    fn requeue(&mut self, at: DateTime<Utc>, is_refunded: bool) {
        self.job.state = JobState::Queued;
        self.run_at = at;
        self.lease = None;
        if is_refunded {
            self.job.attempts = (self.job.attempts - 1).max(0);
        }
    }

    fn is_held(&self, token: i64) -> bool {
        self.lease
            .as_ref()
            .is_some_and(|lease| lease.token == token)
    }

    fn shown(&self) -> Job {
        Job {
            run_at: Some(self.run_at),
            ..self.job.clone()
        }
    }
}

impl State {
    pub(crate) fn enqueue(&mut self, new: &NewJob, now: DateTime<Utc>) -> Enqueued {
        let holder = self.jobs.values().find(|entry| {
            new.cursor_window.is_some()
                && entry.tenant == new.tenant_id
                && entry.job.provider == new.provider
                && entry.job.cursor_window == new.cursor_window
        });
        if let Some(holder) = holder {
            return Enqueued {
                job_id: holder.job.id,
                created: false,
            };
        }
        let id = JobId::generate();
        let job = Job {
            id,
            kind: new.payload.kind(),
            provider: new.provider.clone(),
            connection_id: new.connection_id,
            cursor_window: new.cursor_window.clone(),
            state: JobState::Queued,
            attempts: 0,
            max_attempts: MAX_ATTEMPTS,
            payload: new.payload.clone(),
            last_error: None,
            cancel_requested: false,
            traceparent: new.traceparent.clone(),
            run_at: None,
            created_at: now,
            started_at: None,
            finished_at: None,
        };
        let entry = Entry {
            tenant: new.tenant_id,
            job,
            run_at: now,
            lost_attempts: 0,
            lease: None,
        };
        self.jobs.insert(id, entry);
        Enqueued {
            job_id: id,
            created: true,
        }
    }

    /// Claims jobs of each tenant in turn, beginning after the tenant of the last claim.
    pub(crate) fn claim(&mut self, request: &ClaimRequest, now: DateTime<Utc>) -> Vec<ClaimedJob> {
        let kinds = request.class.kinds();
        let limit = usize::try_from(request.limit).unwrap_or(0);
        let per_tenant = usize::try_from(request.per_tenant).unwrap_or(0);
        let mut due: BTreeMap<TenantId, BTreeSet<_>> = BTreeMap::new();
        for entry in self.jobs.values() {
            let is_wanted = entry.is_due(now) && kinds.contains(&entry.job.kind);
            if is_wanted && !request.saturated.contains(&entry.tenant) {
                due.entry(entry.tenant)
                    .or_default()
                    .insert(entry.position());
            }
        }
        let last = self.last_tenant;
        let (before, after): (Vec<_>, Vec<_>) = due
            .into_iter()
            .partition(|(tenant, _)| last.is_some_and(|last| *tenant <= last));
        let mut chosen: Vec<_> = after
            .into_iter()
            .chain(before)
            .flat_map(|(tenant, jobs)| {
                let share = jobs.into_iter().take(per_tenant);
                share.map(move |position| (tenant, position))
            })
            .take(limit)
            .collect();
        self.last_tenant = chosen.last().map(|(tenant, _)| *tenant).or(last);
        chosen.sort_by_key(|(_, position)| *position);
        chosen
            .into_iter()
            .filter_map(|(_, (_, _, id))| self.lease(id, request.worker, now))
            .collect()
    }

    fn lease(&mut self, id: JobId, worker: WorkerId, now: DateTime<Utc>) -> Option<ClaimedJob> {
        let entry = self.jobs.get_mut(&id)?;
        self.last_token += 1;
        entry.lease = Some(Lease {
            worker,
            token: self.last_token,
            started_at: now,
        });
        let job = &mut entry.job;
        job.state = JobState::Running;
        job.attempts += 1;
        job.started_at = Some(now);
        Some(ClaimedJob {
            id,
            lease_token: self.last_token,
            tenant_id: entry.tenant,
            provider: job.provider.clone(),
            connection_id: job.connection_id,
            attempts: job.attempts,
            max_attempts: job.max_attempts,
            lost_attempts: entry.lost_attempts,
            payload: job.payload.clone(),
            bytes: 0,
            traceparent: job.traceparent.clone(),
            run_at: entry.run_at,
            started_at: now,
        })
    }

    pub(crate) fn holds_lease(&self, job: &ClaimedJob) -> bool {
        let entry = self.jobs.get(&job.id);
        entry.is_some_and(|entry| entry.is_held(job.lease_token))
    }

    pub(crate) fn lost_leases(&self, finished: &[Finished]) -> Vec<JobId> {
        let lost = finished.iter().filter(|one| !self.holds_lease(&one.job));
        lost.map(|one| one.job.id).collect()
    }

    pub(crate) fn set_payload(&mut self, job: &ClaimedJob, payload: &JobPayload) -> bool {
        let is_held = self.holds_lease(job);
        if let Some(entry) = self.jobs.get_mut(&job.id).filter(|_| is_held) {
            entry.job.payload = payload.clone();
        }
        is_held
    }

    /// Records the outcomes of the jobs whose lease is held; returns the others.
    pub(crate) fn finish(&mut self, finished: &[Finished], now: DateTime<Utc>) -> Vec<JobId> {
        let lost = self.lost_leases(finished);
        for one in finished.iter().filter(|one| !lost.contains(&one.job.id)) {
            match Transition::of(one) {
                Transition::Finalized { state, error } => {
                    self.archive(one.job.id, state, error.cloned(), now);
                }
                Transition::Requeued {
                    due,
                    is_refunded,
                    lost_attempts,
                    error,
                } => {
                    if let Some(entry) = self.jobs.get_mut(&one.job.id) {
                        let at = match due {
                            Due::At(at) => at,
                            Due::After(delay) => now + delay,
                        };
                        entry.requeue(at, is_refunded);
                        entry.lost_attempts = lost_attempts;
                        entry.job.last_error = Some(error.clone());
                    }
                }
            }
        }
        lost
    }

    fn archive(&mut self, id: JobId, state: JobState, error: Option<JobError>, now: DateTime<Utc>) {
        let Some(Entry {
            tenant, mut job, ..
        }) = self.jobs.remove(&id)
        else {
            return;
        };
        job.state = state;
        job.last_error = error.or(job.last_error);
        job.cancel_requested = false;
        job.finished_at = Some(now);
        self.finished.insert(id, (tenant, job));
    }

    pub(crate) fn heartbeat(&mut self, worker: WorkerId, now: DateTime<Utc>) {
        self.workers.insert(worker, now + lease_time());
    }

    pub(crate) fn release(&mut self, worker: WorkerId, now: DateTime<Utc>) -> u64 {
        self.workers.remove(&worker);
        let mut released = 0;
        for entry in self.jobs.values_mut() {
            if entry
                .lease
                .as_ref()
                .is_some_and(|lease| lease.worker == worker)
            {
                entry.requeue(now, true);
                released += 1;
            }
        }
        released
    }

    pub(crate) fn rescue(&mut self, worker: WorkerId, held: &[i64], now: DateTime<Utc>) -> u64 {
        let is_abandoned = |lease: &Lease| {
            let is_unknown = lease.worker == worker && !held.contains(&lease.token);
            self.workers.get(&lease.worker).is_none_or(|at| *at <= now)
                || is_unknown && lease.started_at < now - lease_time()
        };
        let abandoned = |entry: &&Entry| entry.lease.as_ref().is_some_and(is_abandoned);
        let lost = self.jobs.values().filter(abandoned);
        let lost: Vec<JobId> = lost.map(|entry| entry.job.id).collect();
        let error = JobError::worker_lost();
        for id in &lost {
            match self.jobs.get_mut(id) {
                Some(entry) if entry.lost_attempts < MAX_LOST_ATTEMPTS => {
                    entry.requeue(now, true);
                    entry.lost_attempts += 1;
                    entry.job.last_error = Some(error.clone());
                }
                _ => self.archive(*id, JobState::Dead, Some(error.clone()), now),
            }
        }
        u64::try_from(lost.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn cancellations(&self, worker: WorkerId) -> Vec<JobId> {
        let requested = self.jobs.values().filter(|entry| {
            let lease = entry.lease.as_ref();
            entry.job.cancel_requested && lease.is_some_and(|lease| lease.worker == worker)
        });
        requested.map(|entry| entry.job.id).collect()
    }

    pub(crate) fn get(&self, tenant: TenantId, id: JobId) -> Option<Job> {
        let active = self.jobs.get(&id).filter(|entry| entry.tenant == tenant);
        active.map(Entry::shown).or_else(|| {
            let finished = self.finished.get(&id);
            let own = finished.filter(|(owner, _)| *owner == tenant);
            own.map(|(_, job)| job.clone())
        })
    }

    /// The tenant's jobs that match, newest first, with smaller ids than `before`.
    pub(crate) fn list(
        &self,
        tenant: TenantId,
        filter: &JobFilter,
        before: Option<JobId>,
    ) -> Vec<Job> {
        let active = self
            .jobs
            .values()
            .map(|entry| (entry.tenant, entry.shown()));
        let finished = self.finished.values().cloned();
        let mut jobs: Vec<Job> = active
            .chain(finished)
            .filter(|(owner, job)| {
                *owner == tenant
                    && before.is_none_or(|before| job.id < before)
                    && filter.state.is_none_or(|state| state == job.state)
                    && filter.kind.is_none_or(|kind| kind == job.kind)
                    && filter.except.is_none_or(|kind| kind != job.kind)
                    && (!filter.is_active || job.finished_at.is_none())
                    && (filter.connection_id.is_none() || filter.connection_id == job.connection_id)
                    && filter
                        .provider
                        .as_ref()
                        .is_none_or(|slug| *slug == job.provider)
            })
            .map(|(_, job)| job)
            .collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(job.id));
        jobs
    }

    pub(crate) fn cancel(
        &mut self,
        tenant: TenantId,
        id: JobId,
        now: DateTime<Utc>,
    ) -> CancelOutcome {
        let Some(entry) = self
            .jobs
            .get_mut(&id)
            .filter(|entry| entry.tenant == tenant)
        else {
            return match self.get(tenant, id) {
                Some(_) => CancelOutcome::Finished,
                None => CancelOutcome::NotFound,
            };
        };
        if entry.job.state == JobState::Queued {
            self.archive(id, JobState::Cancelled, None, now);
            CancelOutcome::Cancelled
        } else {
            entry.job.cancel_requested = true;
            CancelOutcome::Requested
        }
    }

    pub(crate) fn cancel_for_connection(
        &mut self,
        tenant: TenantId,
        connection: ConnectionId,
        now: DateTime<Utc>,
    ) -> u64 {
        let own = self
            .jobs
            .values()
            .filter(|entry| entry.tenant == tenant && entry.job.connection_id == Some(connection));
        let own: Vec<JobId> = own.map(|entry| entry.job.id).collect();
        let outcomes = own.into_iter().map(|id| self.cancel(tenant, id, now));
        let cancelled = outcomes.filter(|outcome| *outcome == CancelOutcome::Cancelled);
        u64::try_from(cancelled.count()).unwrap_or(u64::MAX)
    }

    pub(crate) fn depths(&self, now: DateTime<Utc>) -> Vec<QueueDepth> {
        let mut depths: HashMap<JobKind, QueueDepth> = HashMap::new();
        for entry in self.jobs.values() {
            let kind = entry.job.kind;
            let depth = depths.entry(kind).or_insert(QueueDepth {
                kind,
                queued: 0,
                running: 0,
                oldest_seconds: 0.0,
            });
            if entry.job.state == JobState::Queued {
                depth.queued += 1;
            } else {
                depth.running += 1;
            }
            if entry.is_due(now) {
                let age = (now - entry.run_at).to_std().unwrap_or_default();
                depth.oldest_seconds = depth.oldest_seconds.max(age.as_secs_f64());
            }
        }
        depths.into_values().collect()
    }

    pub(crate) fn totals(&self, now: DateTime<Utc>) -> QueueTotals {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let depths = self.depths(now);
        let queued: i64 = depths.iter().map(|depth| depth.queued).sum();
        let due = count(self.jobs.values().filter(|entry| entry.is_due(now)).count());
        let is_dead = |(_, job): &&(TenantId, Job)| job.state == JobState::Dead;
        QueueTotals {
            due,
            scheduled: queued - due,
            running: depths.iter().map(|depth| depth.running).sum(),
            oldest_seconds: depths
                .iter()
                .fold(0.0_f64, |oldest, depth| oldest.max(depth.oldest_seconds)),
            dead: count(self.finished.values().filter(is_dead).count()),
        }
    }
}
