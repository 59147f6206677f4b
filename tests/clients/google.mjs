// The simulated Google: the OAuth client, accounts, and a person's consent.
import { assert } from "./checks.mjs";
import { browse, control, destination } from "./simulator.mjs";

export const google = {
  auth: process.env.POBLYSH_GOOGLE_AUTH_BASE_URL,
  token: process.env.POBLYSH_GOOGLE_TOKEN_BASE_URL,
  api: process.env.POBLYSH_GOOGLE_API_BASE_URL,
  clientId: process.env.POBLYSH_GOOGLE_CLIENT_ID,
  clientSecret: process.env.POBLYSH_GOOGLE_CLIENT_SECRET,
};
const { redirect_uris } = await control("google/settings");
export const callback = redirect_uris[0];

// Scopes as consents name them.
export const IDENTITY = ["openid", "https://www.googleapis.com/auth/userinfo.email"];
export const METADATA = "https://www.googleapis.com/auth/drive.metadata.readonly";

// Creates an organization with a product's part of the world: `source` is the product's slug.
export function organization(source, name, more = {}) {
  return control(`${source}/accounts`, { name, ...more });
}

// The parameters with which the consent page returns to the client.
export async function agree(login, url) {
  return Object.fromEntries(destination(await browse(login, url)).searchParams);
}

// Runs a person's consent without a client library and returns the tokens.
export async function consent(login, scopes) {
  const query = new URLSearchParams({
    client_id: google.clientId,
    redirect_uri: callback,
    response_type: "code",
    scope: [...IDENTITY, ...scopes].join(" "),
    state: "s-1",
    access_type: "offline",
    prompt: "consent",
  });
  const back = await agree(login, `${google.auth}/o/oauth2/v2/auth?${query}`);
  assert.equal(back.state, "s-1");
  const response = await fetch(`${google.token}/token`, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "authorization_code",
      client_id: google.clientId,
      client_secret: google.clientSecret,
      code: back.code,
      redirect_uri: callback,
    }),
  });
  assert.equal(response.status, 200);
  return response.json();
}
