//! Generated accounts, history and activity.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;

use super::Slack;
use super::actions::{Acted, ActionOutcome, ActionParams, ActionTime, Transaction};
use super::world::{Channel, Kind, Organization, Team, User, World};
use crate::Config;
use crate::generate::{AccountSize, Generated, HISTORY_SECONDS, HistorySize, Mix, perform};

const YEAR: i64 = 365 * 24 * 3_600;
const CHANNELS: [&str; 3] = ["general", "pumps", "random"];
/// Size of an account that the control API adds.
pub(crate) const DEFAULT_SIZE: AccountSize = AccountSize {
    containers: CHANNELS.len(),
    people: 4,
};

/// Actions of a workspace. The configuration can fix the number of replies.
const MIX: Mix = Mix {
    in_history: 8,
    counted: &["message.replied", "message.broadcast"],
    actions: &[
        ("message.posted", 180),
        ("message.replied", 110),
        ("message.broadcast", 8),
        ("message.bot", 40),
        ("message.me", 4),
        ("message.edited", 30),
        ("message.noise", 10),
        ("message.mention", 12),
        ("message.file", 12),
        ("message.unfurled", 15),
        ("message.deleted", 10),
        ("reaction.added", 50),
        ("reaction.removed", 10),
        ("member.joined", 8),
    ],
};

/// Creates the workspaces that exist when the simulator starts.
pub(crate) fn populate(world: &mut World, config: &Config, now: i64) {
    let size = config.size(config.providers.slack.channels);
    for number in 1..=config.accounts {
        add_team(world, &format!("team-{number}"), None, size, now);
    }
}

/// Adds an organization without workspaces and returns its id.
pub(crate) fn add_organization(world: &mut World, domain: &str) -> String {
    let (id, admin, bot) = (world.id("E"), world.id("W"), world.id("W"));
    let organization = Organization {
        id: id.clone(),
        name: format!("{domain} organization"),
        domain: domain.to_owned(),
        admin,
        bot,
        added: BTreeSet::new(),
    };
    world.organizations.insert(id.clone(), organization);
    id
}

/// Adds a workspace with people and channels and returns its id.
///
/// An organization's admin and bot are users of its first workspace.
pub(crate) fn add_team(
    world: &mut World,
    domain: &str,
    organization: Option<&str>,
    size: AccountSize,
    now: i64,
) -> String {
    let since = now - HISTORY_SECONDS - 3_600;
    let kind = if organization.is_some() { "W" } else { "U" };
    let (id, bot) = (world.id("T"), world.id(kind));
    let mut people = Vec::new();
    for number in 0..=size.people {
        let user = world.id(kind);
        let name = if number == 0 {
            format!("{domain}-admin")
        } else {
            format!("{domain}-dev-{number}")
        };
        add_user(world, &id, &user, &name, false);
        people.push(user);
    }
    add_user(world, &id, &bot, "poblysh", true);
    if let Some(parent) = organization.and_then(|id| world.organizations.get(id)) {
        let (admin, bot) = (parent.admin.clone(), parent.bot.clone());
        let name = format!("{}-org-admin", parent.domain);
        if !world.users.contains_key(&admin) {
            add_user(world, &id, &admin, &name, false);
            add_user(world, &id, &bot, "poblysh", true);
        }
    }
    let team = Team {
        id: id.clone(),
        name: domain.to_owned(),
        domain: domain.to_owned(),
        admin: people[0].clone(),
        people,
        bot,
        organization: organization.map(str::to_owned),
        containers: BTreeMap::new(),
    };
    let admin = team.admin.clone();
    world.teams.insert(id.clone(), team);
    let containers = world
        .accounts_of(&id)
        .into_iter()
        .map(|account| (account, world.container()))
        .collect();
    if let Some(team) = world.teams.get_mut(&id) {
        team.containers = containers;
    }
    for (number, second) in (0..size.containers).zip(0_i64..) {
        let name = match CHANNELS.get(number) {
            Some(name) => (*name).to_owned(),
            None => format!("channel-{}", number + 1),
        };
        let (channel, teams) = (world.id("C"), vec![id.clone()]);
        let channel = Channel {
            id: channel.clone(),
            first_id: channel,
            name,
            // Older than any backfill, so that the channel's creation is not expected as a fact.
            created: since - YEAR + second,
            creator: admin.clone(),
            kind: Kind::Public,
            containers: world.channel_containers(&teams),
            teams,
            bots: BTreeSet::new(),
            messages: BTreeMap::new(),
            facts: BTreeMap::new(),
        };
        world.channels.insert(channel.id.clone(), channel);
    }
    id
}

fn add_user(world: &mut World, team: &str, id: &str, name: &str, bot: bool) {
    let user = User {
        id: id.to_owned(),
        team: team.to_owned(),
        name: name.to_owned(),
        real_name: name.replace('-', " "),
        bot,
    };
    world.users.insert(id.to_owned(), user);
}

/// Generates facts of the last thirty days in every channel of every workspace.
pub(crate) fn populate_history(service: &Slack, config: &Config, now: i64) {
    let history_size = HistorySize {
        facts: config.history,
        fixed_count: config.providers.slack.replies,
    };
    let teams: Vec<String> = service.world().teams.keys().cloned().collect();
    for team in teams {
        populate_team_history(service, &team, history_size, now);
    }
}

/// Generates facts of the last thirty days in a workspace, in one channel after the other.
pub(crate) fn populate_team_history(
    service: &Slack,
    team: &str,
    history_size: HistorySize,
    now: i64,
) {
    let channels: Vec<String> = {
        let world = service.world();
        world
            .channels_of(team)
            .map(|channel| channel.id.clone())
            .collect()
    };
    for (at, round, channel) in history_size.schedule(&channels, now, 120) {
        service.transact(ActionTime { at, is_live: false }, |tx| {
            let is_reply = history_size.fixed_count.map(|replies| {
                let top_level = history_size.facts.saturating_sub(replies);
                !history_size.selects(top_level, round)
            });
            let action = MIX.choose_past(is_reply, &mut tx.world.rng);
            perform(tx, team, action, Some(channel));
        });
    }
}

impl Generated for Slack {
    const MIX: Mix = MIX;
    const FALLBACK: &'static str = "message.posted";

    fn account_ids(world: &World) -> Vec<String> {
        world.teams.keys().cloned().collect()
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
            channel: container.cloned(),
            ..ActionParams::default()
        })
    }
}
