"""Reading of mailboxes: lists, formats, threads, labels, history, batches, limits."""

import email.header
import json

from checks import control, ledger
from gmail_world import API, METADATA, Mailbox, added, check, refused, settings
from google.auth.exceptions import RefreshError
from googleapiclient.discovery import build_from_document
from googleapiclient.discovery_cache import get_static_doc

box = Mailbox("gmail-reading", history=60)


def header(message, name):
    """Decoded value of a message's first header with this name, in any case."""
    rows = message["payload"].get("headers", [])
    value = next(row["value"] for row in rows if row["name"].lower() == name)
    return str(email.header.make_header(email.header.decode_header(value)))


@check("the profile names the address and counts the messages")
def _():
    profile = box.profile()
    assert profile["emailAddress"] == box.address
    assert profile["messagesTotal"] >= len(box.messages()) > 40
    assert profile["historyId"].isdigit() and profile["threadsTotal"] <= profile["messagesTotal"]


@check("pages of any size list every message once, newest first")
def _():
    settings(max_page_size=7)
    ids = box.messages(maxResults=500)
    settings(max_page_size=500)
    assert ids == box.messages() and len(set(ids)) == len(ids)
    dates = [int(box.message(id, format="minimal")["internalDate"]) for id in ids[:20]]
    assert dates == sorted(dates, reverse=True)


@check("every fact of the ledger is a message, with its labels and time")
def _():
    rows = [row for row in ledger(source="gmail", account=box.sub) if row["poll"]]
    assert sorted(row["dedupe_key"].split(":")[-1] for row in rows) == sorted(box.messages())
    for row in rows[:10]:
        message = box.message(row["dedupe_key"].split(":")[-1], format="metadata")
        assert ("SENT" in message["labelIds"]) == (row["kind"] == "email_sent")
        assert all(row["dedupe_key"].startswith(f"gmail:{box.sub}:message:") for row in rows)


@check("encoded headers decode to the subject and the sender")
def _():
    for number in range(12):
        subject = f"Überprüfung ✓ {number} " + "ä" * 40
        sent, _ = box.act("mail.received", subject=subject, **{"from": "a@x.example", "from_name": "Büro №1"})
        message = box.message(sent["id"], format="metadata", metadataHeaders=["SUBJECT", "From"])
        assert header(message, "subject") == subject
        assert "Büro №1" in header(message, "from")
        assert {row["name"].lower() for row in message["payload"]["headers"]} == {"subject", "from"}


@check("a thread has its messages, a deleted message is 404")
def _():
    first, _ = box.act("mail.received")
    second, _ = box.act("mail.sent", answers=first["id"])
    thread = box.api.threads().get(userId="me", id=first["id"], format="minimal").execute()
    assert [one["id"] for one in thread["messages"]] == [first["id"], second["id"]]
    box.act("mail.deleted", message=first["id"])
    error = refused(404, box.api.messages().get(userId="me", id=first["id"]))
    assert error["errors"][0]["reason"] == "notFound" and error["status"] == "NOT_FOUND"


@check("labels of the system and of the owner are listed, and counted")
def _():
    box.act("mail.received", label="Invoices", count=3)
    labels = box.api.labels().list(userId="me").execute()["labels"]
    own = [label for label in labels if label["type"] == "user"]
    assert [label["name"] for label in own] == ["Invoices"] and len(labels) == 15
    label = box.api.labels().get(userId="me", id=own[0]["id"]).execute()
    assert (label["messagesTotal"], label["messagesUnread"]) == (3, 3)
    assert len(box.messages(labelIds=[own[0]["id"], "INBOX"])) == 3
    assert len(box.messages(q="label:invoices is:unread -in:sent")) == 3


@check("the history has additions, labels and deletions after an id")
def _():
    start = box.profile()["historyId"]
    one, _ = box.act("mail.received")
    box.act("mail.labelled", message=one["id"], label="STARRED")
    box.act("mail.trashed", message=one["id"])
    box.act("mail.deleted", message=one["id"])
    records, end = box.history(start)
    fields = [sorted(set(record) - {"id", "messages"}) for record in records]
    assert fields == [["messagesAdded"], ["labelsAdded"], ["labelsAdded", "labelsRemoved"], ["messagesDeleted"]]
    assert end == records[-1]["id"] == box.profile()["historyId"]
    only, _ = box.history(start, historyTypes=["messageDeleted"])
    assert len(only) == 1
    assert box.history(end) == ([], end)


@check("pages without a history and 1,200 mails lose nothing")
def _():
    start = box.profile()["historyId"]
    ids = {id for _ in range(12) for id in box.act("mail.received", count=100)[0]["ids"]}
    settings(empty_history_pages=True, max_page_size=100)
    page = box.api.history().list(userId="me", startHistoryId=start).execute()
    assert "history" not in page and page["nextPageToken"]
    records, _ = box.history(start, historyTypes=["messageAdded", "labelAdded"])
    settings(empty_history_pages=False, max_page_size=500)
    assert set(added(records)) == ids and len(ids) == 1_200


@check("an expired history refuses the ids of all messages, and accepts the profile's")
def _():
    id, start = box.messages()[0], box.profile()["historyId"]
    box.act("history.expired")
    own = box.message(id, format="minimal")["historyId"]
    for old in {start, own, "1"}:
        error = refused(404, box.api.history().list(userId="me", startHistoryId=old))
        assert error["message"] == "Requested entity was not found."
    refused(400, box.api.history().list(userId="me", startHistoryId="x"))
    records, end = box.history(box.profile()["historyId"])
    assert records == [] and box.history(end)[0] == []


@check("a draft changes its id with each save, and again when it is sent")
def _():
    start = box.profile()["historyId"]
    draft, facts = box.act("mail.draft")
    for _ in range(4):
        draft, facts = box.act("mail.draft", message=draft["id"])
    assert facts == []
    sent, facts = box.act("mail.draft_sent", message=draft["id"])
    assert [fact["kind"] for fact in facts] == ["email_sent"] and sent["id"] != draft["id"]
    ids = added(box.history(start)[0])
    assert len(ids) == 6 and ids[-1] == sent["id"]
    refused(404, box.api.messages().get(userId="me", id=draft["id"]))


@check("a batch answers each request, in order of its ids")
def _():
    document = {**json.loads(get_static_doc("gmail", "v1")), "rootUrl": f"{API}/"}
    users = build_from_document(document, credentials=box.credentials)
    batch, answers = users.new_batch_http_request(), {}
    ids = [*box.messages()[:40], "1"]
    for id in ids:
        request = users.users().messages().get(userId="me", id=id, format="minimal")
        batch.add(request, lambda name, answer, error: answers.__setitem__(name, (answer, error)), id)
    batch.execute()
    assert len(answers) == 41
    assert all(answers[id][0]["id"] == id for id in ids[:40])
    assert answers["1"][1].status_code == 404


@check("the metadata scope forbids searches and contents")
def _():
    less = Mailbox("gmail-metadata", scopes=[METADATA], history=5)
    id = less.messages()[0]
    for format in ["full", "raw"]:
        error = refused(403, less.api.messages().get(userId="me", id=id, format=format))
        assert error["errors"][0]["reason"] == "forbidden"
    refused(403, less.api.messages().list(userId="me", q="in:inbox"))
    assert "payload" in less.message(id, format="metadata")
    none = Mailbox("gmail-no-scope", scopes=["https://www.googleapis.com/auth/drive.readonly"])
    error = refused(403, none.api.getProfile(userId="me"))
    assert error["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
    refused(403, box.api.getProfile(userId=box.colleague))
    assert box.api.getProfile(userId=box.address).execute()["emailAddress"] == box.address


@check("an expired token is refreshed by the library, a revoked grant ends it")
def _():
    fresh = Mailbox("gmail-refresh")
    control("google/tokens", {"expire": fresh.sub})
    before = fresh.credentials.token
    assert fresh.profile()["emailAddress"] == fresh.address
    assert fresh.credentials.token != before
    control("google/tokens", {"change_password": fresh.sub})
    try:
        fresh.profile()
    except RefreshError as error:
        assert "invalid_grant" in str(error)
        return
    raise AssertionError("a new password ends tokens with scopes of Gmail")


@check("units are charged by method, and refused beyond a person's quota")
def _():
    saved = control("google/settings")["quotas"]
    quota = {"project_per_minute": None, "user_per_minute": 45}
    control("google/settings", {"quotas": {**saved, "gmail": quota}})
    spender = Mailbox("gmail-quota", history=3)
    id = spender.messages()[0]
    spender.message(id)
    spender.message(id)
    error = refused(403, spender.api.messages().get(userId="me", id=id))
    assert error["errors"][0]["reason"] == "rateLimitExceeded" and error["status"] == "PERMISSION_DENIED"
    assert error["details"][0]["reason"] == "RATE_LIMIT_EXCEEDED"
    control("google/settings", {"quotas": saved})
