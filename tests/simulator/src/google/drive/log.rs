//! Logs of changes: one of each person, and one of each shared drive.
//!
//! A log has one entry per subject, its latest: a later change moves the entry to the end. A
//! token names a position; it does not expire and shows what is there now.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A file or shared drive whose change a log has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    File(String),
    Drive(String),
}

/// Whether a subject has left the log's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    No,
    /// Deleted, or no longer accessible.
    Gone,
    /// Moved to another drive.
    Moved,
}

/// An entry of a log.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) subject: Subject,
    pub(super) removal: Removal,
    /// Shared drive of the file before or after the change.
    pub(super) drive: Option<String>,
    /// Epoch milliseconds.
    pub(super) time: i64,
}

impl Change {
    /// The change as a person's list has it, with or without the files of shared drives.
    ///
    /// A list with these files still has a file that moved into a shared drive.
    pub(super) fn in_person_list(&self, includes_shared: bool) -> Option<Self> {
        let mut change = self.clone();
        match (&self.drive, self.removal) {
            (Some(_), Removal::Moved) if includes_shared => change.removal = Removal::No,
            (Some(_), Removal::No | Removal::Gone) if !includes_shared => return None,
            _ => {}
        }
        Some(change)
    }
}

/// Owner of a log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum LogOwner {
    Person(String),
    Drive(String),
}

impl LogOwner {
    /// Key of the log as a watched resource.
    pub(super) fn resource(&self) -> String {
        match self {
            Self::Person(sub) => format!("changes|{sub}"),
            Self::Drive(drive) => format!("drive|{drive}"),
        }
    }
}

/// The error of an expired token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenError {
    /// Status of the response.
    pub(super) status: u16,
}

#[derive(Default)]
struct Log {
    entries: BTreeMap<u64, Change>,
    positions: HashMap<Subject, u64>,
    /// Number of the grant with which a client has taken a token of this log.
    ///
    /// A client of an earlier grant has lost its tokens.
    token_grant: Option<u64>,
    /// Position up to which a client has read.
    read_to: u64,
    /// Tokens before this position have expired, with this status.
    expired: Option<(u64, u16)>,
}

/// Mark of a token at which a client begins to read, in place of one that continues.
const START: &str = "start|";

/// All logs, which share one sequence of positions.
#[derive(Default)]
pub(super) struct Logs {
    logs: HashMap<LogOwner, Log>,
    next: u64,
}

impl Logs {
    /// Adds a change, or moves the entry of its subject to the end.
    pub(super) fn add(&mut self, owner: LogOwner, change: Change) {
        // Positions are not consecutive.
        self.next += 2;
        let log = self.logs.entry(owner).or_default();
        if let Some(old) = log.positions.insert(change.subject.clone(), self.next) {
            log.entries.remove(&old);
        }
        log.entries.insert(self.next, change);
    }

    /// The latest entry of a subject, with its position.
    pub(super) fn find(&self, owner: &LogOwner, subject: &Subject) -> Option<(u64, &Change)> {
        let log = self.logs.get(owner)?;
        let position = *log.positions.get(subject)?;
        Some((position, log.entries.get(&position)?))
    }

    /// Entries from a position, in order, with their positions.
    pub(super) fn since(
        &self,
        owner: &LogOwner,
        position: u64,
    ) -> impl Iterator<Item = (u64, &Change)> {
        let entries = self
            .logs
            .get(owner)
            .map(|log| log.entries.range(position..));
        entries
            .into_iter()
            .flatten()
            .map(|(position, change)| (*position, change))
    }

    /// The position behind all entries.
    pub(super) const fn end(&self) -> u64 {
        self.next + 1
    }

    /// A token of a position, for a client with this grant that reads on.
    pub(super) fn token(&mut self, owner: &LogOwner, position: u64, grant: Option<u64>) -> String {
        self.note_token(owner, grant);
        URL_SAFE_NO_PAD.encode(format!("{}|{position}", owner.resource()))
    }

    /// A token of the end, for a client with this grant that begins to read there.
    pub(super) fn start_token(&mut self, owner: &LogOwner, grant: Option<u64>) -> String {
        self.note_token(owner, grant);
        URL_SAFE_NO_PAD.encode(format!("{START}{}|{}", owner.resource(), self.end()))
    }

    fn note_token(&mut self, owner: &LogOwner, grant: Option<u64>) {
        self.logs.entry(owner.clone()).or_default().token_grant = grant;
    }

    /// Whether a client begins to read with this token, and so passes over all entries before.
    pub(super) fn is_start(token: &str) -> bool {
        let text = URL_SAFE_NO_PAD.decode(token);
        text.is_ok_and(|text| text.starts_with(START.as_bytes()))
    }

    /// Whether a client with this grant has a token of a log.
    pub(super) fn has_token(&self, owner: &LogOwner, grant: Option<u64>) -> bool {
        let log = self.logs.get(owner);
        grant.is_some() && log.is_some_and(|log| log.token_grant == grant)
    }

    /// Position of a token of this log.
    pub(super) fn position(&self, owner: &LogOwner, token: &str) -> Result<u64, TokenError> {
        let invalid = TokenError { status: 400 };
        let text = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid)?;
        let text = String::from_utf8(text).map_err(|_| invalid)?;
        let position = text
            .strip_prefix(START)
            .unwrap_or(&text)
            .strip_prefix(&owner.resource())
            .and_then(|rest| rest.strip_prefix('|')?.parse::<u64>().ok())
            .ok_or(invalid)?;
        match self.logs.get(owner).and_then(|log| log.expired) {
            Some((first, status)) if position < first => Err(TokenError { status }),
            _ => Ok(position),
        }
    }

    /// Notes that a client has read up to a position.
    pub(super) fn note_read(&mut self, owner: &LogOwner, position: u64) {
        if let Some(log) = self.logs.get_mut(owner) {
            log.read_to = log.read_to.max(position);
        }
    }

    pub(super) fn read_to(&self, owner: &LogOwner) -> u64 {
        self.logs.get(owner).map_or(0, |log| log.read_to)
    }

    /// Expires all tokens of a log; returns the position before which nothing is reachable.
    pub(super) fn expire(&mut self, owner: &LogOwner, status: u16) -> u64 {
        self.next += 2;
        let first = self.end();
        let log = self.logs.entry(owner.clone()).or_default();
        log.expired = Some((first, status));
        log.token_grant = None;
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: &str, time: i64) -> Change {
        Change {
            subject: Subject::File(id.to_owned()),
            removal: Removal::No,
            drive: None,
            time,
        }
    }

    #[test]
    fn later_change_moves_the_entry_to_the_end() {
        let mut logs = Logs::default();
        let owner = LogOwner::Person("1".to_owned());
        let start = logs.end();
        for (id, time) in [("a", 1), ("b", 2), ("a", 3)] {
            logs.add(owner.clone(), change(id, time));
        }
        let times = |logs: &Logs| -> Vec<i64> {
            logs.since(&owner, start)
                .map(|(_, change)| change.time)
                .collect()
        };
        assert_eq!(times(&logs), [2, 3]);
    }

    #[test]
    fn unexpired_token_is_valid_for_its_log() {
        let mut logs = Logs::default();
        let [owner, other] = ["1", "2"].map(|sub| LogOwner::Person(sub.to_owned()));
        let end = logs.end();
        let token = logs.token(&owner, end, Some(0));
        assert_eq!(logs.position(&owner, &token), Ok(end));
        assert_eq!(
            logs.position(&other, &token),
            Err(TokenError { status: 400 })
        );
        logs.expire(&owner, 410);
        assert_eq!(
            logs.position(&owner, &token),
            Err(TokenError { status: 410 })
        );
        let end = logs.end();
        let fresh = logs.start_token(&owner, Some(0));
        assert_eq!(logs.position(&owner, &fresh), Ok(end));
        assert!(Logs::is_start(&fresh) && !Logs::is_start(&token));
    }
}
