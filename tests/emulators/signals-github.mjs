// The Signals that the catalogue requires for GitHub's objects.

export function issue(kind, key, issue, actor, at) {
  const subject = { type: "issue", id: String(issue.id), title: issue.title, url: issue.html_url };
  return { kind, key: `github:issue:${issue.id}:${key}`, actor, at, subject };
}

export function comment(kind, key, comment, actor, at, family = "comment") {
  const subject = { type: family, id: String(comment.id), url: comment.html_url };
  return { kind, key: `github:${family}:${comment.id}:${key}`, actor, at, subject };
}

export function pull(kind, key, pull, actor, at) {
  const subject = { type: "pull_request", id: String(pull.id), title: pull.title, url: pull.html_url };
  return { kind, key: `github:pr:${pull.id}:${key}`, actor, at, subject };
}

export function review(kind, key, review, actor, at) {
  const subject = { type: "review", id: String(review.id), url: review.html_url };
  return { kind, key: `github:review:${review.id}:${key}`, actor, at, subject };
}

export function release(release, actor) {
  const subject = { type: "release", id: String(release.id), title: release.name, url: release.html_url };
  return { kind: "release_published", key: `github:release:${release.id}:published`, actor, at: release.published_at, subject };
}

export function milestone(kind, key, milestone, actor, at) {
  const subject = { type: "milestone", id: String(milestone.id), title: milestone.title };
  return { kind, key: `github:milestone:${milestone.id}:${key}`, actor, at, subject };
}
