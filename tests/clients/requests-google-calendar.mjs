// The Google Calendar part of requests.mjs.
import { DiscoveryRequests, below, withBearer } from "./requests-google.mjs";

const EVENTS = "GET /calendar/v3/calendars/{calendarId}/events";

export const googleCalendar = {
  name: "google_calendar",
  description: new DiscoveryRequests("calendar.v3"),
  path: below("/calendar/"),
  headers: withBearer,
  expected: [
    "GET /calendar/v3/users/me/calendarList",
    "GET /calendar/v3/users/me/calendarList/{calendarId}",
    EVENTS,
    "POST /calendar/v3/calendars/{calendarId}/events/watch",
    "POST /calendar/v3/channels/stop",
  ],
  wrong: [
    [EVENTS, (one) => ({ ...one, query: `${one.query}&updatedMin=yesterday` }), /updatedMin: must match format/],
    [EVENTS, (one) => ({ ...one, query: one.query.replace("showDeleted=true", "showDeleted=yes") }), /showDeleted: must be boolean/],
    [EVENTS, (one) => ({ ...one, query: one.query.replace(/maxResults=\d+/, "maxResults=0") }), /maxResults: must be >= 1/],
    [EVENTS, (one) => ({ ...one, query: `${one.query}&orderBy=title` }), /orderBy: must be equal/],
    [EVENTS, (one) => ({ ...one, query: one.query.replace(/(&fields=[^&]+|$)/, "&fields=items/rooms") }), /rooms of fields is not described/],
    ["POST /calendar/v3/calendars/{calendarId}/events/watch", (one) => ({ ...one, body: JSON.stringify({ ...JSON.parse(one.body), expiration: 1 }) }), /expiration: must be string/],
  ],
};
