"""Organizations: installed once for several workspaces."""

from checks import control
from slack_world import SCOPES, USER_SCOPES, act, check, consent, access, install, refused, settings, web

made = control(
    "slack/accounts", {"domain": "sdk-org", "organization": True, "workspaces": 3, "history": 20}
)
ORG, ADMIN, BOT = made["login"], made["admin"], made["bot"]
WORKSPACES = [one["login"] for one in made["workspaces"]]
FIRST = made["workspaces"][0]

settings(workspaces_by_hand=True)
installed = install(ADMIN, user_scopes=USER_SCOPES)
settings(workspaces_by_hand=False)
client = web(installed["access_token"])


@check("a consent for an organization names it, and no workspace")
def _():
    assert installed["is_enterprise_install"] is True and installed["team"] is None
    assert installed["enterprise"] == {"id": ORG, "name": made["name"]}
    assert installed["bot_user_id"] == BOT and installed["authed_user"]["id"] == ADMIN
    me = client.auth_test()
    assert me["enterprise_id"] == ORG and me["is_enterprise_install"] is True
    assert me["url"] == "https://sdk-org.enterprise.slack.com/"


@check("an admin adds workspaces, and the app sees those")
def _():
    assert client.auth_teams_list()["teams"] == []
    for workspace in WORKSPACES[:2]:
        act(ORG, "workspace.added", to=workspace)
    teams = [one["id"] for page in client.auth_teams_list(limit=1) for one in page["teams"]]
    assert teams == WORKSPACES[:2], teams


@check("lists require a workspace that the app was added to")
def _():
    for method in (client.conversations_list, client.users_conversations, client.users_list):
        refused("missing_argument", method)
        refused("team_access_not_granted", method, team_id=WORKSPACES[2])
        refused("team_access_not_granted", method, team_id="T00000000")
        assert method(team_id=WORKSPACES[0])["ok"]
    people = client.users_list(team_id=WORKSPACES[0])["members"]
    assert {one["id"] for one in people} >= {*FIRST["people"], BOT}
    mine = next(one for one in people if one["id"] == FIRST["people"][0])
    assert mine["enterprise_user"]["enterprise_id"] == ORG
    channels = client.users_conversations(team_id=WORKSPACES[1])["channels"]
    assert len(channels) == 3 and all(one["context_team_id"] == WORKSPACES[1] for one in channels)


@check("channels are read by id, without a workspace")
def _():
    channel = FIRST["channels"][0]["id"]
    assert client.conversations_history(channel=channel)["messages"]
    assert client.conversations_info(channel=channel)["channel"]["is_member"] is True
    hidden = made["workspaces"][2]["channels"][0]["id"]
    refused("channel_not_found", client.conversations_history, channel=hidden)


@check("a bot is found in a workspace or in the organization")
def _():
    refused("missing_argument", client.bots_info, bot="B00000CI1")
    for place in (WORKSPACES[0], ORG):
        assert client.bots_info(bot="B00000CI1", team_id=place)["bot"]["name"] == "Build"
    assert client.team_info(team=WORKSPACES[0])["team"]["enterprise_id"] == ORG


@check("a channel of two workspaces belongs to the organization and is not external")
def _():
    channel = FIRST["channels"][1]["id"]
    act(ORG, "channel.shared", channel=channel, to=WORKSPACES[1])
    shown = client.conversations_info(channel=channel)["channel"]
    assert shown["is_org_shared"] is True and shown["is_ext_shared"] is False
    for workspace in WORKSPACES[:2]:
        listed = client.conversations_list(team_id=workspace)["channels"]
        assert channel in [one["id"] for one in listed]


@check("a user token is valid for the whole organization, too")
def _():
    person = web(installed["authed_user"]["access_token"])
    assert person.auth_test()["user_id"] == ADMIN
    assert person.conversations_list(team_id=WORKSPACES[0])["channels"]


@check("a workspace of an organization that has the app cannot install it")
def _():
    admin = FIRST["admin"]
    code = consent(admin)["code"]
    refused("cannot_install_an_org_installed_app", access, code)


@check("an organization's admin may choose a workspace, others only their own")
def _():
    other = control("slack/accounts", {"domain": "sdk-org-2", "organization": True, "workspaces": 2})
    first, second = (one["login"] for one in other["workspaces"])
    answer = install(other["admin"], team=second, scopes=SCOPES)
    assert answer["team"]["id"] == second and answer["enterprise"]["id"] == other["login"]
    assert answer["is_enterprise_install"] is False
    me = web(answer["access_token"]).auth_test()
    assert me["team_id"] == second and me["enterprise_id"] == other["login"]
    # A workspace's token is for that workspace; team_id is ignored.
    assert web(answer["access_token"]).conversations_list(team_id=first)["channels"]


@check("a removed workspace cannot be read")
def _():
    act(ORG, "workspace.removed", to=WORKSPACES[1])
    refused("team_access_not_granted", client.conversations_list, team_id=WORKSPACES[1])
    channel = made["workspaces"][1]["channels"][0]["id"]
    refused("channel_not_found", client.conversations_history, channel=channel)
