"""Watches and pushes of Pub/Sub; google-auth verifies the tokens."""

import base64
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import google.auth.transport.requests
import jwt
from checks import control
from gmail_world import API, TOPIC, Mailbox, added, check, refused, settings
from google.auth import exceptions
from google.oauth2 import id_token

received = []
answers = []


class Receiver(BaseHTTPRequestHandler):
    """Acknowledges pushes; `answers` holds other statuses of the next ones."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        received.append((self.headers.get("authorization"), json.loads(body)))
        self.send_response(answers.pop(0) if answers else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{server.server_port}/webhooks/gmail"
settings(webhook_url=URL, retry_seconds=[0.05, 0.05], notification_milliseconds=0)
ACCOUNT = os.environ["POBLYSH_GMAIL_PUSH_ACCOUNT"]
SHAPES = [f"{API}/oauth2/v3/certs", f"{API}/oauth2/v1/certs"]
transport = google.auth.transport.requests.Request()
transport.session.trust_env = False
box = Mailbox("gmail-pushes")


def take_received():
    """Returns the pushes since the last call, after all have arrived."""
    control("quiesce", {"timeout_seconds": 60})
    arrived = list(received)
    received.clear()
    return arrived


def watch(**more):
    return box.api.watch(userId="me", body={"topicName": TOPIC, **more})


def verify(header, certs_url, audience=URL):
    """Claims of a push's token, as a receiver verifies them."""
    assert header and header.startswith("Bearer "), "no token"
    claims = id_token.verify_token(header[7:], transport, audience=audience, certs_url=certs_url)
    assert claims["iss"] == "https://accounts.google.com"
    assert claims["email"] == ACCOUNT and claims["email_verified"] is True
    return claims


def is_rejected(header):
    """Whether both shapes of the keys lead to a rejection."""
    for url in SHAPES:
        try:
            verify(header, url)
        except (AssertionError, ValueError, exceptions.GoogleAuthError, jwt.PyJWTError):
            continue
        return False
    return True


@check("a watch needs a topic of the client's project, and the permission to publish")
def _():
    error = refused(400, watch(topicName="projects/other/topics/gmail"))
    assert error["message"].startswith("Invalid topicName does not match projects/")
    settings(may_publish=False)
    error = refused(403, watch())
    assert error["errors"][0]["reason"] == "forbidden" and "test message" in error["message"]
    settings(may_publish=True)
    answer = watch(labelIds=["DRAFT", "SPAM"], labelFilterBehavior="exclude").execute()
    assert answer["historyId"] == box.profile()["historyId"] and len(answer["expiration"]) == 13


@check("google-auth verifies a push by JWKS and by certificates")
def _():
    start = box.profile()["historyId"]
    one, _ = box.act("mail.received")
    [(header, body)] = take_received()
    for url in SHAPES:
        claims = verify(header, url)
        assert claims["aud"] == URL and claims["exp"] - claims["iat"] == 3_600
    message = body["message"]
    assert message["messageId"] == message["message_id"]
    assert message["publishTime"] == message["publish_time"] and message["publishTime"].endswith("Z")
    data = json.loads(base64.standard_b64decode(message["data"]))
    assert data["emailAddress"] == box.address
    assert str(data["historyId"]) == box.profile()["historyId"]
    assert added(box.history(start)[0]) == [one["id"]]


@check("rotated keys verify old and new tokens")
def _():
    box.act("mail.received")
    [(old, _)] = take_received()
    control("google/keys", {"rotate": True})
    box.act("mail.received")
    [(new, _)] = take_received()
    for url in SHAPES:
        assert verify(old, url) and verify(new, url)


@check("every forged token is rejected, and its repetition is accepted")
def _():
    for effect in [
        "no_signature", "wrong_signature", "old_signature", "unsigned_token", "public_key_token",
        "wrong_audience", "foreign_account", "unknown_key",
    ]:
        control("faults", {"target": "delivery", "effect": effect, "count": 1})
        answers.append(401)
        box.act("mail.received")
        (forged, first), (genuine, second) = take_received()
        assert is_rejected(forged), effect
        assert verify(genuine, SHAPES[0]) and first == second, effect


@check("a push that is not acknowledged is repeated with its id")
def _():
    answers.extend([500, 404])
    box.act("mail.received")
    arrived = take_received()
    assert len(arrived) == 3 and len({body["message"]["messageId"] for _, body in arrived}) == 1


@check("the data of a push has other alphabets by settings")
def _():
    settings(url_safe_data=True, unpadded_data=True, history_id_as_string=True)
    box.act("mail.received")
    [(_, body)] = take_received()
    settings(url_safe_data=False, unpadded_data=False, history_id_as_string=False)
    data = body["message"]["data"]
    assert "=" not in data
    data = json.loads(base64.urlsafe_b64decode(data + "=" * (-len(data) % 4)))
    assert isinstance(data["historyId"], str)


@check("at most one push a second is sent, the rest is dropped")
def _():
    settings(notification_milliseconds=3_600_000)
    start = box.profile()["historyId"]
    for _ in range(5):
        box.act("mail.received")
    assert take_received() == []
    settings(notification_milliseconds=0)
    assert len(added(box.history(start)[0])) == 5


@check("drafts and spam are filtered, the watch ends after seven days or by stop")
def _():
    box.act("mail.draft")
    box.act("mail.received", spam=True)
    assert take_received() == []
    control("clock", {"advance_seconds": 7 * 24 * 3_600})
    box.act("mail.received")
    assert take_received() == []
    watch().execute()
    box.act("mail.received", spam=True)
    assert len(take_received()) == 1
    assert box.api.stop(userId="me").execute() == ""
    box.act("mail.received")
    assert take_received() == []


settings(webhook_url="", notification_milliseconds=1_000)
server.shutdown()
