"""OAuth 2.0 (3LO): consent, codes, token rotation, sites of a grant."""

from checks import browse, control
from jira import JIRA
from jira_world import (
    API, AUTH, CALLBACK, CLIENT_ID, CLIENT_SECRET, SCOPES, TOKEN_URL, Site, check, consent, fetch,
    refused, session, settings,
)
from oauthlib.oauth2.rfc6749.errors import OAuth2Error

site = Site("jira-oauth")


def wrong(error, call, *arguments, **named):
    """Returns the error of the token endpoint."""
    try:
        call(*arguments, **named)
    except OAuth2Error as failure:
        assert failure.error == error, failure
        return failure
    raise AssertionError(f"{error} was expected")


@check("a code is exchanged for a token of one hour and a refresh token")
def _():
    assert site.token["token_type"] == "Bearer" and site.token["expires_in"] == 3_600
    assert len(site.token["access_token"]) > 1_000 and site.token["refresh_token"]
    assert sorted(site.token["scope"]) == sorted(SCOPES)


@check("a code is valid once, for ten minutes, and for its redirect URI")
def _():
    oauth = session()
    code = consent(oauth, site.admin)["code"]
    fetch(oauth, code)
    wrong("invalid_grant", fetch, session(), code)
    other = session()
    code = consent(other, site.admin)["code"]
    other.redirect_uri = "http://else.example/"
    wrong("invalid_grant", fetch, other, code)
    late = session()
    code = consent(late, site.admin)["code"]
    control("clock", {"advance_seconds": 601})
    wrong("invalid_grant", fetch, late, code)


@check("a wrong secret and an unknown grant type have different errors")
def _():
    oauth = session()
    code = consent(oauth, site.admin)["code"]
    wrong("access_denied", fetch, oauth, code, client_secret="wrong")
    answer = oauth.request("POST", TOKEN_URL, withhold_token=True, json={
        "grant_type": "password", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
    })
    assert answer.status_code == 400 and answer.json()["error"] == "unsupported_grant_type"


@check("the consent page rejects unregistered values")
def _():
    page = f"{AUTH}/authorize?audience=api.atlassian.com&response_type=code"
    right = f"{page}&client_id={CLIENT_ID}&redirect_uri={CALLBACK}&scope=read:jira-work&state=s"
    assert browse(right, site.admin)["state"] == "s"
    assert browse(right.replace(CLIENT_ID, "another"), site.admin) == 400
    assert browse(right.replace(CALLBACK, "http://else.example/"), site.admin) == 400
    assert browse(right.replace("audience=api", "audience=www"), site.admin) == 400


@check("a declined consent redirects with access_denied")
def _():
    settings(deny_authorizations=True)
    assert consent(session(), site.admin)["error"] == "access_denied"
    settings(deny_authorizations=False)


def renew(token):
    oauth = session(token={"refresh_token": token, "access_token": "x", "token_type": "Bearer"})
    return oauth.refresh_token(TOKEN_URL, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)


@check("a refresh token rotates, and stays valid for ten minutes")
def _():
    first = fetch(oauth := session(), consent(oauth, site.admin)["code"])
    second = renew(first["refresh_token"])
    assert second["refresh_token"] != first["refresh_token"]
    assert renew(first["refresh_token"])["access_token"], "within the leeway"
    control("clock", {"advance_seconds": 601})
    answer = session().request("POST", TOKEN_URL, withhold_token=True, json={
        "grant_type": "refresh_token", "refresh_token": first["refresh_token"],
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
    })
    assert answer.status_code == 403 and answer.json() == {
        "error": "invalid_grant", "error_description": "Unknown or invalid refresh token.",
    }
    assert renew(second["refresh_token"])["access_token"]


@check("a refresh token expires after ninety days without use")
def _():
    idle = fetch(oauth := session(), consent(oauth, site.admin)["code"])
    control("clock", {"advance_seconds": 91 * 24 * 3_600})
    wrong("invalid_grant", renew, idle["refresh_token"])


@check("without offline_access there is no refresh token")
def _():
    scopes = ["read:jira-work"]
    oauth = session(scopes)
    assert "refresh_token" not in fetch(oauth, consent(oauth, site.admin)["code"])


def resources(token):
    answer = session(token=token).get(f"{API}/oauth/token/accessible-resources")
    assert answer.status_code == 200, answer.text
    return answer.json()


@check("accessible-resources lists the sites of the grant, once per product")
def _():
    fresh = Site("jira-sites")
    listed = resources(fresh.token)
    assert {one["id"] for one in listed} == {fresh.id} and len(listed) == 2
    jira = [one for one in listed if any("jira" in scope for scope in one["scopes"])]
    assert len(jira) == 1 and jira[0]["url"] == "https://jira-sites.atlassian.net"


@check("a consent for another site adds it to the one grant")
def _():
    fresh = Site("jira-first")
    second = control("jira/accounts", {"name": "jira-second", "member": fresh.admin})
    assert second["login"] not in {one["id"] for one in resources(fresh.token)}
    oauth = session()
    fetch(oauth, consent(oauth, fresh.admin, atlassian_site=second["login"])["code"])
    assert {one["id"] for one in resources(fresh.token)} == {fresh.id, second["login"]}
    client = JIRA(server=f"{API}/ex/jira/{second['login']}", token_auth=fresh.token["access_token"], max_retries=0)
    assert client.myself()["accountId"] == fresh.admin


@check("a site outside of the grant is not accessible")
def _():
    stranger = Site("jira-stranger")
    named = {"server": f"{API}/ex/jira/{site.id}", "token_auth": stranger.token["access_token"], "max_retries": 0}
    refused(404, JIRA, **named)


@check("an expired token, or one of a revoked grant, is 401")
def _():
    fresh = Site("jira-ends")
    client = fresh.client()
    control("jira/tokens", {"expire": fresh.admin})
    refused(401, client.myself)
    renewed = renew(fresh.token["refresh_token"])
    client = JIRA(server=f"{API}/ex/jira/{fresh.id}", token_auth=renewed["access_token"], max_retries=0)
    assert client.myself()["accountId"] == fresh.admin
    control("jira/tokens", {"revoke": fresh.admin})
    refused(401, client.myself)
    wrong("invalid_grant", renew, renewed["refresh_token"])


@check("a missing scope is a 401 that a new token does not fix")
def _():
    oauth = session(["read:jira-work"])
    token = fetch(oauth, consent(oauth, site.admin)["code"])
    client = JIRA(server=f"{API}/ex/jira/{site.id}", token_auth=token["access_token"], max_retries=0)
    assert "scope does not match" in refused(401, client.myself).text
    assert "scope does not match" in refused(401, client.boards).text
    answer = oauth.get(f"{API}/me")
    assert answer.status_code == 401 and "scope does not match" in answer.text
    settings(withheld_scopes=["read:jira-user"])
    less = session()
    less.scope = None
    granted = fetch(less, consent(session(), site.admin)["code"])
    settings(withheld_scopes=[])
    assert "read:jira-user" not in granted["scope"]


@check("the identity service returns the person")
def _():
    me = session(token=Site("jira-me").token).get(f"{API}/me").json()
    assert me["account_id"] and me["account_status"] == "active"
