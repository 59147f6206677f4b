// Runs Octokit, unmodified, against the simulator: OAuth, app authentication, pagination,
// conditional requests, limits, redirects, webhooks.
import { createServer } from "node:http";

import { App } from "@octokit/app";
import { throttling } from "@octokit/plugin-throttling";
import { Octokit } from "@octokit/rest";
import { createNodeMiddleware, Webhooks } from "@octokit/webhooks";

import { assert, check, finish } from "./checks.mjs";
import { account, act, base, browse, callback, control, destination, settings } from "./simulator.mjs";

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const AtSimulator = Octokit.defaults({ baseUrl: settings.api, log: quiet });
const app = new App({
  appId: settings.appId,
  privateKey: settings.privateKey,
  oauth: { clientId: settings.clientId, clientSecret: settings.clientSecret },
  webhooks: { secret: settings.webhookSecret },
  Octokit: AtSimulator,
  log: quiet,
});

await control("github/settings", { callback_urls: [callback], setup_url: `${base}/nowhere/setup` });
const team = await account("octokit-team", 400);
const { login, admin } = team;
const [{ name: repo }] = team.repositories;

const installation = await check("installing redirects to the setup URL with the state", async () => {
  const page = `${settings.web}/apps/${settings.slug}/installations/new`;
  assert.match(await (await browse(admin, `${page}?state=s-1`)).text(), /octokit-team/);
  const url = destination(await browse(admin, page, { account: login, state: "s-1" }));
  assert.equal(url.searchParams.get("state"), "s-1");
  assert.equal(url.searchParams.get("setup_action"), "install");
  return Number(url.searchParams.get("installation_id"));
});

// Runs the browser's OAuth flow and returns the code.
async function consent(more = {}) {
  const { url } = app.oauth.getWebFlowAuthorizationUrl({ state: "s-2", redirectUrl: callback });
  const asked = new URL(url);
  for (const [name, value] of Object.entries(more)) asked.searchParams.set(name, value);
  const back = destination(await browse(admin, asked));
  assert.equal(back.searchParams.get("state"), "s-2");
  return back.searchParams;
}

await check("a code is exchanged for a user token that expires and rotates", async () => {
  const code = (await consent()).get("code");
  const { authentication } = await app.oauth.createToken({ code, redirectUrl: callback });
  assert.match(authentication.token, /^ghu_/);
  assert.match(authentication.refreshToken, /^ghr_/);
  const user = new AtSimulator({ auth: authentication.token });
  assert.equal((await user.rest.users.getAuthenticated()).data.login, admin);
  const mine = await user.paginate(user.rest.apps.listInstallationsForAuthenticatedUser);
  assert.ok(mine.some((one) => one.id === installation));
  const checked = await app.oauth.checkToken({ token: authentication.token });
  assert.equal(checked.data.user.login, admin);
  const { authentication: next } = await app.oauth.refreshToken({ refreshToken: authentication.refreshToken });
  assert.notEqual(next.token, authentication.token);
  await assert.rejects(user.rest.users.getAuthenticated(), { status: 401 });
  await assert.rejects(app.oauth.refreshToken({ refreshToken: authentication.refreshToken }), /bad_refresh_token/);
  await app.oauth.deleteToken({ token: next.token });
  await assert.rejects(app.oauth.checkToken({ token: next.token }), { status: 404 });
});

await check("a used or unknown code is bad_verification_code at HTTP 200", async () => {
  const code = (await consent()).get("code");
  await app.oauth.createToken({ code });
  await assert.rejects(app.oauth.createToken({ code }), /bad_verification_code/);
});

await check("PKCE is verified, and only with S256", async () => {
  const challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
  const fields = { client_id: settings.clientId, client_secret: settings.clientSecret };
  const exchange = async (code, code_verifier) => {
    const body = new URLSearchParams({ ...fields, code, code_verifier });
    return new URLSearchParams(await (await fetch(`${settings.web}/login/oauth/access_token`, { method: "POST", body })).text());
  };
  const pkce = { code_challenge: challenge, code_challenge_method: "S256" };
  const wrong = await exchange((await consent(pkce)).get("code"), "wrong");
  assert.equal(wrong.get("error"), "bad_verification_code");
  const right = await exchange((await consent(pkce)).get("code"), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
  assert.match(right.get("access_token"), /^ghu_/);
  assert.equal((await consent({ ...pkce, code_challenge_method: "plain" })).get("error"), "invalid_request");
});

await check("a declined consent redirects with access_denied", async () => {
  await control("github/settings", { deny_authorizations: true });
  assert.equal((await consent()).get("error"), "access_denied");
  await control("github/settings", { deny_authorizations: false });
});

await check("the app authenticates with its JWT", async () => {
  const { data } = await app.octokit.request("GET /app");
  assert.equal(String(data.id), settings.appId);
  const ids = [];
  await app.eachInstallation(({ installation: one }) => ids.push(one.id));
  assert.ok(ids.includes(installation));
});

const octokit = await app.getInstallationOctokit(installation);
const here = { owner: login, repo };

await check("installation tokens of both lengths read repositories", async () => {
  for (const long of [false, true]) {
    await control("github/settings", { long_tokens: long });
    const { token } = await octokit.auth({ type: "installation", refresh: true });
    assert.equal(token.length === 40, !long);
    const repositories = await octokit.paginate(octokit.rest.apps.listReposAccessibleToInstallation);
    assert.deepEqual(repositories.map((one) => one.name), [repo]);
  }
  await control("github/settings", { long_tokens: false });
});

await check("an expired installation token is 401, and a new one works", async () => {
  await control("github/tokens", { expire: "installation" });
  await assert.rejects(octokit.rest.repos.get(here), { status: 401 });
  await octokit.auth({ type: "installation", refresh: true });
  assert.equal((await octokit.rest.repos.get(here)).data.name, repo);
});

async function visible(kind) {
  const { entries } = await control(`ledger?account=${login}&kind=${kind}`);
  return entries.filter((entry) => entry.poll).length;
}

await check("pagination over several pages gives every row once", async () => {
  let pages = 0;
  const count = (response) => {
    pages += 1;
    return response.data;
  };
  const rows = await octokit.paginate(octokit.rest.issues.listForRepo, { ...here, state: "all", per_page: 10 }, count);
  assert.ok(pages > 2, `${pages} pages`);
  assert.equal(new Set(rows.map((row) => row.id)).size, rows.length);
  assert.equal(rows.length, (await visible("issue_created")) + (await visible("pr_opened")));
  const comments = await octokit.paginate(octokit.rest.issues.listCommentsForRepo, { ...here, per_page: 7 });
  const lines = await octokit.paginate(octokit.rest.pulls.listReviewCommentsForRepo, { ...here, per_page: 7 });
  assert.equal(comments.length + lines.length, (await visible("issue_commented")) + (await visible("pr_commented")));
  const runs = await octokit.paginate(octokit.rest.actions.listWorkflowRunsForRepo, { ...here, per_page: 5 });
  assert.equal(runs.length, await visible("workflow_completed"));
});

await check("reviews and stars are listed completely", async () => {
  const pulls = await octokit.paginate(octokit.rest.pulls.list, { ...here, state: "all" });
  let reviews = 0;
  for (const { number: pull_number } of pulls) {
    reviews += (await octokit.paginate(octokit.rest.pulls.listReviews, { ...here, pull_number })).length;
  }
  assert.equal(reviews, await visible("pr_reviewed"));
  const headers = { accept: "application/vnd.github.star+json" };
  const stars = await octokit.paginate(octokit.rest.activity.listStargazersForRepo, { ...here, headers });
  assert.equal(stars.length, await visible("repo_starred"));
  assert.ok(stars.every((star) => star.starred_at));
});

await check("sort by updated and since find all changes", async () => {
  const order = { ...here, state: "all", sort: "updated", direction: "asc" };
  const all = await octokit.paginate(octokit.rest.issues.listForRepo, order);
  const times = all.map((row) => row.updated_at);
  assert.deepEqual(times, times.toSorted());
  const since = times[Math.floor(times.length / 2)];
  const some = await octokit.paginate(octokit.rest.issues.listForRepo, { ...order, since });
  assert.equal(some.length, times.filter((time) => time >= since).length);
});

await check("a conditional request is 304 and costs nothing", async () => {
  const first = await octokit.rest.issues.listForRepo(here);
  const headers = { "if-none-match": first.headers.etag };
  const error = await octokit.rest.issues.listForRepo({ ...here, headers }).catch((error) => error);
  assert.equal(error.status, 304);
  assert.equal(error.response.headers["x-ratelimit-remaining"], first.headers["x-ratelimit-remaining"]);
  await act(login, "issues.opened", { repository: repo });
  assert.equal((await octokit.rest.issues.listForRepo({ ...here, headers })).status, 200);
});

await check("limits of each kind are recognised by the throttling plugin", async () => {
  const seen = [];
  const Throttled = AtSimulator.plugin(throttling);
  const { token } = await octokit.auth({ type: "installation" });
  const throttled = new Throttled({
    auth: token,
    throttle: {
      onRateLimit: (after) => void seen.push(["primary", after]),
      onSecondaryRateLimit: (after) => void seen.push(["secondary", after]),
    },
  });
  for (const effect of ["primary_limit", "secondary_limit", "secondary_limit_bare", "too_many_requests"]) {
    await control("faults", { target: "request", pattern: "GET /repos/*", effect, count: 1, seconds: 7 });
    const error = await throttled.rest.repos.get(here).catch((error) => error);
    assert.ok([403, 429].includes(error.status), `${effect}: ${error.status}`);
    assert.match(error.message, /rate limit/);
  }
  assert.deepEqual(seen.map(([kind]) => kind), ["primary", "secondary", "secondary", "secondary"]);
  assert.equal(seen[1][1], 7);
});

await check("a missing permission is another 403", async () => {
  const { permissions } = await control("github/settings");
  const { actions, ...fewer } = permissions;
  assert.equal(actions, "read");
  await act(login, "installation.new_permissions_accepted", { permissions: fewer });
  const error = await octokit.rest.actions.listWorkflowRunsForRepo(here).catch((error) => error);
  assert.equal(error.status, 403);
  assert.match(error.message, /Resource not accessible by integration/);
  assert.equal(error.response.headers["x-accepted-github-permissions"], "actions=read");
  await act(login, "installation.new_permissions_accepted", { permissions });
});

await check("a renamed repository is found by its old name", async () => {
  const before = (await octokit.rest.repos.get(here)).data;
  await act(login, "repository.renamed", { repository: repo, name: `${repo}-renamed` });
  const after = (await octokit.rest.repos.get(here)).data;
  assert.deepEqual([after.id, after.name], [before.id, `${repo}-renamed`]);
  await act(login, "repository.renamed", { repository: `${repo}-renamed`, name: repo });
});

await check("a suspended installation gets no token, an unknown one is 404", async () => {
  await act(login, "installation.suspend");
  const mint = (id) => app.octokit.rest.apps.createInstallationAccessToken({ installation_id: id });
  await assert.rejects(mint(installation), { status: 403 });
  await act(login, "installation.unsuspend");
  assert.equal((await mint(installation)).status, 201);
  await assert.rejects(mint(4), { status: 404 });
});

const received = [];
const webhooks = new Webhooks({ secret: settings.webhookSecret });
webhooks.onAny(({ id, name, payload }) => void received.push({ id, name, action: payload.action }));
const middleware = createNodeMiddleware(webhooks, { path: "/webhooks/github", log: quiet });
const server = createServer((request, response) => void middleware(request, response));
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const webhook_url = `http://127.0.0.1:${server.address().port}/webhooks/github`;

await check("@octokit/webhooks verifies every signature", async () => {
  await control("github/settings", { webhook_url });
  await act(login, "ping");
  const { facts } = await control("github/generate", { account: login, count: 200 });
  await control("quiesce", { timeout_seconds: 60 });
  const { deliveries } = await control("github/deliveries?limit=1000");
  assert.ok(facts >= 200);
  assert.deepEqual(deliveries.filter((one) => one.status_code !== 200), []);
  assert.equal(received.length, deliveries.length);
  assert.ok(received.some((one) => one.name === "ping"));
});

await check("a wrong signature is rejected, and redelivery keeps the GUID", async () => {
  await control("faults", { target: "delivery", pattern: "issues.opened", effect: "wrong_signature", count: 1 });
  const { deliveries: [guid] } = await act(login, "issues.opened");
  await control("quiesce", {});
  assert.ok(!received.some((one) => one.id === guid));
  const failed = await app.octokit.paginate("GET /app/hook/deliveries", { status: "failure", per_page: 1 });
  const entry = failed.find((one) => one.guid === guid);
  assert.equal(entry.status_code, 400);
  await app.octokit.request("POST /app/hook/deliveries/{delivery_id}/attempts", { delivery_id: entry.id });
  await control("quiesce", {});
  assert.equal(received.filter((one) => one.id === guid).length, 1);
  const { data } = await app.octokit.request("GET /app/hook/deliveries", { per_page: 1 });
  assert.deepEqual([data[0].guid, data[0].redelivery, data[0].id === entry.id], [guid, true, false]);
});

await check("the log of deliveries is paginated by cursor", async () => {
  const all = await app.octokit.paginate("GET /app/hook/deliveries", { per_page: 50 });
  assert.ok(all.length > 200);
  assert.equal(new Set(all.map((one) => one.id)).size, all.length);
});

await check("uninstalling revokes tokens and sends an event", async () => {
  await app.octokit.rest.apps.deleteInstallation({ installation_id: installation });
  await control("quiesce", {});
  assert.ok(received.some((one) => one.name === "installation" && one.action === "deleted"));
  await assert.rejects(octokit.rest.repos.get(here), (error) => [401, 404].includes(error.status));
});

await control("github/settings", { webhook_url: "" });
server.close();
finish();
