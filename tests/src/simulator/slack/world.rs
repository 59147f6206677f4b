//! Workspaces, people, channels, messages, installations.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::tokens::Installation;

const MICROS: i64 = 1_000_000;
/// Containers of other providers do not have this bit.
const CONTAINER: u64 = 1 << 60;

/// A workspace.
pub(crate) struct Team {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) domain: String,
    pub(crate) admin: String,
    pub(crate) people: Vec<String>,
    /// The app's bot, once it is installed.
    pub(crate) bot: String,
    /// Decides whether polling can see the workspace's list of channels.
    pub(crate) container: u64,
}

/// A person or a bot.
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) team: String,
    pub(crate) name: String,
    pub(crate) real_name: String,
    pub(crate) bot: bool,
}

/// A channel; one that is shared belongs to several workspaces.
pub(crate) struct Channel {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: i64,
    pub(crate) creator: String,
    pub(crate) private: bool,
    pub(crate) teams: Vec<String>,
    /// Workspaces whose bot is in it.
    pub(crate) bots: BTreeSet<String>,
    /// Per workspace, what decides whether polling can see its facts.
    pub(crate) containers: BTreeMap<String, u64>,
    /// By timestamp in microseconds.
    pub(crate) messages: BTreeMap<i64, Message>,
    /// The ledger's row of its creation, per workspace.
    pub(crate) facts: BTreeMap<String, u64>,
}

/// Who wrote a message.
#[derive(Clone)]
pub(crate) enum Author {
    Person(String),
    /// An app under a name of its own: its bot id and the name.
    App(String, String),
}

/// A message.
pub(crate) struct Message {
    pub(crate) ts: i64,
    pub(crate) team: String,
    pub(crate) author: Author,
    pub(crate) subtype: Option<&'static str>,
    pub(crate) text: String,
    pub(crate) thread: Option<i64>,
    pub(crate) replies: Vec<i64>,
    pub(crate) edited: Option<(String, i64)>,
    pub(crate) unfurled: bool,
    pub(crate) file: Option<(String, String)>,
    pub(crate) reactions: BTreeMap<String, Vec<String>>,
    /// The ledger's rows that an answer with this message shows, per workspace.
    pub(crate) facts: BTreeMap<String, Vec<u64>>,
    /// The row of the present edit, per workspace.
    pub(crate) edit_facts: BTreeMap<String, u64>,
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) rng: StdRng,
    next: u64,
    last_ts: i64,
    pub(crate) teams: BTreeMap<String, Team>,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) channels: BTreeMap<String, Channel>,
    pub(crate) installations: BTreeMap<String, Installation>,
    pub(crate) codes: HashMap<String, Code>,
    /// By event context: who sees the event.
    pub(crate) contexts: HashMap<String, Vec<String>>,
    /// Calls in the present minute, by method and workspace.
    pub(crate) windows: HashMap<(String, String), (i64, u32)>,
    /// Lists answered so far, for the pages that are empty.
    pub(crate) answered: u64,
}

/// A code that may be exchanged once.
pub(crate) struct Code {
    pub(crate) team: String,
    pub(crate) user: String,
    pub(crate) redirect_uri: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) expires_at: i64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            next: seed % 90_000,
            last_ts: 0,
            teams: BTreeMap::new(),
            users: BTreeMap::new(),
            channels: BTreeMap::new(),
            installations: BTreeMap::new(),
            codes: HashMap::new(),
            contexts: HashMap::new(),
            windows: HashMap::new(),
            answered: 0,
        }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// An id such as `C0000A1B2`.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        let mut number = self.number();
        let mut digits = Vec::new();
        for _ in 0..8 {
            let digit = u32::try_from(number % 36).unwrap_or(0);
            digits.push(char::from_digit(digit, 36).unwrap_or('0'));
            number /= 36;
        }
        let digits: String = digits.iter().rev().collect();
        format!("{prefix}{}", digits.to_ascii_uppercase())
    }

    pub(crate) fn container(&mut self) -> u64 {
        CONTAINER | self.number()
    }

    pub(crate) fn secret(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
        (0..length)
            .map(|_| char::from(LETTERS[self.rng.random_range(0..LETTERS.len())]))
            .collect()
    }

    /// A timestamp at this second that no message has.
    pub(crate) fn ts(&mut self, seconds: i64) -> i64 {
        let fraction: i64 = self.rng.random_range(0..1_000);
        let wanted = seconds * MICROS + fraction;
        let ts = if wanted <= self.last_ts && self.last_ts - wanted < 60 * MICROS {
            self.last_ts + 1
        } else {
            wanted
        };
        self.last_ts = self.last_ts.max(ts);
        ts
    }

    /// Channels of a workspace.
    pub(crate) fn channels_of<'a>(&'a self, team: &'a str) -> impl Iterator<Item = &'a Channel> {
        self.channels
            .values()
            .filter(move |channel| channel.teams.iter().any(|one| one == team))
    }

    /// A channel of a workspace that its bot is in.
    pub(crate) fn some_channel(&mut self, team: &str) -> Option<String> {
        let ids: Vec<String> = self
            .channels_of(team)
            .filter(|channel| !channel.private || channel.bots.contains(team))
            .map(|channel| channel.id.clone())
            .collect();
        ids.choose(&mut self.rng).cloned()
    }

    /// A person of a workspace.
    pub(crate) fn somebody(&mut self, team: &str) -> Option<String> {
        let people = self.teams.get(team)?.people.clone();
        people.choose(&mut self.rng).cloned()
    }

    /// A message of a channel that people wrote, chosen at random.
    pub(crate) fn some_message(
        &mut self,
        channel: &str,
        fits: impl Fn(&Message) -> bool,
    ) -> Option<i64> {
        let all: Vec<i64> = self
            .channels
            .get(channel)?
            .messages
            .values()
            .filter(|message| is_written(message) && fits(message))
            .map(|message| message.ts)
            .collect();
        all.choose(&mut self.rng).copied()
    }

    /// What polling can see: channels with the bot in them, and the lists of workspaces where
    /// the app is installed.
    pub(crate) fn visible_containers(&self) -> HashSet<u64> {
        let installed = |team: &str| self.installations.contains_key(team);
        let lists = self
            .teams
            .values()
            .filter(|team| installed(&team.id))
            .map(|team| team.container);
        let channels = self.channels.values().flat_map(|channel| {
            channel
                .bots
                .iter()
                .filter(|team| installed(team))
                .filter_map(|team| channel.containers.get(team).copied())
        });
        lists.chain(channels).collect()
    }
}

/// Whether somebody or some app wrote a message.
pub(crate) fn is_written(message: &Message) -> bool {
    matches!(
        message.subtype,
        None | Some("file_share" | "bot_message" | "thread_broadcast" | "me_message")
    )
}

/// A timestamp as Slack writes it.
pub(crate) fn stamp(ts: i64) -> String {
    format!("{}.{:06}", ts.div_euclid(MICROS), ts.rem_euclid(MICROS))
}

/// Whole seconds of a timestamp.
pub(crate) const fn seconds(ts: i64) -> i64 {
    ts.div_euclid(MICROS)
}

/// Reads a timestamp; anything but digits and one point is none.
pub(crate) fn parse_stamp(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty()
        || whole.len() > 11
        || fraction.len() > 6
        || !plain(whole)
        || !plain(fraction)
    {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
    Some(whole.parse::<i64>().ok()? * MICROS + fraction)
}
