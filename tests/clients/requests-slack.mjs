// The Slack part of requests.mjs.
import { RequestDescription } from "./request-description.mjs";

const reference = "https://docs.slack.dev/reference/methods";
const field = (name, type = "string", more = {}) => ({ name, in: "query", type, ...more });
// Added after 2020: the workspace that an organization's token is used for.
const team = [field("team_id")];

// Gaps of the description, which is from 2020.
const gaps = {
  "/users.conversations": { source: `${reference}/users.conversations`, parameters: team },
  "/users.list": { source: `${reference}/users.list`, parameters: team },
  "/conversations.list": { source: `${reference}/conversations.list`, parameters: team },
  "/bots.info": { source: `${reference}/bots.info`, parameters: team },
  "/auth.teams.list": {
    source: `${reference}/auth.teams.list`,
    post: { parameters: [field("limit", "integer", { maximum: 1000 }), field("cursor"), field("include_icon", "boolean")] },
  },
  // A code is no longer required, because this method also refreshes tokens.
  "/oauth.v2.access": {
    source: `${reference}/oauth.v2.access`,
    get: {
      parameters: [
        ...["client_id", "client_secret", "code", "code_verifier", "redirect_uri", "refresh_token"].map((name) => field(name)),
        field("grant_type", "string", { enum: ["authorization_code", "refresh_token"] }),
      ],
    },
  },
};

const API = "/slack/api/";

function headers(path, sent) {
  // https://docs.slack.dev/reference/methods/oauth.v2.access: a client's id and secret by Basic.
  const scheme = path === "/oauth.v2.access" ? "Basic" : "Bearer";
  return sent.authorization === scheme ? [] : [`header: authorization is not ${scheme}`];
}

export const slack = {
  name: "slack",
  description: new RequestDescription(`${process.env.POBLYSH_FIXTURES}/slack/openapi/slack_web_openapi_v2.reduced.json`, {
    gaps,
    // https://docs.slack.dev/apis/web-api/#basics: every method takes GET and POST, and a
    // token in the authorization header instead of a parameter.
    verbs: false,
    token: "token",
  }),
  path: (path) => (path.startsWith(API) ? `/${path.slice(API.length)}` : undefined),
  headers,
  expected: [
    "oauth.v2.access",
    "auth.test",
    "auth.teams.list",
    "apps.event.authorizations.list",
    "apps.uninstall",
    "users.conversations",
    "users.list",
    "users.info",
    "bots.info",
    "conversations.list",
    "conversations.info",
    "conversations.history",
    "conversations.replies",
  ].map((method) => `POST /${method}`),
  wrong: [
    ["POST /conversations.history", (one) => ({ ...one, body: `${one.body}&order=asc` }), /order is not described/],
    ["POST /conversations.history", (one) => ({ ...one, body: one.body.replace(/oldest=[^&]+/, "oldest=never") }), /oldest: must be number/],
    ["POST /users.conversations", (one) => ({ ...one, body: one.body.replace(/limit=\d+/, "limit=1001") }), /limit: must be <= 1000/],
    ["POST /auth.test", (one) => ({ ...one, headers: {} }), /header: token is missing/],
    ["POST /auth.test", (one) => ({ ...one, path: "/auth.tests" }), /not have this path/],
  ],
};
