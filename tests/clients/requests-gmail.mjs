// The Gmail part of requests.mjs.
import { DiscoveryRequests, below, withBearer } from "./requests-google.mjs";

const MESSAGE = "GET /gmail/v1/users/{userId}/messages/{id}";
const HISTORY = "GET /gmail/v1/users/{userId}/history";

export const gmail = {
  name: "gmail",
  description: new DiscoveryRequests("gmail.v1"),
  path: below("/gmail/"),
  headers: withBearer,
  expected: [
    "GET /gmail/v1/users/{userId}/profile",
    "GET /gmail/v1/users/{userId}/messages",
    MESSAGE,
    HISTORY,
    "POST /gmail/v1/users/{userId}/watch",
    "POST /gmail/v1/users/{userId}/stop",
  ],
  wrong: [
    [MESSAGE, (one) => ({ ...one, query: one.query.replace("format=metadata", "format=headers") }), /format: must be equal/],
    [MESSAGE, (one) => ({ ...one, query: one.query.replace(/fields=[^&]+/, "fields=payload/attachments") }), /attachments of fields is not described/],
    [HISTORY, (one) => ({ ...one, query: `${one.query}&historyTypes=messageRead` }), /historyTypes \d+: must be equal/],
    [HISTORY, (one) => ({ ...one, query: one.query.replace(/maxResults=\d+/, "maxResults=all") }), /maxResults: must be integer/],
    ["POST /gmail/v1/users/{userId}/watch", (one) => ({ ...one, body: one.body.replace('"topicName"', '"topic"') }), /topic is not described/],
    // https://developers.google.com/workspace/gmail/api/reference/rest/v1/users/stop: no body.
    ["POST /gmail/v1/users/{userId}/stop", (one) => ({ ...one, headers: { ...one.headers, "content-type": "application/json" }, body: "{}" }), /body: type application\/json is not described/],
  ],
};
