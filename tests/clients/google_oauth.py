"""Consent with PKCE, refresh, identity tokens and revocation."""

import urllib.request

from checks import browse, control, opener
from google.auth.exceptions import RefreshError
from google.oauth2 import id_token
from google_world import (
    API, CLIENT_ID, EMAIL, METADATA, SCOPES, TOKEN, Account, Request, check, consent, drive, flow,
    refused, settings,
)
from oauthlib.oauth2.rfc6749.errors import OAuth2Error

place = Account("google-oauth")


def wrong(error, call, *arguments, **named):
    """The token endpoint refuses a call with this error."""
    try:
        call(*arguments, **named)
    except OAuth2Error as failure:
        assert failure.error == error, failure
        return
    raise AssertionError(f"{error} was expected")


@check("a consent with PKCE gives access, refresh and identity tokens")
def _():
    one = consent(place.admin)
    assert one.token.startswith("ya29.") and one.refresh_token.startswith("1//")
    assert set(one.granted_scopes) == set(SCOPES) and one.id_token and one.valid


@check("a code is valid once, and only with its verifier")
def _():
    one = flow()
    url, _state = one.authorization_url(access_type="offline", prompt="consent")
    code = browse(url, place.admin)["code"]
    other = flow()
    other.code_verifier = "x" * 64
    wrong("invalid_grant", other.fetch_token, code=code)
    wrong("invalid_grant", one.fetch_token, code=code)


@check("wrong parameters show a page, a declined consent redirects")
def _():
    url, _state = flow().authorization_url()
    assert browse(url.replace(CLIENT_ID, "other"), place.admin) == 400
    assert browse(url.replace("callback", "elsewhere"), place.admin) == 400
    settings(deny_authorizations=True)
    assert browse(url, place.admin)["error"] == "access_denied"
    settings(deny_authorizations=False)


@check("a second consent without a prompt has no refresh token")
def _():
    consent(place.admin)
    one = flow()
    url, _state = one.authorization_url(access_type="offline")
    back = browse(url, place.admin)
    assert back["prompt"] == "none"
    one.fetch_token(code=back["code"])
    assert one.credentials.refresh_token is None


@check("an expired access token is refreshed by the client, without rotation")
def _():
    one = consent(place.admin)
    first, refresh = one.token, one.refresh_token
    control("google/tokens", {"expire": place.admin})
    about = drive(one).about().get(fields="user").execute()
    assert about["user"]["emailAddress"] == place.admin and about["user"]["me"]
    assert one.token != first and one.refresh_token == refresh


@check("the identity token verifies with certificates and with JWKS, across a rotation")
def _():
    one = consent(place.admin)
    for path in ("oauth2/v1/certs", "oauth2/v3/certs"):
        claims = id_token.verify_token(one.id_token, Request(), CLIENT_ID, f"{API}/{path}")
        assert claims["sub"] == place.id and claims["email"] == place.admin and claims["email_verified"]
    control("google/keys", {"rotate": True})
    for token in (one.id_token, consent(place.admin).id_token):
        id_token.verify_token(token, Request(), CLIENT_ID, f"{API}/oauth2/v1/certs")
    try:
        id_token.verify_token(one.id_token, Request(), "another", f"{API}/oauth2/v1/certs")
    except ValueError:
        return
    raise AssertionError("a foreign audience was accepted")


@check("an unticked scope is missing in the grant and refused at use")
def _():
    settings(withheld_scopes=[METADATA])
    one = consent(place.people[1]["address"])
    settings(withheld_scopes=[])
    assert set(one.granted_scopes) == {"openid", EMAIL}
    refused(403, drive(one).about().get(fields="user"), "ACCESS_TOKEN_SCOPE_INSUFFICIENT")


@check("earlier scopes are included on request")
def _():
    login = place.people[2]["address"]
    consent(login)
    one = consent(login, ["openid"], include_granted_scopes="true")
    assert METADATA in one.granted_scopes


@check("a transient server_error is retried by the client")
def _():
    one = consent(place.admin)
    rule = {"target": "request", "effect": "status", "status": 503, "pattern": "POST /google/token", "count": 1}
    control("faults", rule)
    one.refresh(Request())
    assert one.valid


@check("a revocation ends all tokens of the person")
def _():
    first, second = consent(place.admin), consent(place.admin)
    url = f"{TOKEN}/revoke?token={first.refresh_token}"
    with opener.open(urllib.request.Request(url, data=b"", method="POST")) as answer:
        assert answer.read() == b"{}"
    for one in (first, second):
        try:
            one.refresh(Request())
        except RefreshError as error:
            assert error.args[1]["error"] == "invalid_grant", error
        else:
            raise AssertionError("a revoked token was refreshed")
