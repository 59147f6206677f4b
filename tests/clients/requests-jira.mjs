// The Jira part of requests.mjs.
import { RequestDescription } from "./request-description.mjs";

const text = { type: "string" };
const query = (name, schema) => ({ name, in: "query", schema });
const paged = [query("startAt", { type: "integer", minimum: 0 }), query("maxResults", { type: "integer", minimum: 1 })];

// The platform's description does not contain the identity service and Jira Software.
const gaps = {
  "/oauth/token": {
    source: "https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/, and RFC 7636 for the verifier",
    post: {
      requestBody: {
        required: true,
        content: {
          "application/json": {
            schema: {
              type: "object",
              properties: {
                grant_type: { enum: ["authorization_code", "refresh_token"] },
                ...Object.fromEntries(
                  ["client_id", "client_secret", "code", "redirect_uri", "code_verifier", "refresh_token"].map((name) => [name, text]),
                ),
              },
              required: ["grant_type", "client_id", "client_secret"],
            },
          },
        },
      },
    },
  },
  "/oauth/token/accessible-resources": {
    source: "https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/",
    get: {},
  },
  "/rest/agile/1.0/board": {
    source: "https://developer.atlassian.com/cloud/jira/software/rest/api-group-board/",
    get: {
      parameters: [...paged, ...["type", "name", "projectKeyOrId", "orderBy", "expand"].map((name) => query(name, text))],
    },
  },
  "/rest/agile/1.0/board/{boardId}/sprint": {
    source: "https://developer.atlassian.com/cloud/jira/software/rest/api-group-board/",
    get: {
      parameters: [
        { name: "boardId", in: "path", required: true, schema: { type: "integer" } },
        ...paged,
        query("state", { type: "array", items: { enum: ["future", "active", "closed"] } }),
      ],
    },
  },
};

// Events of sprints and versions: https://developer.atlassian.com/cloud/jira/platform/webhooks/.
const NEWER_EVENTS = [
  ...["created", "started", "closed", "updated", "deleted"].map((verb) => `sprint_${verb}`),
  ...["created", "released", "unreleased", "updated", "moved", "merged", "deleted"].map((verb) => `jira:version_${verb}`),
];

function mend(schema) {
  if (!schema.enum?.includes("jira:issue_created")) return schema;
  return { ...schema, enum: [...schema.enum, ...NEWER_EVENTS] };
}

function headers(path, sent) {
  if (path === "/oauth/token") return [];
  return sent.authorization === "Bearer" ? [] : ["header: authorization is not Bearer"];
}

export const jira = {
  name: "jira",
  description: new RequestDescription(`${process.env.POBLYSH_FIXTURES}/jira/openapi/jira-cloud-platform-v3.reduced.json`, { gaps, mend }),
  path: (path) =>
    path.startsWith("/atlassian/") ? path.replace(/^\/atlassian\/(auth|api)/, "").replace(/^\/ex\/jira\/[^/]+/, "") : undefined,
  headers,
  expected: [
    "POST /oauth/token",
    "GET /oauth/token/accessible-resources",
    "GET /rest/api/3/myself",
    "GET /rest/api/3/status",
    "GET /rest/api/3/project/search",
    "GET /rest/api/3/project/{projectIdOrKey}/version",
    "POST /rest/api/3/search/jql",
    "GET /rest/api/3/issue/{issueIdOrKey}/changelog",
    "GET /rest/api/3/issue/{issueIdOrKey}/comment",
    "GET /rest/api/3/worklog/updated",
    "POST /rest/api/3/worklog/list",
    "GET /rest/api/3/webhook",
    "POST /rest/api/3/webhook",
    "PUT /rest/api/3/webhook/refresh",
    "DELETE /rest/api/3/webhook",
    "GET /rest/agile/1.0/board",
    "GET /rest/agile/1.0/board/{boardId}/sprint",
  ],
  wrong: [
    ["GET /rest/api/3/project/search", (one) => ({ ...one, query: one.query.replace("orderBy=key", "orderBy=age") }), /orderBy: must be equal/],
    ["GET /rest/api/3/project/search", (one) => ({ ...one, query: `${one.query}&archived=true` }), /archived is not described/],
    ["GET /rest/api/3/issue/{issueIdOrKey}/comment", (one) => ({ ...one, query: one.query.replace(/startAt=\d+/, "startAt=first") }), /startAt: must be integer/],
    ["POST /rest/api/3/search/jql", (one) => ({ ...one, body: one.body.replace('"jql"', '"query"') }), /query is not described/],
    ["POST /rest/api/3/search/jql", (one) => ({ ...one, body: '{"fields":"summary"}' }), /fields: must be array/],
    ["POST /rest/api/3/webhook", (one) => ({ ...one, body: one.body.replace("comment_created", "comment_read") }), /events 3: must be equal/],
    ["POST /rest/api/3/worklog/list", (one) => ({ ...one, body: "" }), /body: missing/],
    ["GET /rest/agile/1.0/board/{boardId}/sprint", (one) => ({ ...one, query: "state=open" }), /must be equal/],
  ],
};
