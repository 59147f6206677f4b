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
mod transaction;

use rand::seq::IndexedRandom;
use serde::Deserialize;
use serde_json::Value;

use super::world::Id;

pub(crate) use lifecycle::{install, request_installation, suspend, uninstall};
pub(crate) use transaction::Transaction;

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

impl Transaction<'_> {
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
}

/// Account, repository and actor of an action.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ActionContext {
    pub(crate) account: Id,
    pub(crate) repository: Id,
    pub(crate) actor: Id,
}

impl ActionContext {
    /// The same action by another actor.
    fn by(self, actor: Id) -> Self {
        Self { actor, ..self }
    }
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
