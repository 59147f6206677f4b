//! What can happen in the simulated world.
//!
//! Promises that every action changes the world, sends the events that GitHub
//! would send for it, and writes the facts among them into the ledger, all in
//! one step under the world's lock. Actions are named after GitHub's events
//! (`issues.closed`); parameters that are left out are chosen.

mod automation;
mod code;
mod departure;
mod discussion;
mod issue;
mod lifecycle;
mod pull;
mod release;
mod repository;
mod review;
mod selection;
mod talk;

use rand::RngExt;
use rand::seq::IndexedRandom;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::facts::Fact;
use super::webhooks::Event;
use super::world::{Id, Issue, Repository, World};
use super::{GitHub, render};
use crate::simulator::ledger;

pub(crate) use lifecycle::{install, request_installation, suspend, uninstall};

/// An action as the control API takes it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Act {
    pub(crate) account: String,
    pub(crate) action: String,
    #[serde(default)]
    pub(crate) repository: Option<String>,
    /// Login of who does it.
    #[serde(default)]
    pub(crate) actor: Option<String>,
    /// Number of an issue, pull request, discussion or milestone.
    #[serde(default)]
    pub(crate) number: Option<u32>,
    /// Id of a comment, review, release, run or installation.
    #[serde(default)]
    pub(crate) id: Option<Id>,
    #[serde(default)]
    pub(crate) title: Option<String>,
    #[serde(default)]
    pub(crate) body: Option<String>,
    /// New name of a repository; name of a release, label, branch or tag.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// Assignee, reviewer, member, or deleted user.
    #[serde(default)]
    pub(crate) login: Option<String>,
    /// State of a review or deployment; conclusion of a run.
    #[serde(default)]
    pub(crate) state: Option<String>,
    #[serde(default)]
    pub(crate) branch: Option<String>,
    /// Commits in a push.
    #[serde(default)]
    pub(crate) commits: Option<u32>,
    /// Target account of a transfer.
    #[serde(default)]
    pub(crate) to: Option<String>,
    /// Names of repositories, for installations.
    #[serde(default)]
    pub(crate) repositories: Option<Vec<String>>,
    /// Ask the team instead of a person.
    #[serde(default)]
    pub(crate) team: bool,
    /// Permissions that an owner accepts.
    #[serde(default)]
    pub(crate) permissions: Option<std::collections::BTreeMap<String, String>>,
}

/// Why an action could not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) String);

pub(crate) type Outcome = Result<Value, Refused>;

pub(crate) fn refused<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(why.into()))
}

/// The world while something happens in it.
pub(crate) struct Stage<'a> {
    pub(crate) hub: &'a GitHub,
    pub(crate) world: &'a mut World,
    /// When it happens, epoch seconds.
    pub(crate) at: i64,
    /// Ledger rows written so far.
    pub(crate) facts: Vec<u64>,
    /// Delivery GUIDs of the events sent so far.
    pub(crate) deliveries: Vec<String>,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(hub: &'a GitHub, world: &'a mut World, at: i64) -> Self {
        Self {
            hub,
            world,
            at,
            facts: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    /// Carries out an action.
    pub(crate) fn perform(&mut self, act: &Act) -> Outcome {
        let Some(account) = self
            .world
            .account_by_login(&act.account)
            .map(|account| account.id)
        else {
            return refused(format!("no account {}", act.account));
        };
        if let Some(outcome) = lifecycle::perform(self, account, act) {
            return outcome;
        }
        let repository = self.choose_repository(account, act)?;
        let actor = match &act.actor {
            Some(login) => match self.world.person_id(login) {
                Some(id) => id,
                None => return refused(format!("no user {login}")),
            },
            None => self.world.somebody(account),
        };
        let scene = Scene {
            account,
            repository,
            actor,
        };
        let (event, action) = act
            .action
            .split_once('.')
            .unwrap_or((act.action.as_str(), ""));
        match event {
            "issues" => issue::perform(self, scene, action, act),
            "issue_comment" | "commit_comment" => talk::perform(self, scene, event, action, act),
            "pull_request" => pull::perform(self, scene, action, act),
            "pull_request_review" | "pull_request_review_comment" => {
                review::perform(self, scene, event, action, act)
            }
            "discussion" | "discussion_comment" => {
                discussion::perform(self, scene, event, action, act)
            }
            "push" | "create" | "delete" => code::perform(self, scene, event, action, act),
            "release" => release::perform(self, scene, action, act),
            "deployment_status" | "workflow_run" => {
                automation::perform(self, scene, event, action, act)
            }
            "star" | "fork" | "milestone" | "member" | "repository" | "watch" => {
                repository::perform(self, scene, event, action, act)
            }
            _ => refused(format!("no action {}", act.action)),
        }
    }

    fn choose_repository(&mut self, account: Id, act: &Act) -> Result<Id, Refused> {
        if let Some(name) = &act.repository {
            let found = self.world.repository_id(&act.account, name);
            return found.ok_or_else(|| Refused(format!("no repository {}/{name}", act.account)));
        }
        let owned = self
            .world
            .accounts
            .get(&account)
            .map(|account| account.repositories.clone());
        let chosen = owned
            .unwrap_or_default()
            .choose(&mut self.world.rng)
            .copied();
        chosen.ok_or_else(|| Refused(format!("{} has no repository", act.account)))
    }

    /// Sends an event about a repository if an active installation covers it;
    /// answers whether one was generated.
    pub(crate) fn announce(
        &mut self,
        repository: Id,
        event: &'static str,
        action: Option<&'static str>,
        actor: Id,
        body: impl FnOnce(&World, &Repository) -> Value,
    ) -> bool {
        let Some(installation) = self.world.installation_of(repository) else {
            return false;
        };
        if installation.suspended_at.is_some() {
            return false;
        }
        let (installation, account) = (installation.id, installation.account);
        let Some(found) = self.world.repositories.get(&repository) else {
            return false;
        };
        let mut payload = Map::new();
        if let Some(action) = action {
            payload.insert("action".to_owned(), json!(action));
        }
        payload.insert(
            "repository".to_owned(),
            render::repository(self.world, found),
        );
        if let Some(organization) = render::organization(self.world, found) {
            payload.insert("organization".to_owned(), organization);
        }
        payload.insert("sender".to_owned(), render::user_or_null(self.world, actor));
        payload.insert(
            "installation".to_owned(),
            json!({"id": installation, "node_id": render::node_id("IntegrationInstallation", installation)}),
        );
        if let Value::Object(body) = body(self.world, found) {
            payload.extend(body);
        }
        let event = Event {
            name: event,
            action,
            account: self.world.login(account).to_owned(),
            installation: Some(installation),
            repository: Some(repository),
            payload: Value::Object(payload),
        };
        self.send(event)
    }

    /// Queues an event and answers whether it was generated.
    pub(crate) fn send(&mut self, event: Event) -> bool {
        match self.hub.webhooks.enqueue(self.hub, event) {
            Some(guid) => {
                self.deliveries.push(guid);
                true
            }
            None => false,
        }
    }

    /// Writes a fact down and answers its ledger row.
    pub(crate) fn record(
        &mut self,
        repository: Id,
        Fact {
            kind,
            key,
            pollable,
        }: Fact,
        webhook: bool,
    ) -> u64 {
        let owner = self
            .world
            .repositories
            .get(&repository)
            .map(|repository| repository.owner);
        let account = owner
            .map(|owner| self.world.login(owner).to_owned())
            .unwrap_or_default();
        let seq = self.hub.core.ledger.record(ledger::Fact {
            source: super::SOURCE,
            account,
            kind,
            key: format!("github:{key}"),
            at: self.at,
            container: repository,
            webhook,
            pollable,
        });
        self.facts.push(seq);
        seq
    }

    /// A repository that is known to exist.
    pub(crate) fn repository(&self, id: Id) -> Result<&Repository, Refused> {
        self.world
            .repositories
            .get(&id)
            .ok_or_else(|| Refused("the repository is gone".to_owned()))
    }

    /// See [`Self::repository`].
    pub(crate) fn repository_mut(&mut self, id: Id) -> Result<&mut Repository, Refused> {
        self.world
            .repositories
            .get_mut(&id)
            .ok_or_else(|| Refused("the repository is gone".to_owned()))
    }

    /// The issue or pull request the action names, or a random one among the
    /// newest that fit, or none.
    pub(crate) fn choose_issue(
        &mut self,
        repository: Id,
        number: Option<u32>,
        fits: impl Fn(&Issue) -> bool,
    ) -> Result<Option<Id>, Refused> {
        let found = self.repository(repository)?;
        if let Some(number) = number {
            return match found.issue(number) {
                Some(issue) if fits(issue) => Ok(Some(issue.id)),
                Some(_) => refused(format!("#{number} is not in a state for this")),
                None => refused(format!("no issue or pull request #{number}")),
            };
        }
        let fitting: Vec<Id> = found
            .issues
            .newest()
            .take(200)
            .filter(|issue| fits(issue))
            .take(20)
            .map(|issue| issue.id)
            .collect();
        Ok(fitting.choose(&mut self.world.rng).copied())
    }

    /// Somebody by login, or anybody of the account.
    pub(crate) fn choose_person(
        &mut self,
        account: Id,
        login: Option<&str>,
    ) -> Result<Id, Refused> {
        match login {
            Some(login) => self
                .world
                .person_id(login)
                .ok_or_else(|| Refused(format!("no user {login}"))),
            None => Ok(self.world.somebody(account)),
        }
    }

    /// One of several words.
    pub(crate) fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words.choose(&mut self.world.rng).copied().unwrap_or("")
    }

    /// Yes with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.world.rng.random_bool(probability)
    }
}

/// Where and by whom an action happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) account: Id,
    pub(crate) repository: Id,
    pub(crate) actor: Id,
}

/// A made-up title.
pub(crate) fn title(stage: &mut Stage<'_>) -> String {
    let verb = stage.one_of(&[
        "Fix", "Add", "Remove", "Document", "Speed up", "Rework", "Test",
    ]);
    let object = stage.one_of(&[
        "the parser",
        "retries",
        "pagination",
        "the login page",
        "timeouts",
        "the cache",
        "reports",
        "ünïcode names",
        "\"quoted\" values",
    ]);
    let case = stage.one_of(&[
        "for empty input",
        "on slow networks",
        "in the nightly build",
        "when offline",
        "after a restart",
    ]);
    format!("{verb} {object} {case}")
}
