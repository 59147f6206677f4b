// Checks Gmail's responses and pushes against the discovery documents of Gmail and Pub/Sub.
import { assert, check } from "./checks.mjs";
import { describe } from "./discovery.mjs";
import { consent, google, organization } from "./google.mjs";
import { receive } from "./receiver.mjs";
import { control } from "./simulator.mjs";

const discovery = `${process.env.POBLYSH_FIXTURES}/google/discovery`;
const rest = describe(`${discovery}/gmail.v1.json`);
const pubsub = describe(`${discovery}/pubsub.v1.json`);
const SCOPE = "https://www.googleapis.com/auth/gmail.";
const topicName = process.env.POBLYSH_GMAIL_TOPIC;

const place = await organization("gmail", "contract-gmail", { history: 60 });
const act = (action, more = {}) => control("gmail/act", { account: place.login, action, ...more });
const { access_token } = await consent(place.admin, [`${SCOPE}readonly`]);
const metadata = (await consent(place.people[1].address, [`${SCOPE}metadata`])).access_token;
const narrow = (await consent(place.people[2].address, [])).access_token;
const receiver = await receive();
await control("gmail/settings", { webhook_url: receiver.url, notification_milliseconds: 0 });

async function described(method, path, status, { body, token = access_token } = {}) {
  const [shown] = path.split("?");
  return check(`gmail: ${method} ${path.replace(/[0-9a-f]{12,}/g, "{id}")} (${status}) matches the description`, async () => {
    const response = await fetch(`${google.api}/gmail/v1/users/me${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    const answer = text === "" ? undefined : JSON.parse(text);
    assert.equal(response.status, status, text);
    const fault = rest.fault(method, `/gmail/v1/users/me${shown}`, status, answer);
    if (fault) throw new Error(fault);
    assert.notEqual(fault, null, "the description does not know this path");
    return answer;
  });
}

const { historyId: start } = await described("GET", "/profile", 200);
await described("GET", "/profile", 401, { token: "x" });
await described("GET", "/profile", 403, { token: narrow });
await described("POST", "/watch", 200, { body: { topicName } });
await described("POST", "/watch", 400, { body: { topicName: "projects/other/topics/a" } });
await described("POST", "/watch", 404, { body: { topicName: topicName.replace(/[^/]+$/, "none") } });
await control("gmail/settings", { may_publish: false });
await described("POST", "/watch", 403, { body: { topicName } });
await control("gmail/settings", { may_publish: true });

// All actions, so that every kind of row is judged.
const { object: { id } } = await act("mail.received", { list: "a.example", automatic: true, cc: ["b@x.example"], label: "Invoices" });
await act("mail.received", { answers: id, archived: true });
await act("mail.received", { spam: true, date_offset_seconds: 46_800 });
for (const action of ["read", "archived", "labelled", "trashed", "untrashed"]) await act(`mail.${action}`, { message: id });
await act("mail.sent", { to: [place.people[1].address] });
await act("mail.to_self");
await act("mail.imported");
await act("chat.received");
const { object: { id: draft } } = await act("mail.draft");
const { object: { id: saved } } = await act("mail.draft", { message: draft });
await act("mail.draft_sent", { message: saved });
const { object: { id: gone } } = await act("mail.received");
await act("mail.deleted", { message: gone });

const page = await described("GET", "/messages?maxResults=5", 200);
await described("GET", `/messages?maxResults=5&pageToken=${page?.nextPageToken}`, 200);
await described("GET", "/messages?labelIds=SENT&labelIds=INBOX", 200);
await described("GET", "/messages?q=subject:nothing-like-this", 200);
await described("GET", "/messages?pageToken=x", 400);
await described("GET", "/messages?labelIds=NONE", 400);
await described("GET", "/messages?q=a", 403, { token: metadata });
for (const format of ["minimal", "metadata", "full", "raw"]) {
  await described("GET", `/messages/${id}?format=${format}`, 200);
  for (const { id: other } of page?.messages ?? []) await described("GET", `/messages/${other}?format=${format}`, 200);
}
await described("GET", `/messages/${id}?format=metadata&metadataHeaders=subject&metadataHeaders=From`, 200);
await described("GET", `/messages/${gone}`, 404);
await described("GET", "/messages/none", 400);
await described("GET", `/threads/${id}?format=metadata`, 200);
await described("GET", `/threads/${gone}`, 404);
await described("GET", "/labels", 200);
await described("GET", "/labels/Label_1", 200);
await described("GET", "/labels/Label_9", 404);
const records = await described("GET", `/history?startHistoryId=${start}&maxResults=500`, 200);
await described("GET", `/history?startHistoryId=${start}&maxResults=2&labelId=INBOX`, 200);
const { historyId: end } = await described("GET", `/history?startHistoryId=${records?.historyId}`, 200);
await described("GET", "/history", 400);
await described("GET", `/history?startHistoryId=${start}&historyTypes=none`, 400);
await act("history.expired");
await described("GET", `/history?startHistoryId=${end}`, 404);
await described("POST", "/stop", 204);

const quotas = (await control("google/settings")).quotas;
await control("google/settings", { quotas: { gmail: { project_per_minute: 0, user_per_minute: null } } });
await described("GET", "/messages", 403);
await control("google/settings", { quotas });

await check("gmail: every kind of change was judged", () => {
  const fields = new Set(records.history.flatMap((record) => Object.keys(record)));
  const kinds = ["messagesAdded", "messagesDeleted", "labelsAdded", "labelsRemoved"];
  assert.deepEqual([...fields].sort(), ["id", "messages", ...kinds].sort());
});
await check("gmail: pushes match the description of a Pub/Sub message", async () => {
  await control("quiesce", { timeout_seconds: 60 });
  const { PubsubMessage } = pubsub.document.definitions;
  assert.ok(receiver.received.length > 10, `${receiver.received.length} pushes`);
  for (const { body } of receiver.received) {
    assert.deepEqual(Object.keys(body).sort(), ["message", "subscription"]);
    assert.match(body.subscription, /^projects\/[^/]+\/subscriptions\/[^/]+$/);
    // Real pushes repeat two fields in another case, which the description lacks.
    const { message_id, publish_time, ...message } = body.message;
    assert.deepEqual([message_id, publish_time], [message.messageId, message.publishTime]);
    const fault = pubsub.judge("PubsubMessage", PubsubMessage, message);
    if (fault) throw new Error(fault);
    assert.equal(new Date(message.publishTime).toISOString(), message.publishTime);
  }
});
await check("gmail: a response that violates the description fails", () => {
  assert.match(rest.fault("GET", "/gmail/v1/users/me/messages/a", 200, { id: 1 }), /must be string/);
  assert.match(rest.fault("GET", "/gmail/v1/users/me/profile", 200, { historyId: 5 }), /must be string/);
  assert.match(rest.fault("GET", "/gmail/v1/users/me/labels", 200, { label: [] }), /additional/);
});

await control("gmail/settings", { webhook_url: "", notification_milliseconds: 1_000 });
receiver.close();
