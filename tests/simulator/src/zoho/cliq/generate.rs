//! Generated channels, history and activity.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::RngExt;
use rand::seq::{IndexedRandom, IteratorRandom};
use tokio_util::sync::CancellationToken;

use super::ZohoCliq;
use super::actions::{ActionParams, Transaction, is_writable};
use super::chat::{Kind, Level};
use super::world::{NewChat, World, old_creation};
use crate::Config;
use crate::action::ActionTime;
use crate::generate::{HistorySize, Mix, run_at_random};

const CHANNELS: [&str; 3] = ["general", "pumps", "random"];

const POSTED: &str = "message.posted";
const REPLIED: &str = "thread.replied";

/// Actions of people, each with its variant after a space.
///
/// Only a delivery shows an edit, and a deletion takes a fact from the lists.
const MIX: Mix = Mix {
    in_history: 8,
    counted: &[],
    actions: &[
        (POSTED, 150),
        ("message.posted file", 12),
        ("message.posted reply", 15),
        ("message.posted mention", 12),
        ("message.posted twin", 4),
        ("message.info", 8),
        (REPLIED, 60),
        ("thread.started", 10),
        ("message.posted bot", 8),
        ("message.edited", 20),
        ("message.deleted", 8),
        ("channel.created", 3),
        ("bot.messaged", 4),
        ("thread.closed", 2),
        ("thread.reopened", 2),
    ],
};

/// Adds channels and conversations of a new organization.
///
/// They are older than any backfill.
pub(super) fn add_chats(world: &mut World, admin: &str, channels: usize, now: i64) {
    let people = world.colleagues(admin).into_iter();
    let people: Vec<String> = people.map(|user| user.login.clone()).collect();
    let all: BTreeSet<String> = people.iter().cloned().collect();
    let since = old_creation(now);
    let new = |title: String, members: BTreeSet<String>, second: i64| NewChat {
        creator: admin,
        title,
        members,
        created: since + second,
    };
    for (number, second) in (0..channels).zip(0_i64..) {
        let title = match CHANNELS.get(number) {
            Some(name) => format!("#{name}"),
            None => format!("#channel-{}", number + 1),
        };
        let level = match number % 3 {
            1 => Level::Private,
            _ => Level::Organization,
        };
        world.add_channel(new(title, all.clone(), second), level);
    }
    let other = people.iter().find(|login| *login != admin);
    if let Some(other) = other {
        let pair = BTreeSet::from([admin.to_owned(), other.clone()]);
        world.add_conversation(new(String::new(), pair, 0));
    }
    if all.len() > 2 {
        world.add_conversation(new("Night shift".to_owned(), all, 0));
    }
}

/// Generates facts of the last thirty days in every organization.
pub(super) fn populate_history(service: &ZohoCliq, config: &Config) {
    let history_size = HistorySize {
        facts: config.history,
        fixed_count: None,
    };
    let administrators = service.zoho.state().people.administrators();
    for admin in administrators {
        populate_account_history(service, &admin, history_size);
    }
}

/// Generates facts of the last thirty days in an administrator's channels and conversations.
///
/// Their number is `facts` per channel or conversation.
pub(super) fn populate_account_history(service: &ZohoCliq, login: &str, history_size: HistorySize) {
    let now = service.zoho.core.clock.seconds();
    let chats: Vec<String> = {
        let world = service.world();
        let own = world.chats_of(login).into_iter();
        own.map(|chat| chat.id.clone()).collect()
    };
    for (at, _, chat) in history_size.schedule(&chats, now, 120) {
        let when = ActionTime { at, is_live: false };
        service.transact(when, |tx| {
            let action = MIX.choose_past(None, &mut tx.world.rng);
            perform_or_post(tx, login, action, Some(chat));
        });
    }
}

/// Generates facts now, of one person or of random administrators, and returns their number.
pub(super) fn generate(service: &ZohoCliq, login: Option<&str>, count: usize) -> usize {
    let administrators = service.zoho.state().people.administrators();
    let mut facts = 0;
    for _ in 0..count {
        facts += service.transact(service.now(), |tx| {
            let action = MIX.choose(&mut tx.world.rng);
            let random = administrators.choose(&mut tx.world.rng).map(String::as_str);
            login
                .or(random)
                .map_or(0, |login| perform_or_post(tx, login, action, None))
        });
    }
    facts
}

/// Performs an action, or posts a message if the action is impossible.
fn perform_or_post(
    tx: &mut Transaction<'_>,
    login: &str,
    action: &str,
    chat: Option<&String>,
) -> usize {
    let params = random_params(tx, login, action, chat);
    let outcome = tx.perform(login, &params).or_else(|_| {
        let params = random_params(tx, login, POSTED, chat);
        tx.perform(login, &params)
    });
    outcome.map_or(0, |outcome| outcome.facts.len())
}

fn random_params(
    tx: &mut Transaction<'_>,
    login: &str,
    action: &str,
    chat: Option<&String>,
) -> ActionParams {
    let (action, variant) = action.split_once(' ').unwrap_or((action, ""));
    let random = random_chat(tx.world, login).filter(|_| action == POSTED);
    let chat = chat.or(random.as_ref());
    let mut params = ActionParams {
        account: login.to_owned(),
        action: action.to_owned(),
        chat: chat.cloned(),
        same_time: variant == "twin",
        count: (variant == "twin").then_some(2),
        as_bot: variant == "bot",
        ..ActionParams::default()
    };
    let world = &mut *tx.world;
    let chosen = chat.and_then(|id| world.chats.get(id));
    if action == REPLIED {
        let threads = chosen.and_then(|chat| chat.channel());
        let threads = threads.map(|channel| channel.threads.clone());
        let thread = threads.unwrap_or_default().choose(&mut world.rng).cloned();
        match thread {
            Some(thread) => params.chat = Some(thread),
            None => "thread.started".clone_into(&mut params.action),
        }
    }
    // Everyone of the chat writes; without a chat, the account does.
    let members = chosen_members(world, chat);
    params.actor = members.into_iter().choose(&mut world.rng);
    match variant {
        "file" => params.file = Some(["plan.pdf", "pump.png"][world.rng.random_range(0..2)].into()),
        "mention" => {
            let colleagues = world.colleagues(login).into_iter();
            let addresses: Vec<String> = colleagues.map(|user| user.address.clone()).collect();
            params.mentions = addresses
                .choose(&mut world.rng)
                .cloned()
                .into_iter()
                .collect();
        }
        "reply" => {
            let messages = chat.and_then(|id| world.chats.get(id));
            let last = messages.and_then(|chat| chat.last_message());
            params.reply_to = last.map(|message| message.id());
        }
        _ => {}
    }
    if action == "bot.messaged" {
        params.chat = None;
    }
    params
}

/// A random channel or conversation of a person.
fn random_chat(world: &mut World, login: &str) -> Option<String> {
    let chats = world.chats_of(login).into_iter();
    let chats = chats.filter(|chat| chat.thread().is_none() && is_writable(chat));
    let ids: Vec<String> = chats.map(|chat| chat.id.clone()).collect();
    ids.choose(&mut world.rng).cloned()
}

/// Members of a chat that is not a bot's.
fn chosen_members(world: &World, chat: Option<&String>) -> Vec<String> {
    let chat = chat.and_then(|id| world.chats.get(id));
    let chat = chat.filter(|chat| !matches!(chat.kind, Kind::Bot));
    chat.map_or_else(Vec::new, |chat| {
        world.home(chat).members.iter().cloned().collect()
    })
}

/// Generates facts at a rate per second, until `stop`.
pub(super) async fn run_activity(service: Arc<ZohoCliq>, rate: f64, stop: CancellationToken) {
    let random = || {
        let mut world = service.world();
        world.rng.random_range(f64::EPSILON..1.0_f64)
    };
    let generate_one = || {
        generate(&service, None, 1);
    };
    run_at_random(rate, stop, random, generate_one).await;
}
