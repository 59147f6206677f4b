// Checks Calendar's responses against Google's discovery document.
import { assert, check } from "./checks.mjs";
import { describe } from "./discovery.mjs";
import { compare } from "./recorded-google-calendar.mjs";
import { base, browse, control, destination } from "./simulator.mjs";

const description = describe(`${process.env.POBLYSH_FIXTURES}/google/discovery/calendar.v3.json`);
const host = `${base}/google`;
const scope = ["events.readonly", "calendarlist.readonly"].map((name) => `https://www.googleapis.com/auth/calendar.${name}`);
const redirectUri = (await control("google/settings")).redirect_uris[0];
const place = await control("google_calendar/accounts", { name: "calendar-contract", people: 2, history: 20 });
const client = { client_id: process.env.POBLYSH_GOOGLE_CLIENT_ID, redirect_uri: redirectUri };
const consent = new URLSearchParams({
  ...client, response_type: "code", scope: scope.join(" "), access_type: "offline", prompt: "consent", state: "s",
});
const code = destination(await browse(place.admin, `${host}/o/oauth2/v2/auth?${consent}`)).searchParams.get("code");
const secret = { client_secret: process.env.POBLYSH_GOOGLE_CLIENT_SECRET };
const form = new URLSearchParams({ ...client, ...secret, grant_type: "authorization_code", code });
const { access_token } = await (await fetch(`${host}/token`, { method: "POST", body: form })).json();

// Performs an action ten seconds after the last one.
async function act(action, params = {}) {
  await control("clock", { advance_seconds: 10 });
  return (await control("google_calendar/act", { account: place.admin, action, ...params })).object;
}

// Sends a request and returns its JSON, which must match the description.
async function described(method, path, status, { query = {}, body } = {}) {
  const shown = path.replace(/calendars\/[^/]+@[^/]+/, "calendars/{id}").replace(/[a-v0-9]{26}/, "{id}");
  const names = Object.keys(query).length ? ` with ${Object.keys(query).join(", ")}` : "";
  return check(`google_calendar: ${method} ${shown} (${status})${names} matches the description`, async () => {
    const response = await fetch(`${host}/calendar/v3/${path}?${new URLSearchParams(query)}`, {
      method,
      headers: { authorization: `Bearer ${access_token}`, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    const answer = text === "" ? undefined : JSON.parse(text);
    assert.equal(response.status, status, text);
    const fault = description.fault(method, `/calendar/v3/${path}`, status, answer);
    if (fault) throw new Error(fault);
    assert.notEqual(fault, null, "the description does not have this path");
    return answer;
  });
}

// All kinds of events and changes.
const colleague = place.people[1].address;
const series = await act("event.created", { rule: "daily", guests: [colleague] });
await act("event.edited", { event: series.id, scope: "this", occurrence: 1 });
await act("event.cancelled", { event: series.id, scope: "this", occurrence: 2 });
await act("event.edited", { event: series.id, scope: "following", occurrence: 4 });
await act("event.responded", { account: colleague, event: series.id, response: "tentative" });
const single = await act("event.created", { private: true });
await act("event.reminder", { event: single.id, minutes: 5 });
const moved = await act("event.created");
await act("event.moved", { event: moved.id });
const gone = await act("event.created", { all_day: true });
for (const event_type of ["outOfOffice", "workingLocation", "focusTime", "birthday"]) await act("event.created", { event_type });
await act("calendar.added", { calendar: colleague, role: "reader" });
const hidden = await act("calendar.added");
const removed = await act("calendar.added");

const events = "calendars/primary/events";
const { nextSyncToken: token } = await described("GET", events, 200, { query: { showDeleted: true } });
await act("event.cancelled", { event: gone.id });
await act("event.cancelled", { event: series.id, scope: "following", occurrence: 3 });
await described("GET", events, 200, { query: { showDeleted: true, syncToken: token } });
await described("GET", events, 200, { query: { singleEvents: true, orderBy: "startTime", maxResults: 50 } });
await described("GET", events, 200, { query: { maxAttendees: 1 } });
await described("GET", `calendars/${colleague}/events`, 200);
await described("GET", events, 400, { query: { syncToken: token, q: "a" } });
await described("GET", "calendars/unknown@else.example/events", 404);
await control("google_calendar/cursors", { expire: place.admin });
await described("GET", events, 410, { query: { syncToken: token } });
await described("GET", `${events}/${single.id}`, 200);
await described("GET", `${events}/${gone.id}`, 410);
const list = "users/me/calendarList";
const { nextSyncToken: calendars } = await described("GET", list, 200, { query: { showHidden: true } });
await act("calendar.hidden", { calendar: hidden.calendar });
await act("calendar.removed", { calendar: removed.calendar });
await described("GET", list, 200, { query: { syncToken: calendars } });
await described("GET", `${list}/primary`, 200);
const channel = { id: crypto.randomUUID(), type: "web_hook", address: "https://else.example/", token: "t" };
const { resourceId } = await described("POST", `${events}/watch`, 200, { body: channel });
await described("POST", `${events}/watch`, 400, { body: channel });
await described("POST", `${list}/watch`, 200, { body: { ...channel, id: crypto.randomUUID() } });
await described("POST", "channels/stop", 204, { body: { id: channel.id, resourceId } });

async function changed(query) {
  const headers = { authorization: `Bearer ${access_token}` };
  return (await fetch(`${host}/calendar/v3/${events}?${new URLSearchParams(query)}`, { headers })).json();
}
await compare({
  act,
  changes: (syncToken) => changed({ syncToken }),
  position: async () => (await changed({ maxResults: 2500 })).nextSyncToken,
});

await check("google_calendar: a response that violates the description fails", () => {
  const judge = (body, status = 200) => description.fault("GET", `/calendar/v3/${events}/x`, status, body);
  assert.equal(judge({ id: "1", status: "confirmed" }), undefined);
  assert.match(judge({ id: 1 }), /must be string/);
  assert.match(judge({ id: "1", title: "a" }), /additional/);
  assert.match(judge({ updated: "yesterday" }), /date-time/);
  assert.match(judge({ message: "no" }, 404), /required/);
});
