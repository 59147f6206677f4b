// Atlassian, simulated: the app's settings, sites, and a person's way to a token.
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

// A new site, whose people are in `people`.
export function site(name, more = {}) {
  return control("jira/accounts", { name, ...more });
}

// Makes something happen at a site.
export function happen(place, action, more = {}) {
  return control("jira/act", { account: place.login, action, ...more });
}

// The whole way of a person's browser to tokens.
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

// Where a site's Jira is, for a client that is told a host.
export function host(place) {
  return `${atlassian.api}/ex/jira/${place.login}`;
}
