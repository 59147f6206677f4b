//! Issues, pull requests, comments and reviews as JSON.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    association, labels, merge, milestone, node_id, optional_user, reactions, repository,
    repository_page, repository_url, user, user_or_null,
};
use crate::clock::iso;
use crate::github::world::{Comment, Id, Issue, Pull, Repository, Review, ReviewComment, World};

fn people(world: &World, ids: &[Id]) -> Vec<Value> {
    ids.iter().map(|id| user(world, *id)).collect()
}

fn milestone_of(world: &World, repo: &Repository, issue: &Issue) -> Value {
    let set = repo
        .milestones
        .iter()
        .find(|milestone| Some(milestone.id) == issue.milestone);
    set.map_or(Value::Null, |set| milestone(world, repo, set))
}

/// An issue, or the issue side of a pull request, in webhooks.
pub(crate) fn issue(world: &World, repo: &Repository, issue: &Issue) -> Value {
    let base = repository_url(world, repo);
    let url = format!("{base}/issues/{}", issue.number);
    let side = if issue.pull.is_some() {
        "pull"
    } else {
        "issues"
    };
    let page = format!("{}/{side}/{}", repository_page(world, repo), issue.number);
    let mut object = json!({
        "url": url,
        "repository_url": base,
        "labels_url": format!("{url}/labels{{/name}}"),
        "comments_url": format!("{url}/comments"),
        "events_url": format!("{url}/events"),
        "html_url": page,
        "id": issue.id,
        "node_id": node_id("Issue", issue.id),
        "number": issue.number,
        "title": issue.title,
        "user": user_or_null(world, issue.user),
        "labels": labels(world, repo, &issue.labels),
        "state": issue.state(),
        "locked": issue.locked,
        "assignee": optional_user(world, issue.assignees.first().copied()),
        "assignees": people(world, &issue.assignees),
        "milestone": milestone_of(world, repo, issue),
        "comments": issue.comments,
        "created_at": iso(issue.created_at),
        "updated_at": iso(issue.updated_at),
        "closed_at": issue.closed_at.map(iso),
        "author_association": association(world, repo, issue.user),
        "active_lock_reason": null,
        "body": issue.body,
        "reactions": reactions(&url),
        "timeline_url": format!("{url}/timeline"),
        "performed_via_github_app": null,
        "state_reason": issue.state_reason,
    });
    if let Some(pull) = &issue.pull {
        object["draft"] = json!(pull.draft);
        object["pull_request"] = json!({
            "url": format!("{base}/pulls/{}", issue.number),
            "html_url": page,
            "diff_url": format!("{page}.diff"),
            "patch_url": format!("{page}.patch"),
            "merged_at": pull.merged_at.map(iso),
        });
    }
    object
}

/// An issue in REST lists, cached until it changes.
pub(crate) fn issue_row(world: &World, repo: &Repository, row: &Issue) -> Bytes {
    row.listed_row
        .get_or_init(|| {
            let mut object = issue(world, repo, row);
            object["closed_by"] = optional_user(world, row.closed_by);
            bytes(&object)
        })
        .clone()
}

/// Fields that all forms of a pull request have.
fn pull_base(world: &World, repo: &Repository, issue: &Issue, pull: &Pull) -> Value {
    let base = repository_url(world, repo);
    let url = format!("{base}/pulls/{}", issue.number);
    let issue_url = format!("{base}/issues/{}", issue.number);
    let page = format!("{}/pull/{}", repository_page(world, repo), issue.number);
    let owner = world.login(repo.owner);
    let statuses = format!("{base}/statuses/{}", pull.head_sha);
    let teams: Vec<Value> = world
        .accounts
        .get(&repo.owner)
        .and_then(|account| account.team.as_ref())
        .filter(|_| pull.team_requested)
        .map(|team| super::team(world, owner, team))
        .into_iter()
        .collect();
    let link = |href: String| json!({ "href": href });
    json!({
        "url": url, "id": pull.id, "node_id": node_id("PullRequest", pull.id),
        "html_url": page, "diff_url": format!("{page}.diff"), "patch_url": format!("{page}.patch"),
        "issue_url": issue_url, "number": issue.number, "state": issue.state(),
        "locked": issue.locked, "title": issue.title, "user": user_or_null(world, issue.user),
        "body": issue.body,
        "created_at": iso(issue.created_at), "updated_at": iso(issue.updated_at),
        "closed_at": issue.closed_at.map(iso), "merged_at": pull.merged_at.map(iso),
        "merge_commit_sha": pull.merge_sha,
        "assignee": optional_user(world, issue.assignees.first().copied()),
        "assignees": people(world, &issue.assignees),
        "requested_reviewers": people(world, &pull.reviewers),
        "requested_teams": teams,
        "labels": labels(world, repo, &issue.labels),
        "milestone": milestone_of(world, repo, issue),
        "draft": pull.draft,
        "commits_url": format!("{url}/commits"),
        "review_comments_url": format!("{url}/comments"),
        "review_comment_url": format!("{base}/pulls/comments{{/number}}"),
        "comments_url": format!("{issue_url}/comments"),
        "statuses_url": statuses,
        "head": side(world, repo, owner, &pull.head_ref, &pull.head_sha),
        "base": side(world, repo, owner, &pull.base_ref, &pull.base_sha),
        "_links": {
            "self": link(url.clone()), "html": link(page.clone()), "issue": link(issue_url.clone()),
            "comments": link(format!("{issue_url}/comments")),
            "review_comments": link(format!("{url}/comments")),
            "review_comment": link(format!("{base}/pulls/comments{{/number}}")),
            "commits": link(format!("{url}/commits")), "statuses": link(statuses.clone()),
        },
        "author_association": association(world, repo, issue.user),
        "auto_merge": pull.auto_merge.map(|by| json!({
            "enabled_by": user(world, by), "merge_method": "squash",
            "commit_title": issue.title, "commit_message": "",
        })),
        "active_lock_reason": null,
    })
}

fn side(world: &World, repo: &Repository, owner: &str, branch: &str, sha: &str) -> Value {
    json!({
        "label": format!("{owner}:{branch}"), "ref": branch, "sha": sha,
        "user": user(world, repo.owner), "repo": repository(world, repo),
    })
}

/// Complete pull request of `pull_request` events and `GET /pulls/{number}`.
pub(crate) fn pull(world: &World, repo: &Repository, issue: &Issue) -> Value {
    let Some(pull) = &issue.pull else {
        return Value::Null;
    };
    let open = issue.closed_at.is_none();
    let rest = json!({
        "merged": pull.merged_at.is_some(),
        "mergeable": open.then_some(true),
        "rebaseable": open.then_some(true),
        "mergeable_state": if open { "clean" } else { "unknown" },
        "merged_by": optional_user(world, pull.merged_by),
        "comments": issue.comments, "review_comments": pull.review_comments,
        "maintainer_can_modify": false, "commits": pull.commits,
        "additions": pull.commits * 12, "deletions": pull.commits * 3,
        "changed_files": pull.commits,
    });
    merge([pull_base(world, repo, issue, pull), rest])
}

/// A pull request in review events, with fewer fields.
pub(crate) fn pull_in_review(world: &World, repo: &Repository, issue: &Issue) -> Value {
    issue
        .pull
        .as_ref()
        .map_or(Value::Null, |pull| pull_base(world, repo, issue, pull))
}

/// A pull request in `GET /pulls`, cached until it changes.
pub(crate) fn pull_row(world: &World, repo: &Repository, row: &Issue) -> Bytes {
    row.pull_row
        .get_or_init(|| bytes(&pull_in_review(world, repo, row)))
        .clone()
}

/// A comment on an issue or pull request.
pub(crate) fn comment(world: &World, repo: &Repository, issue: &Issue, comment: &Comment) -> Value {
    let base = repository_url(world, repo);
    let url = format!("{base}/issues/comments/{}", comment.id);
    let side = if issue.pull.is_some() {
        "pull"
    } else {
        "issues"
    };
    json!({
        "url": url,
        "html_url": format!(
            "{}/{side}/{}#issuecomment-{}", repository_page(world, repo), issue.number, comment.id
        ),
        "issue_url": format!("{base}/issues/{}", issue.number),
        "id": comment.id, "node_id": node_id("IssueComment", comment.id),
        "user": user_or_null(world, comment.user),
        "created_at": iso(comment.created_at), "updated_at": iso(comment.updated_at),
        "author_association": association(world, repo, comment.user),
        "body": comment.body, "reactions": reactions(&url),
        "performed_via_github_app": null,
    })
}

/// A review in webhooks, with its state in lower case.
pub(crate) fn review(world: &World, repo: &Repository, issue: &Issue, review: &Review) -> Value {
    let base = repository_url(world, repo);
    let page = format!(
        "{}/pull/{}#pullrequestreview-{}",
        repository_page(world, repo),
        issue.number,
        review.id
    );
    let pull_url = format!("{base}/pulls/{}", issue.number);
    json!({
        "id": review.id, "node_id": node_id("PullRequestReview", review.id),
        "user": user_or_null(world, review.user), "body": review.body,
        "commit_id": review.commit, "submitted_at": iso(review.submitted_at),
        "state": review.state, "html_url": page, "pull_request_url": pull_url,
        "author_association": association(world, repo, review.user),
        "_links": {"html": {"href": page}, "pull_request": {"href": pull_url}},
    })
}

/// A review in REST responses, with its state in upper case.
pub(crate) fn review_row(world: &World, repo: &Repository, issue: &Issue, row: &Review) -> Value {
    let mut object = review(world, repo, issue, row);
    object["state"] = json!(row.state.to_uppercase());
    object
}

/// A review comment on a line of the diff.
pub(crate) fn review_comment(
    world: &World,
    repo: &Repository,
    issue: &Issue,
    comment: &ReviewComment,
) -> Value {
    let base = repository_url(world, repo);
    let url = format!("{base}/pulls/comments/{}", comment.id);
    let pull_url = format!("{base}/pulls/{}", issue.number);
    let page = format!(
        "{}/pull/{}#discussion_r{}",
        repository_page(world, repo),
        issue.number,
        comment.id
    );
    json!({
        "url": url, "pull_request_review_id": comment.review, "id": comment.id,
        "node_id": node_id("PullRequestReviewComment", comment.id),
        "diff_hunk": "@@ -1,3 +1,4 @@\n fn main() {\n+    run();\n }",
        "path": comment.path, "position": 2, "original_position": 2,
        "commit_id": comment.commit, "original_commit_id": comment.commit,
        "user": user_or_null(world, comment.user), "body": comment.body,
        "created_at": iso(comment.created_at), "updated_at": iso(comment.updated_at),
        "html_url": page, "pull_request_url": pull_url,
        "author_association": association(world, repo, comment.user),
        "_links": {
            "self": {"href": url}, "html": {"href": page}, "pull_request": {"href": pull_url},
        },
        "reactions": reactions(&url),
        "start_line": null, "original_start_line": null, "start_side": null,
        "line": 2, "original_line": 2, "side": "RIGHT", "subject_type": "line",
    })
}

fn bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}
