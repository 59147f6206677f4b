//! State: workspaces, organizations, users, channels and messages.
//!
//! The app is installed into an *account*: a workspace, or an organization with all workspaces
//! that the app was added to. The ledger has a row of a fact for each account that can see it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::tokens::Grant;

const MICROS: i64 = 1_000_000;
/// Newest messages of a channel from which a random one is chosen.
const MAX_CANDIDATES: usize = 200;
/// Bit that distinguishes Slack's container ids from those of other providers.
const CONTAINER: u64 = 1 << 60;

/// A workspace.
pub(crate) struct Team {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) domain: String,
    pub(crate) admin: String,
    pub(crate) people: Vec<String>,
    /// User id of the app's bot.
    pub(crate) bot: String,
    /// Organization of the workspace.
    pub(crate) organization: Option<String>,
    /// Container of the list of channels, per account.
    pub(crate) containers: BTreeMap<String, u64>,
}

/// An organization of workspaces (Enterprise Grid).
pub(crate) struct Organization {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) domain: String,
    /// User who may install apps for all workspaces.
    pub(crate) admin: String,
    pub(crate) bot: String,
    /// Workspaces that the app was added to; empty before the installation.
    pub(crate) added: BTreeSet<String>,
}

/// A person or a bot.
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) team: String,
    pub(crate) name: String,
    pub(crate) real_name: String,
    pub(crate) bot: bool,
}

/// Type of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Public,
    Private,
    /// A direct message between a person and the app's bot.
    Direct,
}

/// Containers of a channel's facts, which decide whether polling can see them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChannelContainers {
    /// Container of top-level messages.
    pub(crate) messages: u64,
    /// Container of replies, which may need a user token.
    pub(crate) replies: u64,
}

/// A channel. A shared channel belongs to several workspaces.
pub(crate) struct Channel {
    pub(crate) id: String,
    /// Id at creation, which dedupe keys contain.
    pub(crate) first_id: String,
    pub(crate) name: String,
    pub(crate) created: i64,
    pub(crate) creator: String,
    pub(crate) kind: Kind,
    pub(crate) teams: Vec<String>,
    /// Accounts whose bot is a member.
    pub(crate) bots: BTreeSet<String>,
    pub(crate) containers: BTreeMap<String, ChannelContainers>,
    /// Messages by timestamp, in microseconds.
    pub(crate) messages: BTreeMap<i64, Message>,
    /// Ledger row of the channel's creation, per account.
    pub(crate) facts: BTreeMap<String, u64>,
}

/// Author of a message.
#[derive(Clone)]
pub(crate) enum Author {
    Person(String),
    /// An app: its bot id, and the username if it overrides the app's name.
    App(String, Option<String>),
}

/// Part of a message that contains its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextLocation {
    Text,
    Blocks,
    Attachment,
}

/// A message.
pub(crate) struct Message {
    pub(crate) ts: i64,
    pub(crate) team: String,
    pub(crate) author: Author,
    pub(crate) subtype: Option<&'static str>,
    pub(crate) text: String,
    pub(crate) text_location: TextLocation,
    /// Parent message of the thread, and the parent's author.
    pub(crate) thread: Option<(i64, Option<String>)>,
    pub(crate) replies: Vec<i64>,
    /// Users who replied.
    pub(crate) repliers: Vec<String>,
    pub(crate) edited: Option<(String, i64)>,
    pub(crate) unfurled: bool,
    pub(crate) file: Option<(String, String)>,
    pub(crate) reactions: BTreeMap<String, Vec<String>>,
    /// Ledger rows that a response with this message shows, per account.
    pub(crate) facts: BTreeMap<String, Vec<u64>>,
    /// Ledger row of the latest edit, per account.
    pub(crate) edit_facts: BTreeMap<String, u64>,
}

/// State of the simulated service.
pub(crate) struct World {
    pub(crate) rng: StdRng,
    next: u64,
    last_ts: i64,
    /// All timestamps so far: no two messages have the same.
    issued_ts: HashSet<i64>,
    pub(crate) teams: BTreeMap<String, Team>,
    pub(crate) organizations: BTreeMap<String, Organization>,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) channels: BTreeMap<String, Channel>,
    /// Bot grants, by account.
    pub(crate) installations: BTreeMap<String, Grant>,
    /// Bot tokens that the app's removal revoked.
    pub(crate) removed_tokens: BTreeSet<String>,
    /// User grants, by account and person.
    pub(crate) personal: BTreeMap<(String, String), Grant>,
    pub(crate) codes: HashMap<String, Code>,
    /// Authorizations of events (account and workspace), by event context.
    pub(crate) contexts: HashMap<String, Vec<(String, String)>>,
    /// Start of the current minute and its calls, by method and account.
    pub(crate) windows: HashMap<(String, String), (i64, u32)>,
    /// Number of list responses, for the setting `empty_pages`.
    pub(crate) list_responses: u64,
}

/// A one-time authorization code.
pub(crate) struct Code {
    pub(crate) account: String,
    pub(crate) user: String,
    pub(crate) redirect_uri: String,
    /// Bot scopes; empty if only a user token was requested.
    pub(crate) scopes: Vec<String>,
    pub(crate) user_scopes: Vec<String>,
    /// PKCE challenge, if present.
    pub(crate) challenge: Option<String>,
    pub(crate) expires_at: i64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            next: seed % 90_000,
            last_ts: 0,
            issued_ts: HashSet::new(),
            teams: BTreeMap::new(),
            organizations: BTreeMap::new(),
            users: BTreeMap::new(),
            channels: BTreeMap::new(),
            installations: BTreeMap::new(),
            removed_tokens: BTreeSet::new(),
            personal: BTreeMap::new(),
            codes: HashMap::new(),
            contexts: HashMap::new(),
            windows: HashMap::new(),
            list_responses: 0,
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

    /// Signing secret: 32 hexadecimal digits.
    pub(crate) fn hex_secret(&mut self) -> String {
        hex::encode(self.rng.random::<[u8; 16]>())
    }

    /// A unique message timestamp within a second.
    pub(crate) fn ts(&mut self, seconds: i64) -> i64 {
        let fraction: i64 = self.rng.random_range(0..1_000);
        let candidate = seconds * MICROS + fraction;
        let mut ts = if candidate <= self.last_ts && self.last_ts - candidate < 60 * MICROS {
            self.last_ts + 1
        } else {
            candidate
        };
        // The history of one workspace is generated after that of another, which is not in order.
        while !self.issued_ts.insert(ts) {
            ts += 1;
        }
        self.last_ts = self.last_ts.max(ts);
        ts
    }

    /// Channels of a workspace.
    pub(crate) fn channels_of<'a>(&'a self, team: &'a str) -> impl Iterator<Item = &'a Channel> {
        self.channels
            .values()
            .filter(move |channel| channel.teams.iter().any(|id| id == team))
    }

    /// A random channel of a workspace, public or with the app's bot.
    pub(crate) fn random_channel(&mut self, team: &str) -> Option<String> {
        let account = self.acting_account(team);
        let ids: Vec<&String> = self
            .channels
            .values()
            .filter(|channel| channel.teams.iter().any(|id| id == team))
            .filter(|channel| match channel.kind {
                Kind::Public => true,
                Kind::Private => channel.bots.contains(&account),
                Kind::Direct => false,
            })
            .map(|channel| &channel.id)
            .collect();
        ids.choose(&mut self.rng).map(|id| (*id).clone())
    }

    /// A random person of a workspace.
    pub(crate) fn random_person(&mut self, team: &str) -> Option<String> {
        self.teams.get(team)?.people.choose(&mut self.rng).cloned()
    }

    /// A random message among the newest of a channel that match.
    pub(crate) fn random_message(
        &mut self,
        channel: &str,
        matches: impl Fn(&Message) -> bool,
    ) -> Option<i64> {
        let all: Vec<i64> = self
            .channels
            .get(channel)?
            .messages
            .values()
            .rev()
            .filter(|message| is_written(message) && matches(message))
            .take(MAX_CANDIDATES)
            .map(|message| message.ts)
            .collect();
        all.choose(&mut self.rng).copied()
    }
}

/// Whether a person or an app wrote a message, not Slack itself.
pub(crate) fn is_written(message: &Message) -> bool {
    matches!(
        message.subtype,
        None | Some("file_share" | "bot_message" | "thread_broadcast" | "me_message")
    )
}

/// Formats a timestamp as Slack's `ts`.
pub(crate) fn format_ts(ts: i64) -> String {
    format!("{}.{:06}", ts.div_euclid(MICROS), ts.rem_euclid(MICROS))
}

/// Whole seconds of a timestamp.
pub(crate) const fn seconds(ts: i64) -> i64 {
    ts.div_euclid(MICROS)
}

/// Parses a `ts`: digits with at most one decimal point.
pub(crate) fn parse_ts(text: &str) -> Option<i64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_unique_in_any_order() {
        let mut world = World::new(1);
        let present = world.ts(1_796_000_000);
        // More than there are fractions to choose from, long before the last one.
        let past: HashSet<i64> = (0..3_000).map(|_| world.ts(1_794_000_000)).collect();
        assert_eq!(past.len(), 3_000);
        assert!(world.ts(1_796_000_000) > present);
    }
}
