//! Reviews of pull requests and the comments on their lines.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::pull::{is_open, subject};
use super::{Act, Outcome, Refused, Scene, Stage, refused};
use crate::simulator::github::facts;
use crate::simulator::github::render;
use crate::simulator::github::world::{Id, Numbered, Review, ReviewComment};

pub(super) fn perform(
    stage: &mut Stage<'_>,
    scene: Scene,
    event: &str,
    action: &str,
    act: &Act,
) -> Outcome {
    match (event, action) {
        ("pull_request_review", "submitted") => {
            let (issue, review) = submit(stage, scene, act)?;
            answer(stage, scene, issue, review)
        }
        ("pull_request_review", "dismissed") => dismiss(stage, scene, act),
        ("pull_request_review_comment", "created") => comment(stage, scene, act),
        ("pull_request_review_comment", "edited") => edit(stage, scene, act),
        ("pull_request_review_comment", "deleted") => delete(stage, scene, act),
        _ => refused(format!("no action {event}.{action}")),
    }
}

fn answer(stage: &Stage<'_>, scene: Scene, issue: Id, id: Id) -> Outcome {
    let number = stage
        .repository(scene.repository)?
        .issues
        .get(issue)
        .map(|issue| issue.number);
    Ok(json!({"id": id, "number": number}))
}

/// Submits a review and answers the issue's and the review's id.
fn submit(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Result<(Id, Id), Refused> {
    let issue = subject(stage, scene, act, is_open)?;
    let verdict = match act.state.as_deref() {
        Some("approved") => "approved",
        Some("changes_requested") => "changes_requested",
        Some("commented") => "commented",
        Some(other) => return refused(format!("no review state {other}")),
        None => stage.one_of(&["approved", "changes_requested", "commented"]),
    };
    let id = stage.world.number(Numbered::Review);
    let at = stage.at;
    let body = act
        .body
        .clone()
        .unwrap_or_else(|| "Looked at it.".to_owned());
    let fact = facts::pr_reviewed(id, verdict, &body);
    let added = stage
        .repository_mut(scene.repository)?
        .issues
        .change(issue, |issue| {
            issue.updated_at = at;
            let pull = issue.pull.as_mut()?;
            let commit = pull.head_sha.clone();
            let user = scene.actor;
            pull.reviews.push(Review {
                id,
                user,
                body,
                state: verdict,
                commit,
                submitted_at: at,
                fact: None,
            });
            Some(())
        });
    if added.flatten().is_none() {
        return refused("the pull request is gone");
    }
    let heard = announce(stage, scene, "submitted", issue, id);
    if let Some(fact) = fact {
        let seq = stage.record(scene.repository, fact, heard);
        change_review(stage, scene, issue, id, |review| review.fact = Some(seq))?;
    }
    Ok((issue, id))
}

fn change_review(
    stage: &mut Stage<'_>,
    scene: Scene,
    issue: Id,
    id: Id,
    change: impl FnOnce(&mut Review),
) -> Result<(), Refused> {
    stage
        .repository_mut(scene.repository)?
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

fn announce(stage: &mut Stage<'_>, scene: Scene, action: &'static str, issue: Id, id: Id) -> bool {
    stage.announce(
        scene.repository,
        "pull_request_review",
        Some(action),
        scene.actor,
        |world, found| {
            let Some(issue) = found.issues.get(issue) else {
                return Value::Null;
            };
            let reviews = issue
                .pull
                .as_ref()
                .map(|pull| pull.reviews.as_slice())
                .unwrap_or_default();
            let review = reviews.iter().find(|review| review.id == id);
            json!({
                "review": review.map(|review| render::review(world, found, issue, review)),
                "pull_request": render::pull_in_review(world, found, issue),
            })
        },
    )
}

fn dismiss(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let reviewed = stage.choose_issue(scene.repository, act.number, |issue| {
        issue
            .pull
            .as_ref()
            .is_some_and(|pull| pull.reviews.iter().any(dismissible))
    })?;
    let (issue, id) = match reviewed {
        None => submit(
            stage,
            scene,
            &Act {
                state: Some("approved".to_owned()),
                ..Act::default()
            },
        )?,
        Some(issue) => {
            let found = stage.repository(scene.repository)?.issues.get(issue);
            let reviews = found
                .and_then(|issue| issue.pull.as_ref())
                .map(|pull| &pull.reviews);
            let wanted =
                |review: &&Review| act.id.is_none_or(|id| id == review.id) && dismissible(review);
            let Some(review) = reviews.and_then(|reviews| reviews.iter().find(wanted)) else {
                return refused("no such review to dismiss");
            };
            (issue, review.id)
        }
    };
    change_review(stage, scene, issue, id, |review| review.state = "dismissed")?;
    touch(stage, scene, issue)?;
    let heard = announce(stage, scene, "dismissed", issue, id);
    stage.record(scene.repository, facts::pr_review_dismissed(id), heard);
    answer(stage, scene, issue, id)
}

fn dismissible(review: &Review) -> bool {
    review.state == "approved" || review.state == "changes_requested"
}

fn touch(stage: &mut Stage<'_>, scene: Scene, issue: Id) -> Result<(), Refused> {
    let at = stage.at;
    stage
        .repository_mut(scene.repository)?
        .issues
        .change(issue, |issue| issue.updated_at = at);
    Ok(())
}

/// Comments on a line; like on GitHub, that submits a review with it.
fn comment(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = create(stage, scene, act)?;
    Ok(json!({ "id": id }))
}

fn create(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Result<Id, Refused> {
    let around = Act {
        state: Some("commented".to_owned()),
        body: Some(String::new()),
        ..act.clone()
    };
    let (issue, review) = submit(stage, scene, &around)?;
    let id = stage.world.number(Numbered::ReviewComment);
    let at = stage.at;
    let found = stage.repository_mut(scene.repository)?;
    let commit = found
        .issues
        .change(issue, |issue| {
            let pull = issue.pull.as_mut()?;
            pull.review_comments += 1;
            Some(pull.head_sha.clone())
        })
        .flatten()
        .unwrap_or_default();
    found.review_comments.insert(ReviewComment {
        id,
        issue,
        review,
        user: scene.actor,
        body: act
            .body
            .clone()
            .unwrap_or_else(|| "Could this be shorter?".to_owned()),
        path: "src/main.rs".to_owned(),
        commit,
        created_at: at,
        updated_at: at,
        facts: Vec::new(),
        rendered: OnceCell::new(),
    });
    let heard = announce_comment(stage, scene, "created", id, json!({}));
    let seq = stage.record(scene.repository, facts::review_comment_created(id), heard);
    let found = stage.repository_mut(scene.repository)?;
    found
        .review_comments
        .change(id, |comment| comment.facts.push(seq));
    Ok(id)
}

fn announce_comment(
    stage: &mut Stage<'_>,
    scene: Scene,
    action: &'static str,
    id: Id,
    extra: Value,
) -> bool {
    let event = "pull_request_review_comment";
    stage.announce(
        scene.repository,
        event,
        Some(action),
        scene.actor,
        |world, found| {
            let mut body = extra;
            let Some(comment) = found.review_comments.get(id) else {
                return body;
            };
            let Some(issue) = found.issues.get(comment.issue) else {
                return body;
            };
            body["comment"] = render::review_comment(world, found, issue, comment);
            body["pull_request"] = render::pull_in_review(world, found, issue);
            body
        },
    )
}

/// The comment that is meant, or the newest, or a new one.
fn choose(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Result<Id, Refused> {
    let found = stage.repository(scene.repository)?;
    if let Some(id) = act.id {
        let known = found.review_comments.get(id).map(|comment| comment.id);
        return known.ok_or_else(|| Refused(format!("no review comment {id}")));
    }
    let newest = found
        .review_comments
        .newest()
        .next()
        .map(|comment| comment.id);
    match newest {
        Some(id) => Ok(id),
        None => create(stage, scene, &Act::default()),
    }
}

fn edit(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = choose(stage, scene, act)?;
    let at = stage.at;
    let body = act
        .body
        .clone()
        .unwrap_or_else(|| "Could this be a bit shorter?".to_owned());
    stage
        .repository_mut(scene.repository)?
        .review_comments
        .change(id, |comment| {
            comment.body.clone_from(&body);
            comment.updated_at = at;
        });
    let changes = json!({"changes": {"body": {"from": "An earlier text"}}});
    let heard = announce_comment(stage, scene, "edited", id, changes);
    stage.record(
        scene.repository,
        facts::comment_edited("review_comment", id, at, &body),
        heard,
    );
    Ok(json!({ "id": id }))
}

fn delete(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = choose(stage, scene, act)?;
    let heard = announce_comment(stage, scene, "deleted", id, json!({}));
    let removed = stage
        .repository_mut(scene.repository)?
        .review_comments
        .remove(id);
    stage
        .hub
        .core
        .ledger
        .hide(&removed.map(|comment| comment.facts).unwrap_or_default());
    stage.record(
        scene.repository,
        facts::comment_deleted("review_comment", id),
        heard,
    );
    Ok(json!({ "id": id }))
}
