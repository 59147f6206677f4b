//! Repositories, organizations, milestones and discussions as JSON.

use serde_json::{Value, json};

use super::{association, merge, node_id, reactions, repository_page, repository_url, user};
use crate::clock::iso;
use crate::github::world::{
    Discussion, DiscussionComment, Id, Milestone, PersonKind, Repository, Team, World,
};

/// URL fields that consist of the repository's URL and a suffix.
const SUFFIXES: [(&str, &str); 37] = [
    ("forks_url", "/forks"),
    ("keys_url", "/keys{/key_id}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("teams_url", "/teams"),
    ("hooks_url", "/hooks"),
    ("issue_events_url", "/issues/events{/number}"),
    ("events_url", "/events"),
    ("assignees_url", "/assignees{/user}"),
    ("branches_url", "/branches{/branch}"),
    ("tags_url", "/tags"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("trees_url", "/git/trees{/sha}"),
    ("statuses_url", "/statuses/{sha}"),
    ("languages_url", "/languages"),
    ("stargazers_url", "/stargazers"),
    ("contributors_url", "/contributors"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("commits_url", "/commits{/sha}"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("comments_url", "/comments{/number}"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("contents_url", "/contents/{+path}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("merges_url", "/merges"),
    ("archive_url", "/{archive_format}{/ref}"),
    ("downloads_url", "/downloads"),
    ("issues_url", "/issues{/number}"),
    ("pulls_url", "/pulls{/number}"),
    ("milestones_url", "/milestones{/number}"),
    (
        "notifications_url",
        "/notifications{?since,all,participating}",
    ),
    ("labels_url", "/labels{/name}"),
    ("releases_url", "/releases{/id}"),
    ("deployments_url", "/deployments"),
    ("url", ""),
];

/// The repository object of webhooks (except `push`) and REST lists.
pub(crate) fn repository(world: &World, repository: &Repository) -> Value {
    repository
        .rendered
        .get_or_init(|| render(world, repository))
        .clone()
}

fn render(world: &World, repository: &Repository) -> Value {
    let url = repository_url(world, repository);
    let page = repository_page(world, repository);
    let full_name = world.full_name(repository);
    let stars = repository.stars.len();
    let host = world.urls.web.split("://").nth(1).unwrap_or_default();
    let identity = json!({
        "id": repository.id,
        "node_id": node_id("Repository", repository.id),
        "name": repository.name,
        "full_name": full_name,
        "private": repository.private,
        "owner": user(world, repository.owner),
        "html_url": page,
        "description": format!("The {} project", repository.name),
        "fork": repository.fork_of.is_some(),
        "created_at": iso(repository.created_at),
        "updated_at": iso(repository.updated_at),
        "pushed_at": iso(repository.pushed_at),
        "git_url": format!("git://{host}/{full_name}.git"),
        "ssh_url": format!("git@{host}:{full_name}.git"),
        "clone_url": format!("{page}.git"),
        "svn_url": page,
        "homepage": null,
    });
    let state = json!({
        "size": 1_024,
        "stargazers_count": stars,
        "watchers_count": stars,
        "watchers": stars,
        "language": "Rust",
        "has_issues": true,
        "has_projects": true,
        "has_downloads": true,
        "has_wiki": true,
        "has_pages": false,
        "has_discussions": true,
        "forks_count": repository.forks,
        "forks": repository.forks,
        "mirror_url": null,
        "archived": repository.archived,
        "disabled": false,
        "open_issues_count": repository.open_issues,
        "open_issues": repository.open_issues,
        "license": null,
        "allow_forking": true,
        "is_template": false,
        "web_commit_signoff_required": false,
        "topics": [],
        "visibility": if repository.private { "private" } else { "public" },
        "default_branch": "main",
        "custom_properties": {},
    });
    let urls = SUFFIXES
        .into_iter()
        .map(|(name, suffix)| (name.to_owned(), Value::String(format!("{url}{suffix}"))));
    merge([identity, state, Value::Object(urls.collect())])
}

/// The repository in `GET /repos/{owner}/{repo}`.
pub(crate) fn full_repository(world: &World, repo: &Repository) -> Value {
    let mut object = repository(world, repo);
    object["network_count"] = json!(repo.forks);
    object["subscribers_count"] = json!(0);
    object["permissions"] =
        json!({"admin": false, "maintain": false, "push": false, "triage": false, "pull": true});
    object
}

/// The organization object of webhooks; `None` for a personal account.
pub(crate) fn organization(world: &World, repo: &Repository) -> Option<Value> {
    organization_object(world, repo.owner)
}

/// The organization object of an account; `None` for a personal account.
pub(crate) fn organization_object(world: &World, id: Id) -> Option<Value> {
    let person = world.people.get(&id)?;
    if person.kind != PersonKind::Organization {
        return None;
    }
    let url = format!("{}/orgs/{}", world.urls.api, person.login);
    Some(json!({
        "login": person.login,
        "id": person.id,
        "node_id": node_id("Organization", person.id),
        "url": url,
        "repos_url": format!("{url}/repos"),
        "events_url": format!("{url}/events"),
        "hooks_url": format!("{url}/hooks"),
        "issues_url": format!("{url}/issues"),
        "members_url": format!("{url}/members{{/member}}"),
        "public_members_url": format!("{url}/public_members{{/member}}"),
        "avatar_url": person.rendered["avatar_url"],
        "description": "",
    }))
}

/// A team in a review request.
pub(crate) fn team(world: &World, owner_login: &str, team: &Team) -> Value {
    let url = format!(
        "{}/organizations/{}/team/{}",
        world.urls.api, owner_login, team.id
    );
    json!({
        "type": "organization", "name": team.slug, "id": team.id, "node_id": node_id("Team", team.id), "slug": team.slug,
        "description": null, "privacy": "closed", "notification_setting": "notifications_enabled",
        "url": url,
        "html_url": format!("{}/orgs/{owner_login}/teams/{}", world.urls.web, team.slug),
        "members_url": format!("{url}/members{{/member}}"),
        "repositories_url": format!("{url}/repos"),
        "permission": "pull", "parent": null,
    })
}

/// A milestone.
pub(crate) fn milestone(world: &World, repo: &Repository, milestone: &Milestone) -> Value {
    let url = format!(
        "{}/milestones/{}",
        repository_url(world, repo),
        milestone.number
    );
    let open = repo
        .issues
        .iter()
        .filter(|issue| issue.milestone == Some(milestone.id) && issue.closed_at.is_none())
        .count();
    json!({
        "url": url,
        "html_url": format!("{}/milestone/{}", repository_page(world, repo), milestone.number),
        "labels_url": format!("{url}/labels"),
        "id": milestone.id, "node_id": node_id("Milestone", milestone.id),
        "number": milestone.number, "title": milestone.title, "description": null,
        "creator": user(world, milestone.creator),
        "open_issues": open, "closed_issues": 0,
        "state": if milestone.closed_at.is_some() { "closed" } else { "open" },
        "created_at": iso(milestone.created_at),
        "updated_at": iso(milestone.updated_at),
        "due_on": null,
        "closed_at": milestone.closed_at.map(iso),
    })
}

/// A discussion in webhooks.
pub(crate) fn discussion(world: &World, repo: &Repository, discussion: &Discussion) -> Value {
    let url = format!(
        "{}/discussions/{}",
        repository_url(world, repo),
        discussion.number
    );
    let page = format!(
        "{}/discussions/{}",
        repository_page(world, repo),
        discussion.number
    );
    let answer = discussion.answer;
    json!({
        "category": category(repo),
        "reactions": reactions(&url),
        "repository_url": repository_url(world, repo),
        "answer_html_url": answer.map(|(id, ..)| format!("{page}#discussioncomment-{id}")),
        "answer_chosen_at": answer.map(|(_, at, _)| iso(at)),
        "answer_chosen_by": answer.map(|(.., by)| user(world, by)),
        "html_url": page,
        "id": discussion.id, "node_id": node_id("Discussion", discussion.id),
        "number": discussion.number, "title": discussion.title,
        "user": super::user_or_null(world, discussion.user),
        "state": "open", "locked": false, "comments": discussion.comments.len(),
        "created_at": iso(discussion.created_at),
        "updated_at": iso(discussion.updated_at),
        "author_association": association(world, repo, discussion.user),
        "active_lock_reason": null,
        "body": discussion.body,
        "timeline_url": format!("{url}/timeline"),
    })
}

/// The discussion category, whose dates have an offset as those of GitHub.
fn category(repo: &Repository) -> Value {
    let zoned = |at| iso(at).replace('Z', ".000+00:00");
    json!({
        "id": repo.id, "node_id": node_id("DiscussionCategory", repo.id),
        "repository_id": repo.id, "emoji": ":pray:", "name": "Q&A",
        "description": "Ask the community for help",
        "created_at": zoned(repo.created_at), "updated_at": zoned(repo.created_at),
        "slug": "q-a", "is_answerable": true,
    })
}

/// A comment on a discussion in webhooks.
pub(crate) fn discussion_comment(
    world: &World,
    repo: &Repository,
    discussion: &Discussion,
    comment: &DiscussionComment,
) -> Value {
    let page = format!(
        "{}/discussions/{}",
        repository_page(world, repo),
        discussion.number
    );
    let url = format!(
        "{}/discussions/{}/comments/{}",
        repository_url(world, repo),
        discussion.number,
        comment.id
    );
    json!({
        "id": comment.id, "node_id": node_id("DiscussionComment", comment.id),
        "html_url": format!("{page}#discussioncomment-{}", comment.id),
        "parent_id": null, "child_comment_count": 0,
        "repository_url": world.full_name(repo),
        "discussion_id": discussion.id,
        "author_association": association(world, repo, comment.user),
        "user": super::user_or_null(world, comment.user),
        "created_at": iso(comment.created_at), "updated_at": iso(comment.updated_at),
        "body": comment.body, "reactions": reactions(&url),
    })
}
