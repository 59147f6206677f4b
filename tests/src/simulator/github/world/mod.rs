//! What exists at the simulated GitHub: accounts, people, repositories and
//! everything in them, and where the app is installed.
//!
//! Promises lookups and identities; what happens is written in `act`, how it
//! looks in `render`. Objects are numbered per type, and every type starts at
//! the same number, because GitHub's ids are unique only within their type.

mod code;
mod install;
mod people;
mod repository;
mod shelf;
mod thread;

use std::collections::{BTreeMap, HashMap, HashSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

pub(crate) use code::{Commit, Deployment, Release, Run};
pub(crate) use install::{InstallRequest, Installation, Selection};
pub(crate) use people::{Account, Person, PersonKind, Team};
pub(crate) use repository::{Discussion, DiscussionComment, Label, Milestone, Repository, Star};
pub(crate) use shelf::{Item, Order, Shelf, Sort};
pub(crate) use thread::{Comment, Issue, Pull, Review, ReviewComment};

/// A numeric id as GitHub gives them.
pub(crate) type Id = u64;

/// Where the simulator is reached.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    /// Base of the pages for people.
    pub(crate) web: String,
    /// Base of the REST API.
    pub(crate) api: String,
}

/// Types that have ids of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Numbered {
    Person,
    Repository,
    Issue,
    Pull,
    Comment,
    ReviewComment,
    CommitComment,
    Review,
    Release,
    Run,
    Label,
    Milestone,
    Discussion,
    DiscussionComment,
    Deployment,
    DeploymentStatus,
    Team,
    Installation,
}

/// The whole simulated GitHub.
pub(crate) struct World {
    /// Where links point.
    pub(crate) urls: Urls,
    /// The app's id and slug, which many objects mention.
    pub(crate) app_id: Id,
    /// See `app_id`.
    pub(crate) app_slug: String,
    /// Public identifier of the app's OAuth client.
    pub(crate) client_id: String,
    /// Everyone and every organization, by id.
    pub(crate) people: HashMap<Id, Person>,
    logins: HashMap<String, Id>,
    /// Accounts that own repositories, by id, in order of creation.
    pub(crate) accounts: BTreeMap<Id, Account>,
    /// Repositories by id.
    pub(crate) repositories: BTreeMap<Id, Repository>,
    names: HashMap<String, Id>,
    /// Installations that exist, by id.
    pub(crate) installations: BTreeMap<Id, Installation>,
    /// Installations that a member asked for and an owner has not approved.
    pub(crate) requests: Vec<InstallRequest>,
    /// Permissions a new installation grants.
    pub(crate) permissions: BTreeMap<String, String>,
    /// Source of everything random.
    pub(crate) rng: StdRng,
    /// Below every id. Worlds of different seeds are far apart, so that a database that
    /// remembers one takes nothing in the next for the same.
    first: Id,
    next: HashMap<Numbered, Id>,
    /// Issues that are no longer where they were: asking for them answers 410
    /// (deleted) or 301 (transferred).
    pub(crate) gone: HashMap<(Id, u32), Option<(Id, u32)>>,
}

impl World {
    pub(crate) fn new(
        urls: Urls,
        app_id: Id,
        app_slug: String,
        client_id: String,
        seed: u64,
    ) -> Self {
        Self {
            urls,
            app_id,
            app_slug,
            client_id,
            people: HashMap::new(),
            logins: HashMap::new(),
            accounts: BTreeMap::new(),
            repositories: BTreeMap::new(),
            names: HashMap::new(),
            installations: BTreeMap::new(),
            requests: Vec::new(),
            permissions: install::default_permissions(),
            rng: StdRng::seed_from_u64(seed),
            first: 2_400_000_000 + (seed % 100_000) * 1_000_000,
            next: HashMap::new(),
            gone: HashMap::new(),
        }
    }

    /// The next id of a type.
    pub(crate) fn number(&mut self, of: Numbered) -> Id {
        let step = self.rng.random_range(1..=3);
        let next = self.next.entry(of).or_insert(self.first);
        *next += step;
        *next
    }

    /// Forty hexadecimal digits.
    pub(crate) fn sha(&mut self) -> String {
        let bytes: [u8; 20] = self.rng.random();
        hex::encode(bytes)
    }

    /// Adds a person, a bot or an organization.
    pub(crate) fn add_person(&mut self, login: &str, kind: PersonKind) -> Id {
        if let Some(&id) = self.logins.get(&login.to_lowercase()) {
            return id;
        }
        let id = self.number(Numbered::Person);
        let person = Person::new(id, login.to_owned(), kind, &self.urls);
        self.logins.insert(login.to_lowercase(), id);
        self.people.insert(id, person);
        id
    }

    /// Id behind a login, whatever its case.
    pub(crate) fn person_id(&self, login: &str) -> Option<Id> {
        self.logins.get(&login.to_lowercase()).copied()
    }

    /// Login of somebody, `ghost` for somebody unknown.
    pub(crate) fn login(&self, id: Id) -> &str {
        self.people
            .get(&id)
            .map_or("ghost", |person| person.login.as_str())
    }

    /// Account behind a login.
    pub(crate) fn account_by_login(&self, login: &str) -> Option<&Account> {
        self.accounts.get(&self.person_id(login)?)
    }

    /// Repository behind an owner and a name, also under its former names.
    pub(crate) fn repository_id(&self, owner: &str, name: &str) -> Option<Id> {
        self.names
            .get(&format!("{owner}/{name}").to_lowercase())
            .copied()
    }

    /// Whether this is the repository's present name.
    pub(crate) fn is_current_name(&self, id: Id, owner: &str, name: &str) -> bool {
        self.repositories.get(&id).is_some_and(|repository| {
            repository.name.eq_ignore_ascii_case(name)
                && self.login(repository.owner).eq_ignore_ascii_case(owner)
        })
    }

    /// `owner/name` of a repository.
    pub(crate) fn full_name(&self, repository: &Repository) -> String {
        format!("{}/{}", self.login(repository.owner), repository.name)
    }

    /// Adds an empty repository to an account.
    pub(crate) fn add_repository(&mut self, owner: Id, name: &str, at: i64) -> Id {
        let id = self.number(Numbered::Repository);
        let first = self.sha();
        let mut repository = Repository::new(id, owner, name.to_owned(), at);
        repository.branches.insert("main".to_owned(), first.clone());
        let author = self
            .accounts
            .get(&owner)
            .map_or(owner, |account| account.admin);
        repository.commits.push(Commit::first(first, author, at));
        for (label, color) in [
            ("bug", "d73a4a"),
            ("documentation", "0075ca"),
            ("enhancement", "a2eeef"),
            ("question", "d876e3"),
        ] {
            let id = self.number(Numbered::Label);
            repository.labels.push(Label {
                id,
                name: label.to_owned(),
                color: color.to_owned(),
            });
        }
        self.names
            .insert(format!("{}/{name}", self.login(owner)).to_lowercase(), id);
        self.repositories.insert(id, repository);
        if let Some(account) = self.accounts.get_mut(&owner) {
            account.repositories.push(id);
        }
        id
    }

    /// Gives a repository another name or owner; the old name keeps leading to it.
    pub(crate) fn rename_repository(&mut self, id: Id, owner: Id, name: &str) {
        let full_name = format!("{}/{name}", self.login(owner)).to_lowercase();
        let Some(repository) = self.repositories.get_mut(&id) else {
            return;
        };
        let former = repository.owner;
        name.clone_into(&mut repository.name);
        repository.owner = owner;
        repository.forget_rendering();
        self.names.insert(full_name, id);
        if former != owner {
            if let Some(account) = self.accounts.get_mut(&former) {
                account.repositories.retain(|repository| *repository != id);
            }
            if let Some(account) = self.accounts.get_mut(&owner) {
                account.repositories.push(id);
            }
        }
    }

    /// The installation through which an account's repository can be seen now.
    pub(crate) fn installation_of(&self, repository: Id) -> Option<&Installation> {
        let owner = self.repositories.get(&repository)?.owner;
        self.installations
            .values()
            .find(|installation| installation.account == owner && installation.covers(repository))
    }

    /// The account's installation, suspended or not.
    pub(crate) fn installation_for(&self, account: Id) -> Option<&Installation> {
        self.installations
            .values()
            .find(|installation| installation.account == account)
    }

    /// Repositories that the app can see through an active installation.
    pub(crate) fn visible_repositories(&self) -> HashSet<Id> {
        self.installations
            .values()
            .filter(|installation| installation.suspended_at.is_none())
            .flat_map(|installation| self.repositories_of(installation))
            .collect()
    }

    /// Repositories an installation covers, by id.
    pub(crate) fn repositories_of(&self, installation: &Installation) -> Vec<Id> {
        let Some(account) = self.accounts.get(&installation.account) else {
            return Vec::new();
        };
        let mut ids: Vec<Id> = account
            .repositories
            .iter()
            .copied()
            .filter(|id| installation.covers(*id))
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Somebody of the account, bots included now and then.
    pub(crate) fn somebody(&mut self, account: Id) -> Id {
        let Some(found) = self.accounts.get(&account) else {
            return account;
        };
        if self.rng.random_range(0..12) == 0 {
            return found.bot;
        }
        found
            .members
            .choose(&mut self.rng)
            .copied()
            .unwrap_or(found.admin)
    }
}
