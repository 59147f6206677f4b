// Checks Calendar's responses against Google's discovery document.
import { DiscoveryDescription } from "./discovery.mjs";
import { assert, check } from "./checks.mjs";
import { compare } from "./recorded-google-calendar.mjs";
import { base, browse, control, destination } from "./simulator.mjs";

const description = new DiscoveryDescription(`${process.env.POBLYSH_FIXTURES}/google/discovery/calendar.v3.json`);
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

// Sends a request of the described method `id`, and returns its JSON.
async function described(id, status, path, { query = {}, body } = {}) {
  const { httpMethod } = description.method(id);
  const name = Object.keys(query).length ? ` with ${Object.keys(query).join(", ")}` : "";
  return check(`google_calendar: ${id} (${status})${name} matches the description`, async () => {
    const response = await fetch(`${host}/calendar/v3/${path}?${new URLSearchParams(query)}`, {
      method: httpMethod,
      headers: { authorization: `Bearer ${access_token}`, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    const answer = text === "" ? undefined : JSON.parse(text);
    assert.equal(response.status, status, text);
    const fault = description.fault(id, status, answer);
    if (fault) throw new Error(fault);
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
const { nextSyncToken: token } = await described("calendar.events.list", 200, events, { query: { showDeleted: true } });
await act("event.cancelled", { event: gone.id });
await act("event.cancelled", { event: series.id, scope: "following", occurrence: 3 });
await described("calendar.events.list", 200, events, { query: { showDeleted: true, syncToken: token } });
await described("calendar.events.list", 200, events, { query: { singleEvents: true, orderBy: "startTime", maxResults: 50 } });
await described("calendar.events.list", 200, events, { query: { maxAttendees: 1 } });
await described("calendar.events.list", 200, `calendars/${colleague}/events`);
await described("calendar.events.list", 400, events, { query: { syncToken: token, q: "a" } });
await described("calendar.events.list", 404, "calendars/nobody@else.example/events");
await control("google_calendar/cursors", { account: place.admin });
await described("calendar.events.list", 410, events, { query: { syncToken: token } });
await described("calendar.events.get", 200, `${events}/${single.id}`);
await described("calendar.events.get", 410, `${events}/${gone.id}`);
const list = "users/me/calendarList";
const { nextSyncToken: calendars } = await described("calendar.calendarList.list", 200, list, { query: { showHidden: true } });
await act("calendar.hidden", { calendar: hidden.calendar });
await act("calendar.removed", { calendar: removed.calendar });
await described("calendar.calendarList.list", 200, list, { query: { syncToken: calendars } });
await described("calendar.calendarList.get", 200, `${list}/primary`);
const channel = { id: "contract-1", type: "web_hook", address: "https://else.example/", token: "t" };
const { resourceId } = await described("calendar.events.watch", 200, `${events}/watch`, { body: channel });
await described("calendar.events.watch", 400, `${events}/watch`, { body: channel });
await described("calendar.calendarList.watch", 200, `${list}/watch`, { body: { ...channel, id: "contract-2" } });
await described("calendar.channels.stop", 204, "channels/stop", { body: { id: channel.id, resourceId } });

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
  const judge = (body) => description.fault("calendar.events.get", 200, body);
  assert.equal(judge({ id: "1", status: "confirmed" }), undefined);
  assert.match(judge({ id: 1 }), /must be string/);
  assert.match(judge({ id: "1", title: "a" }), /additional/);
  assert.match(judge({ updated: "yesterday" }), /date-time/);
  assert.match(description.fault("calendar.events.get", 404, { message: "no" }), /required/);
});
