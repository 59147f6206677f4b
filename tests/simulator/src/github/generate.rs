//! Generated accounts, history and activity.
//!
//! The same seed produces the same people, repositories and history. The mix of actions is that
//! of a team: more comments than issues, more issues than releases, and some of each kind.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;
use tokio_util::sync::CancellationToken;

use super::GitHub;
use super::actions::{ActionParams, Transaction};
use super::world::{Account, Id, ObjectType, PersonKind, Team, World};
use crate::Config;
use crate::generate::{AccountSize, HISTORY_SECONDS, Mix};

/// Actions of a team.
const MIX: Mix = Mix {
    in_history: 40,
    counted: &[],
    actions: &[
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
    ],
};

/// Creates the initial accounts and repositories.
pub(crate) fn populate(world: &mut World, config: &Config, now: i64) {
    let since = now - HISTORY_SECONDS - 3_600;
    for number in 1..=config.accounts {
        let kind = if number % 5 == 0 {
            PersonKind::User
        } else {
            PersonKind::Organization
        };
        let login = format!("team-{number}");
        add_account(
            world,
            &login,
            kind,
            config.size(config.providers.github.repositories),
            since,
        );
    }
}

/// Adds an account with an admin, developers, a bot and repositories.
///
/// An organization gets a team as well; a personal account is its own admin.
pub(crate) fn add_account(
    world: &mut World,
    login: &str,
    kind: PersonKind,
    size: AccountSize,
    at: i64,
) -> Id {
    let id = world.add_person(login, kind);
    let is_organization = kind == PersonKind::Organization;
    let admin = if is_organization {
        world.add_person(&format!("{login}-admin"), PersonKind::User)
    } else {
        id
    };
    let mut members = vec![admin];
    for number in 1..=size.people {
        members.push(world.add_person(&format!("{login}-dev-{number}"), PersonKind::User));
    }
    let bot = world.add_person(&format!("{login}-ci[bot]"), PersonKind::Bot);
    let team = is_organization.then(|| Team {
        id: world.next_id(ObjectType::Team),
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

/// Generates this many past facts in each initial repository.
pub(crate) fn populate_history(service: &GitHub, facts: usize, now: i64) {
    let repositories: Vec<Id> = service.world().repositories.keys().copied().collect();
    for repository in repositories {
        populate_repository_history(service, repository, facts, now);
    }
}

/// Generates past facts in one repository, spread over the last 30 days.
pub(crate) fn populate_repository_history(
    service: &GitHub,
    repository: Id,
    facts: usize,
    now: i64,
) {
    let mut world = service.world();
    let Some(found) = world.repositories.get(&repository) else {
        return;
    };
    let (account, name) = (world.login(found.owner).to_owned(), found.name.clone());
    let mut times: Vec<i64> = (0..facts)
        .map(|_| now - world.rng.random_range(60..HISTORY_SECONDS))
        .collect();
    times.sort_unstable();
    let mut recorded = 0;
    while let Some(&at) = times.get(recorded) {
        let mut tx = Transaction::new(service, &mut world, at);
        let action = MIX.choose_past(None, &mut tx.world.rng);
        try_action(&mut tx, &account, action, Some(name.clone()));
        recorded += tx.facts.len();
    }
}

/// Performs an action, or skips it if it is impossible now.
fn try_action(
    tx: &mut Transaction<'_>,
    account: &str,
    action: &'static str,
    repository: Option<String>,
) {
    let params = ActionParams {
        account: account.to_owned(),
        action: action.to_owned(),
        repository,
        ..ActionParams::default()
    };
    if let Err(error) = tx.perform(&params) {
        tracing::debug!(action, reason = error.0, "skipped an action");
    }
}

/// Generates facts in an account, or in random accounts.
///
/// Returns the ledger rows of the facts and the GUIDs of the deliveries.
pub(crate) fn generate(
    service: &GitHub,
    account: Option<&str>,
    facts: usize,
) -> (Vec<u64>, Vec<String>) {
    let mut world = service.world();
    let logins: Vec<String> = match account {
        Some(login) => vec![login.to_owned()],
        None => world
            .accounts
            .keys()
            .map(|id| world.login(*id).to_owned())
            .collect(),
    };
    let at = service.core.clock.seconds();
    let (mut rows, mut deliveries) = (Vec::new(), Vec::new());
    // The bound ends the loop in a world where no action is possible.
    for _ in 0..facts.saturating_mul(20) {
        if rows.len() >= facts {
            break;
        }
        let Some(login) = logins.choose(&mut world.rng).cloned() else {
            break;
        };
        let mut tx = Transaction::new(service, &mut world, at);
        let action = MIX.choose(&mut tx.world.rng);
        try_action(&mut tx, &login, action, None);
        rows.append(&mut tx.facts);
        deliveries.append(&mut tx.deliveries);
    }
    (rows, deliveries)
}

/// Generates facts at this rate per second until `stop` is cancelled.
pub(crate) async fn run_activity(service: Arc<GitHub>, rate: f64, stop: CancellationToken) {
    let tick = Duration::from_millis(20);
    let mut interval = tokio::time::interval(tick);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut due = 0.0_f64;
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = stop.cancelled() => return,
        }
        due += rate * tick.as_secs_f64();
        while due >= 1.0 {
            let (facts, _) = generate(&service, None, 1);
            if facts.is_empty() {
                due = 0.0;
                break;
            }
            due -= f64::from(u32::try_from(facts.len()).unwrap_or(1));
        }
    }
}
