"""Setup of all Jira checks: the app, sites, and the consent flow."""

import os

# The simulator uses plain HTTP; this setting of oauthlib allows it.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

from checks import Checks, browse, control  # noqa: E402
from jira import JIRA, JIRAError  # noqa: E402
from requests_oauthlib import OAuth2Session  # noqa: E402

AUTH = os.environ["POBLYSH_JIRA_AUTH_BASE_URL"]
API = os.environ["POBLYSH_JIRA_API_BASE_URL"]
CLIENT_ID = os.environ["POBLYSH_JIRA_CLIENT_ID"]
CLIENT_SECRET = os.environ["POBLYSH_JIRA_CLIENT_SECRET"]
CALLBACK = control("jira/settings")["callback_url"]
TOKEN_URL = f"{AUTH}/oauth/token"
SCOPES = [
    "read:jira-work", "read:jira-user", "manage:jira-webhook", "read:me", "offline_access",
    "read:sprint:jira-software", "read:board-scope:jira-software",
]

check = Checks("jira")
control("jira/settings", {"webhook_url": ""})


def session(scopes=SCOPES, token=None):
    return OAuth2Session(CLIENT_ID, scope=scopes, redirect_uri=CALLBACK, token=token)


def consent(oauth, person, **cookies):
    """Returns the callback's parameters after the consent page."""
    url, state = oauth.authorization_url(
        f"{AUTH}/authorize", audience="api.atlassian.com", prompt="consent"
    )
    back = browse(url, person, **cookies)
    assert isinstance(back, dict) and back["state"] == state, back
    return back


def fetch(oauth, code, **more):
    fields = {"client_secret": CLIENT_SECRET, "include_client_id": True, **more}
    return oauth.fetch_token(TOKEN_URL, code=code, **fields)


def settings(**changes):
    control("jira/settings", changes)


def act(site, action, **more):
    return control("jira/act", {"account": site, "action": action, **more})


def fault(pattern, effect, **more):
    rule = {"target": "request", "pattern": pattern, "effect": effect, "count": 1, **more}
    control("faults", rule)


def refused(status, call, *arguments, **named):
    """Returns the error of a call, which must have this status."""
    try:
        call(*arguments, **named)
    except JIRAError as error:
        assert error.status_code == status, error
        return error
    raise AssertionError(f"{status} was expected")


class Site:
    """A new site with a history, and its admin's client."""

    def __init__(self, name, history=0):
        made = control("jira/accounts", {"name": name, "history": history})
        self.id, self.admin, self.people = made["login"], made["admin"], made["people"]
        self.projects = made["projects"]
        self.oauth = session()
        code = consent(self.oauth, self.admin)["code"]
        self.token = fetch(self.oauth, code)

    def client(self, person=None, **options):
        token = self.token
        if person is not None:
            oauth = session()
            token = fetch(oauth, consent(oauth, person)["code"])
        options = {"max_retries": 0, **options}
        return JIRA(server=f"{API}/ex/jira/{self.id}", token_auth=token["access_token"], **options)
