//! The transaction of an action: the changed world, its events and its facts.

use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::{Map, Value, json};

use super::{ActionContext, ActionError, reject};
use crate::github::facts::Fact;
use crate::github::webhooks::Event;
use crate::github::world::{Id, Issue, Repository, World};
use crate::github::{GitHub, SOURCE, render};
use crate::ledger;

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

    /// Sends an event of a repository if an active installation covers it.
    ///
    /// Returns whether a delivery was queued.
    pub(super) fn announce(
        &mut self,
        context: ActionContext,
        event: &'static str,
        action: Option<&'static str>,
        body: impl FnOnce(&World, &Repository) -> Value,
    ) -> bool {
        let ActionContext {
            repository, actor, ..
        } = context;
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
    pub(super) fn send(&mut self, event: Event) -> bool {
        match self.service.webhooks.enqueue(self.service, event) {
            Some(guid) => {
                self.deliveries.push(guid);
                true
            }
            None => false,
        }
    }

    /// Sends an event and records its fact; returns the fact's ledger row.
    pub(super) fn publish(
        &mut self,
        context: ActionContext,
        event: &'static str,
        action: Option<&'static str>,
        fact: Fact,
        body: impl FnOnce(&World, &Repository) -> Value,
    ) -> u64 {
        let announced = self.announce(context, event, action, body);
        self.record(context, fact, announced)
    }

    /// Records a fact and returns its ledger row.
    pub(super) fn record(
        &mut self,
        context: ActionContext,
        Fact {
            kind,
            key,
            pollable,
        }: Fact,
        webhook: bool,
    ) -> u64 {
        let repository = context.repository;
        let owner = self
            .world
            .repositories
            .get(&repository)
            .map(|repository| repository.owner);
        let account = owner
            .map(|owner| self.world.login(owner).to_owned())
            .unwrap_or_default();
        let seq = self.service.core.ledger.record(ledger::Fact {
            source: SOURCE,
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
    pub(super) fn repository(&self, id: Id) -> Result<&Repository, ActionError> {
        self.world
            .repositories
            .get(&id)
            .ok_or_else(|| ActionError("the repository no longer exists".to_owned()))
    }

    /// Repository with an id, mutable.
    pub(super) fn repository_mut(&mut self, id: Id) -> Result<&mut Repository, ActionError> {
        self.world
            .repositories
            .get_mut(&id)
            .ok_or_else(|| ActionError("the repository no longer exists".to_owned()))
    }

    /// Number of an issue or pull request; `None` if it no longer exists.
    pub(super) fn issue_number(&self, repository: Id, id: Id) -> Result<Option<u32>, ActionError> {
        let issue = self.repository(repository)?.issues.get(id);
        Ok(issue.map(|issue| issue.number))
    }

    /// Issue or pull request with a number, or a random one of the newest matches, if any.
    pub(super) fn choose_issue(
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
    pub(super) fn add_issue(&mut self, repository: Id, issue: Issue) -> Result<(), ActionError> {
        let repo = self.repository_mut(repository)?;
        repo.numbers.insert(issue.number, issue.id);
        repo.count_opened();
        repo.issues.insert(issue);
        Ok(())
    }

    /// Records the opening of an issue or pull request.
    pub(super) fn record_opened(
        &mut self,
        context: ActionContext,
        id: Id,
        fact: Fact,
        announced: bool,
    ) -> Result<(), ActionError> {
        let seq = self.record(context, fact, announced);
        let repo = self.repository_mut(context.repository)?;
        repo.issues.change(id, |issue| issue.facts.push(seq));
        Ok(())
    }

    /// Opens an issue or pull request again; lists no longer show its closing.
    pub(super) fn count_reopened(&mut self, repository: Id, id: Id) -> Result<(), ActionError> {
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
    pub(super) fn choose_person(
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
    pub(super) fn choose_word(&mut self, words: &[&'static str]) -> &'static str {
        words.choose(&mut self.world.rng).copied().unwrap_or("")
    }

    /// Random boolean with a probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.world.rng.random_bool(probability)
    }
}
