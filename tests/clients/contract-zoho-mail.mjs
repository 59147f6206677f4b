// Checks Zoho Mail's responses against the description of its API: all fields of a response are
// described, and all described fields of the objects are in the responses. Recorded responses pass
// the same checks, and deliveries have the fields of recorded ones.
import { assert, check } from "./checks.mjs";
import { receive } from "./receiver.mjs";
import { RestDescription, read } from "./schemas.mjs";
import { control } from "./simulator.mjs";
import { consent, organization, server } from "./zoho.mjs";

const fixtures = `${process.env.POBLYSH_FIXTURES}/zoho`;
const file = `${fixtures}/openapi/mail/zoho-mail-openapi.json`;
const text = { type: "string" };
const texts = (...names) => Object.fromEntries(names.map((name) => [name, text]));
const flags = (...names) => Object.fromEntries(names.map((name) => [name, { type: "boolean" }]));

// Fields that recorded rows or Zoho's own pages have and the description lacks, by the field that
// identifies the object's schema, and its fields that recorded rows never have.
const OBJECTS = {
  Account: {
    sign: "accountName",
    more: {
      ...texts("type", "accountDisplayName", "primaryEmailAddress", "mailboxAddress", "timeZone"),
      ...flags("incomingBlocked", "enabled", "status"),
      zuid: { type: "integer" },
      // The description has a text here; accounts have the list of their addresses.
      emailAddress: { type: "array", items: { type: "object", required: ["mailId"] } },
      sendMailDetails: { type: "array", items: { type: "object", required: ["sendMailId", "fromAddress"] } },
    },
    absent: [],
  },
  Folder: {
    sign: "unreadCount",
    more: { ...texts("folderType", "URI"), ...flags("imapAccess"), isArchived: { enum: [0, 1] } },
    absent: ["messageCount", "unreadCount"],
  },
  Message: {
    sign: "sentDateInGMT",
    more: {
      ...texts("folderId", "sender", "receivedTime", "summary", "status", "status2", "flagid", "priority"),
      ...texts("hasInline", "size", "threadId", "threadCount", "toAddr", "mailDeliveryStatus"),
      calendarType: { type: "integer" },
    },
    absent: ["bccAddress", "isUnread"],
  },
};

function mend(schema) {
  const properties = schema.properties ?? {};
  const object = Object.values(OBJECTS).find(({ sign }) => Object.hasOwn(properties, sign));
  if (!object) return schema;
  return { ...schema, properties: { ...properties, ...object.more }, additionalProperties: false };
}

// The envelope of errors, which the description does not have.
const ERROR = {
  type: "object",
  required: ["status", "data"],
  properties: {
    status: { $ref: "#/components/schemas/ApiStatus" },
    data: {
      type: "object",
      required: ["errorCode"],
      properties: texts("errorCode", "moreInfo"),
      additionalProperties: false,
    },
  },
  additionalProperties: false,
};

const rest = new RestDescription(file, {
  mend,
  answer: (status) => (status >= 400 ? "error" : String(status)),
  patch: ({ paths }) => {
    for (const { get } of Object.values(paths)) {
      if (get) get.responses.error = { content: { "application/json": { schema: ERROR } } };
    }
  },
});

const place = await organization("zoho_mail", "contract-zoho-mail", { history: 40 });
const act = (action, more = {}) => control("zoho_mail/act", { account: place.login, action, ...more });
const SCOPES = ["accounts", "folders", "messages"].map((name) => `ZohoMail.${name}.READ`);
const { access_token } = await consent(place.admin, SCOPES);
const narrow = (await consent(place.admin, SCOPES.slice(0, 1))).access_token;

const asked = new Set();

// Requests a path below the accounts, and checks the response; returns its data.
async function described(path, status, { token = access_token } = {}) {
  const [shown] = path.split("?");
  return check(`zoho_mail: GET ${path.replace(/\d{15,}/g, "{id}")} (${status}) matches the description`, async () => {
    const response = await fetch(`${server()}/api/accounts${path}`, { headers: { authorization: `Zoho-oauthtoken ${token}` } });
    const answer = await response.json();
    assert.equal(response.status, status, JSON.stringify(answer));
    assert.equal(answer.status.code, status);
    const fault = rest.fault("GET", `/api/accounts${shown}`, status, answer);
    if (fault) throw new Error(fault);
    assert.notEqual(fault, null, "the description does not know this path");
    const { known, operation } = rest.find("GET", `/api/accounts${shown}`);
    if (status === 200) asked.add(`${operation.operationId}`);
    assert.ok(known.path.startsWith("/api/accounts"));
    return answer.data;
  });
}

const accounts = await described("", 200);
await described("", 401, { token: "x" });
const account = accounts?.[0].accountId;
const at = (path) => `/${account}${path}`;
await described(at(""), 200);
await described("/1234", 404);

// Messages in folders of every type, so that every kind of row is judged.
const { object: { id } } = await act("mail.received", { cc: ["c@x.example"], attachment: true });
await act("mail.sent", { answers: id, to: [place.people[1].address] });
for (const folder of ["Projects", "Newsletter", "Notification", "Snoozed", "Spam", "Trash"]) await act("mail.received", { folder });
for (const folder of ["Drafts", "Templates", "Outbox"]) await act("mail.draft", { folder });
await act("mail.read", { message: id });

const folders = await described(at("/folders"), 200);
await described(at("/folders"), 401, { token: narrow });
const rows = [];
for (const { folderId } of folders ?? []) {
  await described(at(`/folders/${folderId}`), 200);
  const view = `/messages/view?folderId=${folderId}&start=1&limit=200&sortBy=date&sortorder=false&includeto=true`;
  rows.push(...((await described(at(view), 200)) ?? []));
}
await described(at("/messages/view?limit=201"), 400);
await described(at("/messages/view?folderId=1"), 404);
const inbox = folders?.find(({ folderType }) => folderType === "Inbox").folderId;
for (const part of ["details", "header", "content"]) {
  await described(at(`/folders/${inbox}/messages/${id}/${part}`), 200);
  await described(at(`/folders/${inbox}/messages/1234/${part}`), 404);
}

await check("zoho_mail: every described operation that reads was requested", () => {
  const reading = Object.values(rest.document.paths).flatMap(({ get }) => (get ? [get.operationId] : []));
  const left = reading.filter((name) => !asked.has(name));
  // Not simulated: see tests/README.md.
  assert.deepEqual(left.sort(), ["getAttachmentContent", "getAttachmentInfo", "getOriginalMessage", "listMessages", "searchMessages"]);
});
await check("zoho_mail: every described field of an object is in the responses", () => {
  const { schemas } = rest.document.components;
  for (const [name, objects] of Object.entries({ Account: accounts, Folder: folders, Message: rows })) {
    const { more, absent } = OBJECTS[name];
    const described = [...Object.keys(schemas[name].properties), ...Object.keys(more)];
    const seen = new Set(objects.flatMap((one) => Object.keys(one)));
    const missing = [...new Set(described)].filter((field) => !seen.has(field));
    assert.deepEqual(missing.sort(), [...absent].sort(), name);
  }
});
await check("zoho_mail: values of rows are texts", () => {
  const others = rows.flatMap((row) => Object.entries(row).filter(([, value]) => typeof value !== "string"));
  assert.deepEqual([...new Set(others.map(([name]) => name))], ["calendarType"]);
  assert.ok(rows.some(({ ccAddress }) => ccAddress === "Not Provided") && rows.some(({ ccAddress }) => ccAddress.startsWith("&lt;")));
});
await check("zoho_mail: a response that violates the description fails", () => {
  const fault = (path, data) => rest.fault("GET", `/api/accounts${path}`, 200, { status: { code: 200 }, data });
  assert.match(fault("/1/messages/view", [{ messageId: 1 }]), /must be string/);
  assert.match(fault("/1/folders", [{ folderId: "1", folder: "a" }]), /additional/);
  assert.match(fault("", { accountId: "1" }), /must be array/);
});

await check("zoho_mail: recorded responses pass the same checks", () => {
  const { api } = read(`${fixtures}/recorded/nango-zoho-mail/get-message.test.json`);
  const recorded = [
    ["", read(`${fixtures}/recorded/amp-zoho-mail/accounts.json`)],
    ["/1/messages/view", read(`${fixtures}/recorded/activepieces/mail/message-row.json`)],
    ["/1/folders/1/messages/1/details", Object.values(api.get)[0].response],
  ];
  for (const [path, answer] of recorded) assert.equal(rest.fault("GET", `/api/accounts${path}`, 200, answer), undefined, path);
});

const receiver = await receive();
await control("zoho_mail/settings", { handshake_sample: true });
await control("zoho/mail/webhook", { account: place.login, url: receiver.url });

// Fields of the newest delivery with the types of their values.
async function delivered() {
  await act("mail.received", { to: ["a@x.example"] });
  await control("quiesce", { timeout_seconds: 60 });
  return shape(receiver.received.at(-1).body);
}
const shape = (body) => Object.fromEntries(Object.entries(body).map(([name, value]) => [name, typeof value]));
const samples = `${fixtures}/webhooks/mail/mail.outgoing_webhook`;

await check("zoho_mail: deliveries have the fields of recorded ones", async () => {
  const fields = await delivered();
  for (const name of ["real-2024-reply", "real-2024-inline-image"]) assert.deepEqual(fields, shape(read(`${samples}/${name}.json`)), name);
});
await check("zoho_mail: deliveries have the fields of Zoho's page by a setting", async () => {
  await control("zoho_mail/settings", { omit_message_id_string: true });
  assert.deepEqual(await delivered(), shape(read(`${samples}/docs-webhook-response-sample.json`)));
});

await control("zoho_mail/settings", { handshake_sample: false, omit_message_id_string: false });
await control("zoho/mail/webhook", { account: place.login, url: receiver.url }, "DELETE");
receiver.close();
