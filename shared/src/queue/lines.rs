//! Who waits in a lane, as far as this process has seen.
//!
//! A line is what waits of one tenant at one priority. Lines are found by what has become due
//! lately, and each is claimed from where its oldest job was seen: what a claim costs depends
//! neither on how much waits, nor on how much was claimed before. The latter leaves entries in
//! the indexes that cannot be cleared away while a transaction is open anywhere, and reading
//! them again with every claim is what queues in Postgres die of.
//!
//! What comes in behind a look's back is found by the next survey of the whole lane: because its
//! transaction took long to commit, because very many came between two looks, or because its line
//! was taken for empty while somebody else had it locked. No claim waits for a survey.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{ClaimRequest, Lane};
use crate::db::{Db, DbError};
use crate::ids::{JobId, TenantId};

/// How far a look goes back before the one before it: enqueueing commits within it, as a rule.
const OVERLAP: TimeDelta = TimeDelta::seconds(1);
/// Jobs of a kind that a look takes note of.
const LOOK: i64 = 1000;
/// How often the whole lane is surveyed, at the most; it never takes more than a twentieth of the
/// time.
const SURVEY: Duration = Duration::from_secs(5);
const RESTRAINT: u32 = 20;

/// A tenant's jobs of one priority.
pub(super) type Line = (TenantId, i16);
/// A job's place in its line.
pub(super) type Place = (DateTime<Utc>, JobId);

/// The lines of a lane.
#[derive(Debug)]
pub(super) struct Lines {
    /// Nothing in a line comes before this, but for what the next survey will find.
    heads: BTreeMap<Line, Place>,
    seen_until: DateTime<Utc>,
    /// The tenant that was claimed from last; the next claim begins behind it.
    last: TenantId,
    /// The survey under way. Only one is at a time.
    survey: Option<JoinHandle<Survey>>,
    next_survey: Instant,
    /// How long the last survey took.
    survey_took: Duration,
}

/// A line to claim from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pick {
    pub(super) line: Line,
    pub(super) head: Place,
    /// How many jobs at the most.
    pub(super) most: i64,
}

/// What a claim has taken so far.
#[derive(Debug)]
pub(super) struct Taken {
    /// It began behind this tenant.
    behind: TenantId,
    tried: HashSet<Line>,
    by_tenant: HashMap<TenantId, i64>,
    pub(super) jobs: i64,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            heads: BTreeMap::new(),
            seen_until: DateTime::UNIX_EPOCH,
            last: TenantId::UNASSIGNED,
            survey: None,
            next_survey: Instant::now(),
            survey_took: Duration::ZERO,
        }
    }
}

impl Lines {
    /// Looks at what has become due in the lane, and begins a survey beside the claims when one is
    /// due.
    ///
    /// # Panics
    ///
    /// When the last survey has: without surveys, what a look misses would wait for good.
    pub(super) async fn look(&mut self, db: &Db, lane: Lane) -> Result<(), DbError> {
        self.end_survey().await;
        let found = find(db, lane, self.seen_until - OVERLAP, Some(LOOK)).await?;
        self.seen_until = found.at;
        let mut by_kind: HashMap<i16, i64> = HashMap::new();
        for waiting in &found.waiting {
            *by_kind.entry(waiting.line.1).or_default() += waiting.jobs;
        }
        self.learn_of(&found);
        let now = Instant::now();
        if by_kind.values().any(|jobs| *jobs == LOOK) {
            // There may be more; it is not to wait for long.
            self.next_survey = self.next_survey.min(now + self.survey_took * RESTRAINT);
        }
        if self.survey.is_none() && self.next_survey <= now {
            self.survey = Some(tokio::spawn(survey(db.clone(), lane)));
        }
        Ok(())
    }

    /// Learns of what the survey has found, once it has ended. What was claimed meanwhile is met
    /// once more, at most.
    async fn end_survey(&mut self) {
        let Some(ended) = self.survey.take_if(|survey| survey.is_finished()) else {
            return;
        };
        let Survey { began, took, found } = match ended.await {
            Ok(survey) => survey,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime ends.
            Err(_) => return,
        };
        match found {
            Ok(found) => self.learn_of(&found),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "failed to survey a lane");
            }
        }
        self.survey_took = took;
        self.next_survey = began + SURVEY.max(took * RESTRAINT);
    }

    fn learn_of(&mut self, found: &Found) {
        for waiting in &found.waiting {
            self.wait(waiting.line, waiting.since);
        }
    }

    fn wait(&mut self, line: Line, since: DateTime<Utc>) {
        let first = (since, JobId(Uuid::nil()));
        let head = self.heads.entry(line).or_insert(first);
        // Jobs that were enqueued together have the same time: what was passed stays passed.
        if since < head.0 {
            *head = first;
        }
    }

    /// A claim that has taken nothing yet.
    pub(super) fn begin(&self) -> Taken {
        Taken {
            behind: self.last,
            tried: HashSet::new(),
            by_tenant: HashMap::new(),
            jobs: 0,
        }
    }

    /// The next line of every tenant that has one and room for more. Claims go round the
    /// tenants, so that the length of one tenant's queue is no other's concern.
    pub(super) fn picks(&self, request: &ClaimRequest, taken: &Taken) -> Vec<Pick> {
        let start = (taken.behind, i16::MAX);
        let left = usize::try_from(request.limit - taken.jobs).unwrap_or(0);
        let mut last = None;
        self.heads
            .range(start..)
            .chain(self.heads.range(..start))
            .filter(|(line, _)| !taken.tried.contains(line))
            .filter(|((tenant, _), _)| {
                let first = last != Some(*tenant);
                last = Some(*tenant);
                first && !request.saturated.contains(tenant)
            })
            .filter_map(|(line, head)| {
                let room = request.per_tenant - taken.by_tenant.get(&line.0).unwrap_or(&0);
                (room > 0).then_some(Pick {
                    line: *line,
                    head: *head,
                    most: room,
                })
            })
            .take(left)
            .collect()
    }

    /// Learns from what a claim of at most `left` jobs from `picks` found: the line and the
    /// place of each.
    pub(super) fn learn(
        &mut self,
        picks: &[Pick],
        found: &[(Line, Place)],
        left: i64,
        taken: &mut Taken,
    ) {
        let mut by_line: HashMap<Line, (i64, Place)> = HashMap::new();
        for (line, at) in found {
            let (count, latest) = by_line.entry(*line).or_insert((0, *at));
            *count += 1;
            *latest = (*at).max(*latest);
        }
        if let Some(((tenant, _), _)) = found.last() {
            self.last = *tenant;
        }
        let all = i64::try_from(found.len()).unwrap_or(i64::MAX);
        // Lines are claimed from one after another; whatever comes behind the last job of a full
        // claim has not been looked at.
        let behind = picks
            .iter()
            .rposition(|pick| by_line.contains_key(&pick.line))
            .filter(|_| all >= left)
            .unwrap_or(picks.len());
        for (at, pick) in picks.iter().enumerate() {
            taken.tried.insert(pick.line);
            match by_line.get(&pick.line) {
                Some((count, latest)) => {
                    *taken.by_tenant.entry(pick.line.0).or_default() += count;
                    if *count < pick.most && at < behind {
                        self.heads.remove(&pick.line);
                    } else if let Some(head) = self.heads.get_mut(&pick.line) {
                        *head = *latest;
                    }
                }
                None if at < behind => {
                    self.heads.remove(&pick.line);
                }
                None => {}
            }
        }
        taken.jobs += all;
    }
}

/// A look at the whole lane.
#[derive(Debug)]
struct Survey {
    began: Instant,
    took: Duration,
    found: Result<Found, DbError>,
}

async fn survey(db: Db, lane: Lane) -> Survey {
    let began = Instant::now();
    let found = find(&db, lane, DateTime::UNIX_EPOCH, None).await;
    Survey {
        began,
        took: began.elapsed(),
        found,
    }
}

/// What waits, at a moment.
#[derive(Debug)]
struct Found {
    at: DateTime<Utc>,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    line: Line,
    since: DateTime<Utc>,
    jobs: i64,
}

/// The newest jobs of each kind that have become due since `from`; all without `most`.
async fn find(
    db: &Db,
    lane: Lane,
    from: DateTime<Utc>,
    most: Option<i64>,
) -> Result<Found, DbError> {
    let rows = sqlx::query(include_str!("look.sql"))
        .bind(from)
        .bind(lane.kinds())
        .bind(most)
        .fetch_all(db)
        .await?;
    let mut found = Found {
        at: from,
        waiting: Vec::new(),
    };
    for row in rows {
        found.at = row.try_get("at")?;
        if let Some(tenant) = row.try_get("tenant_id")? {
            found.waiting.push(Waiting {
                line: (tenant, row.try_get("priority")?),
                since: row.try_get("since")?,
                jobs: row.try_get("jobs")?,
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
