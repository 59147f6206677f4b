"""Setup of all Calendar checks: accounts, the consent flow, and clients with its tokens."""

import json
import os
import urllib.parse
import urllib.request

from checks import BASE, Checks, browse, control, ledger, opener

# httplib2 would send requests for the loopback address to a proxy.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

from google.oauth2.credentials import Credentials  # noqa: E402
from googleapiclient.discovery import build  # noqa: E402
from googleapiclient.errors import HttpError  # noqa: E402

HOST = f"{BASE}/google"
API = f"{HOST}/calendar/v3"
CLIENT_ID = os.environ["POBLYSH_GOOGLE_CLIENT_ID"]
CLIENT_SECRET = os.environ["POBLYSH_GOOGLE_CLIENT_SECRET"]
SCOPE = "https://www.googleapis.com/auth/calendar"
EVENTS = f"{SCOPE}.events.readonly"
CALENDARS = f"{SCOPE}.calendarlist.readonly"

check = Checks("calendar")


def consent(login, scopes=(EVENTS, CALENDARS)):
    """Returns the token response of a person's consent."""
    redirect = control("google/settings")["redirect_uris"][0]
    query = {
        "client_id": CLIENT_ID, "redirect_uri": redirect, "response_type": "code",
        "scope": " ".join(scopes), "access_type": "offline", "prompt": "consent", "state": "s",
    }
    back = browse(f"{HOST}/o/oauth2/v2/auth?{urllib.parse.urlencode(query)}", login)
    form = {
        "grant_type": "authorization_code", "code": back["code"], "redirect_uri": redirect,
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
    }
    data = urllib.parse.urlencode(form).encode()
    with opener.open(urllib.request.Request(f"{HOST}/token", data=data)) as response:
        return json.loads(response.read())


class Account:
    """A new organization, and the client of its administrator."""

    def __init__(self, name, **more):
        account = control("google_calendar/accounts", {"name": name, "people": 2, **more})
        self.login, self.address = account["login"], account["admin"]
        self.people = [person["address"] for person in account["people"]]
        self.token = consent(self.address)
        self.service = service(self.token)

    def act(self, action, account=None, **params):
        """Performs an action ten seconds after the last one, and returns its object and facts."""
        control("clock", {"advance_seconds": 10})
        body = {"account": account or self.address, "action": action, **params}
        return control("google_calendar/act", body)

    def create(self, **params):
        return self.act("event.created", **params)["object"]["id"]

    def row(self, key):
        """The ledger row whose key ends with this text."""
        rows = ledger(source="google_calendar", account=self.login)
        [row] = [row for row in rows if row["dedupe_key"].endswith(key)]
        return row

    def expire(self, after_pages=0):
        body = {"expire": self.address, "after_pages": after_pages}
        control("google_calendar/cursors", body)


def service(token):
    """A client of google-api-python-client, which knows only the simulator's address."""
    credentials = Credentials(
        token["access_token"], refresh_token=token["refresh_token"], token_uri=f"{HOST}/token",
        client_id=CLIENT_ID, client_secret=CLIENT_SECRET,
    )
    return build(
        "calendar", "v3", credentials=credentials, static_discovery=True,
        client_options={"api_endpoint": f"{API}/"},
    )


def pages(resource, request):
    """Responses of all pages, by the client's own paging."""
    found = []
    while request is not None:
        response = request.execute()
        found.append(response)
        request = resource.list_next(request, response)
    return found


def refused(status, request):
    """First error of a request, which must have this status."""
    try:
        request.execute()
    except HttpError as error:
        assert error.resp.status == status, error
        return json.loads(error.content)["error"]["errors"][0]
    raise AssertionError(f"{status} was expected")


def settings(**changes):
    control("google_calendar/settings", changes)
