"""Reading: identity, lists in pages, messages and threads, scopes, limits."""

import time

from checks import control, ledger
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler
from slack_world import USER_SCOPES, Team, act, check, fault, refused, settings, web

team = Team("sdk-reading", history=150)
client = team.install(user_scopes=USER_SCOPES)
person = web(team.installed["authed_user"]["access_token"])


@check("auth.test and team.info return user and workspace")
def _():
    me = client.auth_test()
    assert me["team_id"] == team.id and me["url"] == "https://sdk-reading.slack.com/"
    assert me["user_id"] == team.installed["bot_user_id"] and me["bot_id"].startswith("B")
    assert me["is_enterprise_install"] is False
    assert "channels:history" in me.headers["x-oauth-scopes"]
    place = client.team_info()["team"]
    assert (place["id"], place["domain"]) == (team.id, "sdk-reading")
    refused("team_not_found", client.team_info, team="T00000000")


@check("a missing and a wrong token are rejected")
def _():
    refused("not_authed", web().auth_test)
    refused("invalid_auth", web("nonsense").auth_test)
    refused("token_revoked", web("xoxb-1-never").auth_test)
    assert web().api_test(foo="bar")["args"]["foo"] == "bar"
    refused("unknown_method", client.api_call, "chat.shout")


def pages(response, name):
    """Returns every row, by the SDK's iteration over pages."""
    rows, count = [], 0
    for page in response:
        rows += page[name]
        count += 1
    return rows, count


@check("the SDK's iteration gives every user and channel once")
def _():
    members, count = pages(client.users_list(limit=2), "members")
    assert count == 3 and len({one["id"] for one in members}) == len(members) == 6, members
    for method in (client.conversations_list, client.users_conversations):
        channels, count = pages(method(limit=1), "channels")
        assert count == 3 and {one["id"] for one in channels} == set(team.channels.values())
    inside, count = pages(client.conversations_members(channel=team.general, limit=2), "members")
    assert count == 3 and set(team.people) < set(inside)


@check("pages may be empty and have a cursor")
def _():
    settings(empty_pages=True)
    members, count = pages(client.users_list(limit=2), "members")
    assert count > 3 and len(members) == 6, (count, len(members))
    settings(empty_pages=False)


@check("a cursor is opaque, bound to its method, and expires")
def _():
    cursor = client.users_list(limit=2)["response_metadata"]["next_cursor"]
    refused("invalid_cursor", client.conversations_list, cursor=cursor)
    refused("invalid_cursor", client.users_list, cursor="nonsense")
    older = client.conversations_history(channel=team.general, limit=5)["response_metadata"]["next_cursor"]
    refused("invalid_limit", client.users_list, limit="many")
    settings(cursor_seconds=0)
    refused("invalid_cursor", client.users_list, cursor=cursor)
    refused("invalid_cursor", client.conversations_history, channel=team.general, cursor=older)
    settings(cursor_seconds=3_600)


def walk(reader):
    """Returns messages and replies of all channels, in small pages."""
    messages, replies = [], []
    for channel in team.channels.values():
        rows, _ = pages(reader.conversations_history(channel=channel, limit=20), "messages")
        messages += rows
        for parent in rows:
            if parent.get("reply_count"):
                got = reader.conversations_replies(channel=channel, ts=parent["ts"], limit=3)
                for page in got:
                    assert page["messages"][0]["ts"] == parent["ts"], "the parent is first"
                    replies += page["messages"][1:]
    return messages, replies


@check("history and replies match the ledger at any page size")
def _():
    messages, replies = walk(client)
    assert len({one["ts"] for one in messages}) == len(messages)
    assert len({one["ts"] for one in replies}) == len(replies)
    shown = [one for one in messages if one.get("subtype") not in ("channel_join", "tombstone")]
    expected = [row for row in ledger(source="slack", account=team.id) if row["poll"]]
    kinds = [row["kind"] for row in expected]
    broadcasts = [one for one in shown if one.get("subtype") == "thread_broadcast"]
    assert len(shown) - len(broadcasts) == kinds.count("message_posted")
    assert len(replies) == kinds.count("thread_replied")
    edits = [one for one in messages + replies if "edited" in one]
    assert len({one["ts"] for one in edits}) == kinds.count("message_edited") > 5
    assert all(row["polled"] for row in expected if row["kind"].startswith("message_"))


@check("a page is newest first, and a window excludes its bounds by default")
def _():
    got = client.conversations_history(channel=team.general, limit=30)["messages"]
    stamps = [one["ts"] for one in got]
    assert stamps == sorted(stamps, reverse=True)
    window = {"channel": team.general, "oldest": stamps[20], "latest": stamps[10]}
    inner = [one["ts"] for one in client.conversations_history(**window)["messages"]]
    assert inner == stamps[11:20]
    outer = [one["ts"] for one in client.conversations_history(**window, inclusive=True)["messages"]]
    assert outer == stamps[10:21]
    refused("invalid_ts_oldest", client.conversations_history, channel=team.general, oldest="soon")


@check("new messages do not shift the pages that follow")
def _():
    first = client.conversations_history(channel=team.general, limit=10)
    for _ in range(3):
        act(team.id, "message.posted", channel=team.general)
    cursor = first["response_metadata"]["next_cursor"]
    second = client.conversations_history(channel=team.general, limit=10, cursor=cursor)
    seen = {one["ts"] for one in first["messages"]}
    assert not seen & {one["ts"] for one in second["messages"]}


@check("unknown channels, threads and messages have their error codes")
def _():
    refused("channel_not_found", client.conversations_history, channel="C00000000")
    refused("missing_argument", client.api_call, "conversations.history")
    refused("thread_not_found", client.conversations_replies, channel=team.general, ts="1.000000")
    refused("message_not_found", client.chat_getPermalink, channel=team.general, message_ts="1.000000")
    refused("user_not_found", client.users_info, user="U00000000")
    refused("bot_not_found", client.bots_info, bot="B00000000")
    refused("file_not_found", client.files_info, file="F00000000")
    refused("invalid_types", client.conversations_list, types="rooms")


@check("a bot that was removed from a channel cannot read it, and may join again")
def _():
    channel = team.channels["random"]
    act(team.id, "channel.kicked", channel=channel)
    refused("not_in_channel", client.conversations_history, channel=channel)
    assert client.conversations_info(channel=channel)["channel"]["is_member"] is False
    assert channel not in [one["id"] for one in client.users_conversations()["channels"]]
    assert client.conversations_join(channel=channel)["channel"]["is_member"] is True
    assert client.conversations_join(channel=channel)["warning"] == "already_in_channel"
    assert client.conversations_history(channel=channel)["messages"]


@check("links, bots, files and reactions are found one by one")
def _():
    parent = act(team.id, "message.posted", channel=team.general)["object"]["ts"]
    reply = act(team.id, "message.replied", channel=team.general, ts=parent)["object"]["ts"]
    link = client.chat_getPermalink(channel=team.general, message_ts=reply)["permalink"]
    assert link.endswith(f"p{reply.replace('.', '')}?thread_ts={parent}&cid={team.general}"), link
    assert client.bots_info(bot=client.auth_test()["bot_id"])["bot"]["user_id"] == team.installed["bot_user_id"]
    assert client.bots_info(bot="B00000CI1")["bot"]["name"] == "Build"
    act(team.id, "message.file", channel=team.general)
    shared = client.conversations_history(channel=team.general, limit=1)["messages"][0]
    assert shared["subtype"] == "file_share" and shared["upload"] is True
    file = client.files_info(file=shared["files"][0]["id"])["file"]
    assert file["channels"] == [team.general] and file["user"] == shared["user"]
    listed = client.files_list(channel=team.general, count=1)
    assert listed["files"][0]["id"] == file["id"] and listed["paging"]["count"] == 1
    act(team.id, "reaction.added", channel=team.general, ts=parent, actor=team.people[1], name="eyes")
    thoughts = client.reactions_get(channel=team.general, timestamp=parent)["message"]["reactions"]
    assert thoughts == [{"name": "eyes", "users": [team.people[1]], "count": 1}]


@check("a deleted message disappears; one with replies leaves a tombstone")
def _():
    lone = act(team.id, "message.posted", channel=team.general)["object"]["ts"]
    parent = act(team.id, "message.posted", channel=team.general)["object"]["ts"]
    act(team.id, "message.replied", channel=team.general, ts=parent)
    for ts in (lone, parent):
        act(team.id, "message.deleted", channel=team.general, ts=ts)
    found = {one["ts"]: one for one in client.conversations_history(channel=team.general)["messages"]}
    assert lone not in found
    assert found[parent]["subtype"] == "tombstone" and found[parent]["reply_count"] == 1


@check("a user token reads by its scopes, and replies that bots may not read")
def _():
    assert person.conversations_history(channel=team.general)["messages"]
    parent = act(team.id, "message.posted", channel=team.general)["object"]["ts"]
    act(team.id, "message.replied", channel=team.general, ts=parent)
    settings(replies_need_user=True)
    refused("not_allowed_token_type", client.conversations_replies, channel=team.general, ts=parent)
    assert len(person.conversations_replies(channel=team.general, ts=parent)["messages"]) == 2
    settings(replies_need_user=False)
    failure = refused("missing_scope", person.files_list)
    assert failure["needed"] == "files:read" and failure["provided"] == ",".join(USER_SCOPES)


@check("private channels and direct messages need separate scopes")
def _():
    circle = act(team.id, "group.created", name="board")["object"]["channel"]
    act(team.id, "message.posted", channel=circle)
    direct = act(team.id, "message.direct", actor=team.people[2])["object"]["channel"]
    listed = client.users_conversations(types="public_channel,private_channel,im")["channels"]
    assert {circle, direct} < {one["id"] for one in listed}
    assert client.conversations_info(channel=circle)["channel"]["is_private"] is True
    assert client.conversations_history(channel=circle)["messages"]
    assert client.conversations_history(channel=direct)["messages"][0]["user"] == team.people[2]
    narrow = Team("sdk-narrow").install(scopes=["channels:read"])
    failure = refused("missing_scope", narrow.conversations_list, types="public_channel,private_channel")
    assert failure["needed"] == "groups:read"
    refused("missing_scope", narrow.users_list)


@check("the SDK's retry handler follows Retry-After")
def _():
    retrying = web(client.token, retry_handlers=[RateLimitErrorRetryHandler(max_retry_count=1)])
    fault("users.list", "too_many_requests", seconds=1)
    begun = time.monotonic()
    assert retrying.users_list()["members"]
    assert 1 <= time.monotonic() - begun < 10
    fault("users.list", "too_many_requests", seconds=7)
    try:
        client.users_list()
    except SlackApiError as error:
        assert error.response.status_code == 429 and error.response.headers["retry-after"] == "7"
        assert error.response["error"] == "ratelimited"
    else:
        raise AssertionError("no limit")


@check("a method's tier limits that method in that workspace and no other")
def _():
    settings(tiers=True)
    for _ in range(20):
        client.conversations_list(limit=1)
    refused("ratelimited", client.conversations_list)
    assert client.users_list()["ok"]
    control("clock", {"advance_seconds": 61})
    assert client.conversations_list()["ok"]
    settings(tiers=False)


@check("an app with limited history reads fifteen messages a minute")
def _():
    settings(limited=True)
    assert len(client.conversations_history(channel=team.general, limit=200)["messages"]) == 15
    failure = refused("ratelimited", client.conversations_history, channel=team.general)
    assert 0 < int(failure.headers["retry-after"]) <= 60
    control("clock", {"advance_seconds": 61})
    assert client.conversations_history(channel=team.general)["ok"]
    settings(limited=False)


@check("the second half of a response may be late")
def _():
    fault("users.list", "slow_body", seconds=0.5)
    begun = time.monotonic()
    assert client.users_list()["members"] and time.monotonic() - begun >= 0.5
    fault("users.list", "slow_body", seconds=5)
    try:
        web(client.token, timeout=1).users_list()
    except TimeoutError:
        pass
    else:
        raise AssertionError("the client did not time out")
