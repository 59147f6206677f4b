//! Generated sites, history and activity.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::IndexedRandom;
use tokio_util::sync::CancellationToken;

use super::Jira;
use super::actions::{ActionParams, ActionTime, Transaction};
use super::world::{Person, Project, Site, World};
use crate::{AccountSize, Config, HistorySize};

const DAY: i64 = 24 * 3_600;
const HISTORY_DAYS: i64 = 30;
const PROJECTS: [&str; 2] = ["ENG", "OPS"];
/// Size of a site that the control API adds.
pub(crate) const DEFAULT_SIZE: AccountSize = AccountSize {
    containers: PROJECTS.len(),
    people: 4,
};
/// Time zones of people, without daylight saving time. The admin of a site has the first.
const ZONES: [(i64, &str); 3] = [(-7, "America/Phoenix"), (1, "Africa/Lagos"), (0, "Etc/UTC")];

/// Actions with their weights.
///
/// Only the first [`HISTORY_ACTIONS`] occur in the history: a backfill cannot find the others.
const MIX: [(&str, u32); 14] = [
    ("issue.created", 90),
    ("issue.transitioned", 110),
    ("issue.assigned", 40),
    ("issue.unassigned", 10),
    ("issue.edited", 40),
    ("comment.created", 120),
    ("comment.edited", 20),
    ("worklog.created", 20),
    ("sprint.created", 4),
    ("sprint.started", 3),
    ("sprint.closed", 2),
    ("version.released", 2),
    ("comment.deleted", 8),
    ("issue.deleted", 4),
];
const HISTORY_ACTIONS: usize = 12;
const NEW_ISSUE: &str = "issue.created";

/// Creates the sites that exist when the simulator starts.
pub(crate) fn populate(world: &mut World, config: &Config) {
    let size = config.size(config.projects);
    for number in 1..=config.accounts {
        add_site(world, &format!("team-{number}"), size);
    }
}

/// Adds a site with people and projects and returns its cloud id.
pub(crate) fn add_site(
    world: &mut World,
    name: &str,
    AccountSize {
        containers,
        people: developers,
    }: AccountSize,
) -> String {
    let (id, container, board) = (world.uuid(), world.container(), world.number());
    world.number();
    let mut people = Vec::new();
    for number in 0..=developers {
        let account = format!("712020:{}", world.uuid());
        let display_name = if number == 0 {
            format!("{name} admin")
        } else {
            format!("{name} dev {number}")
        };
        world.people.insert(
            account.clone(),
            Person {
                id: account.clone(),
                name: display_name,
                zone: ZONES[number % ZONES.len()],
                sites: vec![id.clone()],
            },
        );
        people.push(account);
    }
    let mut projects = BTreeMap::new();
    for number in 0..containers {
        let key = match PROJECTS.get(number) {
            Some(key) => (*key).to_owned(),
            None => format!("PRJ{}", number + 1),
        };
        let (project, container) = (world.number().to_string(), world.container());
        projects.insert(
            project.clone(),
            Project {
                id: project,
                name: format!("{name} {key}"),
                key,
                last_number: 0,
                container,
            },
        );
    }
    let site = Site {
        url: format!("https://{name}.atlassian.net"),
        name: name.to_owned(),
        admin: people[0].clone(),
        people,
        projects,
        issues: BTreeMap::new(),
        sprints: BTreeMap::new(),
        versions: BTreeMap::new(),
        worklogs: BTreeMap::new(),
        deleted_worklogs: Vec::new(),
        webhooks: BTreeMap::new(),
        last_webhook_id: 0,
        board,
        container,
        id: id.clone(),
    };
    world.sites.insert(id.clone(), site);
    id
}

/// Generates facts of the last thirty days in every site.
pub(crate) fn populate_history(hub: &Jira, config: &Config, now: i64) {
    let history_size = HistorySize {
        facts: config.history,
        fixed_count: config.issues,
    };
    let sites: Vec<String> = hub.world().sites.keys().cloned().collect();
    for site in sites {
        populate_site_history(hub, &site, history_size, now);
    }
}

/// Generates facts of the last thirty days in a site.
///
/// Their number is `facts` per project. New issues go to one project after the other.
pub(crate) fn populate_site_history(hub: &Jira, site: &str, history_size: HistorySize, now: i64) {
    let weighted = |mix: &[(&str, u32)]| WeightedIndex::new(mix.iter().map(|(_, weight)| *weight));
    // With a fixed number of new issues, random actions must not add more.
    let other_actions: Vec<(&str, u32)> = MIX[..HISTORY_ACTIONS]
        .iter()
        .filter(|(action, _)| *action != NEW_ISSUE)
        .copied()
        .collect();
    let (Ok(all_weights), Ok(other_weights)) =
        (weighted(&MIX[..HISTORY_ACTIONS]), weighted(&other_actions))
    else {
        return;
    };
    let projects: Vec<String> = {
        let world = hub.world();
        let projects = world.sites[site].projects.values();
        projects.map(|project| project.key.clone()).collect()
    };
    let count = i64::try_from(history_size.facts * projects.len()).unwrap_or(0);
    let since = now - HISTORY_DAYS * DAY;
    let rounds = (0..history_size.facts)
        .flat_map(|round| projects.iter().map(move |project| (round, project)));
    for (number, (round, project)) in (0_i64..).zip(rounds) {
        let at = since + (HISTORY_DAYS * DAY - 3_600) * number / count.max(1);
        hub.transact(ActionTime { at, is_live: false }, |tx| {
            let rng = &mut tx.world.rng;
            let is_new_issue = history_size
                .fixed_count
                .map(|issues| history_size.selects(issues, round));
            let action = match is_new_issue {
                Some(true) => NEW_ISSUE,
                Some(false) => other_actions[other_weights.sample(rng)].0,
                None => MIX[all_weights.sample(rng)].0,
            };
            let project = (action == NEW_ISSUE).then_some(project);
            perform_or_comment(tx, site, action, project);
        });
    }
}

/// Generates facts now, in one site or in random ones, and returns their number.
pub(crate) fn generate(hub: &Jira, site: Option<&str>, count: usize) -> usize {
    let Ok(weights) = WeightedIndex::new(MIX.iter().map(|(_, weight)| weight)) else {
        return 0;
    };
    let sites: Vec<String> = hub.world().sites.keys().cloned().collect();
    let mut facts = 0;
    for _ in 0..count {
        facts += hub.transact(hub.now(), |tx| {
            let action = MIX[weights.sample(&mut tx.world.rng)].0;
            let random_site = sites.choose(&mut tx.world.rng).map(String::as_str);
            site.or(random_site)
                .map_or(0, |site| perform_or_comment(tx, site, action, None))
        });
    }
    facts
}

/// Performs an action, or comments on an issue if the action is impossible.
fn perform_or_comment(
    tx: &mut Transaction<'_>,
    site: &str,
    action: &str,
    project: Option<&String>,
) -> usize {
    let params = |action: &str| ActionParams {
        account: site.to_owned(),
        action: action.to_owned(),
        to: project.cloned(),
        ..ActionParams::default()
    };
    let outcome = tx
        .perform(&params(action))
        .or_else(|_| tx.perform(&params("comment.created")));
    outcome.map_or(0, |outcome| outcome.facts.len())
}

/// Generates facts at a rate per second, until `stop`.
pub(crate) async fn run_activity(hub: Arc<Jira>, rate: f64, stop: CancellationToken) {
    loop {
        let pause = {
            let mut world = hub.world();
            -world.rng.random_range(f64::EPSILON..1.0_f64).ln() / rate
        };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs_f64(pause.min(60.0))) => {}
            () = stop.cancelled() => return,
        }
        generate(&hub, None, 1);
    }
}
