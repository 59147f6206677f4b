// Runs @googleapis/calendar with google-auth-library, unmodified, against the simulator.
import { createServer } from "node:http";

import { calendar } from "@googleapis/calendar";
import { OAuth2Client } from "google-auth-library";

import { assert, check, finish } from "./checks.mjs";
import { base, browse, control, destination } from "./simulator.mjs";

const host = `${base}/google`;
const scope = ["events.readonly", "calendarlist.readonly"].map((name) => `https://www.googleapis.com/auth/calendar.${name}`);
const redirectUri = (await control("google/settings")).redirect_uris[0];
const account = await control("google_calendar/accounts", { name: "calendar-js", people: 1, calendars: 1 });

// A client of the library, which knows only the simulator's addresses.
function oauth() {
  return new OAuth2Client({
    clientId: process.env.POBLYSH_GOOGLE_CLIENT_ID,
    clientSecret: process.env.POBLYSH_GOOGLE_CLIENT_SECRET,
    redirectUri,
    endpoints: {
      oauth2AuthBaseUrl: `${host}/o/oauth2/v2/auth`,
      oauth2TokenUrl: `${host}/token`,
      oauth2RevokeUrl: `${host}/revoke`,
    },
  });
}

const client = oauth();
const api = calendar({ version: "v3", auth: client });
// An option of each method; the one of the whole client loses the path of the address.
const at = { rootUrl: `${host}/` };

// Performs an action ten seconds after the last one.
async function act(action, params = {}) {
  await control("clock", { advance_seconds: 10 });
  return control("google_calendar/act", { account: account.admin, action, ...params });
}

async function refused(status, request) {
  const error = await request.then(() => assert.fail(`${status} was expected`), (error) => error);
  assert.equal(error.status ?? error.response?.status, status, error.message);
  return error.response.data.error.errors[0];
}

async function list(params = {}) {
  const rows = [];
  let pageToken;
  for (;;) {
    const { data } = await api.events.list({ calendarId: "primary", ...params, pageToken }, at);
    rows.push(...data.items);
    pageToken = data.nextPageToken;
    if (!pageToken) return { rows, token: data.nextSyncToken };
  }
}

await check("the library's consent URL, with PKCE, gives tokens", async () => {
  const { codeVerifier, codeChallenge } = await client.generateCodeVerifierAsync();
  const url = client.generateAuthUrl({
    access_type: "offline", prompt: "consent", scope, state: "s",
    code_challenge: codeChallenge, code_challenge_method: "S256",
  });
  const back = destination(await browse(account.admin, url));
  const { tokens } = await client.getToken({ code: back.searchParams.get("code"), codeVerifier });
  assert.ok(tokens.refresh_token && tokens.access_token);
  client.setCredentials(tokens);
});

await check("lists have pages, and a sync token at their end", async () => {
  for (let number = 0; number < 5; number += 1) await act("event.created");
  const { rows, token } = await list({ maxResults: 2 });
  assert.equal(rows.length, 5);
  const { rows: none } = await list({ syncToken: token });
  assert.deepEqual(none, []);
  const { data } = await api.calendarList.get({ calendarId: "primary" }, at);
  assert.equal(data.id, account.admin);
});

await check("a series has one change of all its rows", async () => {
  const { object } = await act("event.created", { rule: "weekly" });
  await act("event.edited", { event: object.id, scope: "this" });
  const { token } = await list({ showDeleted: true });
  await act("event.edited", { event: object.id, scope: "following", occurrence: 3 });
  const { rows } = await list({ showDeleted: true, syncToken: token });
  assert.equal(rows.length, 3);
  assert.equal(new Set(rows.map((row) => row.etag)).size, 1);
  assert.ok(rows.some((row) => row.id.startsWith(`${object.id}_R`)));
});

await check("an expired sync token is 410 with its reason", async () => {
  const { token } = await list();
  await control("google_calendar/cursors", { expire: account.admin });
  const error = await refused(410, api.events.list({ calendarId: "primary", syncToken: token }, at));
  assert.equal(error.reason, "fullSyncRequired");
  assert.equal((await list()).rows.length, 8);
});

await check("a channel gets its first message, then one for changes", async () => {
  const states = [];
  const server = createServer((request, response) => {
    states.push([request.headers["x-goog-resource-state"], request.headers["x-goog-channel-token"]]);
    response.end();
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const address = `http://127.0.0.1:${server.address().port}/`;
  const requestBody = { id: crypto.randomUUID(), type: "web_hook", address, token: "the token" };
  const { data } = await api.events.watch({ calendarId: "primary", requestBody }, at);
  assert.ok(Number(data.expiration) > Date.now());
  await control("quiesce", {});
  await act("event.created");
  await control("quiesce", {});
  assert.deepEqual(states, [["sync", "the token"], ["exists", "the token"]]);
  await api.channels.stop({ requestBody: { id: data.id, resourceId: data.resourceId } }, at);
  await act("event.created");
  await control("quiesce", {});
  assert.equal(states.length, 2, "a stopped channel is silent");
  server.close();
});

await check("the library refreshes an expired access token, and revokes the grant", async () => {
  await control("google/tokens", { expire: account.admin });
  client.credentials.expiry_date = 1;
  assert.equal((await api.calendarList.get({ calendarId: "primary" }, at)).status, 200);
  await client.revokeToken(client.credentials.refresh_token);
  client.credentials.expiry_date = 1;
  const error = await api.calendarList.list({}, at).then(() => assert.fail("no error"), (error) => error);
  assert.match(error.message, /invalid_grant|invalid_token|Invalid Credentials/);
});

finish();
