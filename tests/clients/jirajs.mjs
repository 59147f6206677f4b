// Runs jira.js, unmodified, against the simulator: paginated lists, changes, worklogs, boards,
// webhooks from registration to delivery, errors.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

import { AgileClient, Version2Client, Version3Client } from "jira.js";

import { atlassian, consent, happen, host, site } from "./atlassian.mjs";
import { assert, check, finish } from "./checks.mjs";
import { control } from "./simulator.mjs";

await control("jira/settings", { webhook_url: "" });
const place = await site("jirajs", { history: 120 });
const [, developer, tester] = place.people;

// A client of the given kind for a person, with the site's base URL.
async function client(Kind, person = place.admin, where = place, scope = undefined) {
  const { access_token: accessToken } = await consent(person, scope);
  return new Kind({ host: host(where), authentication: { oauth2: { accessToken } } });
}

const jira = await client(Version3Client);
const agile = await client(AgileClient);

// Returns the error of a call, which must have this status.
async function refused(status, promise) {
  const error = await promise.then(() => undefined, (error) => error);
  assert.equal(error?.status, status, error?.message);
  return { data: error.response.data, headers: error.cause.response.headers };
}

async function visible(kind) {
  const { entries } = await control(`ledger?source=jira&account=${place.login}&kind=${kind}`);
  return entries.filter((entry) => entry.poll).length;
}

await check("the client returns its user and site", async () => {
  const me = await jira.myself.getCurrentUser();
  assert.deepEqual([me.accountId, me.timeZone], [place.admin, "America/Phoenix"]);
  assert.equal((await jira.serverInfo.getServerInfo()).deploymentType, "Cloud");
  const people = await jira.userSearch.findUsers({ query: "jirajs dev" });
  assert.deepEqual(people.map((one) => one.accountId).sort(), place.people.slice(1).sort());
});

await check("an enhanced search follows nextPageToken, by GET and by POST", async () => {
  for (const method of ["searchForIssuesUsingJqlEnhancedSearch", "searchForIssuesUsingJqlEnhancedSearchPost"]) {
    const rows = [];
    let nextPageToken;
    do {
      const page = await jira.issueSearch[method]({
        jql: "project in (ENG, OPS) ORDER BY updated ASC", fields: ["summary", "updated"], maxResults: 9, nextPageToken,
      });
      rows.push(...page.issues);
      assert.equal(page.isLast, page.nextPageToken === undefined);
      nextPageToken = page.nextPageToken;
    } while (nextPageToken);
    assert.equal(new Set(rows.map((row) => row.id)).size, rows.length);
    assert.equal(rows.length, await visible("issue_created"));
    assert.deepEqual(rows.map((row) => row.fields.updated), rows.map((row) => row.fields.updated).toSorted());
    assert.deepEqual(Object.keys(rows[0].fields).sort(), ["summary", "updated"]);
  }
  const { count } = await jira.issueSearch.countIssues({ jql: "project in (ENG, OPS)" });
  assert.equal(count, await visible("issue_created"));
});

await check("unbounded queries are 400, the removed search is 410", async () => {
  const unbounded = jira.issueSearch.searchForIssuesUsingJqlEnhancedSearch({ jql: "ORDER BY created" });
  assert.match((await refused(400, unbounded)).data.errorMessages[0], /Unbounded/);
  await refused(410, jira.issueSearch.searchForIssuesUsingJql({ jql: "project = ENG" }));
});

await check("changes are read with an issue, in pages, and in bulk", async () => {
  const { object: { id } } = await happen(place, "issue.created");
  for (let turn = 0; turn < 120; turn += 1) await happen(place, "issue.edited", { issue: id, text: `Version ${turn}` });
  await happen(place, "issue.transitioned", { issue: id, to: "Done" });
  const issueIdOrKey = String(id);
  const whole = await jira.issues.getIssue({ issueIdOrKey, expand: "changelog", fields: ["summary"] });
  assert.equal(whole.fields.summary, "Version 119");
  assert.deepEqual([whole.changelog.histories.length, whole.changelog.total], [100, 121], "the newest hundred");
  assert.equal(whole.changelog.histories[0].items[0].field, "status");
  const all = [];
  for (let startAt = 0; ; startAt += 50) {
    const page = await jira.issues.getChangeLogs({ issueIdOrKey, startAt, maxResults: 50 });
    all.push(...page.values);
    if (page.isLast) break;
  }
  assert.equal(new Set(all.map((one) => one.id)).size, 121);
  const bulk = [];
  let nextPageToken;
  do {
    const page = await jira.issues.getBulkChangelogs({
      issueIdsOrKeys: [issueIdOrKey], fieldIds: ["summary"], maxResults: 50, nextPageToken,
    });
    bulk.push(...page.issueChangeLogs.flatMap((log) => log.changeHistories));
    nextPageToken = page.nextPageToken;
  } while (nextPageToken);
  assert.equal(bulk.length, 120);
  const fetched = await jira.issues.bulkFetchIssues({ issueIdsOrKeys: [issueIdOrKey, "ENG-99999"], fields: ["status"] });
  assert.equal(fetched.issues[0].fields.status.statusCategory.key, "done");
  assert.equal(fetched.issueErrors.length, 1);
});

await check("comments are documents in the third version and text in the second", async () => {
  const { object: { issue: none, id, comment } } = await happen(place, "comment.created", { text: "tight", actor: developer });
  assert.equal(none, undefined);
  const issueIdOrKey = String(id);
  const { comments } = await jira.issueComments.getComments({ issueIdOrKey, orderBy: "-created", maxResults: 1 });
  assert.deepEqual([comments[0].id, comments[0].body.content[0].content[0].text], [String(comment), "tight"]);
  const older = await client(Version2Client);
  assert.equal((await older.issueComments.getComment({ issueIdOrKey, id: String(comment) })).body, "tight");
  const named = await jira.issueComments.getCommentsByIds({ ids: [comment] });
  assert.equal(named.values[0].author.accountId, developer);
});

await check("worklogs are found by time of change, by id, and after deletion", async () => {
  const { object: { id, worklog } } = await happen(place, "worklog.created", { actor: tester });
  const changed = await jira.issueWorklogs.getIdsOfWorklogsModifiedSince({ since: 0 });
  assert.ok(changed.lastPage && changed.values.some((one) => one.worklogId === worklog));
  assert.equal(changed.values.length, await visible("work_logged"));
  const [work] = await jira.issueWorklogs.getWorklogsForIds({ ids: [worklog] });
  assert.deepEqual([work.issueId, work.author.accountId], [String(id), tester]);
  const { worklogs } = await jira.issueWorklogs.getIssueWorklog({ issueIdOrKey: String(id) });
  assert.ok(worklogs.some((one) => one.id === String(worklog)));
  await happen(place, "issue.deleted", { issue: id });
  const gone = await jira.issueWorklogs.getIdsOfWorklogsDeletedSince({ since: 0 });
  assert.ok(gone.values.some((one) => one.worklogId === worklog));
});

await check("projects, versions and statuses are listed", async () => {
  const { values } = await jira.projects.searchProjects({ status: ["live"], maxResults: 1 });
  assert.equal(values.length, 1);
  assert.equal((await jira.projects.searchProjects({ startAt: 1 })).values.length, 1);
  await happen(place, "version.released");
  const versions = (await Promise.all(place.projects.map(({ key }) =>
    jira.projectVersions.getProjectVersionsPaginated({ projectIdOrKey: key })))).flatMap((page) => page.values);
  const released = versions.find((one) => one.released);
  assert.match(released.releaseDate, /^\d{4}-\d\d-\d\d$/);
  assert.equal((await jira.projectVersions.getVersion({ id: released.id })).name, released.name);
  const categories = (await jira.workflowStatuses.getStatuses()).map((one) => one.statusCategory.key);
  assert.deepEqual([...new Set(categories)].sort(), ["done", "indeterminate", "new"]);
  const [kind] = await jira.projects.getAllStatuses({ projectIdOrKey: "ENG" });
  assert.equal(kind.statuses.length, 4);
});

await check("a board has sprints, another returns an error without sprints", async () => {
  await happen(place, "sprint.closed");
  await happen(place, "sprint.created");
  const { values: [scrum, kanban] } = await agile.board.getAllBoards();
  const { values } = await agile.board.getAllSprints({ boardId: scrum.id, state: "closed" });
  assert.ok(values.length > 0 && values.every((one) => one.completeDate));
  const sprint = await agile.sprint.getSprint({ sprintId: values[0].id });
  assert.deepEqual([sprint.state, sprint.originBoardId], ["closed", scrum.id]);
  await refused(400, agile.board.getAllSprints({ boardId: kanban.id }));
  assert.ok((await agile.board.getAllVersions({ boardId: scrum.id })).values.length > 0);
});

await check("errors have their statuses, reasons and headers", async () => {
  await refused(404, jira.issues.getIssue({ issueIdOrKey: "ENG-99999" }));
  const narrow = await client(Version3Client, developer, place, "read:jira-work");
  const { data } = await refused(401, narrow.webhooks.getDynamicWebhooksForApp());
  assert.equal(data.message, "Unauthorized; scope does not match");
  const fault = { target: "request", pattern: "search/jql", effect: "primary_limit", count: 1, seconds: 12 };
  await control("faults", fault);
  const { headers } = await refused(429, jira.issueSearch.searchForIssuesUsingJqlEnhancedSearch({ jql: "project = ENG" }));
  assert.deepEqual([headers["retry-after"], headers["ratelimit-reason"]], ["12", "jira-quota-global-based"]);
  await control("faults", { ...fault, effect: "status", status: 503 });
  await refused(503, jira.issueSearch.searchForIssuesUsingJqlEnhancedSearch({ jql: "project = ENG" }));
});

// Received deliveries; `answers` holds the responses to the next ones.
const received = [];
const answers = [];
const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const raw = Buffer.concat(parts);
    received.push({ url: request.url, headers: request.headers, raw, body: JSON.parse(raw) });
    response.writeHead(answers.shift() ?? 200).end();
  });
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const url = `http://127.0.0.1:${server.address().port}/webhooks/jira`;
await control("jira/settings", { webhook_url: url, retry_seconds: [0.05, 0.05, 0.05, 0.05, 0.05] });

async function takeReceived() {
  await control("quiesce", { timeout_seconds: 60 });
  return received.splice(0);
}

// Claims of a delivery's bearer token, if the app's secret has signed it.
function claims({ headers }) {
  const [head, payload, signature] = headers.authorization.replace("Bearer ", "").split(".");
  assert.equal(JSON.parse(Buffer.from(head, "base64url")).alg, "HS256");
  const right = createHmac("sha256", atlassian.clientSecret).update(`${head}.${payload}`).digest();
  if (!timingSafeEqual(right, Buffer.from(signature, "base64url"))) return undefined;
  return JSON.parse(Buffer.from(payload, "base64url"));
}

const EVENTS = ["jira:issue_created", "jira:issue_updated", "jira:issue_deleted", "comment_created", "comment_deleted"];
const register = (webhooks, to = url, by = jira) =>
  by.webhooks.registerDynamicWebhooks({ url: to, webhooks }).then((answer) => answer.webhookRegistrationResult);
const one = (more = {}) => ({ events: EVENTS, jqlFilter: "project in (ENG, OPS)", ...more });

await check("webhooks are registered, and rejected one by one within a 200", async () => {
  const [first, ...others] = await register([
    one(),
    one({ jqlFilter: "updated > -1d" }),
    one({ jqlFilter: "assignee is not EMPTY" }),
    one({ jqlFilter: "" }),
    one({ events: ["worklog_created"] }),
    one({ events: [] }),
    one({ jqlFilter: "project = ENG AND status != Done", fieldIdsFilter: ["summary"] }),
  ]);
  assert.equal(first.createdWebhookId, 1, "webhook ids start at 1 at each site");
  assert.deepEqual(others.map((entry) => entry.errors?.length), [1, 1, 1, 1, 1, undefined]);
  assert.equal(others.at(-1).createdWebhookId, 2);
  const [elsewhere] = await register([one()], `${url}/else`);
  assert.match(elsewhere.errors[0], /single URL/);
  const more = await register([one(), one(), one(), one()]);
  assert.match(more.at(-1).errors[0], /maximum number/);
  assert.equal(more.filter((entry) => entry.createdWebhookId).length, 3);
});

await check("webhooks are listed, deleted, and expire after thirty days unless refreshed", async () => {
  const listed = await jira.webhooks.getDynamicWebhooksForApp({ maxResults: 2 });
  assert.deepEqual([listed.total, listed.values.length, listed.isLast], [5, 2, false]);
  assert.deepEqual(listed.values[0].events, EVENTS);
  await jira.webhooks.deleteWebhookById({ webhookIds: [3, 4, 5, 99] });
  assert.equal((await jira.webhooks.getDynamicWebhooksForApp()).total, 2);
  await control("clock", { advance_seconds: 20 * 24 * 3_600 });
  const later = await client(Version3Client);
  const { expirationDate } = await later.webhooks.refreshWebhooks({ webhookIds: [1] });
  assert.ok(expirationDate > Date.now() + 49 * 24 * 3_600_000);
  await control("clock", { advance_seconds: 20 * 24 * 3_600 });
  const { values } = await (await client(Version3Client)).webhooks.getDynamicWebhooksForApp();
  assert.deepEqual(values.map((hook) => hook.id), [1]);
});

await check("a delivery is signed for the app, and names its author and its webhooks", async () => {
  const again = await client(Version3Client);
  const [{ createdWebhookId }] = await register([one({ jqlFilter: "project = ENG OR project = OPS" })], url, again);
  const { facts } = await happen(place, "issue.created", { actor: developer });
  const [only, ...others] = await takeReceived();
  assert.equal(others.length, 0);
  const { iat, exp } = claims(only);
  assert.ok(iat <= Date.now() / 1_000 && exp > Date.now() / 1_000);
  assert.equal(new URL(only.url, url).searchParams.get("triggeredByUser"), developer);
  assert.deepEqual(only.body.matchedWebhookIds, [1, createdWebhookId]);
  assert.equal(only.body.webhookEvent, "jira:issue_created");
  assert.equal(only.body.user.accountId, developer);
  assert.equal(typeof only.body.issue.fields.description, "string", "webhooks use the second version's format");
  assert.equal(only.headers["x-atlassian-webhook-flow"], "Primary");
  assert.equal(only.headers["x-atlassian-webhook-retry"], undefined);
  assert.ok(facts[0].webhook);
  await again.webhooks.deleteWebhookById({ webhookIds: [createdWebhookId] });
});

await check("a filter selects the deliveries", async () => {
  const again = await client(Version3Client);
  await again.webhooks.deleteWebhookById({ webhookIds: [1] });
  const [{ createdWebhookId: id }] = await register(
    [one({ jqlFilter: "project = ENG AND status != Done", fieldIdsFilter: ["summary"] })], url, again);
  const keys = new Map();
  for (const to of ["ENG", "OPS"]) keys.set(to, (await happen(place, "issue.created", { to })).object.id);
  await takeReceived();
  await happen(place, "issue.edited", { issue: keys.get("OPS") });
  await happen(place, "issue.edited", { issue: keys.get("ENG") });
  await happen(place, "issue.transitioned", { issue: keys.get("ENG"), to: "Done" });
  await happen(place, "issue.edited", { issue: keys.get("ENG") });
  const arrived = await takeReceived();
  assert.deepEqual(arrived.map(({ body }) => [body.issue.id, body.changelog.items[0].field]), [[String(keys.get("ENG")), "summary"]]);
  await again.webhooks.deleteWebhookById({ webhookIds: [id] });
});

await check("up to five retries keep the identifier, only for retryable statuses", async () => {
  const again = await client(Version3Client);
  const [{ createdWebhookId: id }] = await register([one()], url, again);
  answers.push(503, 429, 500, 409, 425, 408);
  const { facts: [lost] } = await happen(place, "issue.created");
  const six = await takeReceived();
  assert.deepEqual(six.map(({ headers }) => headers["x-atlassian-webhook-retry"]), [undefined, "1", "2", "3", "4", "5"]);
  assert.equal(new Set(six.map(({ headers }) => headers["x-atlassian-webhook-identifier"])).size, 1);
  const { entries } = await control(`ledger?account=${place.login}&kind=issue_created`);
  assert.equal(entries.find((entry) => entry.dedupe_key === lost.dedupe_key).webhook, false);
  answers.push(400);
  await happen(place, "issue.created");
  assert.equal((await takeReceived()).length, 1);
  for (const [effect, genuine] of [["wrong_signature", false], ["old_signature", true]]) {
    await control("faults", { target: "delivery", effect, count: 1 });
    answers.push(401);
    await happen(place, "issue.created");
    const [first, second] = await takeReceived();
    assert.equal(claims(first) !== undefined, genuine);
    assert.ok(claims(first) === undefined || claims(first).exp < Date.now() / 1_000);
    assert.ok(claims(second).exp > Date.now() / 1_000);
  }
  const { object } = await happen(place, "comment.created");
  await takeReceived();
  await happen(place, "issue.deleted", { issue: object.id });
  const flows = (await takeReceived()).map(({ body, headers }) => [body.webhookEvent, headers["x-atlassian-webhook-flow"]]);
  assert.deepEqual(flows.find(([event]) => event === "jira:issue_deleted"), ["jira:issue_deleted", "Primary"]);
  assert.deepEqual(flows.find(([event]) => event === "comment_deleted"), ["comment_deleted", "Secondary"]);
  await again.webhooks.deleteWebhookById({ webhookIds: [id] });
});

await check("webhook ids and a person's grant are per site", async () => {
  const other = await site("jirajs-other");
  const [mine] = await register([one()], url, await client(Version3Client, other.admin, other));
  assert.equal(mine.createdWebhookId, 1);
  await happen(other, "issue.created");
  const [{ body }] = await takeReceived();
  assert.deepEqual(body.matchedWebhookIds, [1]);
  assert.ok(body.issue.self.startsWith("https://jirajs-other.atlassian.net/"));
  await control("jira/tokens", { revoke: other.admin });
  await happen(other, "issue.created");
  assert.deepEqual(await takeReceived(), []);
});

await check("an administrator's webhook is signed over its body, and receives all events", async () => {
  const secret = "the administrator's secret";
  await control("jira/settings", { admin_webhooks: [{ account: place.login, url, secret }] });
  await happen(place, "worklog.created");
  const [only] = await takeReceived();
  const right = createHmac("sha256", secret).update(only.raw).digest("hex");
  assert.equal(only.headers["x-hub-signature"], `sha256=${right}`);
  assert.equal(only.headers.authorization, undefined);
  assert.deepEqual([only.body.webhookEvent, only.body.matchedWebhookIds], ["worklog_created", undefined]);
  await control("jira/settings", { admin_webhooks: [] });
});

await control("jira/settings", { webhook_url: "", retry_seconds: [0.5, 1, 1, 2, 3] });
server.close();
finish();
