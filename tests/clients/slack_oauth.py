"""OAuth: consent, codes, tokens of bots and of people, rotation, revocation."""

import base64
import hashlib
import time

from checks import browse, control
from slack_sdk.oauth.installation_store import Installation
from slack_sdk.oauth.token_rotation import TokenRotator
from slack_world import (
    APP_ID, CALLBACK, CLIENT_ID, CLIENT_SECRET, ROOT, SCOPES, USER_SCOPES, Team, access, check,
    consent, fault, install, refused, settings, web,
)

team = Team("sdk-oauth")


@check("a consent gives a code, which is exchanged for the bot's token")
def _():
    answer = install(team.admin)
    assert answer["access_token"].startswith("xoxb-") and answer["token_type"] == "bot"
    assert answer["app_id"] == APP_ID and answer["team"]["id"] == team.id
    assert answer["scope"] == ",".join(SCOPES) and answer["enterprise"] is None
    assert answer["is_enterprise_install"] is False and answer["bot_user_id"]
    assert answer["authed_user"] == {"id": team.admin}
    assert "refresh_token" not in answer and "expires_in" not in answer


@check("a second installation without rotation keeps the token")
def _():
    assert install(team.admin)["access_token"] == install(team.admin)["access_token"]


@check("a code is valid once, for ten minutes, and for its redirect URI")
def _():
    code = consent(team.admin)["code"]
    assert access(code)["ok"]
    refused("invalid_code", access, code)
    refused("invalid_code", access, "1.unknown")
    refused("bad_redirect_uri", access, consent(team.admin)["code"], redirect_uri="http://else.example/")
    late = consent(team.admin)["code"]
    control("clock", {"advance_seconds": 601})
    refused("invalid_code", access, late)


@check("a wrong client id and a wrong secret have different errors")
def _():
    code = consent(team.admin)["code"]
    refused("invalid_client_id", access, code, client_id="1.2")
    refused("bad_client_secret", access, code, client_secret="wrong")
    refused("invalid_grant_type", access, code, grant_type="password")
    # In the body as well as by Basic authentication, which the SDK's method uses.
    answer = web().api_call("oauth.v2.access", params={
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "code": code, "redirect_uri": CALLBACK,
    })
    assert answer["access_token"]


@check("the consent page rejects scopes that the app lacks")
def _():
    page = f"{ROOT}/oauth/v2/authorize?client_id={CLIENT_ID}"
    assert browse(f"{page}&scope=users:read&redirect_uri=http://else.example/", team.admin) == 400
    assert browse(f"{page}&scope=", team.admin) == 400
    assert browse(f"{ROOT}/oauth/v2/authorize?client_id=1.2&scope=users:read", team.admin) == 400
    assert browse(f"{page}&scope=users:read&team=T00000000", team.admin) == 403


@check("a declined consent redirects with access_denied")
def _():
    settings(deny_authorizations=True)
    assert consent(team.admin)["error"] == "access_denied"
    settings(deny_authorizations=False)


@check("PKCE is rejected unless the app enables it, and then verified")
def _():
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def redeem(proof):
        code = consent(team.admin, code_challenge=challenge, code_challenge_method="S256")["code"]
        return web().api_call("oauth.v2.access", auth={"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}, params={
            "code": code, "redirect_uri": CALLBACK, "code_verifier": proof,
        })

    refused("pkce_not_allowed", redeem, verifier)
    settings(pkce=True)
    refused("invalid_code_verifier", redeem, "wrong")
    assert redeem(verifier)["ok"]
    settings(pkce=False)


@check("a user token comes with the bot's, with its own scopes")
def _():
    answer = install(team.people[1], user_scopes=USER_SCOPES)
    person = answer["authed_user"]
    assert person["id"] == team.people[1] and person["token_type"] == "user"
    assert person["access_token"].startswith("xoxp-") and person["scope"] == ",".join(USER_SCOPES)
    assert web(person["access_token"]).auth_test()["user_id"] == team.people[1]


@check("without bot scopes there is only a user token")
def _():
    alone = Team("sdk-alone")
    answer = install(alone.people[2], scopes=(), user_scopes=["channels:read"])
    assert "access_token" not in answer and "bot_user_id" not in answer
    me = web(answer["authed_user"]["access_token"])
    assert len(me.conversations_list()["channels"]) == 3
    assert "bot_id" not in me.auth_test().data
    state = next(one for one in control("slack/accounts")["accounts"] if one["login"] == alone.id)
    assert state["installed"] is False and state["persons"] == [alone.people[2]]


def installation(answer, expired=True):
    """The SDK's stored installation; `expired` by its own clock."""
    end = int(time.time()) if expired else int(time.time()) + 43_200
    person = answer["authed_user"]
    return Installation(
        user_id=person["id"], team_id=team.id, bot_token=answer["access_token"],
        bot_refresh_token=answer["refresh_token"], bot_token_expires_at=end,
        user_token=person["access_token"], user_refresh_token=person["refresh_token"],
        user_token_expires_at=end,
    )


rotator = TokenRotator(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, client=web())


@check("with rotation the SDK refreshes bot token and user token separately")
def _():
    settings(rotation=True)
    answer = install(team.admin, user_scopes=USER_SCOPES)
    assert answer["access_token"].startswith("xoxe.xoxb-") and answer["expires_in"] == 43_200
    assert answer["authed_user"]["access_token"].startswith("xoxe.xoxp-")
    assert answer["authed_user"]["expires_in"] == 43_200
    before = installation(answer)
    assert rotator.perform_token_rotation(installation=installation(answer, expired=False)) is None
    after = rotator.perform_token_rotation(installation=before)
    assert after.bot_token != before.bot_token and after.user_token != before.user_token
    assert web(after.bot_token).auth_test()["bot_id"]
    assert web(after.user_token).auth_test()["user_id"] == team.admin
    for used in (before.bot_refresh_token, before.user_refresh_token):
        refused("invalid_refresh_token", web().oauth_v2_access, client_id=CLIENT_ID,
                client_secret=CLIENT_SECRET, grant_type="refresh_token", refresh_token=used)


def renew(refresh_token):
    return web().oauth_v2_access(client_id=CLIENT_ID, client_secret=CLIENT_SECRET,
                                 grant_type="refresh_token", refresh_token=refresh_token)


@check("two access tokens per grant are valid at once, for bot and user")
def _():
    answer = install(team.admin, user_scopes=USER_SCOPES)
    for first in (answer, answer["authed_user"]):
        tokens, refresh = [first["access_token"]], first["refresh_token"]
        for _ in range(2):
            renewed = renew(refresh)
            assert renewed["token_type"] == first["token_type"], renewed
            tokens.append(renewed["access_token"])
            refresh = renewed["refresh_token"]
        refused("token_revoked", web(tokens[0]).auth_test)
        assert web(tokens[1]).auth_test()["ok"] and web(tokens[2]).auth_test()["ok"]


@check("a token expires after twelve hours, a user token also on command")
def _():
    answer = install(team.admin, user_scopes=USER_SCOPES)
    person = web(answer["authed_user"]["access_token"])
    control("slack/tokens", {"expire": team.admin})
    refused("token_expired", person.auth_test)
    assert web(answer["access_token"]).auth_test()["ok"], "the bot's is another"
    control("clock", {"advance_seconds": 43_200})
    refused("token_expired", web(answer["access_token"]).auth_test)
    settings(rotation=False)


@check("a permanent token is exchanged for a rotating one")
def _():
    fresh = Team("sdk-exchange")
    old = install(fresh.admin)["access_token"]
    answer = web().oauth_v2_exchange(token=old, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
    assert answer["access_token"].startswith("xoxe.xoxb-") and answer["refresh_token"]
    refused("token_revoked", web(old).auth_test)


@check("revoking a user token keeps the bot, revoking the bot's ends it")
def _():
    fresh = Team("sdk-revoke")
    answer = install(fresh.admin, user_scopes=USER_SCOPES)
    bot, person = web(answer["access_token"]), web(answer["authed_user"]["access_token"])
    assert person.auth_revoke(test=True)["revoked"] is False
    assert person.auth_revoke()["revoked"] is True
    refused("token_revoked", person.auth_test)
    assert bot.auth_test()["ok"]
    assert bot.auth_revoke()["revoked"] is True
    refused("token_revoked", bot.auth_test)


@check("uninstalling needs the app's credentials and revokes every token")
def _():
    fresh = Team("sdk-uninstall")
    answer = install(fresh.admin, user_scopes=USER_SCOPES)
    bot = web(answer["access_token"])
    refused("bad_client_secret", bot.apps_uninstall, client_id=CLIENT_ID, client_secret="wrong")
    assert bot.apps_uninstall(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)["ok"]
    for token in (answer["access_token"], answer["authed_user"]["access_token"]):
        refused("token_revoked", web(token).auth_test)


@check("a refresh takes effect when its response is lost")
def _():
    settings(rotation=True)
    fresh = Team("sdk-lost")
    answer = install(fresh.admin)
    fault("oauth.v2.access", "lose_response")
    # The SDK retries, and the first attempt has taken effect.
    refused("invalid_refresh_token", renew, answer["refresh_token"])
    settings(rotation=False)
