//! A world with a past, and activity that goes on by itself.
//!
//! Promises the same people, repositories and history for the same seed, and a
//! mix of kinds such as a team produces: more comments than issues, more
//! issues than releases, some of everything.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::IndexedRandom;
use tokio_util::sync::CancellationToken;

use super::GitHub;
use super::act::{Act, Stage};
use super::world::{Account, Id, Numbered, PersonKind, Team, World};
use crate::simulator::{Config, Size};

const DAY: i64 = 24 * 3_600;
const PAST_DAYS: i64 = 30;

/// How often each action is chosen. Actions past the mark are left out of the
/// history: nobody can learn of them afterwards.
const MIX: [(&str, u32); 45] = [
    ("issue_comment.created", 180),
    ("issues.opened", 90),
    ("push", 90),
    ("workflow_run.completed", 90),
    ("pull_request.opened", 60),
    ("pull_request_review.submitted", 60),
    ("pull_request_review_comment.created", 50),
    ("issues.closed", 50),
    ("pull_request.merged", 40),
    ("star.created", 25),
    ("pull_request.closed", 12),
    ("issues.reopened", 10),
    ("release.published", 10),
    ("workflow_run.rerun", 8),
    ("issues.labeled", 25),
    ("issues.assigned", 20),
    ("issues.edited", 12),
    ("pull_request.synchronize", 30),
    ("pull_request.review_requested", 20),
    ("pull_request.labeled", 10),
    ("issue_comment.edited", 10),
    ("issue_comment.deleted", 4),
    ("pull_request_review_comment.edited", 4),
    ("pull_request_review_comment.deleted", 2),
    ("pull_request.reopened", 4),
    ("pull_request.ready_for_review", 6),
    ("pull_request_review.dismissed", 4),
    ("issues.unassigned", 4),
    ("issues.milestoned", 4),
    ("issues.locked", 2),
    ("issues.deleted", 2),
    ("release.edited", 3),
    ("release.deleted", 1),
    ("discussion.created", 6),
    ("discussion_comment.created", 10),
    ("discussion.answered", 3),
    ("commit_comment.created", 5),
    ("deployment_status.created", 15),
    ("milestone.created", 2),
    ("milestone.closed", 1),
    ("create.branch", 12),
    ("delete.branch", 6),
    ("create.tag", 3),
    ("star.deleted", 2),
    ("push.reset", 2),
];
const HISTORY_MARK: usize = 40;

/// Creates the accounts and repositories a simulator starts with.
pub(crate) fn populate(world: &mut World, config: &Config, now: i64) {
    let since = now - PAST_DAYS * DAY - 3_600;
    for number in 1..=config.accounts {
        let kind = if number % 5 == 0 {
            PersonKind::User
        } else {
            PersonKind::Organization
        };
        let login = format!("team-{number}");
        add_account(world, &login, kind, config.size(config.repositories), since);
    }
}

/// Adds an account with an admin, developers, a bot, repositories and, for an
/// organization, a team. A personal account is its own admin.
pub(crate) fn add_account(
    world: &mut World,
    login: &str,
    kind: PersonKind,
    size: Size,
    at: i64,
) -> Id {
    let id = world.add_person(login, kind);
    let organization = kind == PersonKind::Organization;
    let admin = if organization {
        world.add_person(&format!("{login}-admin"), PersonKind::User)
    } else {
        id
    };
    let mut members = vec![admin];
    for number in 1..=size.people {
        members.push(world.add_person(&format!("{login}-dev-{number}"), PersonKind::User));
    }
    let bot = world.add_person(&format!("{login}-ci[bot]"), PersonKind::Bot);
    let team = organization.then(|| Team {
        id: world.number(Numbered::Team),
        slug: "reviewers".to_owned(),
    });
    let account = Account {
        id,
        kind,
        admin,
        members,
        bot,
        team,
        repositories: Vec::new(),
        created_at: at,
    };
    world.accounts.insert(id, account);
    for number in 1..=size.containers {
        world.add_repository(id, &format!("service-{number}"), at);
    }
    id
}

/// Gives every repository of the start this many facts of the past.
pub(crate) fn history(hub: &GitHub, facts: usize, now: i64) {
    let repositories: Vec<Id> = hub.world().repositories.keys().copied().collect();
    for repository in repositories {
        past_of(hub, repository, facts, now);
    }
}

/// Gives one repository facts spread over the last 30 days.
pub(crate) fn past_of(hub: &GitHub, repository: Id, facts: usize, now: i64) {
    let mut world = hub.world();
    let Some(found) = world.repositories.get(&repository) else {
        return;
    };
    let (account, name) = (world.login(found.owner).to_owned(), found.name.clone());
    let mut times: Vec<i64> = (0..facts)
        .map(|_| now - world.rng.random_range(60..PAST_DAYS * DAY))
        .collect();
    times.sort_unstable();
    let mut written = 0;
    while let Some(&at) = times.get(written) {
        let mut stage = Stage::new(hub, &mut world, at);
        step(&mut stage, &account, Some(name.clone()), HISTORY_MARK);
        written += stage.facts.len();
    }
}

/// Lets one random thing happen; one that cannot happen now is skipped.
fn step(stage: &mut Stage<'_>, account: &str, repository: Option<String>, kinds: usize) {
    let weights = MIX[..kinds].iter().map(|(_, weight)| *weight);
    let Ok(weighted) = WeightedIndex::new(weights) else {
        return;
    };
    let (action, _) = MIX[weighted.sample(&mut stage.world.rng)];
    let act = Act {
        account: account.to_owned(),
        action: action.to_owned(),
        repository,
        ..Act::default()
    };
    if let Err(refused) = stage.perform(&act) {
        tracing::debug!(action, reason = refused.0, "skipped");
    }
}

/// Lets things happen in an account, or anywhere, until there are this many more
/// facts; answers the facts' ledger rows and the deliveries' GUIDs.
pub(crate) fn now(hub: &GitHub, account: Option<&str>, facts: usize) -> (Vec<u64>, Vec<String>) {
    let mut world = hub.world();
    let logins: Vec<String> = match account {
        Some(login) => vec![login.to_owned()],
        None => world
            .accounts
            .keys()
            .map(|id| world.login(*id).to_owned())
            .collect(),
    };
    let at = hub.core.clock.seconds();
    let (mut rows, mut deliveries) = (Vec::new(), Vec::new());
    // A bound for worlds in which nothing can happen.
    for _ in 0..facts.saturating_mul(20) {
        if rows.len() >= facts {
            break;
        }
        let Some(login) = logins.choose(&mut world.rng).cloned() else {
            break;
        };
        let mut stage = Stage::new(hub, &mut world, at);
        step(&mut stage, &login, None, MIX.len());
        rows.append(&mut stage.facts);
        deliveries.append(&mut stage.deliveries);
    }
    (rows, deliveries)
}

/// Keeps the world going at this many facts per second.
pub(crate) async fn live(hub: Arc<GitHub>, rate: f64, stop: CancellationToken) {
    let tick = Duration::from_millis(20);
    let mut clock = tokio::time::interval(tick);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut owed = 0.0_f64;
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = stop.cancelled() => return,
        }
        owed += rate * tick.as_secs_f64();
        while owed >= 1.0 {
            let (facts, _) = now(&hub, None, 1);
            if facts.is_empty() {
                owed = 0.0;
                break;
            }
            owed -= f64::from(u32::try_from(facts.len()).unwrap_or(1));
        }
    }
}
