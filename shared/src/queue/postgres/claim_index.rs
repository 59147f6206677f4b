//! In-memory index of claimable jobs, one entry per tenant and priority.
//!
//! An incremental scan of the jobs that became due lately finds the partitions, and a claim reads
//! each partition from the position of its oldest known job. The cost of a claim therefore depends
//! neither on the length of the queue nor on earlier claims. Earlier claims leave dead index
//! entries, which vacuum cannot remove while an old transaction runs; queues in Postgres slow down
//! when every claim reads them again.
//!
//! The periodic full scan finds the jobs that the incremental scan misses: those of transactions
//! that committed late, those of a burst, and those of a partition whose rows another session had
//! locked. No claim waits for a full scan.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::db::{Db, DbError};
use crate::model::{JobId, TenantId};
use crate::queue::{ClaimRequest, WorkClass};

/// The overlap of an incremental scan with the last one: most enqueues commit within it.
const OVERLAP: TimeDelta = TimeDelta::seconds(1);
/// Maximum number of jobs per kind in an incremental scan.
const MAX_SCANNED_JOBS: i64 = 1000;
/// Minimum time between two full scans.
const FULL_SCAN_INTERVAL: Duration = Duration::from_secs(5);
/// A full scan takes at most one part in this many of the time.
const FULL_SCAN_SHARE: u32 = 20;

/// A tenant's jobs of one priority.
pub(super) type Partition = (TenantId, i16);
/// A job's position in its partition.
pub(super) type Position = (DateTime<Utc>, JobId);

/// The partitions of a work class that have claimable jobs.
#[derive(Debug)]
pub(super) struct ClaimIndex {
    /// The position of the oldest known job of each partition.
    heads: BTreeMap<Partition, Position>,
    scanned_until: DateTime<Utc>,
    /// The tenant of the last claimed job; the next claim begins after it.
    last: TenantId,
    /// The full scan that runs, at most one at a time.
    full_scan: Option<JoinHandle<FullScan>>,
    next_full_scan: Instant,
    /// Duration of the last full scan.
    full_scan_took: Duration,
}

/// A partition to claim from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) partition: Partition,
    pub(super) head: Position,
    /// Maximum number of jobs.
    pub(super) limit: i64,
}

/// The jobs and partitions of a claim so far.
#[derive(Debug)]
pub(super) struct ClaimProgress {
    /// The claim began after this tenant.
    after: TenantId,
    tried: HashSet<Partition>,
    by_tenant: HashMap<TenantId, i64>,
    pub(super) jobs: i64,
}

impl Default for ClaimIndex {
    fn default() -> Self {
        Self {
            heads: BTreeMap::new(),
            scanned_until: DateTime::UNIX_EPOCH,
            last: TenantId::UNASSIGNED,
            full_scan: None,
            next_full_scan: Instant::now(),
            full_scan_took: Duration::ZERO,
        }
    }
}

impl ClaimIndex {
    /// Adds the jobs that became due since the last scan, and starts a full scan when one is due.
    ///
    /// # Panics
    ///
    /// Panics if the last full scan panicked: without full scans, missed jobs would never run.
    pub(super) async fn scan_incrementally(
        &mut self,
        db: &Db,
        class: WorkClass,
    ) -> Result<(), DbError> {
        self.collect_full_scan().await;
        let since = self.scanned_until - OVERLAP;
        let found = scan(db, class, since, Some(MAX_SCANNED_JOBS)).await?;
        self.scanned_until = found.at;
        let mut by_priority: HashMap<i16, i64> = HashMap::new();
        for due in &found.due {
            *by_priority.entry(due.partition.1).or_default() += due.jobs;
        }
        self.add_all(&found);
        let now = Instant::now();
        if by_priority.values().any(|jobs| *jobs == MAX_SCANNED_JOBS) {
            // The scan may have missed jobs, so the next full scan is due earlier.
            let earliest = now + self.full_scan_took * FULL_SCAN_SHARE;
            self.next_full_scan = self.next_full_scan.min(earliest);
        }
        if self.full_scan.is_none() && self.next_full_scan <= now {
            self.full_scan = Some(tokio::spawn(scan_fully(db.clone(), class)));
        }
        Ok(())
    }

    /// Adds the result of the full scan if it has ended.
    ///
    /// The result may contain partitions whose jobs were claimed meanwhile; the next claim drops
    /// them.
    async fn collect_full_scan(&mut self) {
        let Some(ended) = self.full_scan.take_if(|scan| scan.is_finished()) else {
            return;
        };
        let FullScan { began, took, found } = match ended.await {
            Ok(scan) => scan,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime shuts down.
            Err(_) => return,
        };
        match found {
            Ok(found) => self.add_all(&found),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "failed to scan the queue for due jobs");
            }
        }
        self.full_scan_took = took;
        self.next_full_scan = began + FULL_SCAN_INTERVAL.max(took * FULL_SCAN_SHARE);
    }

    fn add_all(&mut self, found: &Found) {
        for due in &found.due {
            self.add(due.partition, due.since);
        }
    }

    fn add(&mut self, partition: Partition, since: DateTime<Utc>) {
        let first = (since, JobId(Uuid::nil()));
        let head = self.heads.entry(partition).or_insert(first);
        // Jobs that were enqueued together share a `run_at`, so an equal time keeps the position.
        if since < head.0 {
            *head = first;
        }
    }

    /// Starts a claim.
    pub(super) fn start_claim(&self) -> ClaimProgress {
        ClaimProgress {
            after: self.last,
            tried: HashSet::new(),
            by_tenant: HashMap::new(),
            jobs: 0,
        }
    }

    /// The next partition of every tenant that has one and is below its limit.
    ///
    /// Claims take turns over the tenants, so that the length of one tenant's queue does not delay
    /// another's.
    pub(super) fn candidates(
        &self,
        request: &ClaimRequest,
        progress: &ClaimProgress,
    ) -> Vec<Candidate> {
        let start = (progress.after, i16::MAX);
        let remaining = usize::try_from(request.limit - progress.jobs).unwrap_or(0);
        let mut last = None;
        self.heads
            .range(start..)
            .chain(self.heads.range(..start))
            .filter(|(partition, _)| !progress.tried.contains(partition))
            .filter(|((tenant, _), _)| {
                let first = last != Some(*tenant);
                last = Some(*tenant);
                first && !request.saturated.contains(tenant)
            })
            .filter_map(|(partition, head)| {
                let claimed = progress.by_tenant.get(&partition.0).unwrap_or(&0);
                let limit = request.per_tenant - claimed;
                (limit > 0).then_some(Candidate {
                    partition: *partition,
                    head: *head,
                    limit,
                })
            })
            .take(remaining)
            .collect()
    }

    /// Updates the heads with the partitions and positions of the jobs that were claimed.
    ///
    /// `remaining` is the number of jobs that the claim asked for.
    pub(super) fn record_claimed(
        &mut self,
        candidates: &[Candidate],
        found: &[(Partition, Position)],
        remaining: i64,
        progress: &mut ClaimProgress,
    ) {
        let mut by_partition: HashMap<Partition, (i64, Position)> = HashMap::new();
        for (partition, at) in found {
            let (count, latest) = by_partition.entry(*partition).or_insert((0, *at));
            *count += 1;
            *latest = (*at).max(*latest);
        }
        if let Some(((tenant, _), _)) = found.last() {
            self.last = *tenant;
        }
        let all = i64::try_from(found.len()).unwrap_or(i64::MAX);
        // Partitions are claimed from in order. A claim that reached its limit has not read the
        // partitions after the one of its last job.
        let end = candidates
            .iter()
            .rposition(|candidate| by_partition.contains_key(&candidate.partition))
            .filter(|_| all >= remaining)
            .unwrap_or(candidates.len());
        for (at, candidate) in candidates.iter().enumerate() {
            let partition = candidate.partition;
            progress.tried.insert(partition);
            match by_partition.get(&partition) {
                Some((count, latest)) => {
                    *progress.by_tenant.entry(partition.0).or_default() += count;
                    if *count < candidate.limit && at < end {
                        self.heads.remove(&partition);
                    } else if let Some(head) = self.heads.get_mut(&partition) {
                        *head = *latest;
                    }
                }
                None if at < end => {
                    self.heads.remove(&partition);
                }
                None => {}
            }
        }
        progress.jobs += all;
    }
}

/// A scan of all due jobs of a work class.
#[derive(Debug)]
struct FullScan {
    began: Instant,
    took: Duration,
    found: Result<Found, DbError>,
}

async fn scan_fully(db: Db, class: WorkClass) -> FullScan {
    let began = Instant::now();
    let found = scan(&db, class, DateTime::UNIX_EPOCH, None).await;
    FullScan {
        began,
        took: began.elapsed(),
        found,
    }
}

/// The partitions with due jobs, at one point in time.
#[derive(Debug)]
struct Found {
    at: DateTime<Utc>,
    due: Vec<DueJobs>,
}

#[derive(Debug)]
struct DueJobs {
    partition: Partition,
    since: DateTime<Utc>,
    jobs: i64,
}

/// Scans for the newest `limit` jobs of each kind that became due since `from`.
async fn scan(
    db: &Db,
    class: WorkClass,
    from: DateTime<Utc>,
    limit: Option<i64>,
) -> Result<Found, DbError> {
    let rows = sqlx::query(include_str!("incremental_scan.sql"))
        .bind(from)
        .bind(class.kinds())
        .bind(limit)
        .fetch_all(db)
        .await?;
    let mut found = Found {
        at: from,
        due: Vec::new(),
    };
    for row in rows {
        found.at = row.try_get("at")?;
        if let Some(tenant) = row.try_get("tenant_id")? {
            found.due.push(DueJobs {
                partition: (tenant, row.try_get("priority")?),
                since: row.try_get("since")?,
                jobs: row.try_get("jobs")?,
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
