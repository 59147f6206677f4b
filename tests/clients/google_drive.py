"""Drive: lists, the log of changes, pushes of a channel, errors, batches."""

import json
import uuid
from importlib.resources import files

from checks import control, ledger
from google_world import API, METADATA, Account, Receiver, check, consent, drive, refused, settings
from googleapiclient.discovery import build_from_document

place = Account("google-drive", history=60)
person = place.people[0]
client = drive(consent(place.admin))
SHARED = {"supportsAllDrives": True, "includeItemsFromAllDrives": True}
READ = "https://www.googleapis.com/auth/drive.readonly"


def shown(kind, **filters):
    """Keys of the facts that the API shows."""
    rows = ledger(source="google_drive", account=place.id, kind=kind, **filters)
    return {row["dedupe_key"] for row in rows if row["poll"]}


def pages(collection, first, name):
    """All rows of a list."""
    rows, request = [], first
    while request is not None:
        page = request.execute()
        rows += page.get(name, [])
        last, request = page, collection.list_next(request, page)
    return rows, last


def changes(token, **more):
    """All changes from a token, and the next start token."""
    collection = client.changes()
    first = collection.list(pageToken=token, fields="*", includeCorpusRemovals=True, **SHARED, **more)
    rows, last = pages(collection, first, "changes")
    return rows, last["newStartPageToken"]


@check("about needs fields, and returns the person")
def _():
    refused(400, client.about().get(), "required")
    user = client.about().get(fields="user").execute()["user"]
    assert user["permissionId"] == person["permission_id"] and user["displayName"] == person["name"]


@check("files are listed page by page, with every created file of the ledger")
def _():
    collection = client.files()
    first = collection.list(pageSize=7, orderBy="modifiedTime desc", fields="*", **SHARED)
    rows, _last = pages(collection, first, "files")
    assert len({row["id"] for row in rows}) == len(rows)
    times = [row["modifiedTime"] for row in rows]
    assert times == sorted(times, reverse=True)
    listed = {
        f"google_drive:file:{row['id']}:created" for row in rows
        if row["mimeType"] != "application/vnd.google-apps.shortcut"
    }
    assert listed == shown("file_created")


@check("a search with conditions returns the matching files only")
def _():
    folder = place.act("file.created", folder=True, text="Bob's folder")["id"]
    inside = place.act("file.created", to=folder)["id"]
    found = client.files().list(q=f"'{folder}' in parents and trashed = false").execute()["files"]
    assert [one["id"] for one in found] == [inside]
    named = client.files().list(q="name = 'Bob\\'s folder'").execute()["files"]
    assert [one["id"] for one in named] == [folder]
    refused(400, client.files().list(q="name = "), "invalid")


@check("changes follow nextPageToken; a token can be read again")
def _():
    start = client.changes().getStartPageToken(**{"supportsAllDrives": True}).execute()["startPageToken"]
    control("google_drive/settings", {"max_page_size": 3})
    ids = [place.act("file.created")["id"] for _ in range(8)]
    for _ in range(3):
        place.act("file.edited", file=ids[0])
    rows, after = changes(start)
    assert [row["fileId"] for row in rows] == [*ids[1:], ids[0]], "one row per file, the latest"
    assert changes(start)[0] == rows and changes(after)[0] == []
    control("google_drive/settings", {"max_page_size": 1000})


@check("a removed file has no file, a foreign one is shared with a time and a person")
def _():
    start = client.changes().getStartPageToken().execute()["startPageToken"]
    other = place.people[1]
    file = place.act("file.created", actor=other["login"])["id"]
    place.act("file.shared", actor=other["login"], file=file, **{"with": place.admin})
    (row,), after = changes(start)
    assert row["file"]["sharingUser"]["permissionId"] == other["permission_id"]
    assert row["file"]["sharedWithMeTime"] and not row["file"]["ownedByMe"]
    found = client.files().list(q="sharedWithMe", orderBy="sharedWithMeTime desc").execute()["files"]
    assert found[0]["id"] == file
    place.act("file.deleted", actor=other["login"], file=file)
    (row,), _next = changes(after)
    assert row["removed"] and "file" not in row and row["fileId"] == file
    assert f"google_drive:file:{file}:removed:{person['permission_id']}:{row['time']}" in shown("file_removed")


@check("a shared drive has its own log, and needs a wider scope for its name")
def _():
    drive_id = place.drives[0]["id"]
    refused(403, client.drives().list(), "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
    wide = drive(consent(place.admin, ["openid", READ, METADATA]))
    assert [one["id"] for one in wide.drives().list().execute()["drives"]] == [drive_id]
    collection = client.changes()
    refused(404, collection.getStartPageToken(driveId=drive_id), "notFound")
    token = collection.getStartPageToken(driveId=drive_id, supportsAllDrives=True).execute()["startPageToken"]
    file = place.act("file.created", to=drive_id)["id"]
    place.act("file.trashed", file=file)
    (row,), _next = changes(token, driveId=drive_id)
    assert row["file"]["driveId"] == drive_id and row["file"]["trashingUser"]["me"]
    assert not {"owners", "ownedByMe", "shared"} & set(row["file"])


@check("a channel receives sync and one push for a burst, until it is stopped")
def _():
    receiver = Receiver()
    settings(coalesce_milliseconds=300)
    start = client.changes().getStartPageToken().execute()["startPageToken"]
    body = {"id": str(uuid.uuid4()), "type": "web_hook", "address": receiver.url, "token": "secret"}
    channel = client.changes().watch(pageToken=start, body=body, **SHARED).execute()
    assert channel["kind"] == "api#channel" and channel["expiration"].isdigit()
    for _ in range(4):
        place.act("file.created")
    pushes = receiver.delivered()
    headers = [{name.lower(): value for name, value in one.items()} for one, _body in pushes]
    assert [one["x-goog-resource-state"] for one in headers] == ["sync", "change"]
    assert {one["x-goog-channel-token"] for one in headers} == {"secret"}
    assert {one["x-goog-resource-id"] for one in headers} == {channel["resourceId"]}
    assert all(body == b"" for _headers, body in pushes)
    refused(400, client.changes().watch(pageToken=start, body=body), "channelIdNotUnique")
    client.channels().stop(body={"id": channel["id"], "resourceId": channel["resourceId"]}).execute()
    place.act("file.created")
    assert len(receiver.delivered()) == 2
    refused(404, client.channels().stop(body={"id": channel["id"], "resourceId": channel["resourceId"]}))
    settings(coalesce_milliseconds=50)


@check("limits and server errors are retried by the client")
def _():
    for effect in ({"effect": "secondary_limit_bare"}, {"effect": "status", "status": 503}):
        control("faults", {"target": "request", "pattern": "GET /google/drive/v3/files", "count": 1, **effect})
        assert "files" in client.files().list().execute(num_retries=2)


@check("an unknown file is 404, an expired page token has the chosen status")
def _():
    refused(404, client.files().get(fileId="none"), "notFound")
    for status in (400, 404, 410):
        token = client.changes().getStartPageToken().execute()["startPageToken"]
        control("google_drive/cursors", {"expire": place.id, "status": status})
        refused(status, client.changes().list(pageToken=token))


@check("a batch returns the answer of each request")
def _():
    document = json.loads(
        files("googleapiclient.discovery_cache.documents").joinpath("drive.v3.json").read_text()
    )
    document["rootUrl"] = f"{API}/"
    answers = {}
    service = build_from_document(document, credentials=consent(place.admin))
    batch = service.new_batch_http_request(callback=lambda name, answer, error: answers.update({name: (answer, error)}))
    batch.add(service.about().get(fields="user"), request_id="about")
    batch.add(service.files().get(fileId="none"), request_id="file")
    batch.execute()
    assert answers["about"][0]["user"]["emailAddress"] == place.admin
    assert answers["file"][1].resp.status == 404
