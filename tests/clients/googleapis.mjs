// Runs Google's clients for Node.js, unmodified, against the simulator: consent with PKCE, refresh,
// revocation, identity tokens, lists, changes, channels, errors.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";

import { drive as driveApi } from "@googleapis/drive";
import { CodeChallengeMethod, OAuth2Client } from "google-auth-library";

import { assert, check, finish } from "./checks.mjs";
import { IDENTITY, METADATA, agree, callback, google, organization } from "./google.mjs";
import { control } from "./simulator.mjs";

const place = await organization("google_drive", "googleapis", { history: 40 });
const scope = [...IDENTITY, METADATA];

// The web client, with the addresses of the simulator.
function webClient() {
  return new OAuth2Client({
    clientId: google.clientId,
    clientSecret: google.clientSecret,
    redirectUri: callback,
    forceRefreshOnFailure: true,
    endpoints: {
      oauth2AuthBaseUrl: `${google.auth}/o/oauth2/v2/auth`,
      oauth2TokenUrl: `${google.token}/token`,
      oauth2RevokeUrl: `${google.token}/revoke`,
      oauth2FederatedSignonPemCertsUrl: `${google.api}/oauth2/v1/certs`,
      oauth2FederatedSignonJwkCertsUrl: `${google.api}/oauth2/v3/certs`,
    },
  });
}

// A client with the tokens of a person's consent.
async function consented(login = place.admin, more = {}) {
  const client = webClient();
  const { codeVerifier, codeChallenge } = await client.generateCodeVerifierAsync();
  const url = client.generateAuthUrl({
    access_type: "offline",
    prompt: "consent",
    scope,
    state: "s",
    code_challenge: codeChallenge,
    code_challenge_method: CodeChallengeMethod.S256,
    ...more,
  });
  const { code } = await agree(login, url);
  const { tokens } = await client.getToken({ code, codeVerifier });
  client.setCredentials(tokens);
  return client;
}

const auth = await consented();
const drive = driveApi({ version: "v3", auth });
// Options of each call. The same option for all calls would replace the host only, not the path.
const at = { rootUrl: `${google.api}/` };
const act = (action, more = {}) => control("google_drive/act", { account: place.login, action, ...more });

// Returns the error of a call, which must have this status.
async function refused(status, promise) {
  const error = await promise.then(() => undefined, (error) => error);
  assert.equal(error?.response?.status, status, error?.message);
  return error.response.data;
}

await check("a consent with PKCE gives all tokens, a code is valid once", async () => {
  const { access_token, refresh_token, id_token, scope: granted, expiry_date } = auth.credentials;
  assert.match(access_token, /^ya29\./);
  assert.match(refresh_token, /^1\/\//);
  assert.deepEqual(granted.split(" ").sort(), [...scope].sort());
  assert.ok(id_token && expiry_date > Date.now());
  const client = webClient();
  const url = client.generateAuthUrl({ access_type: "offline", scope });
  const { code } = await agree(place.admin, url);
  await client.getToken(code);
  assert.equal((await refused(400, client.getToken(code))).error, "invalid_grant");
});

await check("the identity token verifies, and not for another audience", async () => {
  const idToken = auth.credentials.id_token;
  const ticket = await auth.verifyIdToken({ idToken, audience: google.clientId });
  assert.deepEqual([ticket.getPayload().sub, ticket.getPayload().email], [place.login, place.admin]);
  await assert.rejects(auth.verifyIdToken({ idToken, audience: "another" }), /audience/);
});

await check("an expired access token is refreshed by the client", async () => {
  const client = await consented();
  await control("google/tokens", { expire: place.admin });
  const before = client.credentials;
  const { data } = await driveApi({ version: "v3", auth: client }).about.get({ fields: "user" }, at);
  assert.equal(data.user.emailAddress, place.admin);
  assert.notEqual(client.credentials.access_token, before.access_token);
  assert.equal(client.credentials.refresh_token, before.refresh_token);
});

await check("files and changes are read page by page", async () => {
  await control("google_drive/settings", { max_page_size: 4 });
  const shared = { supportsAllDrives: true, includeItemsFromAllDrives: true };
  const { data: { startPageToken } } = await drive.changes.getStartPageToken({ supportsAllDrives: true }, at);
  const ids = [];
  for (let turn = 0; turn < 9; turn += 1) ids.push((await act("file.created")).object.id);
  const rows = [];
  let [pageToken, next] = [startPageToken, undefined];
  while (next === undefined) {
    const { data } = await drive.changes.list({ pageToken, fields: "*", ...shared }, at);
    rows.push(...data.changes);
    assert.notEqual(data.nextPageToken === undefined, data.newStartPageToken === undefined);
    [pageToken, next] = [data.nextPageToken, data.newStartPageToken];
  }
  assert.deepEqual(rows.map((row) => row.fileId), ids);
  const files = new Set();
  pageToken = undefined;
  do {
    const order = { fields: "nextPageToken,files/id", orderBy: "createdTime desc" };
    const { data } = await drive.files.list({ pageToken, ...order, ...shared }, at);
    for (const file of data.files) files.add(file.id);
    pageToken = data.nextPageToken;
  } while (pageToken);
  assert.ok(ids.every((id) => files.has(id)) && files.size > ids.length);
  await control("google_drive/settings", { max_page_size: 1000 });
});

await check("a channel pushes without a body until it is stopped", async () => {
  const received = [];
  const server = createServer((request, response) => {
    request.resume().on("end", () => received.push(request.headers));
    response.writeHead(204).end();
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const address = `http://127.0.0.1:${server.address().port}/push`;
  const { data: { startPageToken: pageToken } } = await drive.changes.getStartPageToken({}, at);
  const requestBody = { id: randomUUID(), type: "web_hook", address, token: "secret" };
  const { data: channel } = await drive.changes.watch({ pageToken, requestBody }, at);
  await act("file.created");
  await control("quiesce", {});
  assert.deepEqual(received.map((one) => one["x-goog-resource-state"]), ["sync", "change"]);
  assert.ok(received.every((one) => one["x-goog-channel-token"] === "secret" && one["content-length"] === "0"));
  const stop = { requestBody: { id: channel.id, resourceId: channel.resourceId } };
  assert.equal((await drive.channels.stop(stop, at)).status, 204);
  await act("file.created");
  await control("quiesce", {});
  assert.equal(received.length, 2);
  await refused(404, drive.channels.stop(stop, at));
  server.close();
});

await check("errors have Google's envelope", async () => {
  const missing = await refused(400, drive.about.get({}, at));
  assert.equal(missing.error.errors[0].location, "fields");
  const unknown = await refused(404, drive.files.get({ fileId: "none" }, at));
  assert.equal(unknown.error.errors[0].reason, "notFound");
  const narrow = await consented(place.people[1].address, { scope: IDENTITY });
  const denied = driveApi({ version: "v3", auth: narrow }).files.list({}, at);
  assert.equal((await refused(403, denied)).error.details[0].reason, "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
});

await check("a revocation ends the grant", async () => {
  const client = await consented();
  await client.revokeCredentials();
  assert.equal((await refused(400, auth.refreshAccessToken())).error, "invalid_grant");
});

finish();
