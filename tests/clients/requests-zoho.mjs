// What Zoho's parts of requests.mjs share, and the requests of OAuth.
import { RequestDescription } from "./request-description.mjs";

export const OPENAPI = `${process.env.POBLYSH_FIXTURES}/zoho/openapi`;
export const MAIL = `${OPENAPI}/mail/zoho-mail-openapi.json`;

// A path without the prefix of the simulated data center, if it begins with the given one.
export const below = (prefix) => (path) => {
  const [, rest] = /^\/zoho\/[a-z]+(\/.*)$/.exec(path) ?? [];
  return rest?.startsWith(prefix) ? rest : undefined;
};

// https://www.zoho.com/mail/help/api/using-oauth-2.html: a scheme of Zoho's own.
export const withToken = (path, sent) =>
  sent.authorization === "Zoho-oauthtoken" ? [] : ["header: authorization is not Zoho-oauthtoken"];

// Changes a described parameter. Fails if the description does not have it any more.
export function correct({ parameters }, name, change) {
  const described = parameters.find((one) => one.name === name);
  if (!described) throw new Error(`the description has no parameter ${name}`);
  Object.assign(described, change);
}

const text = { type: "string" };
const FORM = "application/x-www-form-urlencoded";

// Zoho describes its accounts servers on pages only.
const gaps = {
  "/oauth/v2/token": {
    source: "https://www.zoho.com/mail/help/api/using-oauth-2.html",
    post: {
      requestBody: {
        required: true,
        content: {
          [FORM]: {
            schema: {
              type: "object",
              properties: {
                grant_type: { enum: ["authorization_code", "refresh_token"] },
                ...Object.fromEntries(["client_id", "client_secret", "code", "redirect_uri", "refresh_token"].map((name) => [name, text])),
              },
              required: ["grant_type", "client_id", "client_secret"],
              // The fields that each type of grant needs.
              oneOf: [{ required: ["code", "redirect_uri"] }, { required: ["refresh_token"] }],
            },
          },
        },
      },
    },
  },
  "/oauth/v2/token/revoke": {
    source: "https://www.zoho.com/crm/developer/docs/api/v8/revoke-tokens.html",
    post: { parameters: [{ name: "token", in: "query", required: true, schema: text }] },
  },
  "/oauth/user/info": {
    source: "other programs, which read it with the scope AaaServer.profile.READ; no page of Zoho is known",
    get: {},
  },
};

function headers(path, sent) {
  if (path === "/oauth/user/info") return withToken(path, sent);
  return sent.authorization === undefined ? [] : ["header: there is an authorization"];
}

export const zoho = {
  name: "zoho",
  // Of the accounts servers, the description of Mail has the URLs alone.
  description: new RequestDescription(MAIL, { gaps }),
  path: below("/oauth/"),
  headers,
  expected: ["POST /oauth/v2/token", "POST /oauth/v2/token/revoke", "GET /oauth/user/info"],
  wrong: [
    ["POST /oauth/v2/token", (one) => ({ ...one, body: one.body.replace("grant_type=", "type=") }), /required property 'grant_type'/],
    ["POST /oauth/v2/token", (one) => ({ ...one, body: one.body.replace("code=", "cod=") }), /required property 'code'/],
    ["POST /oauth/v2/token", (one) => ({ ...one, body: `${one.body}&code_verifier=v` }), /code_verifier is not described/],
    ["POST /oauth/v2/token/revoke", (one) => ({ ...one, query: "" }), /required property 'token'/],
    ["GET /oauth/user/info", (one) => ({ ...one, method: "POST" }), /not have this method/],
  ],
};
