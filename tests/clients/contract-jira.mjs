// Checks Jira's responses against its published description, and the objects in webhooks against the
// same schemas. There is no description of the webhooks themselves.
import { consent, happen, host, site } from "./atlassian.mjs";
import { assert, check } from "./checks.mjs";
import { receive } from "./receiver.mjs";
import { Description, RestDescription } from "./schemas.mjs";
import { control } from "./simulator.mjs";

const file = `${process.env.POBLYSH_FIXTURES}/jira/openapi/jira-cloud-platform-v3.reduced.json`;

// Corrections of errors that occur throughout the description.
function mend(schema) {
  if (!schema.properties) return schema;
  const properties = { ...schema.properties };
  // The page's example has an end as text; newer responses have either type.
  if (properties.expirationDate) properties.expirationDate = { type: ["integer", "string"] };
  // A missing value is null and not absent: there was no assignee before.
  for (const side of ["from", "fromString", "to", "toString"]) {
    if (Object.hasOwn(properties, "fieldtype")) properties[side] = { type: ["string", "null"] };
  }
  // Sprints and versions have been among a webhook's events since 2021.
  if (properties.events?.items?.enum) properties.events = { type: "array", items: { type: "string" } };
  return { ...schema, properties };
}

// Times have an offset without a colon, which RFC 3339 does not allow.
const options = { mend, lax: ["date-time"] };
const rest = new RestDescription(file, {
  ...options,
  // It describes most errors without a body; they have Jira's error format, or the gateway's.
  silent: true,
});

const receiver = await receive();
const place = await site("contract", { history: 80 });
const admin = { account: place.login, url: receiver.url, secret: "the administrator's secret" };
await control("jira/settings", { webhook_url: receiver.url, admin_webhooks: [admin] });
const { access_token } = await consent(place.admin);
const narrow = (await consent(place.people[1], "read:me")).access_token;

async function described(method, path, status, { body, token = access_token } = {}) {
  const shown = path.split("?")[0].replace(/\d{4,}/g, "{id}");
  return check(`jira: ${method} ${shown} (${status}) matches the description`, async () => {
    const response = await fetch(`${host(place)}/rest/api/3${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    const answer = text === "" ? undefined : JSON.parse(text);
    assert.equal(response.status, status, text);
    const fault = rest.fault(method, `/rest/api/3${path.split("?")[0]}`, status, answer);
    if (fault) throw new Error(fault);
    assert.notEqual(fault, null, "the description does not know this path");
    return answer;
  });
}

// Webhooks for all events that an app may receive.
const EVENTS = [
  "jira:issue_created jira:issue_updated jira:issue_deleted comment_created comment_updated",
  "comment_deleted sprint_created sprint_started sprint_closed jira:version_created jira:version_released",
].join(" ").split(" ");
const webhooks = [{ events: EVENTS, jqlFilter: "project in (ENG, OPS)" }, { events: ["worklog_created"], jqlFilter: "" }];
await described("POST", "/webhook", 200, { body: { url: receiver.url, webhooks } });
await described("GET", "/webhook", 200);
await described("PUT", "/webhook/refresh", 200, { body: { webhookIds: [1] } });

// All actions, by their names in the control API.
const ACTIONS = [
  "issue.created issue.transitioned issue.assigned issue.unassigned issue.edited issue.moved",
  "comment.created comment.edited comment.deleted worklog.created sprint.created sprint.started",
  "sprint.closed version.created version.released user.renamed",
].join(" ").split(" ");
const { object: { id } } = await happen(place, "issue.created", { to: "ENG" });
for (const action of ACTIONS) {
  const about = /^(issue|comment|worklog)\./.test(action) && action !== "issue.created";
  const more = action === "issue.moved" ? { to: "OPS" } : {};
  await happen(place, action, about ? { issue: id, ...more } : more);
}
for (const action of ["comment.created", "comment.edited", "worklog.created"]) await happen(place, action, { issue: id });

await described("GET", "/myself", 200);
await described("GET", "/myself", 401, { token: "x" });
await described("GET", "/myself", 401, { token: narrow });
await described("GET", `/user?accountId=${place.admin}`, 200);
await described("GET", "/user/search?query=contract", 200);
await described("GET", "/users/search", 200);
await described("GET", "/serverInfo", 200);
for (const list of ["field", "issuetype", "priority", "status", "statuscategory", "project"]) {
  await described("GET", `/${list}`, 200);
}
await described("GET", "/project/search", 200);
await described("GET", "/project/ENG", 200);
await described("GET", "/project/NONE", 404);
await described("GET", "/project/ENG/statuses", 200);
const versions = await described("GET", "/project/ENG/version", 200);
await described("GET", "/project/ENG/versions", 200);
if (versions?.values.length) await described("GET", `/version/${versions.values[0].id}`, 200);
await described("GET", `/issue/${id}?expand=changelog`, 200);
await described("GET", "/issue/ENG-99999", 404);
await described("GET", `/issue/${id}/changelog`, 200);
const talk = await described("GET", `/issue/${id}/comment`, 200);
await described("GET", `/issue/${id}/comment/${talk?.comments[0].id}`, 200);
await described("GET", `/issue/${id}/worklog`, 200);
await described("GET", "/search/jql?jql=project%3DENG&fields=*all&expand=changelog", 200);
const query = { jql: "project in (ENG, OPS) ORDER BY updated", fields: ["*all"], maxResults: 5 };
await described("POST", "/search/jql", 200, { body: query });
await described("POST", "/search/jql", 400, { body: { jql: "ORDER BY updated" } });
await described("POST", "/search/approximate-count", 200, { body: { jql: "project = ENG" } });
await described("POST", "/issue/bulkfetch", 200, { body: { issueIdsOrKeys: [String(id), "ENG-99999"] } });
await described("POST", "/changelog/bulkfetch", 200, { body: { issueIdsOrKeys: [String(id)] } });
await described("POST", "/comment/list", 200, { body: { ids: talk?.comments.map((one) => Number(one.id)) } });
const changed = await described("GET", "/worklog/updated?since=0", 200);
await described("GET", "/worklog/deleted?since=0", 200);
await described("POST", "/worklog/list", 200, { body: { ids: changed?.values.map((one) => one.worklogId) } });
await described("DELETE", "/webhook", 202, { body: { webhookIds: [99] } });
await happen(place, "issue.deleted", { issue: id });
await control("quiesce", { timeout_seconds: 60 });

await check("jira: a response that violates the description fails", () => {
  assert.match(rest.fault("GET", "/rest/api/3/issue/ENG-1", 200, { id: 1 }), /must be string/);
  assert.match(rest.fault("GET", "/rest/api/3/myself", 200, { accountId: "a", surname: "b" }), /additional/);
  assert.match(rest.fault("GET", "/rest/api/3/myself", 418, {}), /not described/);
});

// Objects in webhooks, by the schema's name in the description. Bodies are of the second version:
// text is plain, where the third has documents.
const SHAPES = { user: "User", issue: "IssueBean", comment: "Comment", worklog: "Worklog", version: "Version" };
const shapes = new Description(file, options);
const { schemas } = shapes.document.components;

function judge(what, name, value) {
  const fault = shapes.judge(what, schemas[name], value);
  if (fault) throw new Error(fault);
}

const byName = new Map();
for (const { body } of receiver.received) byName.set(body.webhookEvent, [...(byName.get(body.webhookEvent) ?? []), body]);
for (const [name, all] of [...byName].sort()) {
  await check(`jira: the objects in ${name} match the description`, () => {
    for (const body of all) {
      assert.ok(Number.isInteger(body.timestamp));
      for (const [what, shape] of Object.entries(SHAPES)) if (body[what]) judge(what, shape, body[what]);
      for (const item of body.changelog?.items ?? []) judge("item", "ChangeDetails", item);
      const { project, status, assignee, creator, priority, issuetype } = body.issue?.fields ?? {};
      if (project) judge("project", "Project", project);
      if (status) judge("status", "StatusDetails", status);
      if (issuetype) judge("issuetype", "IssueTypeDetails", issuetype);
      if (priority) judge("priority", "Priority", priority);
      for (const person of [assignee, creator]) if (person) judge("person", "UserDetails", person);
    }
  });
}
await check("jira: every kind of event was sent", () => {
  const missing = [...EVENTS, "worklog_created"].filter((name) => !byName.has(name));
  assert.deepEqual(missing, []);
});

await control("jira/settings", { webhook_url: "", admin_webhooks: [] });
receiver.close();
