//! Generated accounts, history and activity.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::IndexedRandom;
use tokio_util::sync::CancellationToken;

use super::Slack;
use super::actions::{ActionParams, ActionTime, Transaction};
use super::world::{Channel, Kind, Organization, Team, User, World};
use crate::{AccountSize, Config, HistorySize};

const DAY: i64 = 24 * 3_600;
const HISTORY_DAYS: i64 = 30;
const CHANNELS: [&str; 3] = ["general", "pumps", "random"];
/// Size of an account that the control API adds.
pub(crate) const DEFAULT_SIZE: AccountSize = AccountSize {
    containers: CHANNELS.len(),
    people: 4,
};

/// Actions with their weights.
///
/// Only the first [`HISTORY_ACTIONS`] occur in the history: a backfill cannot find the others.
const MIX: [(&str, u32); 14] = [
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
];
const HISTORY_ACTIONS: usize = 8;
const REPLIES: [&str; 2] = ["message.replied", "message.broadcast"];

/// Creates the workspaces that exist when the simulator starts.
pub(crate) fn populate(world: &mut World, config: &Config, now: i64) {
    let size = config.size(config.channels);
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
    let since = now - HISTORY_DAYS * DAY - 3_600;
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
            created: since - 365 * DAY + second,
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
pub(crate) fn populate_history(hub: &Slack, config: &Config, now: i64) {
    let history_size = HistorySize {
        facts: config.history,
        fixed_count: config.replies,
    };
    let teams: Vec<String> = hub.world().teams.keys().cloned().collect();
    for team in teams {
        populate_team_history(hub, &team, history_size, now);
    }
}

/// Generates facts of the last thirty days in a workspace, in one channel after the other.
pub(crate) fn populate_team_history(hub: &Slack, team: &str, history_size: HistorySize, now: i64) {
    let weighted = |mix: &[(&str, u32)]| WeightedIndex::new(mix.iter().map(|(_, weight)| *weight));
    // With a fixed number of replies, random actions must not add more.
    let top_level_actions: Vec<(&str, u32)> = MIX[..HISTORY_ACTIONS]
        .iter()
        .filter(|(action, _)| !REPLIES.contains(action))
        .copied()
        .collect();
    let (Ok(all_weights), Ok(top_level_weights)) = (
        weighted(&MIX[..HISTORY_ACTIONS]),
        weighted(&top_level_actions),
    ) else {
        return;
    };
    let channels: Vec<String> = {
        let world = hub.world();
        world
            .channels_of(team)
            .map(|channel| channel.id.clone())
            .collect()
    };
    let count = i64::try_from(history_size.facts * channels.len()).unwrap_or(0);
    let since = now - HISTORY_DAYS * DAY;
    let rounds = (0..history_size.facts)
        .flat_map(|round| channels.iter().map(move |channel| (round, channel)));
    for (number, (round, channel)) in (0_i64..).zip(rounds) {
        // In chronological order.
        let at = since + (HISTORY_DAYS * DAY - 120) * number / count.max(1);
        hub.transact(ActionTime { at, is_live: false }, |tx| {
            let rng = &mut tx.world.rng;
            let top_level = history_size.fixed_count.map(|replies| {
                let share = history_size.facts.saturating_sub(replies);
                history_size.selects(share, round)
            });
            let action = match top_level {
                Some(true) => top_level_actions[top_level_weights.sample(rng)].0,
                Some(false) => "message.replied",
                None => MIX[all_weights.sample(rng)].0,
            };
            perform_or_post(tx, team, action, Some(channel));
        });
    }
}

/// Generates facts now, in one account or in random ones, and returns their number.
pub(crate) fn generate(hub: &Slack, account: Option<&str>, count: usize) -> usize {
    let Ok(weights) = WeightedIndex::new(MIX.iter().map(|(_, weight)| weight)) else {
        return 0;
    };
    let teams: Vec<String> = hub.world().teams.keys().cloned().collect();
    let mut facts = 0;
    for _ in 0..count {
        facts += hub.transact(hub.now(), |tx| {
            let action = MIX[weights.sample(&mut tx.world.rng)].0;
            let random_team = teams.choose(&mut tx.world.rng).map(String::as_str);
            account
                .or(random_team)
                .map_or(0, |account| perform_or_post(tx, account, action, None))
        });
    }
    facts
}

/// Performs an action, or posts a message if the action is impossible.
fn perform_or_post(
    tx: &mut Transaction<'_>,
    account: &str,
    action: &str,
    channel: Option<&String>,
) -> usize {
    let params = |action: &str| ActionParams {
        account: account.to_owned(),
        action: action.to_owned(),
        channel: channel.cloned(),
        ..ActionParams::default()
    };
    let outcome = tx
        .perform(&params(action))
        .or_else(|_| tx.perform(&params("message.posted")));
    outcome.map_or(0, |outcome| outcome.facts.len())
}

/// Generates facts at a rate per second, until `stop`.
pub(crate) async fn run_activity(hub: Arc<Slack>, rate: f64, stop: CancellationToken) {
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
