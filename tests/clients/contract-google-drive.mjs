// Checks Drive's responses against its discovery document.
import { assert, check } from "./checks.mjs";
import { describe } from "./discovery.mjs";
import { METADATA, consent, google, organization } from "./google.mjs";
import { control } from "./simulator.mjs";

const rest = describe(`${process.env.POBLYSH_FIXTURES}/google/discovery/drive.v3.json`);
const place = await organization("google_drive", "contract-drive", { history: 60 });
const act = (action, more = {}) => control("google_drive/act", { account: place.login, action, ...more });
const READ = "https://www.googleapis.com/auth/drive.readonly";
const { access_token } = await consent(place.admin, [METADATA, READ]);
const narrow = (await consent(place.people[1].address, [])).access_token;

async function described(method, path, status, { body, token = access_token } = {}) {
  const [shown] = path.split("?");
  const named = shown.replace(/\/[\w-]{16,}$/, "/{id}");
  return check(`google_drive: ${method} ${named} (${status}) matches the description`, async () => {
    const response = await fetch(`${google.api}/drive/v3${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    const answer = text === "" ? undefined : JSON.parse(text);
    assert.equal(response.status, status, text);
    const fault = rest.fault(method, `/drive/v3${shown}`, status, answer);
    if (fault) throw new Error(fault);
    assert.notEqual(fault, null, "the description does not know this path");
    return answer;
  });
}

const drive = place.drives[0].id;
const all = "supportsAllDrives=true&includeItemsFromAllDrives=true&includeCorpusRemovals=true&fields=*";
await described("GET", "/about", 400);
await described("GET", "/about?fields=*", 200);
await described("GET", "/about?fields=*", 401, { token: "x" });
await described("GET", "/about?fields=*", 403, { token: narrow });
const { startPageToken: start } = await described("GET", "/changes/startPageToken?supportsAllDrives=true", 200);
const inDrive = await described("GET", `/changes/startPageToken?supportsAllDrives=true&driveId=${drive}`, 200);
await described("GET", "/changes/startPageToken?driveId=none&supportsAllDrives=true", 404);

// All actions, so that every kind of row is judged.
const { object: { id: folder } } = await act("file.created", { folder: true });
const { object: { id: file } } = await act("file.created", { to: folder });
const { object: { id: lost } } = await act("file.created", { to: drive });
for (const action of ["edited", "renamed", "commented", "starred", "shared", "unshared", "shortcut"]) {
  await act(`file.${action}`, { file });
}
await act("file.shared", { file, with: place.people[1].address });
await act("file.shared", { file, with: "someone@outside.example" });
const { object: { id: given } } = await act("file.created", { actor: place.people[2].login });
await act("file.shared", { actor: place.people[2].login, file: given, with: place.admin });
await act("file.trashed", { file: folder });
await act("file.edited", { file: lost });
await act("file.trashed", { file: lost });
const { object: { id: moved } } = await act("file.created", { to: drive });
await act("file.moved", { file: moved, to: "root" });
const { object: { id: gone } } = await act("file.created");
await act("file.deleted", { file: gone });
const { object: { id: other } } = await act("drive.created", { text: "Second" });
await act("drive.left", { to: other });
await act("drive.created", { text: "Third" });

const page = await described("GET", `/changes?pageToken=${start}&pageSize=5&${all}`, 200);
await described("GET", `/changes?pageToken=${page?.nextPageToken}&${all}`, 200);
const left = await described("GET", `/changes?pageToken=${inDrive?.startPageToken}&driveId=${drive}&${all}`, 200);
await described("GET", `/changes?pageToken=${start}`, 200);
await described("GET", "/changes?pageToken=none", 400);
await described("GET", "/changes", 400);
await described("GET", "/files?pageSize=5&fields=*&orderBy=modifiedTime%20desc", 200);
await described("GET", "/files?q=sharedWithMe&fields=*", 200);
await described("GET", `/files?corpora=drive&driveId=${drive}&${all}`, 200);
await described("GET", "/files", 200);
await described("GET", "/files?q=name%20%3D", 400);
for (const id of [folder, file, given]) await described("GET", `/files/${id}?fields=*`, 200);
await described("GET", `/files/${lost}?fields=*&supportsAllDrives=true`, 200);
await described("GET", `/files/${lost}?fields=*`, 404);
await described("GET", "/drives?fields=*", 200);
await described("GET", `/drives/${drive}?fields=*`, 200);
await described("GET", "/drives/none", 404);

const body = { id: "contract-1", type: "web_hook", address: "http://hooks.example/", token: "t" };
await described("POST", `/changes/watch?pageToken=${start}`, 400, { body });
// Nothing listens there: this part judges responses only.
const watched = { ...body, address: "http://127.0.0.1:9/" };
const channel = await described("POST", `/changes/watch?pageToken=${start}`, 200, { body: watched });
await described("POST", `/changes/watch?pageToken=${start}`, 400, { body: watched });
const stop = { id: channel?.id, resourceId: channel?.resourceId };
await described("POST", "/channels/stop", 204, { body: stop });
await described("POST", "/channels/stop", 404, { body: stop });

const quotas = (await control("google/settings")).quotas;
await control("google/settings", { quotas: { google_drive: { project_per_minute: 0, user_per_minute: null } } });
await described("GET", "/files", 403);
await control("google/settings", { quotas });

await check("google_drive: every kind of change was judged", () => {
  const rows = [...(page?.changes ?? []), ...(left?.changes ?? [])];
  assert.ok(rows.some((row) => row.removed && row.file), "moved to another drive");
});
await check("google_drive: a response that violates the description fails", () => {
  assert.match(rest.fault("GET", "/drive/v3/files/a", 200, { id: 1 }), /must be string/);
  assert.match(rest.fault("GET", "/drive/v3/files/a", 200, { surname: "b" }), /additional/);
  assert.match(rest.fault("GET", "/drive/v3/files/a", 404, { error: { code: 404 } }), /required/);
});
