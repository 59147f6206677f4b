// Routes of GitHub that emulate lacks, built from its existing ones.
import { createSign } from "node:crypto";

import { json, send } from "./proxy.mjs";

const missing = () => json({ message: "Not Found" }, 404);
const PAGE = 100;

// The token with which an app authenticates.
function appToken(appId, privateKey) {
  const now = Math.floor(Date.now() / 1000);
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${encode({ alg: "RS256", typ: "JWT" })}.${encode({ iat: now - 60, exp: now + 300, iss: String(appId) })}`;
  return `${text}.${createSign("RSA-SHA256").update(text).sign(privateKey, "base64url")}`;
}

export function githubRoutes({ target, app, setupUrl }) {
  // Removed installations; the emulator cannot remove one.
  const removed = new Set();
  // The account that each installation token is for.
  const accounts = new Map();

  const ask = async (path, authorization, more = {}) => {
    const answer = await send(target, { path, headers: { authorization, ...more.headers }, ...more });
    return { ok: answer.status < 300, ...answer, value: () => JSON.parse(answer.body) };
  };
  const installations = async () => {
    const answer = await ask("/app/installations", `Bearer ${appToken(app.id, app.privateKey)}`);
    return answer.value().filter(({ id }) => !removed.has(String(id)));
  };
  const isApp = async (headers) => (await ask("/app", headers.authorization)).ok;
  const person = async ({ authorization }) => {
    const answer = await ask("/user", authorization);
    return answer.ok ? answer.value() : undefined;
  };
  const membership = (org, login, { authorization }) => ask(`/orgs/${org}/memberships/${login}`, authorization);
  // All comments of a repository, one thread after another: the emulator parses `comments` as the
  // number of an issue or a pull request.
  const comments = (kind, numbers) => ({
    method: "GET",
    path: `/repos/:owner/:repo/${kind}/comments`,
    sample: `/repos/${app.account}/${app.repository}/${kind}/comments`,
    async answer({ headers: { authorization }, params: { owner, repo }, url }) {
      const list = async (path) => {
        const answer = await ask(`/repos/${owner}/${repo}/${path}per_page=${PAGE}`, authorization);
        return answer.ok ? answer.value() : Promise.reject(new Error(`${path}: ${answer.status} ${answer.body}`));
      };
      const threads = (await Promise.all(numbers.map((of) => list(`${of}?state=all&`)))).flat();
      const found = await Promise.all(threads.map(({ number }) => list(`${kind}/${number}/comments?`)));
      const since = Date.parse(url.searchParams.get("since") ?? 0);
      const sign = url.searchParams.get("direction") === "asc" ? 1 : -1;
      const rows = found.flat().filter(({ updated_at }) => Date.parse(updated_at) >= since);
      if (rows.length > PAGE) throw new Error("more comments than fit on a page");
      return json(rows.sort((a, b) => sign * a.updated_at.localeCompare(b.updated_at)));
    },
  });
  const choose = ({ id, account }, state) =>
    `<form method="post"><input type="hidden" name="installation_id" value="${id}">` +
    `<input type="hidden" name="state" value="${state}"><button>${account.login}</button></form>`;

  return [
    {
      method: "GET",
      path: "/apps/:slug/installations/new",
      sample: `/apps/${app.slug}/installations/new`,
      async answer({ url }) {
        const state = encodeURIComponent(url.searchParams.get("state"));
        const forms = (await installations()).map((installation) => choose(installation, state));
        return { status: 200, headers: { "content-type": "text/html" }, body: forms.join("") };
      },
    },
    {
      method: "POST",
      path: "/apps/:slug/installations/new",
      sample: `/apps/${app.slug}/installations/new`,
      async answer({ body }) {
        const back = new URL(setupUrl);
        for (const [name, value] of new URLSearchParams(String(body))) back.searchParams.set(name, decodeURIComponent(value));
        back.searchParams.set("setup_action", "install");
        return { status: 302, headers: { location: back.href }, body: "" };
      },
    },
    {
      method: "GET",
      path: "/user/installations",
      sample: "/user/installations",
      async answer({ headers }) {
        const someone = await person(headers);
        if (!someone) return json({ message: "Requires authentication" }, 401);
        const seen = [];
        for (const installation of await installations()) {
          const { type, id, login } = installation.account;
          const isTheirs =
            type === "Organization" ? (await membership(login, someone.login, headers)).ok : id === someone.id;
          if (isTheirs) seen.push(installation);
        }
        return json({ total_count: seen.length, installations: seen });
      },
    },
    {
      method: "GET",
      path: "/user/memberships/orgs/:org",
      sample: `/user/memberships/orgs/${app.account}`,
      async answer({ headers, params }) {
        const someone = await person(headers);
        return someone ? membership(params.org, someone.login, headers) : json({ message: "Requires authentication" }, 401);
      },
    },
    {
      method: "POST",
      path: "/app/installations/:id/access_tokens",
      async answer({ params, ...asked }) {
        if (removed.has(params.id)) return missing();
        const answer = await send(target, asked);
        const installation = (await installations()).find(({ id }) => String(id) === params.id);
        if (answer.status === 201) accounts.set(JSON.parse(answer.body).token, installation.account.login);
        return answer;
      },
    },
    {
      method: "GET",
      path: "/installation/repositories",
      sample: "/installation/repositories",
      async answer({ headers, url }) {
        const token = headers.authorization?.replace(/^\w+ /, "");
        const account = accounts.get(token);
        if (!account) return json({ message: "Requires authentication" }, 401);
        const page = new URLSearchParams({ q: `user:${account}`, per_page: url.searchParams.get("per_page") ?? "30" });
        const { total_count, items } = (await ask(`/search/repositories?${page}`, headers.authorization)).value();
        return json({ total_count, repositories: items });
      },
    },
    {
      method: "GET",
      path: "/app/installations/:id",
      answer: ({ params }) => (removed.has(params.id) ? missing() : undefined),
    },
    {
      method: "DELETE",
      path: "/app/installations/:id",
      sample: `/app/installations/${app.installation}`,
      async answer({ headers, params }) {
        if (!(await isApp(headers))) return json({ message: "A JSON web token could not be decoded" }, 401);
        if (removed.has(params.id)) return missing();
        removed.add(params.id);
        return { status: 204, headers: {}, body: "" };
      },
    },
    {
      method: "GET",
      path: "/app/hook/deliveries",
      sample: "/app/hook/deliveries",
      answer: async ({ headers }) =>
        (await isApp(headers)) ? json([]) : json({ message: "A JSON web token could not be decoded" }, 401),
    },
    {
      method: "GET",
      path: "/repos/:owner/:repo/stargazers",
      sample: `/repos/${app.account}/${app.repository}/stargazers`,
      answer: () => json([]),
    },
    comments("issues", ["issues", "pulls"]),
    comments("pulls", ["pulls"]),
    {
      method: "DELETE",
      path: "/applications/:client/token",
      sample: `/applications/${app.clientId}/token`,
      async answer({ body, params }) {
        const token = JSON.parse(body).access_token;
        const path = `/settings/connections/applications/${params.client}/revoke`;
        await ask(path, `Bearer ${token}`, { method: "POST" });
        return { status: 204, headers: {}, body: "" };
      },
    },
  ];
}
