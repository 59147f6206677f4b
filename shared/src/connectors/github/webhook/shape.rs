//! Validation that a body belongs to the event in its header.
//!
//! The signature covers the body but not `X-GitHub-Event`, so a captured delivery could be replayed
//! as another event. A delivery counts as the event in its header only if its body has that event's
//! fields and none that are distinctive of other events.
//!
//! Source: "Webhook events and payloads" at docs.github.com.

use crate::connectors::github::wire::Payload;

/// Top-level fields that distinguish events.
const DISTINCTIVE_FIELDS: &[&str] = &[
    "account",
    "alert",
    "answer",
    "blocked_user",
    "build",
    "check_run",
    "check_suite",
    "client_payload",
    "comment",
    "commits",
    "context",
    "definition",
    "deployment",
    "deployment_status",
    "discussion",
    "forkee",
    "head_commit",
    "hook",
    "hook_id",
    "invitation",
    "issue",
    "issue_dependency_id",
    "key",
    "label",
    "marketplace_purchase",
    "master_branch",
    "member",
    "membership",
    "merge_group",
    "milestone",
    "package",
    "pages",
    "parent_issue",
    "personal_access_token_request",
    "project",
    "project_card",
    "project_column",
    "projects_v2",
    "projects_v2_item",
    "pull_request",
    "pusher",
    "pusher_type",
    "ref",
    "ref_type",
    "registry_package",
    "release",
    "repositories",
    "repositories_added",
    "repositories_removed",
    "repository",
    "repository_advisory",
    "repository_import",
    "repository_ruleset",
    "requested_action",
    "review",
    "rule",
    "scope",
    "security_advisory",
    "sha",
    "sponsorship",
    "starred_at",
    "sub_issue",
    "target_type",
    "team",
    "thread",
    "workflow_job",
    "workflow_run",
    "zen",
];

/// Shape of an event's bodies.
struct Shape {
    /// Distinctive fields that they have.
    required: &'static [&'static str],
    /// Distinctive fields that they may have.
    optional: &'static [&'static str],
    /// Actions; empty if all are allowed.
    actions: &'static [&'static str],
}

/// Returns whether a body can belong to this event.
///
/// Events that are not handled allow any body.
pub(super) fn matches_event(event: &str, payload: &Payload<'_>) -> bool {
    let Some(shape) = shape_of(event) else {
        return true;
    };
    let action = payload.action();
    let has_known_action = match action.as_deref() {
        Some(action) => shape.actions.is_empty() || shape.actions.contains(&action),
        None => shape.actions.is_empty(),
    };
    let has_required = shape.required.iter().all(|field| payload.has(field));
    let has_no_other = || {
        DISTINCTIVE_FIELDS
            .iter()
            .filter(|field| !shape.required.contains(field) && !shape.optional.contains(field))
            .all(|field| !payload.has(field))
    };
    has_known_action && has_required && has_no_other()
}

/// Returns the shape of a handled event.
fn shape_of(event: &str) -> Option<Shape> {
    let (required, optional): (&[&str], &[&str]) = match event {
        "issues" => (&["repository", "issue"], &["label", "milestone"]),
        "issue_comment" => (&["repository", "issue", "comment"], &[]),
        "pull_request" => (&["repository", "pull_request"], &["label", "milestone"]),
        "pull_request_review" => (&["repository", "pull_request", "review"], &[]),
        "pull_request_review_comment" => (&["repository", "pull_request", "comment"], &[]),
        "push" => (
            &["repository", "ref", "commits", "pusher"],
            &["head_commit"],
        ),
        "create" => (
            &["repository", "ref", "ref_type", "master_branch"],
            &["pusher_type"],
        ),
        "delete" => (&["repository", "ref", "ref_type"], &["pusher_type"]),
        "release" => (&["repository", "release"], &[]),
        "deployment_status" => (
            &["repository", "deployment", "deployment_status"],
            &["check_run", "workflow_run"],
        ),
        "workflow_run" => (&["repository", "workflow_run"], &[]),
        "discussion" => (&["repository", "discussion"], &["answer", "label"]),
        "discussion_comment" => (&["repository", "discussion", "comment"], &[]),
        "commit_comment" => (&["repository", "comment"], &[]),
        "star" => (&["repository", "starred_at"], &[]),
        "fork" => (&["repository", "forkee"], &[]),
        "milestone" => (&["repository", "milestone"], &[]),
        "member" => (&["repository", "member"], &[]),
        "repository" => (&["repository"], &[]),
        "installation" => (&["installation"], &["repositories"]),
        "installation_repositories" => (
            &["installation", "repositories_added", "repositories_removed"],
            &[],
        ),
        _ => return None,
    };
    let actions: &[&str] = match event {
        "installation" => &[
            "created",
            "deleted",
            "new_permissions_accepted",
            "suspend",
            "unsuspend",
        ],
        "installation_repositories" => &["added", "removed"],
        "repository" => &[
            "archived",
            "created",
            "deleted",
            "edited",
            "privatized",
            "publicized",
            "renamed",
            "transferred",
            "unarchived",
        ],
        "star" => &["created", "deleted"],
        _ => &[],
    };
    Some(Shape {
        required,
        optional,
        actions,
    })
}
