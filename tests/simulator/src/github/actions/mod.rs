//! Actions of people and machines in the simulated world.
//!
//! Under one lock of the world, an action changes it, sends the events that GitHub sends, and
//! records the facts in the ledger. Actions have the names of GitHub's events
//! (`issues.closed`). Omitted parameters are chosen at random.

mod automation;
mod code;
mod comments;
mod discussion;
mod issue;
mod lifecycle;
mod post;
mod pull;
mod release;
mod removal;
mod repository;
mod review;
mod selection;

use rand::RngExt;
use rand::seq::IndexedRandom;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::facts::Fact;
use super::webhooks::Event;
use super::world::{Id, Issue, Repository, World};
use super::{GitHub, render};
use crate::ledger;

pub(crate) use lifecycle::{install, request_installation, suspend, uninstall};

/// Action and parameters of a control request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionParams {
    pub(crate) account: String,
    pub(crate) action: String,
    #[serde(default)]
    pub(crate) repository: Option<String>,
    /// Login of the actor.
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
    /// New name of a repository, or name of a release, label, branch or tag.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// Login of the assignee, reviewer, member, or deleted user.
    #[serde(default)]
    pub(crate) login: Option<String>,
    /// State of a review or deployment; conclusion of a run.
    #[serde(default)]
    pub(crate) state: Option<String>,
    #[serde(default)]
    pub(crate) branch: Option<String>,
    /// Number of commits in a push.
    #[serde(default)]
    pub(crate) commits: Option<u32>,
    /// Target account of a transfer.
    #[serde(default)]
    pub(crate) to: Option<String>,
    /// Names of repositories, for installations.
    #[serde(default)]
    pub(crate) repositories: Option<Vec<String>>,
    /// Request a review of the team instead of a person.
    #[serde(default)]
    pub(crate) team: bool,
    /// Permissions that an owner accepts.
    #[serde(default)]
    pub(crate) permissions: Option<std::collections::BTreeMap<String, String>>,
}

impl ActionParams {
    /// Text in the parameters, or a default.
    fn text(&self, default: &str) -> String {
        self.body.clone().unwrap_or_else(|| default.to_owned())
    }
}

/// Reason why an action is impossible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActionError(pub(crate) String);

pub(crate) type Outcome = Result<Value, ActionError>;

pub(crate) fn reject<T>(reason: impl Into<String>) -> Result<T, ActionError> {
    Err(ActionError(reason.into()))
}

/// Access to the world while an action changes it.
pub(crate) struct Transaction<'a> {
    pub(crate) service: &'a GitHub,
    pub(crate) world: &'a mut World,
    /// Time of the action, epoch seconds.
    pub(crate) at: i64,
    /// Ledger rows of the recorded facts.
    pub(crate) facts: Vec<u64>,
    /// GUIDs of the queued deliveries.
    pub(crate) deliveries: Vec<String>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(service: &'a GitHub, world: &'a mut World, at: i64) -> Self {
        Self {
            service,
            world,
            at,
            facts: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    /// Performs an action.
    pub(crate) fn perform(&mut self, params: &ActionParams) -> Outcome {
        let Some(account) = self
            .world
            .account_by_login(&params.account)
            .map(|account| account.id)
        else {
            return reject(format!("unknown account {}", params.account));
        };
        if let Some(outcome) = lifecycle::perform(self, account, params) {
            return outcome;
        }
        let repository = self.choose_repository(account, params)?;
        let actor = match &params.actor {
            Some(login) => match self.world.person_id(login) {
                Some(id) => id,
                None => return reject(format!("unknown user {login}")),
            },
            None => self.world.random_member(account),
        };
        let context = ActionContext {
            account,
            repository,
            actor,
        };
        let (event, action) = params
            .action
            .split_once('.')
            .unwrap_or((params.action.as_str(), ""));
        match event {
            "issues" => issue::perform(self, context, action, params),
            "issue_comment" | "commit_comment" => {
                comments::perform(self, context, event, action, params)
            }
            "pull_request" => pull::perform(self, context, action, params),
            "pull_request_review" | "pull_request_review_comment" => {
                review::perform(self, context, event, action, params)
            }
            "discussion" | "discussion_comment" => {
                discussion::perform(self, context, event, action, params)
            }
            "push" | "create" | "delete" => code::perform(self, context, event, action, params),
            "release" => release::perform(self, context, action, params),
            "deployment_status" | "workflow_run" => {
                automation::perform(self, context, event, action, params)
            }
            "star" | "fork" | "milestone" | "member" | "repository" | "watch" => {
                repository::perform(self, context, event, action, params)
            }
            _ => reject(format!("unknown action {}", params.action)),
        }
    }

    fn choose_repository(&mut self, account: Id, params: &ActionParams) -> Result<Id, ActionError> {
        if let Some(name) = &params.repository {
            let found = self.world.repository_id(&params.account, name);
            return found.ok_or_else(|| {
                ActionError(format!("unknown repository {}/{name}", params.account))
            });
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
        chosen.ok_or_else(|| ActionError(format!("{} has no repository", params.account)))
    }

    /// Sends an event of a repository if an active installation covers it.
    ///
    /// Returns whether a delivery was queued.
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

    /// Sends an event, and returns whether a delivery was queued.
    pub(crate) fn send(&mut self, event: Event) -> bool {
        match self.service.webhooks.enqueue(self.service, event) {
            Some(guid) => {
                self.deliveries.push(guid);
                true
            }
            None => false,
        }
    }

    /// Records a fact and returns its ledger row.
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
        let seq = self.service.core.ledger.record(ledger::Fact {
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

    /// Repository with an id.
    pub(crate) fn repository(&self, id: Id) -> Result<&Repository, ActionError> {
        self.world
            .repositories
            .get(&id)
            .ok_or_else(|| ActionError("the repository no longer exists".to_owned()))
    }

    /// Repository with an id, mutable.
    pub(crate) fn repository_mut(&mut self, id: Id) -> Result<&mut Repository, ActionError> {
        self.world
            .repositories
            .get_mut(&id)
            .ok_or_else(|| ActionError("the repository no longer exists".to_owned()))
    }

    /// Number of an issue or pull request; `None` if it no longer exists.
    fn issue_number(&self, repository: Id, id: Id) -> Result<Option<u32>, ActionError> {
        let issue = self.repository(repository)?.issues.get(id);
        Ok(issue.map(|issue| issue.number))
    }

    /// Issue or pull request with a number, or a random one of the newest matches, if any.
    pub(crate) fn choose_issue(
        &mut self,
        repository: Id,
        number: Option<u32>,
        matches: impl Fn(&Issue) -> bool,
    ) -> Result<Option<Id>, ActionError> {
        let found = self.repository(repository)?;
        if let Some(number) = number {
            return match found.issue(number) {
                Some(issue) if matches(issue) => Ok(Some(issue.id)),
                Some(_) => reject(format!("the state of #{number} does not allow this action")),
                None => reject(format!("unknown issue or pull request #{number}")),
            };
        }
        let matching: Vec<Id> = found
            .issues
            .newest()
            .take(200)
            .filter(|issue| matches(issue))
            .take(20)
            .map(|issue| issue.id)
            .collect();
        Ok(matching.choose(&mut self.world.rng).copied())
    }

    /// Opens a new issue or pull request.
    fn add_issue(&mut self, repository: Id, issue: Issue) -> Result<(), ActionError> {
        let repo = self.repository_mut(repository)?;
        repo.numbers.insert(issue.number, issue.id);
        repo.count_opened();
        repo.issues.insert(issue);
        Ok(())
    }

    /// Records the opening of an issue or pull request.
    fn record_opened(
        &mut self,
        repository: Id,
        id: Id,
        fact: Fact,
        announced: bool,
    ) -> Result<(), ActionError> {
        let seq = self.record(repository, fact, announced);
        let repo = self.repository_mut(repository)?;
        repo.issues.change(id, |issue| issue.facts.push(seq));
        Ok(())
    }

    /// Opens an issue or pull request again; lists no longer show its closing.
    fn count_reopened(&mut self, repository: Id, id: Id) -> Result<(), ActionError> {
        let repo = self.repository_mut(repository)?;
        repo.count_opened();
        let hidden = repo.issues.change(id, |issue| {
            let closing = issue.closing.take()?;
            issue.facts.retain(|seq| *seq != closing);
            Some(closing)
        });
        self.service.core.ledger.hide(hidden.flatten().as_slice());
        Ok(())
    }

    /// Person with a login, or a random member of the account.
    pub(crate) fn choose_person(
        &mut self,
        account: Id,
        login: Option<&str>,
    ) -> Result<Id, ActionError> {
        match login {
            Some(login) => self
                .world
                .person_id(login)
                .ok_or_else(|| ActionError(format!("unknown user {login}"))),
            None => Ok(self.world.random_member(account)),
        }
    }

    /// Random element of a list.
    pub(crate) fn choose_word(&mut self, words: &[&'static str]) -> &'static str {
        words.choose(&mut self.world.rng).copied().unwrap_or("")
    }

    /// Random boolean with a probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.world.rng.random_bool(probability)
    }
}

/// Account, repository and actor of an action.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ActionContext {
    pub(crate) account: Id,
    pub(crate) repository: Id,
    pub(crate) actor: Id,
}

/// Generates a title.
pub(crate) fn random_title(tx: &mut Transaction<'_>) -> String {
    let verb = tx.choose_word(&[
        "Fix", "Add", "Remove", "Document", "Speed up", "Rework", "Test",
    ]);
    let object = tx.choose_word(&[
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
    let case = tx.choose_word(&[
        "for empty input",
        "on slow networks",
        "in the nightly build",
        "when offline",
        "after a restart",
    ]);
    format!("{verb} {object} {case}")
}
