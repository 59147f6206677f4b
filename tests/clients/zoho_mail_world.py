"""Mailboxes of the simulated Zoho Mail, and zog's program with the credentials of their owners."""

import contextlib
import io
import json
import os
import tempfile
import urllib.parse

# zog keeps its credentials below this folder, and looks for those of its author without the flag.
FOLDER = tempfile.TemporaryDirectory()
os.environ["XDG_CONFIG_HOME"] = FOLDER.name
os.environ["ZOG_DISABLE_BOOTSTRAP"] = "1"
os.environ["NO_PROXY"] = "127.0.0.1"

from checks import Checks, browse, control, opener  # noqa: E402
from zog import cli, config  # noqa: E402
from zog.providers.zoho.client import ZohoClient  # noqa: E402

CLIENT_ID = os.environ["POBLYSH_ZOHO_CLIENT_ID"]
SECRETS = {
    "us": os.environ["POBLYSH_ZOHO_CLIENT_SECRET"],
    "eu": os.environ["POBLYSH_ZOHO_CLIENT_SECRET_EU"],
}
SERVERS = os.environ["POBLYSH_ZOHO_BASE_URL"]
CALLBACK = control("zoho/settings")["redirect_uris"][-1]
# The scopes that zog asks for.
SCOPES = ["ZohoMail.messages.ALL", "ZohoMail.accounts.READ", "ZohoMail.folders.READ"]

check = Checks("zohomail")


def settings(**changes):
    return control("zoho_mail/settings", changes)


def family(**changes):
    """Changes settings that all products share."""
    return control("zoho/settings", changes)


def consent(address, scopes=SCOPES):
    """Runs the consent of a person's browser; returns the redirect's parameters."""
    query = urllib.parse.urlencode({
        "client_id": CLIENT_ID, "redirect_uri": CALLBACK, "response_type": "code", "state": "s-1",
        "scope": ",".join(scopes), "access_type": "offline", "prompt": "consent",
    })
    back = browse(f"{SERVERS}/us/oauth/v2/auth?{query}", address)
    assert back["state"] == "s-1", back
    return back


def exchange(back):
    """Tokens of a consent, from the accounts server that the redirect names."""
    form = urllib.parse.urlencode({
        "grant_type": "authorization_code", "client_id": CLIENT_ID, "redirect_uri": CALLBACK,
        "client_secret": SECRETS.get(back["location"], SECRETS["us"]), "code": back["code"],
    })
    url = f"{back['accounts-server']}/oauth/v2/token"
    with opener.open(url, data=form.encode()) as response:
        return json.loads(response.read())


def refreshes():
    """Number of refreshes so far."""
    return control("stats")["counters"].get("zoho.refreshes", 0)


class Refused(Exception):
    """zog ended with an error, which is the text."""


class Mailbox:
    """The mailbox of a new organization's administrator, with credentials that zog imported."""

    def __init__(self, name, data_center="us", **size):
        new = {"name": name, "people": 1, "data_center": data_center, **size}
        account = control("zoho_mail/accounts", new)
        self.login, self.address = account["login"], account["admin"]
        back = consent(self.address)
        self.server = back["accounts-server"]
        tokens = exchange(back)
        credentials = {
            "client_id": CLIENT_ID, "client_secret": SECRETS.get(data_center, SECRETS["us"]),
            "refresh_token": tokens["refresh_token"], "access_token": tokens["access_token"],
            "scope": tokens["scope"], "accounts_url": self.server, "api_url": tokens["api_domain"],
        }
        path = os.path.join(FOLDER.name, f"{name}.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(credentials, file)
        self.imported = self.zog("auth", "import-legacy", path)

    def zog(self, *arguments):
        """Runs zog's program and returns the data that it prints."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main([*arguments, "--json", "--account", self.address])
        if status != 0:
            raise Refused(err.getvalue())
        return json.loads(out.getvalue())["data"]

    def client(self):
        """zog's client of the API."""
        return ZohoClient(self.address)

    def stored(self, **changes):
        """Changes the stored credentials and returns them."""
        token = config.load_account_token(self.address)
        for name, value in changes.items():
            setattr(token, name, value)
        config.save_account_token(self.address, token)
        return token

    def act(self, action, **more):
        """Performs an action and returns the changed object and the facts."""
        answer = control("zoho_mail/act", {"account": self.login, "action": action, **more})
        return answer["object"], answer["facts"]

    def refused(self, words, *arguments):
        """Runs zog's program, which must end with an error that has these words."""
        try:
            self.zog(*arguments)
        except Refused as error:
            assert words in str(error), error
            return
        raise AssertionError(f"an error with {words} was expected")
