// The Zoho Mail part of requests.mjs.
import { RequestDescription } from "./request-description.mjs";
import { MAIL, below, correct, withToken } from "./requests-zoho.mjs";

const VIEW = "GET /api/accounts/{accountId}/messages/view";
const flag = { type: "boolean" };
const query = (name, schema) => ({ name, in: "query", schema });

// Parameters that the description lacks.
const gaps = {
  "/api/accounts/{accountId}/messages/view": {
    source: "https://www.zoho.com/mail/help/api/get-emails-list.html",
    parameters: [
      query("sortBy", { enum: ["date", "messageId", "size"] }),
      query("sortorder", flag),
      query("includeto", flag),
      query("includearchive", flag),
    ],
  },
};

// Mistakes of the description, from the same page.
function patch({ paths }) {
  const view = paths["/api/accounts/{accountId}/messages/view"].get;
  // The first position is 1, not 0.
  correct(view, "start", { schema: { type: "integer", minimum: 1 } });
  // The description has no bounds.
  correct(view, "limit", { schema: { type: "integer", minimum: 1, maximum: 200 } });
}

export const zohoMail = {
  name: "zoho_mail",
  description: new RequestDescription(MAIL, { gaps, patch }),
  path: below("/api/accounts"),
  headers: withToken,
  expected: ["GET /api/accounts", "GET /api/accounts/{accountId}/folders", VIEW],
  wrong: [
    ["GET /api/accounts", (one) => ({ ...one, path: "/api/accounts/1/mails" }), /not have this path/],
    ["GET /api/accounts", (one) => ({ ...one, query: "limit=1" }), /limit is not described/],
    ["GET /api/accounts/{accountId}/folders", (one) => ({ ...one, method: "DELETE" }), /not have this method/],
    [VIEW, (one) => ({ ...one, query: one.query.replace(/folderId=\d+&/, "") }), /required property 'folderId'/],
    [VIEW, (one) => ({ ...one, query: `${one.query}&order=asc` }), /order is not described/],
    [VIEW, (one) => ({ ...one, query: one.query.replace(/limit=\d+/, "limit=201") }), /limit: must be <= 200/],
    [VIEW, (one) => ({ ...one, query: one.query.replace(/start=\d+/, "start=0") }), /start: must be >= 1/],
    [VIEW, (one) => ({ ...one, query: one.query.replace("sortBy=date", "sortBy=age") }), /sortBy: must be equal/],
    [VIEW, (one) => ({ ...one, query: one.query.replace("sortorder=false", "sortorder=down") }), /sortorder: must be boolean/],
    [VIEW, (one) => ({ ...one, headers: { ...one.headers, "content-type": "application/json" }, body: "{}" }), /body: type application\/json is not described/],
  ],
};
