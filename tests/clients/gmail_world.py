"""Mailboxes and actions of the simulated Gmail, for the checks of Google's clients."""

import json
import os

from checks import Checks, control
from google_world import API, build, consent
from googleapiclient.errors import HttpError

TOPIC = os.environ["POBLYSH_GMAIL_TOPIC"]
EMAIL = "https://www.googleapis.com/auth/userinfo.email"
READONLY = "https://www.googleapis.com/auth/gmail.readonly"
METADATA = "https://www.googleapis.com/auth/gmail.metadata"

check = Checks("gmail")


def settings(**changes):
    return control("gmail/settings", changes)


class Mailbox:
    """The mailbox of a new organization's administrator, with the clients of its owner."""

    def __init__(self, name, scopes=(READONLY,), **size):
        account = control("gmail/accounts", {"name": name, "people": 1, **size})
        self.sub, self.address = account["login"], account["admin"]
        self.colleague = account["people"][1]["address"]
        self.credentials = consent(self.address, ["openid", EMAIL, *scopes])
        self.api = build(
            "gmail", "v1", credentials=self.credentials, static_discovery=True,
            client_options={"api_endpoint": f"{API}/"},
        ).users()

    def act(self, action, **more):
        """Performs an action and returns the changed object and the facts."""
        answer = control("gmail/act", {"account": self.sub, "action": action, **more})
        return answer["object"], answer["facts"]

    def profile(self):
        return self.api.getProfile(userId="me").execute()

    def message(self, id, **more):
        return self.api.messages().get(userId="me", id=id, **more).execute()

    def history(self, start, **more):
        """All records after a history id, and the history id of the last page."""
        pages = self.pages(self.api.history(), startHistoryId=start, **more)
        return [record for page in pages for record in page.get("history", [])], pages[-1]["historyId"]

    def messages(self, **more):
        """Ids of all pages."""
        pages = self.pages(self.api.messages(), **more)
        return [row["id"] for page in pages for row in page.get("messages", [])]

    def pages(self, resource, **parameters):
        """All pages of a list. (The library's `list_next` rejects repeated parameters.)"""
        pages = [resource.list(userId="me", **parameters).execute()]
        while token := pages[-1].get("nextPageToken"):
            pages.append(resource.list(userId="me", pageToken=token, **parameters).execute())
        return pages


def refused(status, request):
    """Executes a request that must have this status, and returns the error."""
    try:
        request.execute()
    except HttpError as error:
        assert error.status_code == status, error
        return json.loads(error.content)["error"]
    raise AssertionError(f"status {status} was expected")


def added(records):
    """Ids of the messages that records add."""
    return [one["message"]["id"] for record in records for one in record.get("messagesAdded", [])]
