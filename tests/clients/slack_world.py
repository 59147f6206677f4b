"""Setup of all Slack checks: the app, its workspaces, and the consent flow."""

import os

from checks import Checks, browse, control
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.oauth import AuthorizeUrlGenerator

ROOT = os.environ["POBLYSH_SLACK_BASE_URL"]
CLIENT_ID = os.environ["POBLYSH_SLACK_CLIENT_ID"]
CLIENT_SECRET = os.environ["POBLYSH_SLACK_CLIENT_SECRET"]
APP_ID = os.environ["POBLYSH_SLACK_APP_ID"]
APP_TOKEN = os.environ["POBLYSH_SLACK_APP_TOKEN"]
SIGNING_SECRET = os.environ["POBLYSH_SLACK_WEBHOOK_SECRET"]
CALLBACK = control("slack/settings")["callback_url"]

SCOPES = [
    "app_mentions:read", "channels:history", "channels:join", "channels:read", "files:read",
    "groups:history", "groups:read", "im:history", "im:read", "reactions:read", "team:read",
    "users:read",
]
USER_SCOPES = ["channels:history", "channels:read", "groups:history", "users:read"]

check = Checks("slack_sdk")
control("slack/settings", {"webhook_url": ""})


def web(token=None, **options):
    """The SDK's client, with the simulator's base URL."""
    return WebClient(token=token, base_url=f"{ROOT}/api/", **options)


def consent(user, scopes=SCOPES, user_scopes=(), team=None, **more):
    """Returns the callback's parameters after the consent page."""
    urls = AuthorizeUrlGenerator(
        client_id=CLIENT_ID,
        redirect_uri=CALLBACK,
        scopes=scopes,
        user_scopes=user_scopes,
        authorization_url=f"{ROOT}/oauth/v2/authorize",
    )
    url = urls.generate("state-1", team=team)
    url += "".join(f"&{name}={value}" for name, value in more.items())
    back = browse(url, user)
    assert isinstance(back, dict), back
    assert back["state"] == "state-1", back
    return back


def access(code, **more):
    """The token endpoint."""
    fields = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uri": CALLBACK}
    return web().oauth_v2_access(code=code, **{**fields, **more})


def install(user, **more):
    """Installs the app and returns the response of the token endpoint."""
    return access(consent(user, **more)["code"])


def settings(**changes):
    control("slack/settings", changes)


def act(account, action, **more):
    return control("slack/act", {"account": account, "action": action, **more})


def fault(pattern, effect, **more):
    rule = {"target": "request", "pattern": pattern, "effect": effect, "count": 1, **more}
    control("faults", rule)


def refused(error, call, *arguments, **named):
    """Returns the error of a call, which must have this code."""
    try:
        call(*arguments, **named)
    except SlackApiError as failure:
        assert failure.response["error"] == error, failure.response
        return failure.response
    raise AssertionError(f"{error} was expected")


class Team:
    """A new workspace with a history."""

    def __init__(self, domain, history=0):
        made = control("slack/accounts", {"domain": domain, "history": history})
        self.id, self.admin, self.people = made["login"], made["admin"], made["people"]
        self.channels = {channel["name"]: channel["id"] for channel in made["channels"]}
        self.general = self.channels["general"]

    def install(self, **more):
        self.installed = install(self.admin, **more)
        return web(self.installed["access_token"])
