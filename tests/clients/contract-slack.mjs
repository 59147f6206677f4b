// Checks Slack's responses and events against its published descriptions, from 2020 and 2021.
import { assert, check } from "./checks.mjs";
import { receive } from "./receiver.mjs";
import { compiler, Description, explain, read, RestDescription, without } from "./schemas.mjs";
import { browse, control, destination } from "./simulator.mjs";

const folder = `${process.env.POBLYSH_FIXTURES}/slack/openapi`;
const slack = {
  base: process.env.POBLYSH_SLACK_BASE_URL,
  clientId: process.env.POBLYSH_SLACK_CLIENT_ID,
  clientSecret: process.env.POBLYSH_SLACK_CLIENT_SECRET,
  appToken: process.env.POBLYSH_SLACK_APP_TOKEN,
};

// Corrections of errors that occur throughout the description.
function mend(schema) {
  let mended = schema;
  // Its conversion to Swagger 2 turned "any of" into a list of `items`.
  if (Array.isArray(mended.items)) {
    const { items: anyOf, type, ...rest } = mended;
    mended = { ...rest, anyOf };
  }
  // Its lists of errors lack `token_expired`, `ratelimited`, `missing_argument`,
  // `not_in_channel`, `invalid_cursor` and others that the methods' pages have.
  const { error, messages } = mended.properties ?? {};
  if (error?.enum && mended.properties.ok) {
    mended = { ...mended, properties: { ...mended.properties, error: { type: "string" } } };
  }
  // Requires at least one message; a channel may be empty.
  if (messages?.minItems) {
    const { minItems, ...rest } = messages;
    mended = { ...mended, properties: { ...mended.properties, messages: rest } };
  }
  return mended;
}

// Fields that Slack has added since, or that the description omits, by their parent. It forbids
// additional fields.
const NEWER = {
  // Every method that needs a scope returns both fields; some descriptions of errors lack them.
  "/users.conversations": ["needed", "provided", "response_metadata"], // which says what is missing
  "/users.list": ["needed", "provided"],
  "/users.info": ["needed", "provided"],
  "/files.info": ["needed", "provided"],
  "/files.list": ["needed", "provided"],
  "/team.info": ["needed", "provided"],
  "/bots.info": ["needed", "provided"],
  // Pages of messages have had cursors since 2018.
  "/conversations.history": ["response_metadata"],
  "/conversations.replies": ["response_metadata"],
  "/auth.test": ["enterprise_id"],
  message: ["edited", "is_locked", "app_id", "hidden"],
  messages: ["edited", "is_locked", "app_id", "hidden"],
  attachments: ["title", "from_url", "text"],
  channel: ["context_team_id", "is_user_deleted"],
  channels: ["context_team_id", "is_user_deleted"],
  // Describes `shares` of a file as an empty object.
  file: ["shares"],
  files: ["shares"],
};

// Responses that the description cannot check as they are, and the part that is checked instead.
const INSTEAD = {
  // Describes two forms of plain text messages only: none with blocks, files, a bot or reactions.
  "conversations.replies": (answer) => ({ ...answer, messages: answer.messages && [] }),
  // From 2020: no organization in place of a workspace.
  "auth.test": (answer) => (answer.is_enterprise_install ? { ...answer, team_id: answer.team_id.replace("E", "T") } : answer),
};

const rest = new RestDescription(`${folder}/slack_web_openapi_v2.reduced.json`, {
  mend,
  newer: NEWER,
  verbs: false,
  // 200 either way: the body's `ok` decides.
  answer: (status, body) => (body.ok ? "200" : "default"),
});

async function call(method, token, fields = {}, headers = {}) {
  const response = await fetch(`${slack.base}/api/${method}`, {
    method: "POST",
    headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), ...headers },
    body: new URLSearchParams(fields),
  });
  return { status: response.status, answer: await response.json() };
}

// Calls a method, validates the response, and returns it. `error` is the expected error code, if
// any.
async function described(method, token, fields, error) {
  const name = `slack: ${method}${error ? ` (${error})` : ""} answers as described`;
  return check(name, async () => {
    const { status, answer } = await call(method, token, fields);
    assert.equal(answer.error, error);
    assert.equal(status, error === "ratelimited" ? 429 : 200);
    const judged = answer.ok ? (INSTEAD[method]?.(answer) ?? answer) : answer;
    const fault = rest.fault("POST", `/${method}`, status, judged);
    if (fault) throw new Error(fault);
    assert.notEqual(fault, null, "the description does not know this method");
    return answer;
  });
}

const SCOPES = [
  "app_mentions:read,channels:history,channels:join,channels:read,files:read,groups:history",
  "groups:read,im:history,im:read,reactions:read,team:read,users:read",
].join(",");
const { callback_url } = await control("slack/settings");

async function install(person, more = {}) {
  const query = new URLSearchParams({ client_id: slack.clientId, scope: SCOPES, redirect_uri: callback_url, state: "s", ...more });
  const back = destination(await browse(person, `${slack.base}/oauth/v2/authorize?${query}`));
  const code = back.searchParams.get("code");
  const fields = { code, client_id: slack.clientId, client_secret: slack.clientSecret, redirect_uri: callback_url };
  return check(`slack: oauth.v2.access for ${person} matches the description`, async () => {
    const { status, answer } = await call("oauth.v2.access", undefined, fields);
    assert.ok(answer.ok, answer.error);
    assert.equal(rest.fault("POST", "/oauth.v2.access", status, answer), undefined);
    return answer;
  });
}

const receiver = await receive();
await control("slack/settings", { webhook_url: receiver.url });
const team = await control("slack/accounts", { domain: "contract", history: 150 });
const other = await control("slack/accounts", { domain: "contract-shared" });
const organization = await control("slack/accounts", { domain: "contract-org", organization: true, history: 20 });
const { access_token: token, authed_user: person } = await install(team.admin, { user_scope: "channels:history,channels:read,users:read" });
await install(other.admin);
const { access_token: everywhere } = await install(organization.admin);

const act = (action, more = {}, account = team) => control("slack/act", { account: account.login, action, ...more });
const [{ id: channel }, { id: shared }] = team.channels;
// All actions, by their names in the control API.
const ACTIONS = [
  "message.posted message.mention message.replied message.broadcast message.bot message.bot message.me",
  "message.file message.noise message.edited message.unfurled message.deleted reaction.added",
  "reaction.removed channel.created group.created channel.renamed member.joined user.renamed message.direct",
].join(" ").split(" ");
for (const action of ACTIONS) await act(action, action.startsWith("message") || action.startsWith("reaction") ? { channel } : {});
const { object: { ts: parent } } = await act("message.posted", { channel });
await act("message.replied", { channel, ts: parent });
await act("message.deleted", { channel, ts: parent });
await act("channel.shared", { channel: shared, to: other.login });
const { object: { ts } } = await act("message.file", { channel: shared });
await act("reaction.added", { channel: shared, ts, name: "eyes" });

await described("api.test", undefined, {});
await described("auth.test", token);
await described("auth.test", person.access_token);
await described("auth.test", everywhere);
await described("auth.test", undefined, {}, "not_authed");
await described("auth.test", "nonsense", {}, "invalid_auth");
await described("team.info", token);
await described("users.list", token, { limit: "3" });
await described("users.list", everywhere, { team_id: organization.workspaces[0].login });
await described("users.info", token, { user: team.admin });
await described("users.info", token, { user: "U00000000" }, "user_not_found");
const own = await described("users.conversations", token, { types: "public_channel,private_channel,im" });
await described("users.conversations", everywhere, {}, "missing_argument");
await described("conversations.list", token, { limit: "2" });
await described("conversations.list", token, { cursor: "x" }, "invalid_cursor");
await described("conversations.info", token, { channel: shared });
await described("conversations.info", token, { channel: "C00000000" }, "channel_not_found");
await described("conversations.members", token, { channel });
await described("conversations.join", token, { channel });
for (const { id } of own?.channels ?? []) {
  await described("conversations.history", token, { channel: id, limit: "200" });
}
const { messages } = await described("conversations.history", person.access_token, { channel, limit: "999" });
const thread = messages.find((message) => message.reply_count > 0);
await described("conversations.replies", token, { channel, ts: thread.ts });
await described("conversations.replies", token, { channel, ts: "1.000000" }, "thread_not_found");
await described("chat.getPermalink", token, { channel, message_ts: thread.ts });
await described("bots.info", token, { bot: "B00000CI1" });
await described("bots.info", token, { bot: "B00000000" }, "bot_not_found");
const files = await described("files.list", token, { count: "5" });
await described("files.info", token, { file: files?.files[0].id });
await described("files.info", token, { file: "F00000000" }, "file_not_found");
await described("files.list", person.access_token, {}, "missing_scope");
await described("reactions.get", token, { channel: shared, timestamp: ts });
await control("faults", { target: "request", pattern: "conversations.history", effect: "too_many_requests", count: 1 });
await described("conversations.history", token, { channel }, "ratelimited");

await act("workspace.removed", { to: organization.workspaces[0].login }, organization);
await act("workspace.added", { to: organization.workspaces[0].login }, organization);
await act("message.posted", {}, organization);
await act("app.rate_limited");
await control("slack/tokens", { revoke: team.admin });
await described("auth.revoke", token, { test: "true" });
await described("apps.uninstall", token, { client_id: slack.clientId, client_secret: "x" }, "bad_client_secret");
await described("apps.uninstall", token, { client_id: slack.clientId, client_secret: slack.clientSecret });
await act("app.uninstalled", {}, organization);
await control("slack/generate", { account: other.login, count: 100 });
await control("quiesce", { timeout_seconds: 60 });

await check("slack: apps.event.authorizations.list matches the description", async () => {
  const { body } = receiver.received.find(({ body }) => body.is_ext_shared_channel);
  const { status, answer } = await call("apps.event.authorizations.list", slack.appToken, { event_context: body.event_context });
  assert.equal(answer.authorizations.length, 2);
  assert.equal(rest.fault("POST", "/apps.event.authorizations.list", status, answer), undefined);
});

await check("slack: a response that violates the description fails", async () => {
  const { answer } = await call("users.list", everywhere, { team_id: organization.workspaces[1].login });
  const broken = { ok: true, members: [{ id: "u1" }], cache_ts: 1 };
  assert.equal(answer.ok, false, "the organization is removed");
  assert.match(rest.fault("POST", "/users.list", 200, broken), /must/);
  assert.match(rest.fault("POST", "/users.list", 200, { ok: false }), /required/);
});

// Both descriptions of an event's envelope.
const wrapper = read(`${folder}/slack_common_event_wrapper_schema.json`);
const judges = [
  compiler().compile({ ...wrapper, required: wrapper.required.filter(stillSent) }),
  compiler().compile(rewritten(new Description(`${folder}/slack_events_api_async_v1.json`).document)),
];
const { topics } = read(`${folder}/slack_events_api_async_v1.json`);

// `authorizations` replaced `authed_users` in 2021.
function stillSent(field) {
  return field !== "authed_users";
}

function rewritten({ components }) {
  const { GenericEventWrapper: whole } = components.schemas;
  return { ...whole, required: whole.required.filter(stillSent) };
}

// Events added since.
const NEWER_EVENTS = ["team_access_granted", "team_access_revoked"];

const byName = new Map();
for (const { body } of receiver.received) {
  const name = body.event?.type ?? body.type;
  byName.set(name, [...(byName.get(name) ?? []), body]);
}
for (const [name, all] of [...byName].sort()) {
  // It has no inner event, although the description has one.
  if (name === "app_rate_limited") continue;
  await check(`slack: the event ${name} matches the description`, () => {
    const topic = name === "message" ? "message.channels" : name;
    assert.ok(topics[topic.replaceAll("_", ".")] || NEWER_EVENTS.includes(name), "the description does not have this event");
    for (const body of all) {
      // An event of an organization about the app itself names no workspace.
      const judged = body.team_id === undefined ? { ...body, team_id: body.enterprise_id } : body;
      for (const judge of judges) assert.ok(judge(judged), explain(judge, name));
    }
  });
}
await check("slack: messages in events equal those of the Web API", () => {
  const shape = new Description(`${folder}/slack_web_openapi_v2.reduced.json`, { mend, newer: NEWER });
  const { objs_message } = shape.document.definitions;
  let judged = 0;
  for (const { event } of byName.get("message")) {
    for (const message of [event.message, event.previous_message]) {
      if (message === undefined) continue;
      const fault = shape.judge("message", objs_message, message);
      if (fault) throw new Error(fault);
      judged += 1;
    }
    // The event adds its own fields to the message.
    if (event.subtype === "message_changed" || event.subtype === "message_deleted") continue;
    const { channel: where, event_ts, channel_type, ...message } = event;
    assert.ok(where && event_ts && channel_type);
    const fault = shape.judge("message", objs_message, without({}, message));
    if (fault) throw new Error(fault);
    judged += 1;
  }
  assert.ok(judged > 30, `${judged} messages`);
});
await check("slack: every kind of event was sent", () => {
  const missing = [
    "message app_mention reaction_added reaction_removed channel_created channel_rename member_joined_channel",
    "file_shared user_change tokens_revoked app_uninstalled team_access_granted app_rate_limited",
  ].join(" ").split(" ").filter((name) => !byName.has(name));
  assert.deepEqual(missing, []);
});

await control("slack/settings", { webhook_url: "" });
receiver.close();
