// The simulator's control API, and a browser at its pages.
import { assert } from "./checks.mjs";

export const base = process.env.SIMULATOR_URL;
export const callback = `${base}/nowhere/callback`;

export const settings = {
  appId: process.env.POBLYSH_GITHUB_APP_ID,
  slug: process.env.POBLYSH_GITHUB_APP_SLUG,
  clientId: process.env.POBLYSH_GITHUB_CLIENT_ID,
  clientSecret: process.env.POBLYSH_GITHUB_CLIENT_SECRET,
  webhookSecret: process.env.POBLYSH_GITHUB_WEBHOOK_SECRET,
  privateKey: Buffer.from(process.env.POBLYSH_GITHUB_PRIVATE_KEY ?? "", "base64").toString(),
  web: process.env.POBLYSH_GITHUB_WEB_BASE_URL,
  api: process.env.POBLYSH_GITHUB_API_BASE_URL,
};

// Sends JSON to `/_sim/<path>` and returns the response's JSON.
export async function control(path, body, method = body === undefined ? "GET" : "POST") {
  const response = await fetch(`${base}/_sim/${path}`, {
    method,
    headers: { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} /_sim/${path}: ${response.status} ${text}`);
  return text === "" ? undefined : JSON.parse(text);
}

// Creates an account with one repository and a history.
export function account(login, history) {
  return control("github/accounts", { login, repositories: 1, history });
}

// Performs an action.
export function act(login, action, more = {}) {
  return control("github/act", { account: login, action, ...more });
}

// Sends a request of a signed-in browser, which follows no redirect.
export function browse(user, url, form, cookies = {}) {
  const jar = Object.entries({ user_session: user, ...cookies }).map(([name, value]) => `${name}=${value}`);
  return fetch(url, {
    method: form === undefined ? "GET" : "POST",
    redirect: "manual",
    headers: { cookie: jar.join("; ") },
    body: form === undefined ? undefined : new URLSearchParams(form),
  });
}

// The target of a page's redirect.
export function destination(response) {
  assert.equal(response.status, 302);
  return new URL(response.headers.get("location"));
}
