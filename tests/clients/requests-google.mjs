// What Google's parts of requests.mjs share, and the requests of OAuth.
import { LAX, rewrite } from "./discovery.mjs";
import { RequestDescription } from "./request-description.mjs";

const DISCOVERY = `${process.env.POBLYSH_FIXTURES}/google/discovery`;

// Splits a mask at the commas outside of brackets.
function parts(mask) {
  const found = [""];
  let depth = 0;
  for (const character of mask) {
    if (character === "(") depth += 1;
    if (character === ")") depth -= 1;
    if (character === "," && depth === 0) found.push("");
    else found[found.length - 1] += character;
  }
  return found;
}

// The faults of `fields`, the mask of a partial response, against the response's schema.
// https://developers.google.com/workspace/drive/api/guides/fields-parameter
function* maskFaults(description, mask, schema) {
  const of = (one) => {
    const known = description.resolve(one);
    return known.items ? of(known.items) : known;
  };
  for (const part of parts(mask)) {
    const [, path, inner] = /^([^(]*)(?:\((.*)\))?$/s.exec(part) ?? [];
    let at = of(schema);
    for (const name of path?.split("/") ?? [part]) {
      if (at === undefined) break;
      const next = name === "*" ? at : (at.properties?.[name] ?? at.additionalProperties);
      if (!next) yield `parameters: ${name} of fields is not described`;
      at = next ? of(next) : undefined;
    }
    if (at && inner !== undefined) yield* maskFaults(description, inner, at);
  }
}

// A discovery document as a description of requests.
export class DiscoveryRequests extends RequestDescription {
  constructor(name, options = {}) {
    super(`${DISCOVERY}/${name}.json`, { ...options, lax: LAX, patch: rewrite });
  }

  examine(request) {
    const { name, reasons } = super.examine(request);
    const mask = new URLSearchParams(request.query).get("fields");
    const schema = this.find(request.method, request.path).operation?.responses?.[200]?.schema;
    if (mask === null || schema === undefined) return { name, reasons };
    return { name, reasons: [...reasons, ...maskFaults(this, mask, schema)] };
  }
}

// A path without the prefix of the simulator's Google, if it begins with the given one.
export const below = (prefix) => (path) => (path.startsWith(`/google${prefix}`) ? path.slice("/google".length) : undefined);

export const withBearer = (path, sent) => (sent.authorization === "Bearer" ? [] : ["header: authorization is not Bearer"]);

const text = { type: "string" };
const form = (fields, required) => ({
  requestBody: {
    required: true,
    content: {
      "application/x-www-form-urlencoded": {
        schema: { type: "object", properties: fields, required },
      },
    },
  },
});
const texts = (names) => Object.fromEntries(names.map((name) => [name, text]));

// The document of the API of accounts has none of these addresses.
const gaps = {
  "/token": {
    source: "https://developers.google.com/identity/protocols/oauth2/web-server, and RFC 7636 for the verifier",
    post: form(
      {
        grant_type: { enum: ["authorization_code", "refresh_token"] },
        ...texts(["client_id", "client_secret", "code", "redirect_uri", "code_verifier", "refresh_token"]),
      },
      ["grant_type", "client_id", "client_secret"],
    ),
  },
  "/revoke": {
    source: "https://developers.google.com/identity/protocols/oauth2/web-server#tokenrevoke",
    post: form(texts(["token"]), ["token"]),
  },
  "/v1/userinfo": {
    source: "https://developers.google.com/identity/openid-connect/openid-connect#obtaininguserprofileinformation",
    get: {},
  },
  "/oauth2/v3/certs": {
    source: "https://developers.google.com/identity/openid-connect/openid-connect#discovery",
    get: {},
  },
};

export const google = {
  name: "google",
  description: new DiscoveryRequests("oauth2.v2", { gaps }),
  path: below("/"),
  headers: (path, sent) => {
    if (path === "/v1/userinfo") return withBearer(path, sent);
    return sent.authorization === undefined ? [] : ["header: there is an authorization"];
  },
  expected: ["POST /token", "POST /revoke", "GET /v1/userinfo", "GET /oauth2/v3/certs"],
  wrong: [
    ["POST /token", (one) => ({ ...one, body: one.body.replace("grant_type=", "type=") }), /required property 'grant_type'/],
    ["POST /token", (one) => ({ ...one, body: `${one.body}&scope=openid` }), /scope is not described/],
    ["POST /revoke", (one) => ({ ...one, body: "" }), /body: missing/],
  ],
};
