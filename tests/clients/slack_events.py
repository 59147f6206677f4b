"""The Events API: signatures, the handshake, retries, visibility."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from checks import control, ledger
from slack_sdk.signature import SignatureVerifier
from slack_world import APP_ID, APP_TOKEN, SIGNING_SECRET, USER_SCOPES, Team, act, check, install, refused, settings, web

verifier = SignatureVerifier(SIGNING_SECRET)
received = []
answers = []


class Receiver(BaseHTTPRequestHandler):
    """Accepts genuine deliveries; `answers` holds the responses to the next ones."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        genuine = verifier.is_valid_request(body, dict(self.headers.items()))
        event = json.loads(body)
        received.append((genuine, dict(self.headers.items()), event))
        status, headers, text = 200 if genuine else 401, {}, ""
        if genuine and answers:
            status, headers = answers.pop(0)
        elif event["type"] == "url_verification" and not self.path.endswith("/mute"):
            text = json.dumps({"challenge": event["challenge"]})
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{server.server_port}/webhooks/slack"
team = Team("sdk-events")
client = team.install(user_scopes=USER_SCOPES)
settings(webhook_url=URL, retry_seconds=[0.0, 0.05, 0.1])


def take_received(*wanted):
    """Returns the deliveries since the last call, after all have arrived."""
    control("quiesce", {"timeout_seconds": 60})
    arrived = list(received)
    received.clear()
    return [one for one in arrived if not wanted or one[2].get("event", {}).get("type") in wanted]


def add_fault(effect, **more):
    control("faults", {"target": "delivery", "effect": effect, "count": 1, **more})


@check("a request URL is verified by its challenge, which is signed as well")
def _():
    answer = control("slack/url-verification", {})
    assert answer["verified"] is True and answer["status"] == 200
    genuine, headers, body = take_received()[0]
    assert genuine and body["type"] == "url_verification" and body["challenge"] == answer["challenge"]
    assert control("slack/url-verification", {"url": f"{URL}/mute"})["verified"] is False
    take_received()


@check("the SDK's verifier accepts every event")
def _():
    facts = control("slack/generate", {"account": team.id, "count": 150})["facts"]
    arrived = take_received()
    assert facts > 100 and len(arrived) > 100
    assert all(genuine for genuine, _, _ in arrived)
    sent = [row for row in ledger(source="slack", account=team.id) if row["webhook"]]
    assert len(sent) >= facts
    for _, headers, body in arrived:
        assert body["api_app_id"] == APP_ID and body["team_id"] == team.id
        assert body["type"] == "event_callback" and body["event_id"].startswith("Ev")
        assert headers["user-agent"].startswith("Slackbot 1.0") and len(body["authorizations"]) == 1
    assert len({body["event_id"] for _, _, body in arrived}) == len(arrived)


@check("the verifier rejects forged, unsigned and old deliveries, which are retried")
def _():
    for effect in ("wrong_signature", "no_signature", "old_signature"):
        add_fault(effect)
        act(team.id, "message.posted")
        first, again = take_received("message")
        assert not first[0] and again[0], effect
        assert first[2]["event_id"] == again[2]["event_id"]
        assert again[1]["x-slack-retry-num"] == "1" and again[1]["x-slack-retry-reason"] == "http_error"


@check("there are three retries, and the ledger lists abandoned deliveries")
def _():
    answers.extend([(500, {})] * 4)
    facts = act(team.id, "message.posted")["facts"]
    arrived = take_received("message")
    assert [one[1].get("x-slack-retry-num") for one in arrived] == [None, "1", "2", "3"]
    assert len({one[2]["event_id"] for one in arrived}) == 1
    row = next(row for row in ledger(account=team.id) if row["dedupe_key"] == facts[0]["dedupe_key"])
    assert row["webhook"] is False and row["poll"] is True


@check("a receiver may reject retries, and a retry names the failure")
def _():
    answers.append((500, {"x-slack-no-retry": "1"}))
    act(team.id, "message.posted")
    assert len(take_received("message")) == 1
    add_fault("drop")
    act(team.id, "message.posted")
    (only,) = take_received("message")
    assert only[1]["x-slack-retry-reason"] == "connection_failed"
    answers.extend([(307, {"location": URL})] * 3)
    act(team.id, "message.posted")
    assert take_received("message")[-1][1]["x-slack-retry-reason"] == "too_many_redirects"


@check("deliveries are duplicated, delayed and reordered on command")
def _():
    add_fault("duplicate")
    act(team.id, "message.posted")
    first, second = take_received("message")
    assert first[2] == second[2]
    add_fault("delay", seconds=0.3)
    late = act(team.id, "message.posted")["object"]["ts"]
    early = act(team.id, "message.posted")["object"]["ts"]
    assert [one[2]["event"]["ts"] for one in take_received("message")] == [early, late]
    add_fault("reorder", seconds=20)
    late = act(team.id, "message.posted")["object"]["ts"]
    early = act(team.id, "message.posted")["object"]["ts"]
    assert [one[2]["event"]["ts"] for one in take_received("message")] == [early, late]
    add_fault("drop_silently")
    assert act(team.id, "message.posted")["facts"][0]["webhook"] is False
    assert take_received() == []


@check("edits, previews and deletions have Slack's events")
def _():
    ts = act(team.id, "message.posted", channel=team.general)["object"]["ts"]
    act(team.id, "message.edited", channel=team.general, ts=ts, text="better")
    act(team.id, "message.unfurled", channel=team.general, ts=ts)
    act(team.id, "message.deleted", channel=team.general, ts=ts)
    events = {one[2]["event"].get("subtype"): one[2]["event"] for one in take_received("message")}
    assert events["message_deleted"]["deleted_ts"] == ts
    act(team.id, "message.posted", channel=team.general)
    ts = take_received("message")[0][2]["event"]["ts"]
    act(team.id, "message.unfurled", channel=team.general, ts=ts)
    preview = take_received("message")[0][2]["event"]
    assert preview["subtype"] == "message_changed" and "edited" not in preview["message"]
    act(team.id, "message.mention", channel=team.general)
    both = [one[2]["event"] for one in take_received("message", "app_mention")]
    assert {one["type"] for one in both} == {"message", "app_mention"}
    assert len({one["ts"] for one in both}) == 1


@check("events need their scopes")
def _():
    narrow = Team("sdk-deaf")
    narrow.install(scopes=["channels:read"])
    posted = act(narrow.id, "message.posted")
    assert take_received() == [] and posted["facts"][0]["webhook"] is False and posted["facts"][0]["poll"] is False
    act(narrow.id, "channel.created")
    assert {one[2]["event"]["type"] for one in take_received()} == {"channel_created", "member_joined_channel"}


@check("an event of a shared channel names one workspace, and the app token finds the others")
def _():
    other = Team("sdk-shared")
    other.install()
    act(team.id, "channel.shared", channel=team.general, to=other.id)
    act(team.id, "message.posted", channel=team.general)
    (only,) = take_received("message")
    assert only[2]["is_ext_shared_channel"] is True and len(only[2]["authorizations"]) == 1
    context = only[2]["event_context"]
    seers = [
        one["team_id"]
        for page in web(APP_TOKEN).apps_event_authorizations_list(event_context=context, limit=1)
        for one in page["authorizations"]
    ]
    assert sorted(seers) == sorted([team.id, other.id])
    refused("not_allowed_token_type", client.apps_event_authorizations_list, event_context=context)
    refused("invalid_event_context", web(APP_TOKEN).apps_event_authorizations_list, event_context="x")


@check("an organization's events name it and the workspace")
def _():
    made = control("slack/accounts", {"domain": "sdk-org-events", "organization": True})
    answer = install(made["admin"])
    workspace = made["workspaces"][1]
    act(workspace["login"], "message.posted", actor=workspace["people"][1])
    (only,) = take_received("message")
    assert only[2]["enterprise_id"] == made["login"] and only[2]["team_id"] == workspace["login"]
    assert only[2]["authorizations"][0] == {
        "enterprise_id": made["login"], "team_id": workspace["login"], "is_bot": True,
        "user_id": answer["bot_user_id"], "is_enterprise_install": True,
    }
    rows = ledger(account=made["login"], kind="message_posted")
    assert [row["webhook"] for row in rows] == [True]
    act(made["login"], "workspace.removed", to=workspace["login"])
    (revoked,) = take_received("team_access_revoked")
    assert revoked[2]["event"]["team_ids"] == [workspace["login"]] and "team_id" not in revoked[2]


@check("a limit on events has its own message")
def _():
    act(team.id, "app.rate_limited")
    (only,) = take_received()
    assert only[0] and only[2]["type"] == "app_rate_limited" and only[2]["team_id"] == team.id
    assert only[2]["minute_rate_limited"] % 60 == 0 and "event" not in only[2]


@check("the event of a revoked user token names the person, and the bot stays")
def _():
    control("slack/tokens", {"revoke": team.admin})
    (only,) = take_received("tokens_revoked")
    assert only[2]["event"]["tokens"] == {"oauth": [team.admin], "bot": []}
    refused("token_revoked", web(team.installed["authed_user"]["access_token"]).auth_test)
    assert client.auth_test()["ok"]


@check("uninstalling sends two events, in either order")
def _():
    for first in (False, True):
        settings(uninstalled_first=first)
        leaving = Team(f"sdk-leaving-{first}".lower())
        bot = leaving.install()
        act(leaving.id, "app.uninstalled")
        bodies = sorted((one[2] for one in take_received()), key=lambda body: body["event_id"])
        order = ["app_uninstalled", "tokens_revoked"] if first else ["tokens_revoked", "app_uninstalled"]
        assert [body["event"]["type"] for body in bodies] == order
        refused("token_revoked", bot.auth_test)
    settings(uninstalled_first=False)


settings(webhook_url="", retry_seconds=[0.0, 1.0, 3.0])
server.shutdown()
