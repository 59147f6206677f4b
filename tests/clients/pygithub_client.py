"""Runs PyGithub, unmodified, against the simulator: OAuth, app authentication, pagination,
conditional requests, limits."""

import base64
import os
import urllib.parse

from checks import BASE, Checks, browse, control
from github import Auth, Github, GithubException, GithubIntegration, RateLimitExceededException

API = os.environ["POBLYSH_GITHUB_API_BASE_URL"]
WEB = os.environ["POBLYSH_GITHUB_WEB_BASE_URL"]
CLIENT_ID = os.environ["POBLYSH_GITHUB_CLIENT_ID"]
CLIENT_SECRET = os.environ["POBLYSH_GITHUB_CLIENT_SECRET"]
KEY = base64.b64decode(os.environ["POBLYSH_GITHUB_PRIVATE_KEY"]).decode()
CALLBACK = f"{BASE}/nowhere/callback"

check = Checks("pygithub")

control("github/settings", {"callback_urls": [CALLBACK], "webhook_url": ""})
team = control(
    "github/accounts",
    {"login": "pygithub-team", "repositories": 1, "history": 400, "install": True},
)
LOGIN, ADMIN = team["login"], team["admin"]
FULL_NAME = team["repositories"][0]["full_name"]
INSTALLATION = team["installation"]["id"]


def consent():
    query = urllib.parse.urlencode(
        {"client_id": CLIENT_ID, "state": "s", "redirect_uri": CALLBACK}
    )
    return browse(f"{WEB}/login/oauth/authorize?{query}", ADMIN)["code"]


@check("a code is exchanged, used, refreshed")
def _():
    application = Github(base_url=API, retry=None).get_oauth_application(CLIENT_ID, CLIENT_SECRET)
    token = application.get_access_token(consent())
    assert token.token.startswith("ghu_") and token.refresh_token.startswith("ghr_")
    auth = application.get_app_user_auth(token)
    user = Github(auth=auth, base_url=API, retry=None).get_user()
    assert user.login == ADMIN
    assert INSTALLATION in [one.id for one in user.get_installations()]
    renewed = application.refresh_access_token(token.refresh_token)
    assert renewed.token != token.token
    try:
        application.refresh_access_token(token.refresh_token)
    except GithubException as error:
        assert "bad_refresh_token" in str(error), error
    else:
        raise AssertionError("a used refresh token was accepted")


integration = GithubIntegration(
    auth=Auth.AppAuth(int(os.environ["POBLYSH_GITHUB_APP_ID"]), KEY), base_url=API, retry=None
)


@check("the app authenticates with its JWT")
def _():
    assert INSTALLATION in [one.id for one in integration.get_installations()]
    assert integration.get_app_installation(INSTALLATION).target_type == "Organization"


def client(per_page=30):
    auth = Auth.AppInstallationAuth(integration.auth, INSTALLATION)
    return Github(
        auth=auth, base_url=API, per_page=per_page, retry=None, seconds_between_requests=None
    )


@check("an installation lists its repositories")
def _():
    found = integration.get_app_installation(INSTALLATION).get_repos()
    assert [repository.full_name for repository in found] == [FULL_NAME]


def visible(kind):
    entries = control(f"ledger?account={LOGIN}&kind={kind}")["entries"]
    return sum(entry["poll"] for entry in entries)


@check("pagination over several pages gives every row once")
def _():
    repository = client(per_page=10).get_repo(FULL_NAME)
    issues = repository.get_issues(state="all")
    assert issues.totalCount == visible("issue_created") + visible("pr_opened"), issues.totalCount
    seen = {issue.id for issue in issues}
    assert len(seen) == issues.totalCount > 20, (len(seen), issues.totalCount)
    pulls = list(repository.get_pulls(state="all", sort="updated", direction="desc"))
    assert len(pulls) == visible("pr_opened")
    assert sum(pull.merged for pull in pulls) == visible("pr_merged")
    reviews = [review for pull in pulls for review in pull.get_reviews()]
    assert len(reviews) == visible("pr_reviewed")
    assert repository.get_workflow_runs().totalCount == visible("workflow_completed")


@check("comments, releases, stars and commits are parsed")
def _():
    repository = client(per_page=5).get_repo(FULL_NAME)
    comments = list(repository.get_issues_comments()) + list(repository.get_pulls_review_comments())
    assert len(comments) == visible("issue_commented") + visible("pr_commented")
    assert all(comment.user.login and comment.created_at for comment in comments)
    assert repository.get_releases().totalCount == visible("release_published")
    assert len(list(repository.get_stargazers_with_dates())) == visible("repo_starred")
    assert all(commit.commit.message for commit in repository.get_commits())
    assert [branch.name for branch in repository.get_branches()][0]


@check("a conditional request is 304 without changes")
def _():
    repository = client().get_repo(FULL_NAME)
    assert repository.update() is False
    control("github/act", {"account": LOGIN, "action": "repository.archived"})
    assert repository.update() is True and repository.archived


@check("limits surface as RateLimitExceededException")
def _():
    github = client()
    repository = github.get_repo(FULL_NAME)
    for effect in ("primary_limit", "secondary_limit", "secondary_limit_bare"):
        rule = {"target": "request", "pattern": "/issues", "effect": effect, "count": 1, "seconds": 9}
        control("faults", rule)
        try:
            list(repository.get_issues())
        except RateLimitExceededException as error:
            assert error.status == 403
        else:
            raise AssertionError(f"{effect} was not detected")
    assert github.get_rate_limit().resources.core.limit >= 5000


@check("inaccessible objects are 404")
def _():
    for name in ("pygithub-team/absent", "octokit-team/service-1"):
        try:
            client().get_repo(name)
        except GithubException as error:
            assert error.status == 404, error
        else:
            raise AssertionError(f"{name} is visible")


check.finish()
