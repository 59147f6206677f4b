// The simulated Atlassian: the app's settings, sites, and a person's OAuth flow.
import { assert } from "./checks.mjs";
import { browse, control, destination } from "./simulator.mjs";

export const atlassian = {
  auth: process.env.POBLYSH_JIRA_AUTH_BASE_URL,
  api: process.env.POBLYSH_JIRA_API_BASE_URL,
  clientId: process.env.POBLYSH_JIRA_CLIENT_ID,
  clientSecret: process.env.POBLYSH_JIRA_CLIENT_SECRET,
};
const { callback_url } = await control("jira/settings");

const SCOPES = [
  "read:jira-work read:jira-user manage:jira-webhook read:me offline_access",
  "read:sprint:jira-software read:board-scope:jira-software",
].join(" ");

// Creates a site; its people are in `people`.
export function site(name, more = {}) {
  return control("jira/accounts", { name, ...more });
}

// Performs an action at a site.
export function happen(place, action, more = {}) {
  return control("jira/act", { account: place.login, action, ...more });
}

// Runs the OAuth flow of a person's browser and returns the tokens.
export async function consent(person, scope = SCOPES) {
  const query = new URLSearchParams({
    audience: "api.atlassian.com",
    client_id: atlassian.clientId,
    scope,
    redirect_uri: callback_url,
    state: "s-1",
    response_type: "code",
    prompt: "consent",
  });
  const back = destination(await browse(person, `${atlassian.auth}/authorize?${query}`)).searchParams;
  assert.equal(back.get("state"), "s-1");
  const response = await fetch(`${atlassian.auth}/oauth/token`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      grant_type: "authorization_code",
      client_id: atlassian.clientId,
      client_secret: atlassian.clientSecret,
      code: back.get("code"),
      redirect_uri: callback_url,
    }),
  });
  assert.equal(response.status, 200);
  return response.json();
}

// The base URL of a site's Jira, for a client that takes a host.
export function host(place) {
  return `${atlassian.api}/ex/jira/${place.login}`;
}
