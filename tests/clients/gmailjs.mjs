// Runs @googleapis/gmail with google-auth-library, unmodified, against the simulated Gmail.
import { createServer } from "node:http";

import { gmail } from "@googleapis/gmail";
import { OAuth2Client } from "google-auth-library";

import { assert, check, finish } from "./checks.mjs";
import { callback, consent, google, organization } from "./google.mjs";
import { control } from "./simulator.mjs";

const READONLY = "https://www.googleapis.com/auth/gmail.readonly";
// Options of each call. The same option for all calls would replace the host only, not the path.
const at = { rootUrl: `${google.api}/` };
const topicName = process.env.POBLYSH_GMAIL_TOPIC;

// A client of the library, with the simulator's hosts.
function oauth() {
  return new OAuth2Client({
    clientId: google.clientId,
    clientSecret: google.clientSecret,
    redirectUri: callback,
    endpoints: {
      oauth2AuthBaseUrl: `${google.auth}/o/oauth2/v2/auth`,
      oauth2TokenUrl: `${google.token}/token`,
      oauth2RevokeUrl: `${google.token}/revoke`,
      oauth2FederatedSignonPemCertsUrl: `${google.api}/oauth2/v1/certs`,
      oauth2FederatedSignonJwkCertsUrl: `${google.api}/oauth2/v3/certs`,
    },
  });
}

// A new mailbox, and the library's client of its owner.
async function mailbox(name, more = {}) {
  const { login, admin } = await organization("gmail", name, more);
  const { access_token, refresh_token } = await consent(admin, [READONLY]);
  const auth = oauth();
  // Without the time of expiry, so that a 401 makes the library refresh the token.
  auth.setCredentials({ access_token, refresh_token });
  const { users } = gmail({ version: "v1", auth });
  const act = (action, params = {}) => control("gmail/act", { account: login, action, ...params });
  return { login, address: admin, users, auth, act };
}

// Rows of all pages of a list: `call` requests one, `field` has its rows.
async function all(call, field, parameters) {
  const rows = [];
  let pageToken;
  do {
    const { data } = await call({ userId: "me", ...parameters, ...(pageToken && { pageToken }) });
    rows.push(...(data[field] ?? []));
    pageToken = data.nextPageToken;
  } while (pageToken);
  return rows;
}

async function refused(status, promise) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.response?.status, status, error.message);
    return true;
  });
}

const box = await mailbox("gmailjs", { history: 40 });
const messages = (parameters) => all((one) => box.users.messages.list(one, at), "messages", parameters);
const history = (startHistoryId, more) => all((one) => box.users.history.list(one, at), "history", { startHistoryId, ...more });
const current = async () => (await box.users.getProfile({ userId: "me" }, at)).data.historyId;
const added = (records) => records.flatMap((record) => record.messagesAdded ?? []).map(({ message }) => message.id);

await check("the list has every message on pages of any size", async () => {
  const whole = await messages({ maxResults: 500 });
  const small = await messages({ maxResults: 3 });
  assert.deepEqual(small, whole);
  assert.ok(whole.length > 30);
  const { data } = await box.users.getProfile({ userId: box.address }, at);
  assert.equal(data.emailAddress, box.address);
  assert.ok(data.messagesTotal >= whole.length);
});

await check("a message has the requested headers, in any case", async () => {
  const { object } = await box.act("mail.received", { from: "a@x.example", subject: "Plain", list: "l.example", automatic: true });
  const metadataHeaders = ["from", "SUBJECT", "List-Id", "auto-submitted", "Date", "message-id"];
  const { data } = await box.users.messages.get({ userId: "me", id: object.id, format: "metadata", metadataHeaders }, at);
  const names = new Set(data.payload.headers.map(({ name }) => name.toLowerCase()));
  assert.deepEqual([...names].sort(), metadataHeaders.map((name) => name.toLowerCase()).sort());
  const raw = await box.users.messages.get({ userId: "me", id: object.id, format: "raw" }, at);
  assert.match(Buffer.from(raw.data.raw, "base64url").toString(), /^subject: Plain\r$/im);
});

await check("the history has the acts after an id, with the labels of the present", async () => {
  const start = await current();
  const { object } = await box.act("mail.received", { count: 15 });
  await box.act("mail.trashed", { message: object.ids[0] });
  await box.act("mail.to_self");
  const records = await history(start, { historyTypes: ["messageAdded", "labelAdded"], maxResults: 4 });
  assert.equal(added(records).length, 16);
  const first = records[0].messagesAdded[0].message;
  assert.ok(first.labelIds.includes("TRASH"));
  const last = records.at(-1).messagesAdded[0].message;
  assert.deepEqual(last.labelIds.slice(0, 2), ["SENT", "INBOX"]);
  await box.act("history.expired");
  await refused(404, box.users.history.list({ userId: "me", startHistoryId: start }, at));
});

await check("sent mail is in the mailbox of its simulated recipient", async () => {
  const other = await mailbox("gmailjs-other");
  const { facts } = await box.act("mail.sent", { to: [other.address], subject: "Hello" });
  assert.deepEqual(facts.map(({ kind }) => kind), ["email_sent", "email_received"]);
  const { data } = await other.users.messages.list({ userId: "me", q: "subject:hello" }, at);
  assert.equal(data.messages.length, 1);
  await refused(404, other.users.messages.get({ userId: "me", id: facts[0].dedupe_key.split(":").at(-1) }, at));
});

await check("the library refreshes an expired token and revokes the grant", async () => {
  const fresh = await mailbox("gmailjs-refresh");
  await control("google/tokens", { expire: fresh.login });
  assert.equal((await fresh.users.getProfile({ userId: "me" }, at)).data.emailAddress, fresh.address);
  const { access_token } = fresh.auth.credentials;
  await fresh.auth.revokeCredentials();
  fresh.auth.setCredentials({ access_token });
  await refused(401, fresh.users.getProfile({ userId: "me" }, at));
});

const received = [];
const statuses = [];
const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    received.push({ headers: request.headers, body: JSON.parse(Buffer.concat(parts)) });
    response.writeHead(statuses.shift() ?? 204).end();
  });
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const url = `http://127.0.0.1:${server.address().port}/webhooks/gmail`;
await control("gmail/settings", { webhook_url: url, retry_seconds: [0.05], notification_milliseconds: 0 });

async function takeReceived() {
  await control("quiesce", { timeout_seconds: 60 });
  return received.splice(0);
}

// Claims of a push's token, as a receiver verifies them.
async function verify({ headers }, audience = url) {
  const [, idToken] = /^Bearer (.+)$/.exec(headers.authorization ?? "") ?? [];
  assert.ok(idToken, "no token");
  const ticket = await oauth().verifyIdToken({ idToken, audience });
  const claims = ticket.getPayload();
  assert.equal(claims.email, process.env.POBLYSH_GMAIL_PUSH_ACCOUNT);
  assert.equal(claims.email_verified, true);
  return claims;
}

await check("a push has a token that google-auth-library verifies", async () => {
  const requestBody = { topicName, labelIds: ["DRAFT", "SPAM"], labelFilterBehavior: "exclude" };
  const { data } = await box.users.watch({ userId: "me", requestBody }, at);
  assert.equal(data.historyId, await current());
  const { object } = await box.act("mail.received");
  const [push, ...others] = await takeReceived();
  assert.equal(others.length, 0);
  assert.equal((await verify(push)).iss, "https://accounts.google.com");
  const { emailAddress, historyId } = JSON.parse(Buffer.from(push.body.message.data, "base64"));
  assert.deepEqual([emailAddress, String(historyId)], [box.address, await current()]);
  assert.deepEqual(added(await history(data.historyId)), [object.id]);
});

await check("the library rejects every forged token", async () => {
  const effects = [
    "no_signature wrong_signature old_signature unsigned_token public_key_token wrong_audience foreign_account",
    "unknown_key",
  ].join(" ").split(" ");
  for (const effect of effects) {
    await control("faults", { target: "delivery", effect, count: 1 });
    statuses.push(401);
    await box.act("mail.received");
    const [forged, repeated] = await takeReceived();
    await assert.rejects(verify(forged), undefined, effect);
    await verify(repeated);
    assert.equal(forged.body.message.messageId, repeated.body.message.messageId);
  }
  await box.act("mail.received");
  const [push] = await takeReceived();
  await assert.rejects(verify(push, "https://other.example/"));
});

await check("a stopped watch is silent", async () => {
  assert.equal((await box.users.stop({ userId: "me" }, at)).status, 204);
  await box.act("mail.received");
  assert.deepEqual(await takeReceived(), []);
});

await control("gmail/settings", { webhook_url: "", retry_seconds: [0.5, 1, 2, 4], notification_milliseconds: 1_000 });
server.close();
finish();
