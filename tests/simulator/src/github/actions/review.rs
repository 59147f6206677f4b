//! Reviews of pull requests and review comments.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::post::{self, Post};
use super::pull::{choose_or_open, is_open};
use super::{ActionContext, ActionError, ActionParams, Outcome, Transaction, reject};
use crate::github::facts::{self, Fact};
use crate::github::render;
use crate::github::world::{Collection, Id, ObjectType, Repository, Review, ReviewComment, World};

pub(super) fn perform(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    event: &str,
    action: &str,
    params: &ActionParams,
) -> Outcome {
    match (event, action) {
        ("pull_request_review", "submitted") => {
            let (issue, review) = submit(tx, context, params)?;
            review_result(tx, context, issue, review)
        }
        ("pull_request_review", "dismissed") => dismiss(tx, context, params),
        ("pull_request_review_comment", "created") => {
            post::create::<ReviewComment>(tx, context, params)
        }
        ("pull_request_review_comment", "edited") => {
            post::edit::<ReviewComment>(tx, context, params)
        }
        ("pull_request_review_comment", "deleted") => {
            post::delete::<ReviewComment>(tx, context, params)
        }
        _ => reject(format!("unknown action {event}.{action}")),
    }
}

fn review_result(tx: &Transaction<'_>, context: ActionContext, issue: Id, id: Id) -> Outcome {
    Ok(json!({"id": id, "number": tx.issue_number(context.repository, issue)?}))
}

/// Submits a review, and returns the ids of the issue and the review.
fn submit(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Result<(Id, Id), ActionError> {
    let issue = choose_or_open(tx, context, params, is_open)?;
    let state = match params.state.as_deref() {
        Some("approved") => "approved",
        Some("changes_requested") => "changes_requested",
        Some("commented") => "commented",
        Some(other) => return reject(format!("unknown review state {other}")),
        None => tx.choose_word(&["approved", "changes_requested", "commented"]),
    };
    let id = tx.world.next_id(ObjectType::Review);
    let at = tx.at;
    let body = params.text("Looked at it.");
    let fact = facts::pr_reviewed(id, state, &body);
    let added = tx
        .repository_mut(context.repository)?
        .issues
        .change(issue, |issue| {
            issue.updated_at = at;
            let pull = issue.pull.as_mut()?;
            let commit = pull.head_sha.clone();
            let user = context.actor;
            pull.reviews.push(Review {
                id,
                user,
                body,
                state,
                commit,
                submitted_at: at,
                fact: None,
            });
            Some(())
        });
    if added.flatten().is_none() {
        return reject("the pull request no longer exists");
    }
    let announced = announce(tx, context, "submitted", issue, id);
    if let Some(fact) = fact {
        let seq = tx.record(context, fact, announced);
        change_review(tx, context, issue, id, |review| review.fact = Some(seq))?;
    }
    Ok((issue, id))
}

fn change_review(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    issue: Id,
    id: Id,
    change: impl FnOnce(&mut Review),
) -> Result<(), ActionError> {
    tx.repository_mut(context.repository)?
        .issues
        .change(issue, |issue| {
            let reviews = issue.pull.as_mut().map(|pull| &mut pull.reviews);
            if let Some(review) =
                reviews.and_then(|all| all.iter_mut().find(|review| review.id == id))
            {
                change(review);
            }
        });
    Ok(())
}

fn announce(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &'static str,
    issue: Id,
    id: Id,
) -> bool {
    tx.announce(
        context,
        "pull_request_review",
        Some(action),
        |world, repo| {
            let Some(issue) = repo.issues.get(issue) else {
                return Value::Null;
            };
            let reviews = issue
                .pull
                .as_ref()
                .map(|pull| pull.reviews.as_slice())
                .unwrap_or_default();
            let review = reviews.iter().find(|review| review.id == id);
            json!({
                "review": review.map(|review| render::review(world, repo, issue, review)),
                "pull_request": render::pull_in_review(world, repo, issue),
            })
        },
    )
}

fn dismiss(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let reviewed = tx.choose_issue(context.repository, params.number, |issue| {
        issue
            .pull
            .as_ref()
            .is_some_and(|pull| pull.reviews.iter().any(is_dismissible))
    })?;
    let (issue, id) = match reviewed {
        None => submit(
            tx,
            context,
            &ActionParams {
                state: Some("approved".to_owned()),
                ..ActionParams::default()
            },
        )?,
        Some(issue) => {
            let chosen = tx.repository(context.repository)?.issues.get(issue);
            let reviews = chosen
                .and_then(|issue| issue.pull.as_ref())
                .map(|pull| &pull.reviews);
            let matches = |review: &&Review| {
                params.id.is_none_or(|id| id == review.id) && is_dismissible(review)
            };
            let Some(review) = reviews.and_then(|reviews| reviews.iter().find(matches)) else {
                return reject("no matching review to dismiss");
            };
            (issue, review.id)
        }
    };
    change_review(tx, context, issue, id, |review| review.state = "dismissed")?;
    touch(tx, context, issue)?;
    let announced = announce(tx, context, "dismissed", issue, id);
    tx.record(context, facts::pr_review_dismissed(id), announced);
    review_result(tx, context, issue, id)
}

fn is_dismissible(review: &Review) -> bool {
    review.state == "approved" || review.state == "changes_requested"
}

fn touch(tx: &mut Transaction<'_>, context: ActionContext, issue: Id) -> Result<(), ActionError> {
    let at = tx.at;
    tx.repository_mut(context.repository)?
        .issues
        .change(issue, |issue| issue.updated_at = at);
    Ok(())
}

impl Post for ReviewComment {
    const NAME: &'static str = "review comment";
    const EVENT: &'static str = "pull_request_review_comment";
    const EDITED_TEXT: &'static str = "Could this be a bit shorter?";

    fn all(repo: &Repository) -> &Collection<Self> {
        &repo.review_comments
    }

    fn all_mut(repo: &mut Repository) -> &mut Collection<Self> {
        &mut repo.review_comments
    }

    /// Comments on a line, which submits a review as well, as on GitHub.
    fn create(
        tx: &mut Transaction<'_>,
        context: ActionContext,
        params: &ActionParams,
    ) -> Result<Id, ActionError> {
        let review = ActionParams {
            state: Some("commented".to_owned()),
            body: Some(String::new()),
            ..params.clone()
        };
        let (issue, review) = submit(tx, context, &review)?;
        let id = tx.world.next_id(ObjectType::ReviewComment);
        let at = tx.at;
        let repo = tx.repository_mut(context.repository)?;
        let commit = repo
            .issues
            .change(issue, |issue| {
                let pull = issue.pull.as_mut()?;
                pull.review_comments += 1;
                Some(pull.head_sha.clone())
            })
            .flatten()
            .unwrap_or_default();
        repo.review_comments.insert(Self {
            id,
            issue,
            review,
            user: context.actor,
            body: params.text("Could this be shorter?"),
            path: "src/main.rs".to_owned(),
            commit,
            created_at: at,
            updated_at: at,
            facts: Vec::new(),
            rendered: OnceCell::new(),
        });
        let announced = post::announce::<Self>(tx, context, "created", id, json!({}));
        let fact = facts::review_comment_created(id);
        post::record_created::<Self>(tx, context, id, fact, announced)?;
        Ok(id)
    }

    fn describe(&self, world: &World, repo: &Repository, body: &mut Value) {
        if let Some(issue) = repo.issues.get(self.issue) {
            body["comment"] = render::review_comment(world, repo, issue, self);
            body["pull_request"] = render::pull_in_review(world, repo, issue);
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
        facts::comment_edited("review_comment", id, at, text)
    }

    fn deleted(id: Id) -> Fact {
        facts::comment_deleted("review_comment", id)
    }
}
