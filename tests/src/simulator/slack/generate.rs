//! A world with a past, and activity that goes on by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::IndexedRandom;
use tokio_util::sync::CancellationToken;

use super::Slack;
use super::act::{Act, When};
use super::world::{Channel, Kind, Organization, Team, User, World};
use crate::simulator::{Config, Past, Size};

const DAY: i64 = 24 * 3_600;
const PAST_DAYS: i64 = 30;
const CHANNELS: [&str; 3] = ["general", "pumps", "random"];
/// What an account has that is added later.
pub(crate) const USUAL: Size = Size {
    containers: CHANNELS.len(),
    people: 4,
};

/// How often each action is chosen. Actions past the mark are left out of the history: nobody
/// can learn of them afterwards.
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
const HISTORY_MARK: usize = 8;
const REPLIES: [&str; 2] = ["message.replied", "message.broadcast"];

/// Creates the workspaces that a simulator starts with.
pub(crate) fn populate(world: &mut World, config: &Config, now: i64) {
    let size = config.size(config.channels);
    for number in 1..=config.accounts {
        add_team(world, &format!("team-{number}"), None, size, now);
    }
}

/// Adds an organization without workspaces, and answers its id.
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

/// Adds a workspace with people and channels, to an organization if one is named, and answers
/// its id. An organization's admin and bot are at home in its first workspace.
pub(crate) fn add_team(
    world: &mut World,
    domain: &str,
    organization: Option<&str>,
    size: Size,
    now: i64,
) -> String {
    let since = now - PAST_DAYS * DAY - 3_600;
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
    if let Some(above) = organization.and_then(|id| world.organizations.get(id)) {
        let (admin, bot) = (above.admin.clone(), above.bot.clone());
        let name = format!("{}-org-admin", above.domain);
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
            // Before any horizon that matters, so that nobody has to be told of it.
            created: since - 365 * DAY + second,
            creator: admin.clone(),
            kind: Kind::Public,
            shelves: world.shelves(&teams),
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

/// Facts of the last thirty days, in every channel.
pub(crate) fn history(hub: &Slack, config: &Config, now: i64) {
    let past = Past {
        facts: config.history,
        counted: config.replies,
    };
    let teams: Vec<String> = hub.world().teams.keys().cloned().collect();
    for team in teams {
        team_history(hub, &team, past, now);
    }
}

/// Facts of the last thirty days, in every channel of a workspace in turn.
pub(crate) fn team_history(hub: &Slack, team: &str, past: Past, now: i64) {
    let weighted = |mix: &[(&str, u32)]| WeightedIndex::new(mix.iter().map(|(_, weight)| *weight));
    // Where replies are counted, the rest is none.
    let rest: Vec<(&str, u32)> = MIX[..HISTORY_MARK]
        .iter()
        .filter(|(action, _)| !REPLIES.contains(action))
        .copied()
        .collect();
    let (Ok(all), Ok(others)) = (weighted(&MIX[..HISTORY_MARK]), weighted(&rest)) else {
        return;
    };
    let channels: Vec<String> = {
        let world = hub.world();
        world
            .channels_of(team)
            .map(|channel| channel.id.clone())
            .collect()
    };
    let count = i64::try_from(past.facts * channels.len()).unwrap_or(0);
    let since = now - PAST_DAYS * DAY;
    let rounds =
        (0..past.facts).flat_map(|round| channels.iter().map(move |channel| (round, channel)));
    for (number, (round, channel)) in (0_i64..).zip(rounds) {
        // In the order of time, each a little after the one before.
        let at = since + (PAST_DAYS * DAY - 120) * number / count.max(1);
        hub.stage(When { at, live: false }, |stage| {
            let rng = &mut stage.world.rng;
            let top_level = past.counted.map(|replies| {
                let share = past.facts.saturating_sub(replies);
                past.spreads(share, round)
            });
            let action = match top_level {
                Some(true) => rest[others.sample(rng)].0,
                Some(false) => "message.replied",
                None => MIX[all.sample(rng)].0,
            };
            happen(stage, team, action, Some(channel));
        });
    }
}

/// Makes facts happen now, in one account or anywhere; answers how many.
pub(crate) fn generate(hub: &Slack, account: Option<&str>, count: usize) -> usize {
    let Ok(weights) = WeightedIndex::new(MIX.iter().map(|(_, weight)| weight)) else {
        return 0;
    };
    let teams: Vec<String> = hub.world().teams.keys().cloned().collect();
    let mut facts = 0;
    for _ in 0..count {
        facts += hub.stage(hub.now(), |stage| {
            let action = MIX[weights.sample(&mut stage.world.rng)].0;
            let somewhere = teams.choose(&mut stage.world.rng).map(String::as_str);
            account
                .or(somewhere)
                .map_or(0, |account| happen(stage, account, action, None))
        });
    }
    facts
}

fn happen(
    stage: &mut super::act::Stage<'_>,
    account: &str,
    action: &str,
    channel: Option<&String>,
) -> usize {
    let act = |action: &str| Act {
        account: account.to_owned(),
        action: action.to_owned(),
        channel: channel.cloned(),
        ..Act::default()
    };
    // What cannot happen just now gives way to what always can.
    let done = stage
        .act(&act(action))
        .or_else(|_| stage.act(&act("message.posted")));
    done.map_or(0, |done| done.facts.len())
}

/// Lets things happen by themselves, at this many a second.
pub(crate) async fn live(hub: Arc<Slack>, rate: f64, stop: CancellationToken) {
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
