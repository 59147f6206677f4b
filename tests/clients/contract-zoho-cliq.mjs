// Checks Cliq's responses against the descriptions of versions 2 and 3, in both directions: all fields
// of a response are described, and all described fields of the requested paths are in a response.
// Deliveries are compared with the templates of Zoho Catalyst's command line.
import { assert, check } from "./checks.mjs";
import { receive } from "./receiver.mjs";
import { read, RestDescription } from "./schemas.mjs";
import { control } from "./simulator.mjs";
import { consent, organization, server } from "./zoho.mjs";

const folder = `${process.env.POBLYSH_FIXTURES}/zoho`;
const text = { type: "string" };
const object = (properties) => ({ type: "object", properties });

// A person or bot, and a message that another one answers, as Zoho's page "Message Details Object" has
// them; the descriptions lack both.
const PERSON = object({ id: text, name: text });
const MENTIONS = { type: "array", items: object({ id: text, name: text, type: { enum: ["user", "bot"] } }) };
const REPLIED = object({ sender: PERSON, time: { type: "integer" }, id: text, text, type: text, mentions: MENTIONS });

// Mistakes of the descriptions, with the reasons.
function mend(schema) {
  const properties = { ...schema.properties };
  // The two messages of the example are not a rule.
  if (schema.maxItems === 2 && schema.minItems === 2) {
    const { minItems, maxItems, items, ...rest } = schema;
    // No field is required, so that each message matches both forms.
    return mend({ ...rest, items: { anyOf: items.oneOf } });
  }
  // The names of the schemas, instead of the names of the fields: rows have `name` and `id`.
  if (properties.senderName && properties.senderID) return mend(PERSON);
  // A text message has an object with its text, as the main message of a thread has.
  if (properties.content?.type === "string") properties.content = { anyOf: [text, object({ text })] };
  // Rows of messages have the fields of "Message Details Object".
  if (properties.content && properties.sender && properties.time) {
    Object.assign(properties, { mentions: MENTIONS, replied_message: REPLIED });
  }
  // Private channels are `personal` in the list and `private` everywhere else.
  if (properties.level?.enum) properties.level = { enum: ["organization", "team", "private", "external"] };
  // Undescribed fields are faults.
  if (schema.additionalProperties === undefined && schema.properties) {
    return { ...schema, properties, additionalProperties: false };
  }
  return schema.properties ? { ...schema, properties } : schema;
}

// Errors, which version 2 does not describe.
const ERROR = { type: "object", required: ["code", "message"], properties: { code: text, message: text }, additionalProperties: false };

function describe(version, name) {
  return new RestDescription(`${folder}/openapi/cliq-v${version}/${name}.yml`, {
    mend,
    // The description's path of one message ends with a second `messages`.
    named: (path) => path.replace(/(\/chats\/[^/]+\/messages\/[^/]+)$/, "$1/messages"),
    answer: (status) => (version === 2 && status >= 400 ? "error" : String(status)),
    patch: ({ paths }) => {
      for (const { get } of Object.values(paths)) {
        if (get) get.responses.error = { content: { "application/json": { schema: ERROR } } };
      }
    },
  });
}
const descriptions = {
  2: ["channels", "chats", "messages", "threads", "users"].map((name) => describe(2, name)),
  3: [describe(3, "messages")],
};

// Described fields that the simulator never sends.
const ABSENT = {
  // No photo, team or muted channel is simulated, and not all permissions.
  "/channels": ["muted_interval"],
  "/channels/{CHANNEL_ID}": ["image_url"],
  "/chats": ["styles", "highlight"],
  // The profile of Zoho People.
  "/users/{USER_ID}": ["department", "designation", "employee_id", "extension", "mobile", "reportingto", "work_location"],
  "/messages/search": ["star_type"],
};
// Permissions that no role of the simulator has or lacks.
const PERMISSIONS = [
  "audio_conference", "clear_all_messages", "prime_time", "special_mentions", "sticky_message", "unarchive_channel",
  "video_conference",
];
// Reading operations of these descriptions that are not simulated.
const NOT_SIMULATED = [
  "/chats/{CHAT_ID}/members",
  "/chats/{CHAT_ID}/stickymessage",
  "/chats/{CHAT_ID}/messages/{MESSAGE_ID}/reactions",
  "/threads/{THREAD_CHAT_ID}/followers",
  "/threads/{THREAD_CHAT_ID}/nonfollowers",
  "/users/layout",
  "/users/{USER_ID}/teams",
];

// Names of the fields of a value, without those of a map.
function* fieldsOf(value) {
  if (Array.isArray(value)) for (const one of value) yield* fieldsOf(one);
  else if (value !== null && typeof value === "object") {
    for (const [name, one] of Object.entries(value)) {
      yield name;
      if (name !== "teams") yield* fieldsOf(one);
    }
  }
}

// Names of the fields of a schema.
function* described(document, schema) {
  if (schema.$ref) yield* described(document, document.components.schemas[schema.$ref.split("/").pop()]);
  for (const one of [...(schema.oneOf ?? []), ...(schema.anyOf ?? [])]) yield* described(document, one);
  if (schema.items) yield* described(document, schema.items);
  for (const [name, one] of Object.entries(schema.properties ?? {})) {
    yield name;
    yield* described(document, one);
  }
}

const place = await organization("zoho_cliq", "contract-cliq", { people: 3, history: 20 });
const act = async (action, more = {}) => (await control("zoho_cliq/act", { account: place.login, action, ...more })).object;
const SCOPES = ["Channels", "Chats", "Messages", "Users"].map((name) => `ZohoCliq.${name}.READ`);
const { access_token } = await consent(place.admin, SCOPES);
const narrow = (await consent(place.admin, SCOPES.slice(0, 1))).access_token;
const outsider = (await consent(place.people[3].address, SCOPES)).access_token;

// Names of the fields in the responses, by path.
const seen = new Map();

async function get(path, status, { query = {}, version = 2, token = access_token } = {}) {
  const shown = path.replace(/\/(CT_[^/]+|\d[\d_]+|[OTPE]\d+)/g, "/{id}");
  const names = Object.keys(query).length ? ` with ${Object.keys(query).join(", ")}` : "";
  return check(`zoho_cliq: v${version} GET ${shown} (${status})${names} matches the description`, async () => {
    const response = await fetch(`${server()}/api/v${version}${path}?${new URLSearchParams(query)}`, {
      headers: { authorization: `Zoho-oauthtoken ${token}` },
    });
    const answer = await response.json();
    assert.equal(response.status, status, JSON.stringify(answer));
    const found = descriptions[version].find((one) => one.find("GET", path).operation);
    assert.notEqual(found, undefined, "no description has this path");
    const fault = found.fault("GET", path, status, answer);
    if (fault) throw new Error(fault);
    const { known } = found.find("GET", path);
    if (status === 200) {
      const fields = seen.get(known.path) ?? new Set();
      for (const field of fieldsOf(answer)) fields.add(field);
      seen.set(known.path, fields);
    }
    return answer;
  });
}

// All kinds of rows.
const channel = await act("channel.created", { level: "private", title: "Pumps", people: [place.people[1].login] });
const bot = await receive();
await control("zoho/cliq/extension", { account: place.login, url: bot.url, chats: true });
const { id: first } = await act("message.posted", { chat: channel.chat, mentions: [place.people[1].address] });
await act("message.posted", { chat: channel.chat, reply_to: first, text: "Größe & <more>" });
await act("message.posted", { chat: channel.chat, file: "pump.png" });
await act("message.posted", { chat: channel.chat, as_bot: true });
await act("message.info", { chat: channel.chat });
await act("thread.started", { chat: channel.chat, message: first });
const thread = (await act("thread.started", { chat: channel.chat, message: first, title: "Valve" })).thread;
await act("thread.closed", { chat: thread.chat });
const direct = await act("chat.created", { people: [place.people[2].login] });
await act("message.posted", { chat: direct.chat, as_bot: true });
await control("zoho_cliq/settings", { max_page_size: 2 });

const { next_token, sync_token } = await get("/channels", 200, { query: { joined: true, limit: 100 } });
await get("/channels", 200, { query: { joined: true, next_token } });
await get("/channels", 200, { query: { sync_token } });
await get("/channels", 200, { query: { order_by: "-last_modified_time", level: "private" } });
await get("/channels", 400, { query: { limit: "many" } });
await get("/channels", 401, { token: "x" });
await get(`/channels/${channel.channel}`, 200);
await get(`/channels/${channel.channel}`, 403, { token: outsider });
await get("/channels/O1", 404);
await get(`/channels/${channel.channel}/members`, 200);
const threads = await get(`/channels/${channel.channel}/threads`, 200, { query: { state: "all", limit: 1 } });
await get(`/channels/${channel.channel}/threads`, 200, { query: { state: "all", next_token: threads?.next_token } });
await get("/chats", 200, { query: { limit: 100, modified_after: 0 } });
await get("/chats", 401, { token: narrow });
const messages = `/chats/${channel.chat}/messages`;
await get(messages, 200, { query: { fromtime: 0, totime: Date.now() + 1_000, limit: 100 } });
await control("zoho_cliq/settings", { content_as_text: true });
await get(messages, 200);
await control("zoho_cliq/settings", { content_as_text: false });
await get(`${messages}/${first}`, 200);
await get(`${messages}/${first}/messages`, 200);
await get(`${messages}/1_2`, 404);
await get(messages, 403, { token: outsider });
await get(`/chats/${thread.chat}/messages`, 200);
await get(`/threads/${thread.chat}/messages/main`, 200);
const users = await get("/users", 200, { query: { limit: 100 } });
await get("/users", 200, { query: { next_token: users?.next_token } });
await get(`/users/${users?.data[0].id}`, 200);
await get("/users/1", 404);
const search = "/messages/search";
await control("zoho_cliq/settings", { max_page_size: 100 });
await get(search, 200, { version: 3, query: { limit: 2, include_bot_messages: true, query: "e" } });
await get(search, 200, { version: 3, query: { chat_ids: channel.chat, include_allowed_channels: true } });
await get(search, 200, { version: 3, query: { chat_ids: thread.chat } });
await get(search, 400, { version: 3, query: { from_time: 2, to_time: 1 } });
await control("zoho_cliq/settings", { throttles: { "v3/messages/search": { per_minute: 0, lock_seconds: 1 }, users: { per_minute: 0, lock_seconds: 1 } } });
await get(search, 429, { version: 3 });
await get("/users", 400);
await control("zoho_cliq/settings", { throttles: {} });

await check("zoho_cliq: every described reading operation was requested", () => {
  const all = Object.values(descriptions).flat().flatMap(({ document }) => Object.entries(document.paths));
  const reading = all.filter(([, operations]) => operations.get).map(([path]) => path);
  const left = [...new Set(reading)].filter((path) => !seen.has(path));
  assert.deepEqual(left.sort(), [...NOT_SIMULATED].sort());
});
await check("zoho_cliq: every described field is in a response", () => {
  for (const { document } of Object.values(descriptions).flat()) {
    for (const [path, { get: operation }] of Object.entries(document.paths)) {
      if (!operation || !seen.has(path)) continue;
      const fields = new Set(described(document, operation.responses["200"].content["application/json"].schema));
      // The names of the schemas, as above.
      for (const name of ["senderName", "senderID"]) fields.delete(name);
      const missing = [...fields].filter((name) => !seen.get(path).has(name) && !PERMISSIONS.includes(name));
      assert.deepEqual(missing.sort(), [...(ABSENT[path] ?? [])].sort(), path);
    }
  }
});
await check("zoho_cliq: version 3 has no list of handlers, as a live organization found", async () => {
  const recorded = read(`${folder}/recorded/openclaw-cliq/error-v3-request_url_invalid.json`);
  const response = await fetch(`${server()}/api/v3/bots/b-1/handlers`, { headers: { authorization: `Bearer ${access_token}` } });
  assert.deepEqual({ status: response.status, body: await response.json() }, recorded);
});
await check("zoho_cliq: a missing scope is refused as recorded", async () => {
  const recorded = read(`${folder}/recorded/openclaw-cliq/error-oauthtoken_scope_invalid.json`);
  const response = await fetch(`${server()}/api/v2/users`, { headers: { authorization: `Bearer ${narrow}` } });
  assert.deepEqual({ status: response.status, body: await response.json() }, recorded);
});

// Paths of a template that a value lacks, or has with another type.
function differences(template, value, path = "") {
  if (value === undefined || typeof template !== typeof value || Array.isArray(template) !== Array.isArray(value)) return [path];
  if (Array.isArray(template)) return template.length === 0 || value.length === 0 ? [] : differences(template[0], value[0], `${path}[]`);
  if (template === null || typeof template !== "object") return [];
  return Object.entries(template).flatMap(([name, one]) => differences(one, value[name], `${path}.${name}`));
}

await check("zoho_cliq: deliveries have the fields of the templates", async () => {
  await act("message.posted", { chat: channel.chat, file: "pump.png", mentions: ["bot"] });
  await control("quiesce", { timeout_seconds: 60 });
  const last = (name) => bot.received.map(({ body }) => body).filter(({ handler }) => handler.type === name).pop();
  const template = (name) => read(`${folder}/webhooks/catalyst-cli/cliq.bot/${name}.json`);
  // The bot does not ask for the location; a file has a comment instead of a text.
  assert.deepEqual(differences(template("mention_handler"), last("mention_handler")), [".params.message.text", ".params.location"]);
  assert.deepEqual(differences(template("participation_handler"), last("participation_handler")), [".params.data.message.text"]);
});
await check("zoho_cliq: a response that violates the description fails", () => {
  const [channels, , rows] = descriptions[2];
  const judge = (description, path, body, status = 200) => description.fault("GET", path, status, body);
  assert.equal(judge(channels, "/channels", { channels: [{ name: "a" }] }), undefined);
  assert.match(judge(channels, "/channels", { channels: [{ name: 1 }] }), /must be string/);
  assert.match(judge(channels, "/channels", { rows: [] }), /additional/);
  assert.match(judge(channels, "/channels", { channels: [{ creation_time: "yesterday" }] }), /date-time/);
  assert.match(judge(rows, "/chats/1/messages", { data: [{ time: "1" }] }), /must be/);
  assert.match(judge(channels, "/channels", { message: "no" }, 400), /required/);
});
bot.close();
