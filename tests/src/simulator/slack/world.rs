//! Workspaces, organizations, people, channels, messages.
//!
//! An *account* is what the app is installed into: a workspace, or an organization with all the
//! workspaces that the app was added to. A fact is written down for each account that could
//! hear of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::tokens::Grant;

const MICROS: i64 = 1_000_000;
/// Messages of a channel to which something may still happen by itself.
const NEWEST: usize = 200;
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
    /// The organization that it belongs to.
    pub(crate) organization: Option<String>,
    /// Per account, what decides whether polling can see the list of channels.
    pub(crate) containers: BTreeMap<String, u64>,
}

/// An organization of workspaces (Enterprise Grid).
pub(crate) struct Organization {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) domain: String,
    /// Who may install apps for all of it.
    pub(crate) admin: String,
    pub(crate) bot: String,
    /// Workspaces that the app was added to; none before it is installed.
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

/// What sort of channel it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Public,
    Private,
    /// Between a person and the app's bot.
    Direct,
}

/// What decides whether polling can see a channel's facts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shelf {
    /// Of messages in the channel itself.
    pub(crate) messages: u64,
    /// Of replies, which may need a person's token.
    pub(crate) replies: u64,
}

/// A channel; one that is shared belongs to several workspaces.
pub(crate) struct Channel {
    pub(crate) id: String,
    /// The id that it was made with: facts are named by it.
    pub(crate) first_id: String,
    pub(crate) name: String,
    pub(crate) created: i64,
    pub(crate) creator: String,
    pub(crate) kind: Kind,
    pub(crate) teams: Vec<String>,
    /// Accounts whose bot is in it.
    pub(crate) bots: BTreeSet<String>,
    pub(crate) shelves: BTreeMap<String, Shelf>,
    /// By timestamp in microseconds.
    pub(crate) messages: BTreeMap<i64, Message>,
    /// The ledger's row of its creation, per account.
    pub(crate) facts: BTreeMap<String, u64>,
}

/// Who wrote a message.
#[derive(Clone)]
pub(crate) enum Author {
    Person(String),
    /// An app: its bot id, and the name under which it posts, if that is not its own.
    App(String, Option<String>),
}

/// Which part of a message has its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
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
    pub(crate) words: Words,
    /// The first message of its thread, and who wrote that.
    pub(crate) thread: Option<(i64, Option<String>)>,
    pub(crate) replies: Vec<i64>,
    /// Persons who have replied.
    pub(crate) repliers: Vec<String>,
    pub(crate) edited: Option<(String, i64)>,
    pub(crate) unfurled: bool,
    pub(crate) file: Option<(String, String)>,
    pub(crate) reactions: BTreeMap<String, Vec<String>>,
    /// The ledger's rows that an answer with this message shows, per account.
    pub(crate) facts: BTreeMap<String, Vec<u64>>,
    /// The row of the present edit, per account.
    pub(crate) edit_facts: BTreeMap<String, u64>,
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) rng: StdRng,
    next: u64,
    last_ts: i64,
    pub(crate) teams: BTreeMap<String, Team>,
    pub(crate) organizations: BTreeMap<String, Organization>,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) channels: BTreeMap<String, Channel>,
    /// The bot's grants, by account.
    pub(crate) installations: BTreeMap<String, Grant>,
    /// Tokens of bots that ended with their app's removal.
    pub(crate) removed_tokens: BTreeSet<String>,
    /// People's own grants, by account and person.
    pub(crate) personal: BTreeMap<(String, String), Grant>,
    pub(crate) codes: HashMap<String, Code>,
    /// By event context: the accounts that see the event, and the workspace each sees it in.
    pub(crate) contexts: HashMap<String, Vec<(String, String)>>,
    /// Calls in the present minute, by method and account.
    pub(crate) windows: HashMap<(String, String), (i64, u32)>,
    /// Lists answered so far, for the pages that are empty.
    pub(crate) answered: u64,
}

/// A code that may be exchanged once.
pub(crate) struct Code {
    pub(crate) account: String,
    pub(crate) user: String,
    pub(crate) redirect_uri: String,
    /// Scopes of the bot; none, if only the person's own token was asked for.
    pub(crate) scopes: Vec<String>,
    pub(crate) user_scopes: Vec<String>,
    /// PKCE's challenge, if one was sent.
    pub(crate) challenge: Option<String>,
    pub(crate) expires_at: i64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            next: seed % 90_000,
            last_ts: 0,
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

    /// A channel of a workspace in which anybody may write.
    pub(crate) fn some_channel(&mut self, team: &str) -> Option<String> {
        let account = self.acting(team);
        let ids: Vec<&String> = self
            .channels
            .values()
            .filter(|channel| channel.teams.iter().any(|one| one == team))
            .filter(|channel| match channel.kind {
                Kind::Public => true,
                Kind::Private => channel.bots.contains(&account),
                Kind::Direct => false,
            })
            .map(|channel| &channel.id)
            .collect();
        ids.choose(&mut self.rng).map(|id| (*id).clone())
    }

    /// A person of a workspace.
    pub(crate) fn somebody(&mut self, team: &str) -> Option<String> {
        self.teams.get(team)?.people.choose(&mut self.rng).cloned()
    }

    /// A message that people wrote, chosen at random among a channel's newest.
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
            .rev()
            .filter(|message| is_written(message) && fits(message))
            .take(NEWEST)
            .map(|message| message.ts)
            .collect();
        all.choose(&mut self.rng).copied()
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
