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
use tokio::sync::Mutex;
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
    /// `None` while one is under way.
    next_survey: Option<Instant>,
    /// How long the last survey took.
    survey: Duration,
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
            next_survey: Some(Instant::now()),
            survey: Duration::ZERO,
        }
    }
}

impl Lines {
    /// Looks at what has become due in the lane, and answers whether a survey is due now: then
    /// the caller is to begin it.
    pub(super) async fn look(&mut self, db: &Db, lane: Lane) -> Result<bool, DbError> {
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
            let soon = now + self.survey * RESTRAINT;
            self.next_survey = self.next_survey.map(|next| next.min(soon));
        }
        Ok(self.next_survey.take_if(|next| *next <= now).is_some())
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

/// Surveys a lane beside its claims. What was claimed meanwhile is met once more, at the most.
pub(super) async fn survey(lines: &Mutex<Lines>, db: &Db, lane: Lane) {
    let began = Instant::now();
    let found = find(db, lane, DateTime::UNIX_EPOCH, None).await;
    let mut lines = lines.lock().await;
    match found {
        Ok(found) => lines.learn_of(&found),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "a lane was not surveyed");
        }
    }
    lines.survey = began.elapsed();
    lines.next_survey = Some(began + SURVEY.max(lines.survey * RESTRAINT));
}

/// What waits, at a moment.
struct Found {
    at: DateTime<Utc>,
    waiting: Vec<Waiting>,
}

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
mod tests {
    use super::*;
    use crate::ids::WorkerId;
    use crate::queue::Lane;

    fn tenant(number: u128) -> TenantId {
        TenantId(Uuid::from_u128(number))
    }

    fn place(second: i64) -> Place {
        let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        (at, JobId(Uuid::nil()))
    }

    fn request(limit: i64, per_tenant: i64) -> ClaimRequest {
        ClaimRequest {
            worker: WorkerId::generate(),
            lane: Lane::Others,
            limit,
            per_tenant,
            saturated: Vec::new(),
        }
    }

    fn lines(waiting: &[(u128, i16)]) -> Lines {
        let mut lines = Lines::default();
        for (number, priority) in waiting {
            lines.wait((tenant(*number), *priority), place(1).0);
        }
        lines
    }

    fn names(picks: &[Pick]) -> Vec<Line> {
        picks.iter().map(|pick| pick.line).collect()
    }

    #[test]
    fn picks_go_round_the_tenants_with_the_most_urgent_line_of_each() {
        let mut lines = lines(&[(1, 20), (1, 10), (2, 50), (3, 20)]);
        lines.last = tenant(1);
        let taken = lines.begin();
        let picks = lines.picks(&request(10, 5), &taken);
        assert_eq!(
            names(&picks),
            [(tenant(2), 50), (tenant(3), 20), (tenant(1), 10)]
        );
        let mut saturated = request(10, 5);
        saturated.saturated.push(tenant(2));
        let picks = lines.picks(&saturated, &taken);
        assert_eq!(names(&picks), [(tenant(3), 20), (tenant(1), 10)]);
        let picks = lines.picks(&request(2, 5), &taken);
        assert_eq!(names(&picks), [(tenant(2), 50), (tenant(3), 20)]);
    }

    #[test]
    fn what_a_claim_finds_moves_its_lines() {
        let mut lines = lines(&[(1, 10), (1, 20), (2, 10), (3, 10), (4, 10)]);
        let mut taken = lines.begin();
        let picks = lines.picks(&request(4, 2), &taken);
        // Two of the first, which may have more; none of the second; two of the third, with
        // which the claim is full; nobody looked at the fourth.
        let found = [
            ((tenant(1), 10), place(2)),
            ((tenant(1), 10), place(3)),
            ((tenant(3), 10), place(2)),
            ((tenant(3), 10), place(5)),
        ];
        lines.learn(&picks, &found, 4, &mut taken);
        assert_eq!((taken.jobs, lines.last), (4, tenant(3)));
        let since: Vec<_> = lines.heads.into_iter().collect();
        assert_eq!(
            since,
            [
                ((tenant(1), 10), place(3)),
                ((tenant(1), 20), place(1)),
                ((tenant(3), 10), place(5)),
                ((tenant(4), 10), place(1)),
            ]
        );
    }

    #[test]
    fn what_was_passed_stays_passed_until_something_older_turns_up() {
        let mut lines = lines(&[(1, 10)]);
        let line = (tenant(1), 10);
        let passed = (place(1).0, JobId(Uuid::from_u128(7)));
        lines.heads.insert(line, passed);
        for later in [1, 2] {
            lines.wait(line, place(later).0);
            assert_eq!(lines.heads.get(&line), Some(&passed));
        }
        lines.wait(line, place(0).0);
        assert_eq!(lines.heads.get(&line), Some(&place(0)));
    }

    #[test]
    fn a_tenants_next_line_follows_while_it_has_room() {
        let mut lines = lines(&[(1, 10), (1, 20), (2, 10)]);
        let request = request(10, 3);
        let mut taken = lines.begin();
        let picks = lines.picks(&request, &taken);
        let found = [((tenant(1), 10), place(2)), ((tenant(2), 10), place(2))];
        lines.learn(&picks, &found, 10, &mut taken);
        let next = lines.picks(&request, &taken);
        assert_eq!(names(&next), [(tenant(1), 20)]);
        assert_eq!(next.first().map(|pick| pick.most), Some(2), "of its three");
        lines.learn(&next, &[], 8, &mut taken);
        assert!(lines.heads.is_empty(), "all are known to be empty");
    }
}
