// The GitHub part of requests.mjs.
import { RequestDescription } from "./request-description.mjs";

const text = { type: "string" };
const placeholder = (name) => ({ name, in: "path", required: true, schema: text });
const query = (name, schema) => ({ name, in: "query", schema });
const repository = [placeholder("owner"), placeholder("repo")];
const paged = [query("per_page", { type: "integer", maximum: 100 }), query("page", { type: "integer" })];

// Gaps of the description. The first three are operations of GitHub that the reduced one omits; the
// last is not part of the REST API.
const gaps = {
  "/user/memberships/orgs/{org}": {
    source: "https://docs.github.com/en/rest/orgs/members",
    get: { parameters: [placeholder("org")] },
  },
  "/repos/{owner}/{repo}/actions/runs": {
    source: "https://docs.github.com/en/rest/actions/workflow-runs",
    get: {
      parameters: [
        ...repository,
        ...paged,
        ...["actor", "branch", "event", "status", "created", "head_sha"].map((name) => query(name, text)),
        query("exclude_pull_requests", { type: "boolean" }),
        query("check_suite_id", { type: "integer" }),
      ],
    },
  },
  "/repos/{owner}/{repo}/stargazers": {
    source: "https://docs.github.com/en/rest/activity/starring",
    get: { parameters: [...repository, ...paged] },
  },
  "/login/oauth/access_token": {
    source: "https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app",
    post: {
      requestBody: {
        required: true,
        content: {
          "application/x-www-form-urlencoded": {
            schema: {
              type: "object",
              properties: Object.fromEntries(
                ["client_id", "client_secret", "code", "redirect_uri", "code_verifier", "repository_id"].map((name) => [name, text]),
              ),
              required: ["client_id", "client_secret", "code"],
            },
          },
        },
      },
    },
  },
};

// https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api and, for
// the last, https://docs.github.com/en/rest/activity/starring.
const MEDIA_TYPES = ["application/vnd.github+json", "application/json", "application/vnd.github.star+json"];

function headers(path, sent) {
  const reasons = [];
  if (!sent["user-agent"]) reasons.push("header: user-agent is missing");
  if (!MEDIA_TYPES.includes(sent.accept)) reasons.push(`header: accept ${sent.accept} is not described`);
  if (path.startsWith("/login/")) return reasons;
  const scheme = path.startsWith("/applications/") ? "Basic" : "Bearer";
  if (sent.authorization !== scheme) reasons.push(`header: authorization is not ${scheme}`);
  // https://docs.github.com/en/rest/about-the-rest-api/api-versions
  const version = sent["x-github-api-version"];
  if (!["2022-11-28", undefined].includes(version)) reasons.push(`header: there is no API version ${version}`);
  return reasons;
}

export const github = {
  name: "github",
  description: new RequestDescription(`${process.env.POBLYSH_FIXTURES}/github/openapi/api.github.com.reduced.json`, {
    gaps,
    // Later pages of a repository's lists have its numeric id in the path.
    named: (path) => path.replace(/^\/repositories\/\d+/, "/repos/owner/name"),
  }),
  // GitHub's path for a path of the simulator; undefined if it is not GitHub's. OAuth is not below the
  // prefix of the REST API.
  path: (path) => {
    if (path.startsWith("/api/v3/")) return path.slice("/api/v3".length);
    return path.startsWith("/login/") ? path : undefined;
  },
  headers,
  expected: [
    "POST /login/oauth/access_token",
    "GET /user",
    "GET /user/installations",
    "GET /user/memberships/orgs/{org}",
    "DELETE /applications/{client_id}/token",
    "GET /app/installations/{installation_id}",
    "POST /app/installations/{installation_id}/access_tokens",
    "DELETE /app/installations/{installation_id}",
    "GET /app/hook/deliveries",
    "POST /app/hook/deliveries/{delivery_id}/attempts",
    "GET /installation/repositories",
    "GET /search/issues",
    "GET /repos/{owner}/{repo}/issues",
    "GET /repos/{owner}/{repo}/issues/comments",
    "GET /repos/{owner}/{repo}/pulls",
    "GET /repos/{owner}/{repo}/pulls/comments",
    "GET /repos/{owner}/{repo}/pulls/{pull_number}/reviews",
    "GET /repos/{owner}/{repo}/releases",
    "GET /repos/{owner}/{repo}/actions/runs",
    "GET /repos/{owner}/{repo}/stargazers",
  ],
  // Requests that must fail, each changed from a recorded one, with the expected reason.
  wrong: [
    ["GET /repos/{owner}/{repo}/issues", (one) => ({ ...one, query: `${one.query}&orderby=id` }), /orderby is not described/],
    ["GET /repos/{owner}/{repo}/issues", (one) => ({ ...one, query: one.query.replace("state=all", "state=every") }), /state: must be equal/],
    ["GET /repos/{owner}/{repo}/issues", (one) => ({ ...one, query: one.query.replace(/per_page=\d+/, "per_page=101") }), /per_page: must be <= 100/],
    ["GET /repos/{owner}/{repo}/issues", (one) => ({ ...one, query: one.query.replace(/since=[^&]+/, "since=yesterday") }), /since: must match format/],
    ["GET /search/issues", (one) => ({ ...one, query: one.query.replace(/q=[^&]+&/, "") }), /required property 'q'/],
    ["GET /installation/repositories", (one) => ({ ...one, path: "/installation/things" }), /not have this path/],
    ["GET /installation/repositories", (one) => ({ ...one, method: "PUT" }), /not have this method/],
    ["GET /app/installations/{installation_id}", (one) => ({ ...one, path: "/app/installations/null" }), /installation_id: must be integer/],
    ["DELETE /applications/{client_id}/token", (one) => ({ ...one, body: '{"access_token":"t","why":1}' }), /why is not described/],
    ["POST /login/oauth/access_token", (one) => ({ ...one, body: one.body.replace("code=", "cod=") }), /required property 'code'/],
  ],
};
