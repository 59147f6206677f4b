//! Comments on issues, pull requests and commits.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::post::{self, Post};
use super::{ActionContext, ActionError, ActionParams, Outcome, Transaction, issue, reject};
use crate::github::facts::{self, Fact};
use crate::github::render;
use crate::github::world::{Collection, Comment, Id, ObjectType, Repository, World};

pub(super) fn perform(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    event: &str,
    action: &str,
    params: &ActionParams,
) -> Outcome {
    match (event, action) {
        ("issue_comment", "created") => post::create::<Comment>(tx, context, params),
        ("issue_comment", "edited") => post::edit::<Comment>(tx, context, params),
        ("issue_comment", "deleted") => post::delete::<Comment>(tx, context, params),
        ("commit_comment", "created") => comment_on_commit(tx, context, params),
        _ => reject(format!("unknown action {event}.{action}")),
    }
}

impl Post for Comment {
    const NAME: &'static str = "comment";
    const EVENT: &'static str = "issue_comment";
    const EDITED_TEXT: &'static str = "I can confirm this on two machines.";

    fn all(repo: &Repository) -> &Collection<Self> {
        &repo.comments
    }

    fn all_mut(repo: &mut Repository) -> &mut Collection<Self> {
        &mut repo.comments
    }

    fn create(
        tx: &mut Transaction<'_>,
        context: ActionContext,
        params: &ActionParams,
    ) -> Result<Id, ActionError> {
        let chosen = tx.choose_issue(context.repository, params.number, |_| true)?;
        let parent = match chosen {
            Some(id) => id,
            None => issue::open(tx, context, &ActionParams::default())?,
        };
        let id = tx.world.next_id(ObjectType::Comment);
        let at = tx.at;
        let repo = tx.repository_mut(context.repository)?;
        let on_pull = repo.issues.change(parent, |issue| {
            issue.comments += 1;
            issue.updated_at = at;
            issue.pull.is_some()
        });
        repo.comments.insert(Self {
            id,
            issue: parent,
            user: context.actor,
            body: params.text("I can confirm this."),
            created_at: at,
            updated_at: at,
            facts: Vec::new(),
            rendered: OnceCell::new(),
        });
        let announced = post::announce::<Self>(tx, context, "created", id, json!({}));
        let fact = facts::comment_created(id, on_pull.unwrap_or(false));
        post::record_created::<Self>(tx, context, id, fact, announced)?;
        Ok(id)
    }

    fn describe(&self, world: &World, repo: &Repository, body: &mut Value) {
        if let Some(issue) = repo.issues.get(self.issue) {
            body["comment"] = render::comment(world, repo, issue, self);
            body["issue"] = render::issue(world, repo, issue);
        }
    }

    fn set_text(&mut self, text: &str, at: i64) {
        text.clone_into(&mut self.body);
        self.updated_at = at;
    }

    fn facts(&mut self) -> &mut Vec<u64> {
        &mut self.facts
    }

    fn edited(id: Id, at: i64, text: &str) -> Fact {
        facts::comment_edited("comment", id, at, text)
    }

    fn deleted(id: Id) -> Fact {
        facts::comment_deleted("comment", id)
    }

    fn removed(&self, repo: &mut Repository) {
        repo.issues.change(self.issue, |issue| {
            issue.comments = issue.comments.saturating_sub(1);
        });
    }
}

fn comment_on_commit(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Outcome {
    let id = tx.world.next_id(ObjectType::CommitComment);
    let at = tx.at;
    let body = params.text("Why this way?");
    let sha = tx
        .repository(context.repository)?
        .commits
        .last()
        .map(|commit| commit.sha.clone());
    let Some(sha) = sha else {
        return reject("the repository is empty");
    };
    let author = context.actor;
    let fact = facts::commit_commented(id);
    tx.publish(context, "commit_comment", Some("created"), fact, |world, repo| {
        json!({"comment": render::commit_comment(world, repo, &sha, (id, author, &body, at))})
    });
    Ok(json!({ "id": id }))
}
