//! State of the simulated GitHub: accounts, people, repositories and installations.
//!
//! This module has the data, lookups and ids; `actions` changes them, and `render` writes them
//! as JSON. Ids of every type start at the same number, because GitHub's ids are unique only
//! within their type.

mod code;
mod collection;
mod install;
mod people;
mod repository;
mod thread;

use std::collections::{BTreeMap, HashMap, HashSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

pub(crate) use code::{Commit, Deployment, Release, Run};
pub(crate) use collection::{Collection, Item, Order, Sort};
pub(crate) use install::{InstallRequest, Installation, Selection};
pub(crate) use people::{Account, Person, PersonKind, Team};
pub(crate) use repository::{Discussion, DiscussionComment, Label, Milestone, Repository, Star};
pub(crate) use thread::{Comment, Issue, Pull, Review, ReviewComment};

/// A numeric id of GitHub.
pub(crate) type Id = u64;

/// Base URLs of the simulator.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    /// Base URL of the web pages.
    pub(crate) web: String,
    /// Base URL of the REST API.
    pub(crate) api: String,
}

/// Types of objects, each with a separate sequence of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ObjectType {
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

/// State of the simulated GitHub.
pub(crate) struct World {
    /// Base URLs of links.
    pub(crate) urls: Urls,
    /// Id of the app.
    pub(crate) app_id: Id,
    /// Slug of the app.
    pub(crate) app_slug: String,
    /// Id of the app's OAuth client.
    pub(crate) client_id: String,
    /// People, bots and organizations by id.
    pub(crate) people: HashMap<Id, Person>,
    logins: HashMap<String, Id>,
    /// Accounts by id, in order of creation.
    pub(crate) accounts: BTreeMap<Id, Account>,
    /// Repositories by id.
    pub(crate) repositories: BTreeMap<Id, Repository>,
    names: HashMap<String, Id>,
    /// Installations by id.
    pub(crate) installations: BTreeMap<Id, Installation>,
    /// Installation requests without an approval.
    pub(crate) requests: Vec<InstallRequest>,
    /// Permissions of new installations.
    pub(crate) permissions: BTreeMap<String, String>,
    /// Random generator of the world.
    pub(crate) rng: StdRng,
    /// Lower bound of all ids.
    ///
    /// The ids of different seeds do not overlap, so that a database with the objects of one
    /// world does not confuse them with those of another.
    first_id: Id,
    last_ids: HashMap<ObjectType, Id>,
    /// Deleted issues (`None`, 410) and transferred issues (their new place, 301).
    pub(crate) removed_issues: HashMap<(Id, u32), Option<(Id, u32)>>,
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
            first_id: 2_400_000_000 + (seed % 100_000) * 1_000_000,
            last_ids: HashMap::new(),
            removed_issues: HashMap::new(),
        }
    }

    /// Allocates the next id of a type.
    pub(crate) fn next_id(&mut self, object_type: ObjectType) -> Id {
        let step = self.rng.random_range(1..=3);
        let last = self.last_ids.entry(object_type).or_insert(self.first_id);
        *last += step;
        *last
    }

    /// Generates a commit hash: forty hexadecimal digits.
    pub(crate) fn random_sha(&mut self) -> String {
        let bytes: [u8; 20] = self.rng.random();
        hex::encode(bytes)
    }

    /// Adds a person, a bot or an organization.
    pub(crate) fn add_person(&mut self, login: &str, kind: PersonKind) -> Id {
        if let Some(&id) = self.logins.get(&login.to_lowercase()) {
            return id;
        }
        let id = self.next_id(ObjectType::Person);
        let person = Person::new(id, login.to_owned(), kind, &self.urls);
        self.logins.insert(login.to_lowercase(), id);
        self.people.insert(id, person);
        id
    }

    /// Id of a login, case-insensitive.
    pub(crate) fn person_id(&self, login: &str) -> Option<Id> {
        self.logins.get(&login.to_lowercase()).copied()
    }

    /// Login of a person, `ghost` for an unknown one.
    pub(crate) fn login(&self, id: Id) -> &str {
        self.people
            .get(&id)
            .map_or("ghost", |person| person.login.as_str())
    }

    /// Account with a login.
    pub(crate) fn account_by_login(&self, login: &str) -> Option<&Account> {
        self.accounts.get(&self.person_id(login)?)
    }

    /// Id of the repository with an owner and a current or previous name.
    pub(crate) fn repository_id(&self, owner: &str, name: &str) -> Option<Id> {
        self.names
            .get(&format!("{owner}/{name}").to_lowercase())
            .copied()
    }

    /// Whether this is the repository's current name.
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
        let id = self.next_id(ObjectType::Repository);
        let sha = self.random_sha();
        let mut repository = Repository::new(id, owner, name.to_owned(), at);
        repository.branches.insert("main".to_owned(), sha.clone());
        let author = self
            .accounts
            .get(&owner)
            .map_or(owner, |account| account.admin);
        repository.commits.push(Commit::initial(sha, author, at));
        for (label, color) in [
            ("bug", "d73a4a"),
            ("documentation", "0075ca"),
            ("enhancement", "a2eeef"),
            ("question", "d876e3"),
        ] {
            let id = self.next_id(ObjectType::Label);
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

    /// Changes the name or owner of a repository, which its old name still finds.
    pub(crate) fn rename_repository(&mut self, id: Id, owner: Id, name: &str) {
        let full_name = format!("{}/{name}", self.login(owner)).to_lowercase();
        let Some(repository) = self.repositories.get_mut(&id) else {
            return;
        };
        let old_owner = repository.owner;
        name.clone_into(&mut repository.name);
        repository.owner = owner;
        repository.invalidate_rendering();
        self.names.insert(full_name, id);
        if old_owner != owner {
            if let Some(account) = self.accounts.get_mut(&old_owner) {
                account.repositories.retain(|repository| *repository != id);
            }
            if let Some(account) = self.accounts.get_mut(&owner) {
                account.repositories.push(id);
            }
        }
    }

    /// Installation that covers a repository.
    pub(crate) fn installation_of(&self, repository: Id) -> Option<&Installation> {
        let owner = self.repositories.get(&repository)?.owner;
        self.installations
            .values()
            .find(|installation| installation.account == owner && installation.covers(repository))
    }

    /// Installation of an account, suspended or not.
    pub(crate) fn installation_for(&self, account: Id) -> Option<&Installation> {
        self.installations
            .values()
            .find(|installation| installation.account == account)
    }

    /// Repositories that an active installation covers.
    pub(crate) fn visible_repositories(&self) -> HashSet<Id> {
        self.installations
            .values()
            .filter(|installation| installation.suspended_at.is_none())
            .flat_map(|installation| self.repositories_of(installation))
            .collect()
    }

    /// Repositories that an installation covers, ordered by id.
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

    /// Random member of an account, sometimes its bot.
    pub(crate) fn random_member(&mut self, account: Id) -> Id {
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
