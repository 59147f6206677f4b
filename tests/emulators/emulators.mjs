// emulate's GitHub and Slack, each behind a proxy that serves missing routes.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";

import { createEmulator } from "emulate";

import { freePorts } from "./ports.mjs";
import { startProxy } from "./proxy.mjs";
import { githubRoutes } from "./proxy-github.mjs";
import { slackRoutes } from "./proxy-slack.mjs";

const entry = import.meta.resolve("emulate");
export const version = JSON.parse(readFileSync(new URL("../package.json", entry))).version;

const secret = () => randomBytes(24).toString("hex");

// The app as docs/github.md registers it.
const GITHUB_PERMISSIONS = {
  actions: "read", contents: "read", deployments: "read", discussions: "read", issues: "read",
  members: "read", metadata: "read", pull_requests: "read",
};
const GITHUB_EVENTS = [
  "commit_comment", "create", "delete", "deployment_status", "discussion", "discussion_comment", "fork",
  "issue_comment", "issues", "member", "milestone", "pull_request", "pull_request_review",
  "pull_request_review_comment", "push", "release", "repository", "star", "workflow_run",
];

export async function startGitHub({ api, ingress }) {
  const [port, proxyPort] = await freePorts(2);
  const [target, base] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${proxyPort}`];
  const callback = `${api}/v1/connect/github/callback`;
  const app = {
    id: 4711, slug: "poblysh-signals", clientId: "Iv23emulated", clientSecret: secret(), webhookSecret: secret(),
    account: "acme", repository: "web", installation: 7001,
  };
  const emulator = await createEmulator({
    service: "github",
    port,
    baseUrl: base,
    seed: {
      tokens: { "token-of-alice": { login: "alice", scopes: ["repo"] }, "token-of-bob": { login: "bob", scopes: ["repo"] } },
      github: {
        users: [{ login: "alice", name: "Alice" }, { login: "bob", name: "Bob" }],
        orgs: [{ login: app.account, members: [{ login: "alice", role: "admin" }, { login: "bob", role: "member" }] }],
        repos: [{ owner: app.account, name: app.repository }, { owner: app.account, name: "vault", private: true }],
        oauth_apps: [{ client_id: app.clientId, client_secret: app.clientSecret, name: "Poblysh", redirect_uris: [callback] }],
        apps: [{
          app_id: app.id, slug: app.slug, name: "Poblysh",
          permissions: GITHUB_PERMISSIONS, events: GITHUB_EVENTS,
          webhook_url: `${ingress}/webhooks/github`, webhook_secret: app.webhookSecret,
          installations: [{ installation_id: app.installation, account: app.account, repository_selection: "all" }],
        }],
      },
    },
  });
  app.privateKey = emulator.generatedSecrets.find(({ kind }) => kind === "github.app_private_key").value;
  const proxy = await startProxy(proxyPort, target, githubRoutes({ target, app, setupUrl: callback }));
  return {
    app, target, proxy,
    settings: {
      POBLYSH_GITHUB_APP_ID: String(app.id),
      POBLYSH_GITHUB_APP_SLUG: app.slug,
      POBLYSH_GITHUB_CLIENT_ID: app.clientId,
      POBLYSH_GITHUB_CLIENT_SECRET: app.clientSecret,
      POBLYSH_GITHUB_WEBHOOK_SECRET: app.webhookSecret,
      POBLYSH_GITHUB_PRIVATE_KEY: app.privateKey,
      POBLYSH_GITHUB_WEB_BASE_URL: base,
      POBLYSH_GITHUB_API_BASE_URL: base,
    },
    close: () => Promise.all([proxy.close(), emulator.close()]),
  };
}

// emulate signs and sends Slack's events, but version 0.12.2 has no setting for a request URL. This
// file loads its Slack as `createEmulator` does, and registers a URL with its dispatcher. The file
// name belongs to the pinned version.
const SLACK_MODULE = "dist-6ZQHD4DN.js";
// The events that docs/slack.md subscribes to, by the dispatcher's names.
const SLACK_EVENTS = [
  "app_mention", "app_uninstalled", "channel_archive", "channel_created", "channel_deleted", "channel_id_changed",
  "channel_left", "channel_rename", "channel_unarchive", "file_shared", "group_left", "member_joined_channel",
  "member_left_channel", "message", "reaction_added", "reaction_removed", "team_join", "tokens_revoked", "user_change",
];

async function subscribe(url) {
  const { slackPlugin } = await import(new URL(SLACK_MODULE, entry));
  const register = slackPlugin.register;
  slackPlugin.register = (app, store, webhooks, ...rest) => {
    webhooks.register({ url, events: SLACK_EVENTS, active: true, owner: "slack" });
    return register(app, store, webhooks, ...rest);
  };
}

export async function startSlack({ api, ingress }) {
  const [port, proxyPort] = await freePorts(2);
  const [target, base] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${proxyPort}`];
  const app = { clientId: "4711.4712", clientSecret: secret(), signingSecret: secret() };
  const user = (name) => ({ token: `xoxp-${name}`, type: "user", user: name });
  await subscribe(`${ingress}/webhooks/slack`);
  const emulator = await createEmulator({
    service: "slack",
    port,
    baseUrl: base,
    seed: {
      slack: {
        team: { name: "Acme", domain: "acme" },
        users: [{ name: "alice", real_name: "Alice", is_admin: true }, { name: "bob", real_name: "Bob" }],
        channels: [{ name: "plans" }],
        oauth_apps: [{
          client_id: app.clientId, client_secret: app.clientSecret, name: "Poblysh",
          redirect_uris: [`${api}/v1/connect/slack/callback`],
        }],
        tokens: [user("admin"), user("alice"), user("bob")],
        incoming_webhooks: [{ channel: "plans", label: "Deploys" }],
        signing_secret: app.signingSecret,
        strict_scopes: true,
      },
    },
  });
  const proxy = await startProxy(proxyPort, target, slackRoutes({ target, app }));
  return {
    app, target, proxy,
    settings: {
      POBLYSH_SLACK_CLIENT_ID: app.clientId,
      POBLYSH_SLACK_CLIENT_SECRET: app.clientSecret,
      POBLYSH_SLACK_WEBHOOK_SECRET: app.signingSecret,
      POBLYSH_SLACK_BASE_URL: base,
    },
    close: () => Promise.all([proxy.close(), emulator.close()]),
  };
}
