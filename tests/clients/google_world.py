"""Setup of all checks of Google: the OAuth client, accounts, consent, and a receiver of pushes."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# The simulator uses plain HTTP, and people may grant fewer scopes; these settings of oauthlib
# allow it.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
os.environ["OAUTHLIB_RELAX_TOKEN_SCOPE"] = "1"

from checks import Checks, browse, control  # noqa: E402
from google.auth.transport.requests import Request  # noqa: E402
from google_auth_oauthlib.flow import Flow  # noqa: E402
from googleapiclient.discovery import build  # noqa: E402
from googleapiclient.errors import HttpError  # noqa: E402

CLIENT_ID = os.environ["POBLYSH_GOOGLE_CLIENT_ID"]
CLIENT_SECRET = os.environ["POBLYSH_GOOGLE_CLIENT_SECRET"]
AUTH = os.environ["POBLYSH_GOOGLE_AUTH_BASE_URL"]
TOKEN = os.environ["POBLYSH_GOOGLE_TOKEN_BASE_URL"]
API = os.environ["POBLYSH_GOOGLE_API_BASE_URL"]
CALLBACK = control("google/settings")["redirect_uris"][0]

METADATA = "https://www.googleapis.com/auth/drive.metadata.readonly"
EMAIL = "https://www.googleapis.com/auth/userinfo.email"
SCOPES = ["openid", EMAIL, METADATA]

check = Checks("google")


def settings(**changes):
    """Changes settings that all products share."""
    return control("google/settings", changes)


def flow(scopes=SCOPES):
    """A consent of the web client."""
    client = {
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uris": [CALLBACK],
        "auth_uri": f"{AUTH}/o/oauth2/v2/auth", "token_uri": f"{TOKEN}/token",
    }
    return Flow.from_client_config({"web": client}, scopes=scopes, redirect_uri=CALLBACK)


def consent(login, scopes=SCOPES, **parameters):
    """Runs the consent of a person's browser and returns the credentials."""
    one = flow(scopes)
    parameters = {"access_type": "offline", "prompt": "consent", **parameters}
    url, state = one.authorization_url(**parameters)
    back = browse(url, login)
    assert back["state"] == state, back
    one.fetch_token(code=back["code"])
    return one.credentials


def refused(status, request, reason=None):
    """Executes a request that must have this status; returns the error's entry."""
    try:
        request.execute()
    except HttpError as error:
        assert error.resp.status == status, error
        entry = error.error_details[0] if isinstance(error.error_details, list) else {}
        assert reason is None or any(one.get("reason") == reason for one in error.error_details), error
        return entry
    raise AssertionError(f"{status} was expected")


class Account:
    """An organization with its administrator and colleagues."""

    def __init__(self, name, **more):
        made = control("google_drive/accounts", {"name": name, **more})
        self.id, self.admin, self.people = made["login"], made["admin"], made["people"]
        self.drives = made["drives"]

    def act(self, action, **more):
        return control("google_drive/act", {"account": self.id, "action": action, **more})["object"]


def drive(credentials):
    """The client of Drive at the simulator."""
    endpoint = {"api_endpoint": f"{API}/drive/v3/"}
    return build("drive", "v3", credentials=credentials, static_discovery=True, client_options=endpoint)


class Receiver:
    """A receiver of pushes; `received` has their headers and bodies."""

    def __init__(self):
        self.received = received = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                received.append((dict(self.headers.items()), body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/push"

    def delivered(self):
        """The received pushes after all deliveries."""
        control("quiesce", {"timeout_seconds": 30})
        return list(self.received)


__all__ = ["Request"]
