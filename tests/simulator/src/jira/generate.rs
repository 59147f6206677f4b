//! Generated sites, history and activity.

use std::collections::BTreeMap;

use rand::rngs::StdRng;

use super::Jira;
use super::actions::{Acted, ActionOutcome, ActionParams, ActionTime, Transaction};
use super::world::{Person, Project, Site, World};
use crate::Config;
use crate::generate::{AccountSize, Generated, HistorySize, Mix, perform};

const PROJECTS: [&str; 2] = ["ENG", "OPS"];
/// Size of a site that the control API adds.
pub(crate) const DEFAULT_SIZE: AccountSize = AccountSize {
    containers: PROJECTS.len(),
    people: 4,
};
/// Time zones of people, without daylight saving time. The admin of a site has the first.
const ZONES: [(i64, &str); 3] = [(-7, "America/Phoenix"), (1, "Africa/Lagos"), (0, "Etc/UTC")];

const NEW_ISSUE: &str = "issue.created";

/// Actions of a site. The configuration can fix the number of new issues.
const MIX: Mix = Mix {
    in_history: 12,
    counted: &[NEW_ISSUE],
    actions: &[
        (NEW_ISSUE, 90),
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
    ],
};

/// Creates the sites that exist when the simulator starts.
pub(crate) fn populate(world: &mut World, config: &Config) {
    let size = config.size(config.providers.jira.projects);
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
pub(crate) fn populate_history(service: &Jira, config: &Config, now: i64) {
    let history_size = HistorySize {
        facts: config.history,
        fixed_count: config.providers.jira.issues,
    };
    let sites: Vec<String> = service.world().sites.keys().cloned().collect();
    for site in sites {
        populate_site_history(service, &site, history_size, now);
    }
}

/// Generates facts of the last thirty days in a site.
///
/// Their number is `facts` per project. New issues go to one project after the other.
pub(crate) fn populate_site_history(
    service: &Jira,
    site: &str,
    history_size: HistorySize,
    now: i64,
) {
    let projects: Vec<String> = {
        let world = service.world();
        let projects = world.sites[site].projects.values();
        projects.map(|project| project.key.clone()).collect()
    };
    for (at, round, project) in history_size.schedule(&projects, now, 3_600) {
        service.transact(ActionTime { at, is_live: false }, |tx| {
            let is_new_issue = history_size
                .fixed_count
                .map(|issues| history_size.selects(issues, round));
            let action = MIX.choose_past(is_new_issue, &mut tx.world.rng);
            let project = (action == NEW_ISSUE).then_some(project);
            perform(tx, site, action, project);
        });
    }
}

impl Generated for Jira {
    const MIX: Mix = MIX;
    const FALLBACK: &'static str = "comment.created";

    fn account_ids(world: &World) -> Vec<String> {
        world.sites.keys().cloned().collect()
    }

    fn rng(world: &mut World) -> &mut StdRng {
        &mut world.rng
    }

    fn perform(
        tx: &mut Transaction<'_>,
        account: &str,
        action: &str,
        container: Option<&String>,
    ) -> Result<ActionOutcome, &'static str> {
        tx.perform(&ActionParams {
            account: account.to_owned(),
            action: action.to_owned(),
            to: container.cloned(),
            ..ActionParams::default()
        })
    }
}
