"""Runs zog-cli, unmodified, against the simulated Zoho Mail."""

from checks import control, ledger
from zog.errors import ApiError
from zog.providers.zoho import endpoints
from zoho_mail_world import Mailbox, check, family, refreshes, settings

box = Mailbox("zog", history=30)
ACCOUNT = box.imported["accountId"]


@check("imported credentials find the account")
def _():
    assert box.imported["imported"] is True and len(ACCOUNT) == 19
    assert box.stored().account_id == ACCOUNT


@check("folders have the types of the system, in every language")
def _():
    folders = box.zog("mail", "folders")
    types = {folder["type"] for folder in folders}
    assert {"Inbox", "Sent", "Drafts", "Spam", "Trash", "Outbox", "Templates"} <= types, types
    european = Mailbox("zog-eu", data_center="eu")
    assert "/eu" in european.server
    [inbox] = [one for one in european.zog("mail", "folders") if one["type"] == "Inbox"]
    assert inbox["name"] == "Posteingang"


@check("the views of all folders have the newest messages, with their text")
def _():
    content = {"subject": "It's <new> & \"quoted\"", "from": "paula@x.example", "folder": "Projects"}
    one, facts = box.act("mail.received", **content)
    rows = box.zog("mail", "search", "any", "--max", "50")
    assert rows[0]["id"] == one["id"] and rows[0]["subject"] == content["subject"]
    assert rows[0]["from"] == "paula@x.example" and rows[0]["labels"] == "Projects"
    times = [row["timestamp"] for row in rows]
    assert times == sorted(times, reverse=True) and len(rows) == 31
    shown = {row["dedupe_key"] for row in ledger(source="zoho_mail", account=box.login) if row["polled"]}
    assert facts[0]["dedupe_key"] in shown and len(shown) == 31
    box.refused("Invalid Input", "mail", "search", "any", "--max", "201")


@check("content and headers of a message are in its folder")
def _():
    one, _ = box.act("mail.received", text="a < b", cc=["c@x.example"], folder="Newsletter")
    message = box.zog("mail", "get", one["id"])
    assert message["folderName"] == "Newsletter" and message["content"] == "<div>a &lt; b</div>"
    token = box.stored()
    url = endpoints.message_header(token.api_url, ACCOUNT, message["folderId"], one["id"])
    headers = box.client().get(url)["data"]["headerContent"]
    assert headers["Cc"] == ["<c@x.example>"] and len(headers["Date"]) == 1
    box.act("mail.moved", message=one["id"], folder="Projects")
    assert box.zog("mail", "get", one["id"])["folderName"] == "Projects"
    box.act("mail.deleted", message=one["id"])
    box.refused("was not found", "mail", "get", one["id"])


@check("a thread has the messages of all its folders")
def _():
    question, _ = box.act("mail.received")
    answer, _ = box.act("mail.sent", answers=question["id"], to=["x@x.example"])
    [row] = [one for one in box.zog("mail", "search", "any") if one["id"] == answer["id"]]
    rows = box.zog("mail", "thread", "get", row["thread"])
    assert {one["id"] for one in rows} == {question["id"], answer["id"]}


@check("a message is sent as a dry run with the account of the API")
def _():
    body = ["--to", "x@x.example", "--subject", "A", "--body", "B", "--dry-run"]
    assert box.zog("mail", "send", *body)["accountId"] == ACCOUNT


@check("zog refreshes an expired token and retries after 401")
def _():
    before = refreshes()
    box.stored(access_token_expires_at=1)
    box.zog("mail", "folders")
    assert refreshes() == before + 1
    control("zoho/tokens", {"expire": box.address})
    token = box.stored().access_token
    box.zog("mail", "folders")
    assert refreshes() == before + 2 and box.stored().access_token != token


@check("errors of the accounts server have status 200")
def _():
    one = Mailbox("zog-errors")
    good = one.stored()
    one.stored(access_token=None, accounts_url=f"{one.server.rsplit('/', 1)[0]}/in")
    one.refused("invalid_code", "mail", "folders")
    one.stored(access_token=None, accounts_url=good.accounts_url, client_secret="other")
    one.refused("invalid_client_secret", "mail", "folders")
    one.stored(access_token=None, client_id="other")
    one.refused("invalid_client", "mail", "folders")
    control("zoho/tokens", {"revoke": one.address})
    one.stored(client_id=good.client_id, client_secret=good.client_secret)
    one.refused("invalid_code", "mail", "folders")


@check("the eleventh refresh in ten minutes is refused until they end")
def _():
    one = Mailbox("zog-refreshes")
    family(access_tokens_per_window=10)
    for _ in range(10):
        one.stored(access_token=None)
        one.zog("mail", "folders")
    one.stored(access_token=None)
    one.refused("too many requests continuously", "mail", "folders")
    control("clock", {"advance_seconds": 600})
    one.zog("mail", "folders")
    family(access_tokens_per_window=None)


@check("a scope that was granted is refused at use")
def _():
    family(refused_scopes=["ZohoMail.folders.READ"])
    try:
        box.client().get(endpoints.folders(box.stored().api_url, ACCOUNT))
    except ApiError as error:
        assert error.status_code == 401 and error.payload["data"]["errorCode"] == "INVALID_OAUTHSCOPE"
    else:
        raise AssertionError("the scope was accepted")
    finally:
        family(refused_scopes=[])


@check("the call beyond the limit locks the API, and calls in the lock are counted")
def _():
    settings(calls_per_minute=30)
    one = Mailbox("zog-limit")
    url = endpoints.accounts(one.stored().api_url)
    statuses = []
    for _ in range(32):
        try:
            one.client().get(url)
        except ApiError as error:
            statuses.append(error.status_code)
    # The import has read the accounts as well.
    assert statuses == [429, 429, 429], statuses
    [lock] = [lock for lock in control("zoho/locks")["locks"] if lock["account"] == one.login]
    assert lock["locked"] is True and lock["calls_in_lock"] == 2
    control("clock", {"advance_seconds": 15 * 60})
    one.client().get(url)
    settings(calls_per_minute=None)


@check("an error with status 200 has its code in the body")
def _():
    settings(errors_with_ok_status=True)
    try:
        box.client().get(endpoints.folders(box.stored().api_url, "1234"))
    except ApiError as error:
        assert error.status_code == 404, error
    else:
        raise AssertionError("the account exists")
    finally:
        settings(errors_with_ok_status=False)


check.finish()
