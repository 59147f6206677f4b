//! A world with a past, and activity that goes on by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::IndexedRandom;
use tokio_util::sync::CancellationToken;

use super::Jira;
use super::act::{Act, Stage, When};
use super::world::{Person, Project, Site, World};
use crate::simulator::{Config, Past, Size};

const DAY: i64 = 24 * 3_600;
const PAST_DAYS: i64 = 30;
const PROJECTS: [&str; 2] = ["ENG", "OPS"];
/// What a site has that is added later.
pub(crate) const USUAL: Size = Size {
    containers: PROJECTS.len(),
    people: 4,
};
/// Where people live, the whole year at the same distance from UTC; the first are those who
/// connect.
const ZONES: [(i64, &str); 3] = [(-7, "America/Phoenix"), (1, "Africa/Lagos"), (0, "Etc/UTC")];

/// How often each action is chosen. Actions past the mark are left out of the history: nobody
/// can learn of them afterwards.
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
const HISTORY_MARK: usize = 12;
const NEW_ISSUE: &str = "issue.created";

/// Creates the sites that a simulator starts with.
pub(crate) fn populate(world: &mut World, config: &Config) {
    let size = config.size(config.projects);
    for number in 1..=config.accounts {
        add_site(world, &format!("team-{number}"), size);
    }
}

/// Adds a site with people and projects, and answers its cloud id.
pub(crate) fn add_site(
    world: &mut World,
    name: &str,
    Size {
        containers,
        people: developers,
    }: Size,
) -> String {
    let (id, container, board) = (world.uuid(), world.container(), world.number());
    world.number();
    let mut people = Vec::new();
    for number in 0..=developers {
        let account = format!("712020:{}", world.uuid());
        let who = if number == 0 {
            format!("{name} admin")
        } else {
            format!("{name} dev {number}")
        };
        world.people.insert(
            account.clone(),
            Person {
                id: account.clone(),
                name: who,
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
        hooks: BTreeMap::new(),
        last_hook: 0,
        board,
        container,
        id: id.clone(),
    };
    world.sites.insert(id.clone(), site);
    id
}

/// Facts of the last thirty days, in every site.
pub(crate) fn history(hub: &Jira, config: &Config, now: i64) {
    let past = Past {
        facts: config.history,
        counted: config.issues,
    };
    let sites: Vec<String> = hub.world().sites.keys().cloned().collect();
    for site in sites {
        site_history(hub, &site, past, now);
    }
}

/// Facts of the last thirty days, as many as are due to all projects of a site. New issues go
/// to one project after the other.
pub(crate) fn site_history(hub: &Jira, site: &str, past: Past, now: i64) {
    let weighted = |mix: &[(&str, u32)]| WeightedIndex::new(mix.iter().map(|(_, weight)| *weight));
    // Where new issues are counted, the rest is none.
    let rest: Vec<(&str, u32)> = MIX[..HISTORY_MARK]
        .iter()
        .filter(|(action, _)| *action != NEW_ISSUE)
        .copied()
        .collect();
    let (Ok(all), Ok(others)) = (weighted(&MIX[..HISTORY_MARK]), weighted(&rest)) else {
        return;
    };
    let projects: Vec<String> = {
        let world = hub.world();
        let projects = world.sites[site].projects.values();
        projects.map(|project| project.key.clone()).collect()
    };
    let count = i64::try_from(past.facts * projects.len()).unwrap_or(0);
    let since = now - PAST_DAYS * DAY;
    let rounds =
        (0..past.facts).flat_map(|round| projects.iter().map(move |project| (round, project)));
    for (number, (round, project)) in (0_i64..).zip(rounds) {
        let at = since + (PAST_DAYS * DAY - 3_600) * number / count.max(1);
        hub.stage(When { at, live: false }, |stage| {
            let rng = &mut stage.world.rng;
            let new = past.counted.map(|issues| past.spreads(issues, round));
            let action = match new {
                Some(true) => NEW_ISSUE,
                Some(false) => rest[others.sample(rng)].0,
                None => MIX[all.sample(rng)].0,
            };
            let project = (action == NEW_ISSUE).then_some(project);
            happen(stage, site, action, project);
        });
    }
}

/// Makes facts happen now, at one site or anywhere; answers how many.
pub(crate) fn generate(hub: &Jira, site: Option<&str>, count: usize) -> usize {
    let Ok(weights) = WeightedIndex::new(MIX.iter().map(|(_, weight)| weight)) else {
        return 0;
    };
    let sites: Vec<String> = hub.world().sites.keys().cloned().collect();
    let mut facts = 0;
    for _ in 0..count {
        facts += hub.stage(hub.now(), |stage| {
            let action = MIX[weights.sample(&mut stage.world.rng)].0;
            let somewhere = sites.choose(&mut stage.world.rng).map(String::as_str);
            site.or(somewhere)
                .map_or(0, |site| happen(stage, site, action, None))
        });
    }
    facts
}

fn happen(stage: &mut Stage<'_>, site: &str, action: &str, project: Option<&String>) -> usize {
    let act = |action: &str| Act {
        account: site.to_owned(),
        action: action.to_owned(),
        to: project.cloned(),
        ..Act::default()
    };
    // What cannot happen just now gives way to what always can.
    let done = stage
        .act(&act(action))
        .or_else(|_| stage.act(&act("comment.created")));
    done.map_or(0, |done| done.facts.len())
}

/// Lets things happen by themselves, at this many a second.
pub(crate) async fn live(hub: Arc<Jira>, rate: f64, stop: CancellationToken) {
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
