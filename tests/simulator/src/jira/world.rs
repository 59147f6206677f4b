//! State: sites, people, projects, issues, grants and webhooks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::jql::Jql;
use super::limits::Usage;

/// Bit that distinguishes Jira's container ids from those of other providers.
const CONTAINER: u64 = 1 << 61;

/// Statuses of every site: id, name and category.
pub(crate) const STATUSES: [(&str, &str, &str); 4] = [
    ("10000", "To Do", "new"),
    ("10001", "In Progress", "indeterminate"),
    ("10002", "Done", "done"),
    ("10003", "Rejected", "done"),
];

/// A site.
pub(crate) struct Site {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) admin: String,
    pub(crate) people: Vec<String>,
    pub(crate) projects: BTreeMap<String, Project>,
    /// Issues by id.
    pub(crate) issues: BTreeMap<u64, Issue>,
    pub(crate) sprints: BTreeMap<u64, Sprint>,
    pub(crate) versions: BTreeMap<u64, Version>,
    pub(crate) worklogs: BTreeMap<u64, Worklog>,
    /// Deleted worklogs: id and time of deletion.
    pub(crate) deleted_worklogs: Vec<(u64, i64)>,
    pub(crate) webhooks: BTreeMap<u64, Webhook>,
    pub(crate) last_webhook_id: u64,
    /// Scrum board of the first project; the only one with sprints.
    pub(crate) board: u64,
    pub(crate) container: u64,
}

/// A project.
pub(crate) struct Project {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) last_number: u64,
    pub(crate) container: u64,
}

/// A person.
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Hours from UTC, and name of the time zone.
    pub(crate) zone: (i64, &'static str),
    pub(crate) sites: Vec<String>,
}

/// An issue. Times are epoch milliseconds.
pub(crate) struct Issue {
    pub(crate) id: u64,
    pub(crate) key: String,
    pub(crate) project: String,
    pub(crate) summary: String,
    pub(crate) status: usize,
    pub(crate) assignee: Option<String>,
    pub(crate) creator: String,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) histories: Vec<History>,
    pub(crate) comments: BTreeMap<u64, Comment>,
    /// Ledger rows that a response with this issue shows.
    pub(crate) facts: Vec<u64>,
}

/// One change of an issue.
pub(crate) struct History {
    pub(crate) id: u64,
    pub(crate) author: String,
    pub(crate) at: i64,
    /// Changed fields.
    pub(crate) items: Vec<Item>,
    pub(crate) facts: Vec<u64>,
}

/// One field of a change.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) field: &'static str,
    pub(crate) from: Option<(String, String)>,
    pub(crate) to: Option<(String, String)>,
}

/// A comment.
#[derive(Clone)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) author: String,
    pub(crate) editor: String,
    pub(crate) body: String,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) fact: Option<u64>,
    pub(crate) edit_fact: Option<u64>,
}

/// A worklog.
pub(crate) struct Worklog {
    pub(crate) id: u64,
    pub(crate) issue: u64,
    pub(crate) author: String,
    pub(crate) created: i64,
    pub(crate) fact: Option<u64>,
}

/// A sprint.
pub(crate) struct Sprint {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) state: &'static str,
    pub(crate) created: i64,
    pub(crate) start: Option<i64>,
    pub(crate) complete: Option<i64>,
    pub(crate) facts: Vec<u64>,
}

/// A version.
pub(crate) struct Version {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) project: String,
    pub(crate) released: Option<i64>,
    pub(crate) facts: Vec<u64>,
}

/// A registered webhook.
pub(crate) struct Webhook {
    pub(crate) id: u64,
    /// Account id of the person whose grant registered it.
    pub(crate) owner: String,
    pub(crate) url: String,
    pub(crate) events: Vec<String>,
    /// Source text of the JQL filter.
    pub(crate) filter: String,
    /// The parsed filter.
    pub(crate) jql: Jql,
    /// Fields of which an update must change one; empty accepts all.
    pub(crate) fields: Vec<String>,
    pub(crate) expires: i64,
}

/// A refresh token.
pub(crate) struct RefreshToken {
    pub(crate) person: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) used_at: Option<i64>,
    pub(crate) expires: i64,
}

/// An access token.
pub(crate) struct AccessToken {
    pub(crate) person: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) expires: i64,
}

/// A one-time authorization code.
pub(crate) struct Code {
    pub(crate) person: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) expires: i64,
    /// PKCE challenge, if present.
    pub(crate) challenge: Option<String>,
}

/// State of the simulated service.
pub(crate) struct World {
    pub(crate) rng: StdRng,
    next: u64,
    last_ms: i64,
    pub(crate) sites: BTreeMap<String, Site>,
    pub(crate) people: BTreeMap<String, Person>,
    /// Sites of a person's consent, by account id. A person has one grant for all sites.
    pub(crate) grants: HashMap<String, BTreeSet<String>>,
    pub(crate) codes: HashMap<String, Code>,
    pub(crate) refresh_tokens: HashMap<String, RefreshToken>,
    pub(crate) access_tokens: HashMap<String, AccessToken>,
    pub(crate) usage: Usage,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            next: 10_000 + seed % 50_000,
            last_ms: 0,
            sites: BTreeMap::new(),
            people: BTreeMap::new(),
            grants: HashMap::new(),
            codes: HashMap::new(),
            refresh_tokens: HashMap::new(),
            access_tokens: HashMap::new(),
            usage: Usage::default(),
        }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
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

    pub(crate) fn uuid(&mut self) -> String {
        let bytes: [u8; 16] = self.rng.random();
        uuid::Builder::from_random_bytes(bytes)
            .into_uuid()
            .to_string()
    }

    /// A unique timestamp in milliseconds, within a second.
    pub(crate) fn ms(&mut self, seconds: i64) -> i64 {
        let candidate = seconds * 1_000;
        let ms = if candidate <= self.last_ms && self.last_ms - candidate < 60_000 {
            self.last_ms + 1
        } else {
            candidate
        };
        self.last_ms = self.last_ms.max(ms);
        ms
    }

    /// A random person of a site.
    pub(crate) fn random_person(&mut self, site: &str) -> Option<String> {
        self.sites.get(site)?.people.choose(&mut self.rng).cloned()
    }

    /// A random issue of a site, found without a scan of all issues.
    pub(crate) fn random_issue(&mut self, site: &str) -> Option<u64> {
        let issues = &self.sites.get(site)?.issues;
        let (first, last) = (*issues.first_key_value()?.0, *issues.last_key_value()?.0);
        let from = self.rng.random_range(first..=last);
        issues.range(from..).next().map(|(id, _)| *id)
    }

    /// Containers that polling can see: those of all sites with a grant.
    pub(crate) fn visible_containers(&self) -> HashSet<u64> {
        let covered: BTreeSet<&String> = self.grants.values().flatten().collect();
        self.sites
            .values()
            .filter(|site| covered.contains(&site.id))
            .flat_map(|site| {
                site.projects
                    .values()
                    .map(|project| project.container)
                    .chain([site.container])
            })
            .collect()
    }
}
