// The simulator's control API and what a browser does at its pages.
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

// Sends JSON to `/_sim/<path>` and answers JSON.
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

// A new account with one repository and a past.
export function account(login, history) {
  return control("github/accounts", { login, repositories: 1, history });
}

// Makes something happen.
export function act(login, action, more = {}) {
  return control("github/act", { account: login, action, ...more });
}

// What a signed-in browser does: no redirect is followed.
export function browse(user, url, form, cookies = {}) {
  const jar = Object.entries({ user_session: user, ...cookies }).map(([name, value]) => `${name}=${value}`);
  return fetch(url, {
    method: form === undefined ? "GET" : "POST",
    redirect: "manual",
    headers: { cookie: jar.join("; ") },
    body: form === undefined ? undefined : new URLSearchParams(form),
  });
}

// Where a page sends the browser.
export function destination(response) {
  assert.equal(response.status, 302);
  return new URL(response.headers.get("location"));
}
