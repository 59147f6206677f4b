// People's actions at GitHub's emulator, and the Signals that the catalogue requires for them.
import { createHash } from "node:crypto";

import { BACKFILL, POLL, WEBHOOK, seconds } from "./ledger.mjs";
import { send } from "./proxy.mjs";
import * as signals from "./signals-github.mjs";

const digest = (...texts) => createHash("sha256").update(texts.join("\0")).digest("hex").slice(0, 12);
// More than fit on a page of a list.
const MANY_ISSUES = 250;
const unlisted = { note: "only webhooks report it" };

export class GitHubActs {
  constructor({ target, app }, ledger) {
    Object.assign(this, { target, app, ledger });
    this.repo = `/repos/${app.account}/${app.repository}`;
  }

  // Calls the emulator's API as a person.
  async as(login, method, path, body) {
    const headers = { authorization: `Bearer token-of-${login}`, "content-type": "application/json" };
    const answer = await send(this.target, { method, path, headers, body: body && JSON.stringify(body) });
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.body}`);
    return answer.body.length > 0 ? JSON.parse(answer.body) : undefined;
  }

  async prepare() {
    this.people = {};
    for (const login of ["alice", "bob"]) {
      const { id } = await this.as(login, "GET", "/user");
      this.people[login] = { type: "user", id: String(id), name: login };
    }
    this.repository = await this.as("alice", "GET", this.repo);
  }

  // --- Actions of several phases ---

  openIssue(who, title, repo = this.repo) {
    const { [who]: actor } = this.people;
    return this.ledger.act(
      `${who} opens an issue`,
      () => this.as(who, "POST", `${repo}/issues`, { title, body: "What happened?" }),
      (issue) => signals.issue("issue_created", "created", issue, actor, issue.created_at),
    );
  }

  openIssues(who, count) {
    const { [who]: actor } = this.people;
    const titles = Array.from({ length: count }, (_, index) => `Drawer ${index + 1} sticks`);
    const path = `/repos/${this.app.account}/vault/issues`;
    return this.ledger.act(
      `${who} opens ${count} issues`,
      async () => {
        const issues = [];
        for (const title of titles) issues.push(await this.as(who, "POST", path, { title }));
        return issues;
      },
      (issues) => issues.map((issue) => signals.issue("issue_created", "created", issue, actor, issue.created_at)),
    );
  }

  commentOn(who, number, on = "an issue") {
    const { [who]: actor } = this.people;
    return this.ledger.act(
      `${who} comments on ${on}`,
      () => this.as(who, "POST", `${this.repo}/issues/${number}/comments`, { body: "I saw it too." }),
      (comment) => signals.comment("issue_commented", "created", comment, actor, comment.created_at),
      on === "an issue" ? {} : { note: "emulated as an issue (5)" },
    );
  }

  // A branch with a commit, and a pull request for it.
  async openPull(who, branch) {
    const { [who]: actor } = this.people;
    const { object } = await this.as(who, "GET", `${this.repo}/git/ref/heads/main`);
    const isReceived = this.ledger.way === WEBHOOK;
    await this.ledger.act(
      `${who} creates a branch`,
      () => this.as(who, "POST", `${this.repo}/git/refs`, { ref: `refs/heads/${branch}`, sha: object.sha }),
      async ({ ref }) => {
        const { pushed_at } = await this.as(who, "GET", this.repo);
        const { id } = this.repository;
        const key = `github:branch:${id}:${ref}:created:${seconds(pushed_at)}`;
        return isReceived ? { kind: "branch_created", key, actor, subject: { type: "branch", id: ref, title: ref } } : [];
      },
      isReceived ? { note: "ref in its long form (4)" } : unlisted,
    );
    await this.ledger.act(
      `${who} pushes a commit`,
      () =>
        this.as(who, "PUT", `${this.repo}/contents/${branch}.md`, {
          message: `Add ${branch}`, content: Buffer.from(branch).toString("base64"), branch,
        }),
      undefined,
      isReceived ? { failed: "push", note: "refused: the body has no pusher (3)" } : unlisted,
    );
    return this.ledger.act(
      `${who} opens a pull request`,
      () => this.as(who, "POST", `${this.repo}/pulls`, { title: `Add ${branch}`, head: branch, base: "main" }),
      (pull) => signals.pull("pr_opened", "opened", pull, actor, pull.created_at),
    );
  }

  commentOnDiff(who, number) {
    const { [who]: actor } = this.people;
    return this.ledger.act(
      `${who} comments on a diff`,
      () => this.as(who, "POST", `${this.repo}/pulls/${number}/comments`, { body: "Why so?", path: "README.md", line: 1 }),
      (comment) => signals.comment("pr_commented", "created", comment, actor, comment.created_at, "review_comment"),
    );
  }

  reviewPull(who, number, event, body) {
    const { [who]: actor } = this.people;
    return this.ledger.act(
      `${who} reviews: ${event}`,
      () => this.as(who, "POST", `${this.repo}/pulls/${number}/reviews`, { event, body }),
      (review) => signals.review("pr_reviewed", "submitted", review, actor, review.submitted_at),
    );
  }

  mergePull(who, number) {
    const { [who]: actor } = this.people;
    return this.ledger.act(
      `${who} merges a pull request`,
      async () => {
        await this.as(who, "PUT", `${this.repo}/pulls/${number}/merge`, {});
        return this.as(who, "GET", `${this.repo}/pulls/${number}`);
      },
      (pull) => signals.pull("pr_merged", "merged", pull, actor, pull.merged_at),
    );
  }

  // Closes a pull request without merging it. Lists do not name the actor.
  closePull(who, number) {
    const actor = this.ledger.way === WEBHOOK ? this.people[who] : undefined;
    return this.ledger.act(
      `${who} closes a pull request`,
      () => this.as(who, "PATCH", `${this.repo}/pulls/${number}`, { state: "closed" }),
      (pull) => signals.pull("pr_closed", `closed:${seconds(pull.closed_at)}`, pull, actor, pull.closed_at),
    );
  }

  publishRelease(who, tag) {
    const { [who]: actor } = this.people;
    return this.ledger.act(
      `${who} publishes a release`,
      () => this.as(who, "POST", `${this.repo}/releases`, { tag_name: tag, name: `Release ${tag}` }),
      (release) => signals.release(release, actor),
    );
  }

  closeIssue(who, number) {
    const { [who]: actor } = this.people;
    return this.ledger.act(
      `${who} closes an issue`,
      () => this.as(who, "PATCH", `${this.repo}/issues/${number}`, { state: "closed" }),
      (issue) => signals.issue("issue_closed", `closed:${seconds(issue.closed_at)}`, issue, actor, issue.closed_at),
    );
  }

  // Changes an issue in a way that only a webhook reports.
  changeIssue(who, what, number, doing, fact) {
    const isReceived = this.ledger.way === WEBHOOK;
    return this.ledger.act(
      what,
      async () => {
        await doing();
        return this.as(who, "GET", `${this.repo}/issues/${number}`);
      },
      (issue) => (isReceived ? fact(issue, this.people[who]) : []),
      isReceived ? {} : unlisted,
    );
  }

  reopenIssue(who, number) {
    const doing = () => this.as(who, "PATCH", `${this.repo}/issues/${number}`, { state: "open" });
    return this.changeIssue(who, `${who} reopens an issue`, number, doing, (issue, actor) =>
      signals.issue("issue_reopened", `reopened:${seconds(issue.updated_at)}`, issue, actor, issue.updated_at),
    );
  }

  // --- The phases ---

  // There is no connection, and no process receives webhooks.
  async actBeforeConnecting() {
    this.ledger.setWay(BACKFILL);
    const first = await this.openIssue("alice", "It fails on Mondays");
    await this.commentOn("bob", first.number);
    await this.closeIssue("alice", first.number);
    this.old = await this.openIssue("bob", "It is slow");
    await this.openIssue("alice", "The key is lost", `/repos/${this.app.account}/vault`);
    await this.openIssues("bob", MANY_ISSUES);
    const merged = await this.openPull("alice", "monday");
    await this.commentOnDiff("bob", merged.number);
    await this.reviewPull("bob", merged.number, "APPROVE", "Good.");
    await this.mergePull("alice", merged.number);
    const dropped = await this.openPull("alice", "tuesday");
    await this.closePull("bob", dropped.number);
    await this.publishRelease("alice", "v1.0");
  }

  // Webhooks are received, and there is no connection yet.
  async actUnmatched() {
    this.ledger.setWay(WEBHOOK);
    const { number } = this.old;
    await this.editIssue("bob", number, "It is very slow");
    await this.commentAndDelete("alice", number);
  }

  editIssue(who, number, title) {
    const doing = async () => {
      const { id } = await this.as(who, "PATCH", `${this.repo}/issues/${number}`, { title });
      this.ledger.retitle("issue", String(id), title);
    };
    return this.changeIssue(who, `${who} edits an issue's title`, number, doing, (issue, actor) => {
      const key = `edited:${seconds(issue.updated_at)}:${digest(issue.title, issue.body ?? "")}`;
      return signals.issue("issue_updated", key, issue, actor, issue.updated_at);
    });
  }

  // A comment that is edited and then deleted.
  async commentAndDelete(who, number) {
    const { [who]: actor } = this.people;
    const { id } = await this.commentOn(who, number);
    const path = `${this.repo}/issues/comments/${id}`;
    const edited = await this.ledger.act(
      `${who} edits a comment`,
      () => this.as(who, "PATCH", path, { body: "Never mind." }),
      (comment) => {
        const key = `edited:${seconds(comment.updated_at)}:${digest(comment.body)}`;
        return signals.comment("comment_edited", key, comment, actor, comment.updated_at);
      },
    );
    await this.ledger.act(`${who} deletes a comment`, () => this.as(who, "DELETE", path), () =>
      signals.comment("comment_deleted", "deleted", edited, actor),
    );
  }

  // There is a connection, and webhooks are received.
  async actConnected() {
    this.ledger.setWay(WEBHOOK);
    const { bob, alice } = this.people;
    const { number } = await this.openIssue("alice", "The lamp & the <desk>");
    await this.editIssue("alice", number, "The lamp");
    await this.commentAndDelete("bob", number);
    const issue = `${this.repo}/issues/${number}`;
    const updated = (action) => (it, actor) =>
      signals.issue("issue_updated", `${action}:${seconds(it.updated_at)}`, it, actor, it.updated_at);
    await this.changeIssue("alice", "alice labels an issue", number, () => this.as("alice", "POST", `${issue}/labels`, { labels: ["bug"] }), updated("labeled"));
    await this.changeIssue("alice", "alice removes a label", number, () => this.as("alice", "DELETE", `${issue}/labels/bug`), updated("unlabeled"));
    for (const [method, action] of [["POST", "assigned"], ["DELETE", "unassigned"]]) {
      const doing = () => this.as("alice", method, `${issue}/assignees`, { assignees: ["bob"] });
      await this.changeIssue("alice", `bob is ${action}`, number, doing, (it) =>
        signals.issue(`issue_${action}`, `${action}:${bob.id}:${seconds(it.updated_at)}`, it, alice, it.updated_at),
      );
    }
    const milestone = await this.ledger.act(
      "alice creates a milestone",
      () => this.as("alice", "POST", `${this.repo}/milestones`, { title: "Spring" }),
      (it) => signals.milestone("milestone_created", "created", it, alice, it.created_at),
    );
    await this.changeIssue("alice", "alice sets the milestone", number, () => this.as("alice", "PATCH", issue, { milestone: milestone.number }), updated("milestoned"));
    await this.changeIssue("alice", "alice takes it away", number, () => this.as("alice", "PATCH", issue, { milestone: null }), updated("demilestoned"));
    await this.ledger.act(
      "alice closes the milestone",
      () => this.as("alice", "PATCH", `${this.repo}/milestones/${milestone.number}`, { state: "closed" }),
      (it) => signals.milestone("milestone_closed", `closed:${seconds(it.closed_at)}`, it, alice, it.closed_at),
    );
    const undated = (action) => (it, actor) =>
      signals.issue("issue_updated", `${action}:${seconds(it.updated_at)}`, it, actor);
    await this.changeIssue("alice", "alice locks an issue", number, () => this.as("alice", "PUT", `${issue}/lock`, {}), undated("locked"));
    await this.changeIssue("alice", "alice unlocks it", number, () => this.as("alice", "DELETE", `${issue}/lock`), undated("unlocked"));
    await this.closeIssue("bob", number);
    await this.reopenIssue("bob", number);
    await this.openIssue("bob", "A second key is lost", `/repos/${this.app.account}/vault`);
    await this.actOnPulls();
    await this.actOnRepository();
  }

  async actOnPulls() {
    const { alice, bob } = this.people;
    const { number } = await this.openPull("alice", "wednesday");
    const pull = `${this.repo}/pulls/${number}`;
    await this.ledger.act(
      "alice edits a pull request",
      () => this.as("alice", "PATCH", pull, { title: "Add the middle of the week" }),
      (it) => {
        const key = `edited:${seconds(it.updated_at)}:${digest(it.title, it.body ?? "")}`;
        return signals.pull("pr_updated", key, it, alice, it.updated_at);
      },
    );
    await this.ledger.act(
      "alice asks bob for a review",
      () => this.as("alice", "POST", `${pull}/requested_reviewers`, { reviewers: ["bob"] }),
      (it) => signals.pull("pr_review_requested", `review_requested:${seconds(it.updated_at)}`, it, alice, it.updated_at),
      { note: "the body names no reviewer (7)" },
    );
    await this.commentOnDiff("bob", number);
    await this.commentOn("bob", number, "a pull request");
    await this.ledger.act(
      "bob reviews: COMMENT, without a word",
      () => this.as("bob", "POST", `${pull}/reviews`, { event: "COMMENT" }),
      undefined,
      { note: "a review without content is none" },
    );
    const review = await this.reviewPull("bob", number, "REQUEST_CHANGES", "Please not.");
    await this.ledger.act(
      "alice dismisses the review",
      () => this.as("alice", "PUT", `${pull}/reviews/${review.id}/dismissals`, { message: "Done." }),
      (it) => signals.review("pr_review_dismissed", "dismissed", it, alice, it.updated_at),
    );
    await this.reviewPull("bob", number, "APPROVE", "Better.");
    await this.mergePull("bob", number);
    const other = await this.openPull("alice", "thursday");
    await this.closePull("alice", other.number);
    await this.ledger.act(
      "alice reopens a pull request",
      () => this.as("alice", "PATCH", `${this.repo}/pulls/${other.number}`, { state: "open" }),
      (it) => signals.pull("pr_reopened", `reopened:${seconds(it.updated_at)}`, it, alice, it.updated_at),
    );
  }

  async actOnRepository() {
    const { alice } = this.people;
    await this.publishRelease("alice", "v1.1");
    await this.ledger.act(
      "alice drafts a release",
      () => this.as("alice", "POST", `${this.repo}/releases`, { tag_name: "v2.0", draft: true }),
      undefined,
      { note: "a draft is not published" },
    );
    const { object } = await this.as("bob", "GET", `${this.repo}/git/ref/heads/main`);
    await this.ledger.act(
      "bob comments on a commit",
      () => this.as("bob", "POST", `${this.repo}/commits/${object.sha}/comments`, { body: "Here." }),
      undefined,
      { note: "the emulator sends no webhook (8)" },
    );
    await this.ledger.act(
      "bob forks the repository",
      () => this.as("bob", "POST", `${this.repo}/forks`, {}),
      undefined,
      { note: "sent to the fork's owner (6)" },
    );
    const created = await this.ledger.act(
      "alice creates a repository",
      () => this.as("alice", "POST", `/orgs/${this.app.account}/repos`, { name: "attic", auto_init: true }),
      (it) => ({
        kind: "repo_created",
        key: `github:repo:${it.id}:created:${seconds(it.updated_at)}`,
        actor: alice,
        at: it.updated_at,
        subject: { type: "repository", id: String(it.id), url: it.html_url },
      }),
    );
    await this.openIssue("bob", "What is up here?", `/repos/${created.full_name}`);
  }

  // There is a connection, and no process receives webhooks.
  async actWithoutWebhooks() {
    this.ledger.setWay(POLL);
    const { bob } = this.people;
    const { number } = await this.openIssue("alice", "The phone was dead");
    await this.commentOn("bob", number);
    await this.editIssue("alice", number, "The phone is dead");
    await this.closeIssue("bob", number);
    const closed = await this.openIssue("bob", "Closed and opened again");
    await this.ledger.act(
      "bob closes an issue, for a moment",
      () => this.as("bob", "PATCH", `${this.repo}/issues/${closed.number}`, { state: "closed" }),
      undefined,
      { note: "no list shows what was undone" },
    );
    await this.reopenIssue("bob", closed.number);
    await this.openIssue("bob", "Up here, too", `/repos/${this.app.account}/attic`);
    const pull = await this.openPull("alice", "friday");
    await this.commentOnDiff("bob", pull.number);
    await this.ledger.act(
      "bob reviews: COMMENT, with a remark on a line",
      () =>
        this.as("bob", "POST", `${this.repo}/pulls/${pull.number}/reviews`, {
          event: "COMMENT", comments: [{ path: "README.md", position: 1, body: "This line." }],
        }),
      async (review) => {
        const [comment] = await this.as("bob", "GET", `${this.repo}/pulls/${pull.number}/reviews/${review.id}/comments`);
        return signals.comment("pr_commented", "created", comment, bob, comment.created_at, "review_comment");
      },
    );
    await this.reviewPull("bob", pull.number, "APPROVE", "Good.");
    await this.mergePull("bob", pull.number);
    await this.publishRelease("alice", "v1.2");
  }

  // The connection is deleted.
  async actDisconnected() {
    this.ledger.setWay(WEBHOOK);
    await this.ledger.act(
      "alice opens an issue after the disconnection",
      () => this.as("alice", "POST", `${this.repo}/issues`, { title: "Too late" }),
      undefined,
      { note: "no connection" },
    );
  }
}
