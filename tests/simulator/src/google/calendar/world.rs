//! State: calendars with their events, and people's lists of calendars.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::change_log::ChangeLog;
use super::event::Event;
use super::facts::CalendarFacts;
use super::recurrence::base;
use super::time::Zone;

/// Bit that distinguishes Calendar's container ids from those of other providers.
const CONTAINER: u64 = 1 << 59;

/// Access of a person to a calendar, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    FreeBusyReader,
    Reader,
    WriterWithoutPrivateAccess,
    Writer,
    Owner,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::FreeBusyReader => "freeBusyReader",
            Self::Reader => "reader",
            Self::WriterWithoutPrivateAccess => "writerWithoutPrivateAccess",
            Self::Writer => "writer",
            Self::Owner => "owner",
        }
    }

    /// The role with this name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let all = [
            Self::FreeBusyReader,
            Self::Reader,
            Self::WriterWithoutPrivateAccess,
            Self::Writer,
            Self::Owner,
        ];
        all.into_iter().find(|role| role.name() == name)
    }
}

/// Origin of a calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A person's own calendar, whose id is the person's address.
    Primary,
    /// A calendar that a person made.
    Secondary,
    /// A calendar that Google fills, such as holidays; it cannot be watched.
    Published,
}

/// A calendar.
pub(crate) struct Calendar {
    pub(crate) id: String,
    pub(crate) summary: String,
    pub(crate) zone: Zone,
    pub(crate) origin: Origin,
    /// Address of the person who owns the calendar's data; none for published ones.
    pub(crate) data_owner: Option<String>,
    pub(crate) events: BTreeMap<String, Event>,
    pub(crate) log: ChangeLog,
    /// Microseconds since the epoch.
    pub(crate) updated: i64,
    /// Logins of people who can write to it.
    pub(crate) writers: BTreeSet<String>,
    /// Cancelled events by the time of their cancellation.
    pub(crate) tombstones: BTreeSet<(i64, String)>,
    /// Facts that the rows show or have shown.
    pub(crate) facts: CalendarFacts,
}

impl Calendar {
    /// Ids of an event with its instances and parts, the event first.
    pub(crate) fn family(&self, base_id: &str) -> Vec<String> {
        let from = (Bound::Included(base_id), Bound::Unbounded);
        self.events
            .range::<str, _>(from)
            .map(|(id, _)| id)
            .take_while(|id| id.starts_with(base_id))
            .filter(|id| base(id) == base_id)
            .cloned()
            .collect()
    }

    /// Puts a row in its place; its change is the list's latest.
    pub(crate) fn put(&mut self, event: Event) {
        self.updated = self.updated.max(event.updated);
        self.log.touch(&event.id);
        if let Some(former) = self.events.get(&event.id) {
            self.tombstones.remove(&(former.updated, event.id.clone()));
        }
        if event.is_tombstone() {
            self.tombstones.insert((event.updated, event.id.clone()));
        }
        self.events.insert(event.id.clone(), event);
    }

    /// Removes cancelled events from before a time; returns the bases of the removed ones.
    pub(crate) fn remove_tombstones(&mut self, before: i64) -> BTreeSet<String> {
        let mut bases = BTreeSet::new();
        while let Some((updated, _)) = self.tombstones.first() {
            if *updated >= before {
                break;
            }
            if let Some((_, id)) = self.tombstones.pop_first() {
                self.events.remove(&id);
                self.log.forget(&id);
                bases.insert(base(&id).to_owned());
            }
        }
        bases
    }
}

/// A calendar in a person's list.
#[derive(Debug, Clone)]
pub(crate) struct ListEntry {
    pub(crate) calendar: String,
    pub(crate) role: Role,
    pub(crate) is_hidden: bool,
    pub(crate) is_deleted: bool,
    /// Microseconds since the epoch.
    pub(crate) updated: i64,
    pub(crate) container: u64,
    pub(crate) color: usize,
}

/// A person with a list of calendars.
pub(crate) struct User {
    pub(crate) address: String,
    pub(crate) name: String,
    pub(crate) zone: Zone,
    /// Entries by the id of the calendar.
    pub(crate) list: BTreeMap<String, ListEntry>,
    pub(crate) list_log: ChangeLog,
}

impl User {
    /// The entry of a calendar that the list has; `primary` is the person's own.
    pub(crate) fn entry(&self, calendar: &str) -> Option<&ListEntry> {
        let id = if calendar == "primary" {
            &self.address
        } else {
            calendar
        };
        self.list.get(id).filter(|entry| !entry.is_deleted)
    }
}

/// State of the simulated service.
pub(crate) struct World {
    pub(crate) rng: StdRng,
    next: u64,
    last_micros: i64,
    pub(crate) calendars: BTreeMap<String, Calendar>,
    /// People by login.
    pub(crate) users: BTreeMap<String, User>,
    /// Logins by address.
    logins: HashMap<String, String>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            next: 0,
            last_micros: 0,
            calendars: BTreeMap::new(),
            users: BTreeMap::new(),
            logins: HashMap::new(),
        }
    }

    /// A new number of a container.
    pub(crate) fn container(&mut self) -> u64 {
        self.next += 1;
        CONTAINER | self.next
    }

    /// A new id of letters and digits, as Calendar makes them.
    pub(crate) fn id(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuv";
        (0..length)
            .map(|_| char::from(LETTERS[self.rng.random_range(0..LETTERS.len())]))
            .collect()
    }

    /// Time of a change in microseconds, within its second unless earlier ones fill it.
    ///
    /// No two changes have the same millisecond.
    pub(crate) fn micros(&mut self, seconds: i64) -> i64 {
        let random = self.rng.random_range(1_000..400_000_i64);
        let candidate = seconds * 1_000_000 + random;
        let last = self.last_micros;
        let is_present = last - candidate < 60_000_000;
        let micros = if candidate < last + 1_000 && is_present {
            last + 1_000 + self.rng.random_range(0..1_000_i64)
        } else {
            candidate
        };
        self.last_micros = last.max(micros);
        micros
    }

    pub(crate) fn add_user(&mut self, login: &str, user: User) {
        self.logins.insert(user.address.clone(), login.to_owned());
        self.users.insert(login.to_owned(), user);
    }

    /// Login of the person with this address.
    pub(crate) fn login(&self, address: &str) -> Option<&str> {
        self.logins.get(address).map(String::as_str)
    }

    /// Name of the person or calendar with this address.
    pub(crate) fn name_of(&self, address: &str) -> Option<&str> {
        let person = self.login(address).and_then(|login| self.users.get(login));
        person.map_or_else(
            || Some(self.calendars.get(address)?.summary.as_str()),
            |user| Some(user.name.as_str()),
        )
    }

    /// Calendar and role, if the person's list has the calendar.
    pub(crate) fn open(&self, login: &str, calendar: &str) -> Option<(&Calendar, Role)> {
        let entry = self.users.get(login)?.entry(calendar)?;
        Some((self.calendars.get(&entry.calendar)?, entry.role))
    }

    /// Ids of calendars in which a person can change events.
    pub(crate) fn writable(&self, login: &str) -> Vec<String> {
        let entries = self.users.get(login).into_iter();
        entries
            .flat_map(|user| user.list.values())
            .filter(|entry| !entry.is_deleted && entry.role >= Role::Writer)
            .map(|entry| entry.calendar.clone())
            .collect()
    }

    /// A random live event of a calendar that is organized there.
    ///
    /// The search begins at a random id and ends after a number of rows.
    pub(crate) fn random_event(&mut self, calendar: &str) -> Option<String> {
        const MAX_ROWS: usize = 500;
        let from = self.id(4);
        let events = &self.calendars.get(calendar)?.events;
        events
            .range(from.clone()..)
            .chain(events.range(..from))
            .take(MAX_ROWS)
            .map(|(_, event)| event)
            .find(|event| event.is_live() && event.is_original() && event.home == calendar)
            .map(|event| event.id.clone())
    }

    /// Containers that polling can see: calendars that a person with access can write to.
    pub(crate) fn visible_containers(&self, is_granted: impl Fn(&str) -> bool) -> HashSet<u64> {
        let users = self.users.iter().filter(|(login, _)| is_granted(login));
        users
            .flat_map(|(_, user)| user.list.values())
            .filter(|entry| !entry.is_deleted && !entry.is_hidden && entry.role >= Role::Writer)
            .map(|entry| entry.container)
            .collect()
    }
}
