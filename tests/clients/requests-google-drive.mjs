// The Google Drive part of requests.mjs.
import { DiscoveryRequests, below, withBearer } from "./requests-google.mjs";

export const googleDrive = {
  name: "google_drive",
  description: new DiscoveryRequests("drive.v3"),
  path: below("/drive/"),
  headers: withBearer,
  expected: [
    "GET /drive/v3/about",
    "GET /drive/v3/drives",
    "GET /drive/v3/drives/{driveId}",
    "GET /drive/v3/files",
    "GET /drive/v3/changes/startPageToken",
    "GET /drive/v3/changes",
    "POST /drive/v3/changes/watch",
    "POST /drive/v3/channels/stop",
  ],
  wrong: [
    ["GET /drive/v3/changes", (one) => ({ ...one, query: `${one.query}&order=asc` }), /order is not described/],
    ["GET /drive/v3/changes", (one) => ({ ...one, query: one.query.replace(/pageSize=\d+/, "pageSize=1001") }), /pageSize: must be <= 1000/],
    ["GET /drive/v3/changes", (one) => ({ ...one, query: one.query.replace(/pageToken=[^&]+&/, "") }), /required property 'pageToken'/],
    ["GET /drive/v3/changes", (one) => ({ ...one, query: one.query.replace(/fields=[^&]+/, "fields=changes(file(colour))") }), /colour of fields is not described/],
    ["GET /drive/v3/files", (one) => ({ ...one, query: one.query.replace("supportsAllDrives=true", "supportsAllDrives=all") }), /supportsAllDrives: must be boolean/],
    ["GET /drive/v3/about", (one) => ({ ...one, query: "fields=user/age" }), /age of fields is not described/],
    ["POST /drive/v3/changes/watch", (one) => ({ ...one, body: one.body.replace('"address"', '"url"') }), /url is not described/],
    ["POST /drive/v3/channels/stop", (one) => ({ ...one, body: "" }), /body: missing/],
  ],
};
