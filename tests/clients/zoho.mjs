// The simulated Zoho: the OAuth client, accounts, and a person's consent.
import { assert } from "./checks.mjs";
import { browse, control, destination } from "./simulator.mjs";

const base = process.env.POBLYSH_ZOHO_BASE_URL;
const clientId = process.env.POBLYSH_ZOHO_CLIENT_ID;
const { redirect_uris } = await control("zoho/settings");

// Base URL of a data centre: its accounts server and its products.
export const server = (dataCenter = "us") => `${base}/${dataCenter}`;

// Secret of the client in a data centre.
function secret(dataCenter) {
  const own = process.env[`POBLYSH_ZOHO_CLIENT_SECRET_${dataCenter.toUpperCase()}`];
  return own ?? process.env.POBLYSH_ZOHO_CLIENT_SECRET;
}

// Creates an organization with a product's part of the world: `source` is the product's slug.
export function organization(source, name, more = {}) {
  return control(`${source}/accounts`, { name, data_center: "us", ...more });
}

// Runs a person's consent without a client library and returns the tokens.
export async function consent(login, scopes) {
  const query = new URLSearchParams({
    client_id: clientId,
    redirect_uri: redirect_uris[0],
    response_type: "code",
    scope: ["AaaServer.profile.READ", ...scopes].join(","),
    state: "s-1",
    access_type: "offline",
    prompt: "consent",
  });
  const back = destination(await browse(login, `${server()}/oauth/v2/auth?${query}`)).searchParams;
  assert.equal(back.get("state"), "s-1");
  const response = await fetch(`${back.get("accounts-server")}/oauth/v2/token`, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "authorization_code",
      client_id: clientId,
      client_secret: secret(back.get("location")),
      code: back.get("code"),
      redirect_uri: redirect_uris[0],
    }),
  });
  const tokens = await response.json();
  assert.ok(tokens.access_token, JSON.stringify(tokens));
  return tokens;
}
