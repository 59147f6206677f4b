// Checks GitHub's responses and payloads against its published descriptions.
import { createAppAuth } from "@octokit/auth-app";

import { assert, check } from "./checks.mjs";
import { compiler, Description, explain, read, RestDescription, without } from "./schemas.mjs";
import { account, act, base, browse, callback, control, destination, settings } from "./simulator.mjs";

const folder = `${process.env.POBLYSH_FIXTURES}/github`;

// In one place the description requires a user and an enterprise at once; it means either, as in
// all others.
function mend(schema) {
  const both = schema.allOf?.map?.((one) => one.title).join() === "Simple User,Enterprise";
  if (!both) return schema;
  const { allOf: anyOf, ...rest } = schema;
  return { ...rest, anyOf };
}

const rest = new RestDescription(`${folder}/openapi/api.github.com.reduced.json`, {
  mend,
  named: (path) => path.replace(/^\/repositories\/\d+/, "/repos/owner/name"),
});

// Fields that GitHub has added since the payload schemas were published. The schemas refuse
// additional fields; the newer description has them.
const NEWER = {
  discussion: ["timeline_url"],
  release: ["updated_at", "immutable"],
  requested_team: ["type"],
  requested_teams: ["type"],
};

// Payloads that one of the two descriptions describes incorrectly; the other one checks them.
const WRONG_IN_SCHEMAS = new Set([
  // Requires the milestone after its removal.
  "pull_request$demilestoned",
]);
const WRONG_IN_DESCRIPTION = new Set([
  // Requires dates as text; GitHub has sent numbers as well, and so does the simulator.
  "installation-deleted",
]);

// The schemas of octokit/webhooks.
const schemas = compiler();
const published = read(`${folder}/schemas/octokit-webhooks-schemas-7.6.1.json`);
schemas.addSchema(published, "webhooks");
const payloads = {
  fault(event, payload) {
    const name = [`${event}$${payload.action}`, `${event}$event`].find((one) => one in published.definitions);
    if (name === undefined || WRONG_IN_SCHEMAS.has(name)) return null;
    const validate = schemas.getSchema(`webhooks#/definitions/${encodeURIComponent(name)}`);
    return validate(without(NEWER, payload)) ? undefined : explain(validate, name);
  },
};

// The newer description, which allows additional fields.
const events = new Description(`${folder}/openapi/api.github.com.webhooks.reduced.json`, { mend });
const hooks = {
  fault(event, payload) {
    const dashed = (text) => text.replaceAll("_", "-");
    const names = [dashed(event)];
    if (payload.action) names.unshift(`${dashed(event)}-${dashed(payload.action)}`);
    const known = events.document["x-webhooks"];
    const name = names.find((one) => known[one] !== undefined);
    if (name === undefined || WRONG_IN_DESCRIPTION.has(name)) return null;
    const { schema } = known[name].post.requestBody.content["application/json"];
    return events.judge(name, schema, payload);
  },
};

// All actions, by their names in the control API.
const ACTIONS = [
  "issues.opened issues.closed issues.reopened issues.deleted issues.assigned issues.unassigned",
  "issues.transferred issues.edited issues.labeled issues.unlabeled issues.milestoned",
  "issues.demilestoned issues.pinned issues.unpinned issues.locked issues.unlocked issues.typed",
  "issues.untyped issue_comment.created issue_comment.edited issue_comment.deleted",
  "pull_request.opened pull_request.merged pull_request.closed pull_request.reopened",
  "pull_request.ready_for_review pull_request.review_requested pull_request.synchronize",
  "pull_request.labeled pull_request.unlabeled pull_request.assigned pull_request.unassigned",
  "pull_request.milestoned pull_request.demilestoned pull_request.edited pull_request.locked",
  "pull_request.unlocked pull_request.converted_to_draft pull_request.auto_merge_enabled",
  "pull_request.auto_merge_disabled pull_request.review_request_removed",
  "pull_request_review.submitted pull_request_review.dismissed",
  "pull_request_review_comment.created pull_request_review_comment.edited",
  "pull_request_review_comment.deleted push create.branch create.tag delete.branch delete.tag",
  "release.published release.edited release.deleted deployment_status.created",
  "workflow_run.completed workflow_run.rerun discussion.created discussion.answered",
  "discussion_comment.created discussion_comment.edited discussion_comment.deleted",
  "commit_comment.created star.created star.deleted watch.started fork milestone.created",
  "milestone.closed member.added repository.created repository.renamed repository.publicized",
  "repository.archived github_app_authorization.revoked ping installation.suspend",
  "installation.unsuspend installation.new_permissions_accepted",
].join(" ").split(" ");

await control("github/settings", { callback_urls: [callback], webhook_url: `${base}/_sim/state` });
const team = await account("contract-team", 200);
const { login } = team;
const repository = team.repositories[0].id;
await act(login, "repository.created", { name: "service-2" });
const installed = await act(login, "installation.created");
const installation = installed.object.installation_id;
for (const action of ACTIONS) {
  const more = action === "pull_request.review_requested" ? { team: true } : {};
  await act(login, action, more);
}
await act(login, "pull_request.review_requested", { login: team.admin });
await act(login, "installation_repositories.removed", { repositories: ["service-2"] });
await act(login, "installation_repositories.added", { repositories: ["service-2"] });
// Another account, so that the first one's installation still exists.
await account("leaving-team", 0);
await act("leaving-team", "installation.requested");
await act("leaving-team", "installation.approved");
await act("leaving-team", "installation.deleted");
await control("quiesce", { timeout_seconds: 60 });

const auth = createAppAuth({ appId: settings.appId, privateKey: settings.privateKey });
const jwt = (await auth({ type: "app" })).token;
const agent = { "user-agent": "contract", accept: "application/vnd.github+json" };

// Sends a request to the API, validates the response, and returns it.
async function ask(method, path, authorization, body) {
  const headers = { ...agent, ...(authorization ? { authorization } : {}) };
  if (body) headers["content-type"] = "application/json";
  const response = await fetch(`${settings.api}${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  const answer = text === "" ? undefined : JSON.parse(text);
  const fault = rest.fault(method, path.split("?")[0], response.status, answer);
  if (fault) throw new Error(fault);
  return { status: response.status, answer, described: fault !== null, headers: response.headers };
}

async function described(method, path, authorization, status, body) {
  return check(`github: ${method} ${path.replaceAll(String(repository), "{id}").split("?")[0]} matches the description`, async () => {
    const got = await ask(method, path, authorization, body);
    assert.equal(got.status, status);
    assert.ok(got.described, "the description does not have this path");
    return got.answer;
  });
}

const app = `Bearer ${jwt}`;
await described("GET", "/app", app, 200);
await described("GET", "/app/installations", app, 200);
await described("GET", `/app/installations/${installation}`, app, 200);
await described("GET", "/app/installations/1", app, 404);
const created = await described("POST", `/app/installations/${installation}/access_tokens`, app, 201, {
  repository_ids: [repository],
});
await described("POST", `/app/installations/${installation}/access_tokens`, app, 422, { repositories: ["absent"] });
await described("POST", `/app/installations/${installation}/access_tokens`, "Bearer a.b.c", 401);
const token = `token ${created?.token}`;
const log = await described("GET", "/app/hook/deliveries?per_page=100", app, 200);
await described("GET", `/app/hook/deliveries/${log?.[0].id}`, app, 200);
await described("POST", `/app/hook/deliveries/${log?.[0].id}/attempts`, app, 202);
await described("GET", "/app/hook/deliveries?cursor=x", app, 400);
await described("GET", "/installation/repositories?per_page=1", token, 200);
await described("GET", "/rate_limit", token, 200);
const searched = `/search/issues?q=${encodeURIComponent(`org:${login} is:issue`)}&sort=updated`;
await described("GET", searched, token, 200);
await described("GET", "/search/issues?q=parser", token, 422);

const at = `/repositories/${repository}`;
await described("GET", at, token, 200);
const issues = await described("GET", `${at}/issues?state=all&per_page=100`, token, 200);
await check("github: /issues lists pull requests, marked as such", () => {
  assert.ok(issues.some((row) => row.pull_request) && issues.some((row) => !row.pull_request));
});
const issue = issues?.find((row) => !row.pull_request);
await described("GET", `${at}/issues/${issue?.number}`, token, 200);
await described("GET", `${at}/issues/9999`, token, 404);
await described("GET", `${at}/issues/comments?per_page=100`, token, 200);
await described("GET", `${at}/issues/${issue?.number}/comments`, token, 200);
const pulls = await described("GET", `${at}/pulls?state=all&per_page=100`, token, 200);
await described("GET", `${at}/pulls/comments?per_page=100`, token, 200);
for (const { number } of pulls?.slice(0, 3) ?? []) {
  await described("GET", `${at}/pulls/${number}`, token, 200);
  await described("GET", `${at}/pulls/${number}/reviews`, token, 200);
  await described("GET", `${at}/pulls/${number}/comments`, token, 200);
}
const releases = await described("GET", `${at}/releases?per_page=100`, token, 200);
if (releases?.length) await described("GET", `${at}/releases/${releases[0].id}`, token, 200);
const commits = await described("GET", `${at}/commits?per_page=100`, token, 200);
await described("GET", `${at}/commits/${commits?.[0].sha}`, token, 200);
await described("GET", `/users/${team.admin}`, token, 200);

await check("github: responses to a user's token match the description", async () => {
  const query = new URLSearchParams({ client_id: settings.clientId, redirect_uri: callback });
  const code = destination(await browse(team.admin, `${settings.web}/login/oauth/authorize?${query}`)).searchParams.get("code");
  const fields = { client_id: settings.clientId, client_secret: settings.clientSecret, code };
  const body = new URLSearchParams(fields);
  const accept = "application/json";
  const { access_token } = await (await fetch(`${settings.web}/login/oauth/access_token`, { method: "POST", headers: { accept }, body })).json();
  const user = `Bearer ${access_token}`;
  const basic = `Basic ${Buffer.from(`${settings.clientId}:${settings.clientSecret}`).toString("base64")}`;
  const path = `/applications/${settings.clientId}`;
  for (const [method, where, who, status, sent] of [
    ["GET", "/user", user, 200],
    ["GET", "/user", undefined, 401],
    ["GET", "/user/installations", user, 200],
    ["GET", `/user/installations/${installation}/repositories`, user, 200],
    ["POST", `${path}/token`, basic, 200, { access_token }],
    ["DELETE", `${path}/token`, basic, 204, { access_token }],
    ["POST", `${path}/token`, basic, 404, { access_token }],
  ]) {
    assert.equal((await ask(method, where, who, sent)).status, status, `${method} ${where}`);
  }
});

await check("github: a response that violates the description fails", () => {
  const broken = structuredClone(issues);
  broken[0].number = "one";
  assert.match(rest.fault("GET", `${at}/issues`, 200, broken), /must be integer/);
  assert.match(rest.fault("GET", `${at}/issues`, 418, broken), /not described/);
});

const sent = [];
let before = "";
do {
  const page = await control(`github/deliveries?limit=200${before}`);
  sent.push(...page.deliveries);
  before = page.next_before ? `&before=${page.next_before}` : undefined;
} while (before);

const byName = new Map();
for (const { event, request } of sent) {
  const name = request.payload.action ? `${event}.${request.payload.action}` : event;
  byName.set(name, [...(byName.get(name) ?? []), { event, payload: request.payload }]);
}
let unknown = 0;
for (const [name, all] of [...byName].sort()) {
  await check(`github: the payload of ${name} matches the schemas`, () => {
    let known = 0;
    for (const { event, payload } of all) {
      for (const one of [payloads, hooks]) {
        const fault = one.fault(event, payload);
        if (fault) throw new Error(fault);
        if (fault !== null) known += 1;
      }
    }
    if (known === 0) unknown += 1;
  });
}
await check("github: nearly every event was sent and has a published schema", () => {
  assert.ok(byName.size > 70, `${byName.size} kinds of events`);
  assert.ok(unknown <= 2, `${unknown} of them without a schema`);
});
await check("github: no more webhooks are sent", () => control("github/settings", { webhook_url: "" }));
