//! A mailbox: its account, folders, messages and outgoing webhooks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::content::{Content, Party};
use super::folder::{Folder, FolderType, Folders};
use super::webhook::Webhook;
use crate::zoho::DataCenter;
use crate::zoho::people::Person;

/// Distance of the ids of different mailboxes.
const ID_RANGE: u64 = 1_000_000_000_000;

/// Prefixes of a mailbox's ids, which have 19 digits.
pub(crate) const PREFIXES: std::ops::Range<u64> = 1_000_000..9_000_000;

/// A message of a mailbox.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// 19 digits, of which the first 13 are a time near that of receipt.
    pub(crate) id: u64,
    pub(crate) folder: u64,
    pub(crate) thread: Option<u64>,
    /// Time of receipt in milliseconds.
    pub(crate) received: i64,
    pub(crate) is_read: bool,
    pub(crate) is_outgoing: bool,
    /// Row of the ledger.
    pub(crate) fact: Option<u64>,
    /// Content that an action wrote.
    pub(crate) written: Option<Box<Content>>,
}

/// A mailbox of a person.
pub(crate) struct Mailbox {
    /// Login of the owner.
    pub(crate) owner: String,
    pub(crate) zuid: u64,
    pub(crate) party: Party,
    pub(crate) data_center: DataCenter,
    pub(crate) account_id: u64,
    pub(crate) container: u64,
    pub(crate) folders: Folders,
    messages: BTreeMap<u64, Message>,
    /// Folder, time of receipt and id of each message.
    order: BTreeSet<(u64, i64, u64)>,
    /// Number of messages of each thread.
    threads: HashMap<u64, usize>,
    pub(crate) webhooks: Vec<Webhook>,
    rng: StdRng,
}

impl Mailbox {
    /// An empty mailbox, whose ids have this prefix.
    pub(crate) fn new(person: &Person, prefix: u64, container: u64, seed: u64) -> Self {
        let first = prefix * ID_RANGE;
        Self {
            owner: person.login.clone(),
            zuid: person.zuid,
            party: Party::new(&person.name(), &person.address),
            data_center: person.data_center,
            account_id: first + 8_002,
            container,
            folders: Folders::new(person.data_center, first + 8_014),
            messages: BTreeMap::new(),
            order: BTreeSet::new(),
            threads: HashMap::new(),
            webhooks: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    pub(crate) fn message(&self, id: u64) -> Option<&Message> {
        self.messages.get(&id)
    }

    pub(crate) fn message_mut(&mut self, id: u64) -> Option<&mut Message> {
        self.messages.get_mut(&id)
    }

    pub(crate) fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.messages.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Messages of a folder by their time of receipt, the oldest first.
    pub(crate) fn in_folder(&self, folder: u64) -> impl DoubleEndedIterator<Item = &Message> {
        let own = (folder, i64::MIN, 0)..=(folder, i64::MAX, u64::MAX);
        let ids = self.order.range(own);
        ids.filter_map(|(_, _, id)| self.messages.get(id))
    }

    /// A new id of a message that was received at this time.
    ///
    /// The time in it differs by milliseconds, in some ids by seconds.
    pub(crate) fn new_id(&mut self, received: i64) -> u64 {
        loop {
            let difference = match self.rng.random_range(0..10) {
                0 => -1,
                1 => self.rng.random_range(2_000..6_000),
                _ => self.rng.random_range(0..20),
            };
            let time = u64::try_from(received + difference).unwrap_or_default();
            let id = time * 1_000_000 + self.rng.random_range(100_000..200_000);
            if !self.messages.contains_key(&id) {
                return id;
            }
        }
    }

    /// The thread of a message, which begins one if it is in none.
    pub(crate) fn join_thread(&mut self, id: u64) -> Option<u64> {
        let mut message = self.take(id)?;
        let thread = *message.thread.get_or_insert(id);
        self.insert(message);
        Some(thread)
    }

    /// Number of messages of a thread.
    pub(crate) fn thread_size(&self, thread: u64) -> usize {
        self.threads.get(&thread).copied().unwrap_or(0)
    }

    pub(crate) fn insert(&mut self, message: Message) {
        if let Some(thread) = message.thread {
            *self.threads.entry(thread).or_default() += 1;
        }
        self.order
            .insert((message.folder, message.received, message.id));
        self.messages.insert(message.id, message);
    }

    pub(crate) fn take(&mut self, id: u64) -> Option<Message> {
        let message = self.messages.remove(&id)?;
        self.order.remove(&(message.folder, message.received, id));
        if let Some(count) = message.thread.and_then(|one| self.threads.get_mut(&one)) {
            *count -= 1;
        }
        Some(message)
    }

    /// Moves a message, which keeps its id.
    pub(crate) fn relocate(&mut self, id: u64, folder: u64) -> bool {
        let Some(mut message) = self.take(id) else {
            return false;
        };
        message.folder = folder;
        self.insert(message);
        true
    }

    /// Content of a message: what an action wrote, or generated from the id.
    pub(crate) fn content(&self, message: &Message) -> Content {
        message
            .written
            .as_deref()
            .cloned()
            .unwrap_or_else(|| Content::generate(message.id, &self.party, message.is_outgoing))
    }

    pub(crate) fn folder_of(&self, message: &Message) -> &Folder {
        let folder = self.folders.get(message.folder);
        folder.expect("a message is in a folder of its mailbox")
    }

    /// Kind of the fact that the message's row shows in its folder.
    pub(crate) fn kind(&self, message: &Message) -> Option<&'static str> {
        self.folder_of(message).kind.fact()
    }

    /// Id of the folder of a type.
    pub(crate) fn system(&self, kind: FolderType) -> u64 {
        self.folders.system(kind).id
    }

    /// A random number below `end`, zero for an empty range.
    pub(crate) fn random(&mut self, end: usize) -> usize {
        if end == 0 {
            return 0;
        }
        self.rng.random_range(0..end)
    }

    /// Difference from UTC in seconds of the owner's time zone.
    pub(crate) fn utc_offset(&self) -> i64 {
        self.data_center.time_zone().1
    }

    /// A secret of an outgoing webhook.
    pub(crate) fn new_secret(&mut self) -> String {
        hex::encode(self.rng.random::<[u8; 20]>())
    }

    /// Id of an outgoing webhook.
    pub(crate) fn new_integration(&mut self) -> u64 {
        34_000_000_000_000 + self.rng.random_range(0..1_000_000_000)
    }
}
