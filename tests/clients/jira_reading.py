"""Reading: identity, searches in a person's time zone, issues with their lists, limits."""

import time
from datetime import datetime, timedelta, timezone

from checks import control, ledger
from jira import JIRAError
from jira_world import CLIENT_ID, CLIENT_SECRET, TOKEN_URL, Site, act, check, fault, refused, settings

site = Site("jira-reading", history=150)
client = site.client()


def facts(*kinds):
    rows = ledger(source="jira", account=site.id)
    return [row for row in rows if row["kind"] in kinds and row["poll"]]


@check("the client detects a Cloud site and its user")
def _():
    assert client.server_info()["deploymentType"] == "Cloud" and client._is_cloud
    me = client.myself()
    assert me["accountId"] == site.admin and me["timeZone"] == "America/Phoenix"
    assert client.current_user() == site.admin
    assert client.user(site.people[1]).displayName == "jira-reading dev 1"
    assert len(client.search_users(query="jira-reading")) == 5


@check("a paginated search returns every issue once")
def _():
    issues = client.search_issues("project in (ENG, OPS) ORDER BY created ASC", maxResults=False)
    assert len(issues) == len({one.id for one in issues}) == len(facts("issue_created")) > 20
    ids, token = [], None
    while True:
        page = client.enhanced_search_issues(
            "project in (ENG, OPS) ORDER BY updated ASC", nextPageToken=token, maxResults=7, fields="updated"
        )
        assert 0 < len(page) <= 7
        ids += [(one.fields.updated, one.id) for one in page]
        token = page.nextPageToken
        if token is None:
            break
    assert len(set(ids)) == len(issues) and ids == sorted(ids)
    assert client.approximate_issue_count("project = ENG") == len([one for one in issues if one.key.startswith("ENG-")])


@check("a search without fields returns up to five thousand ids")
def _():
    row = client.enhanced_search_issues("project = ENG", fields="", maxResults=1, json_result=True)["issues"][0]
    assert list(row) == ["id"]
    every = client.enhanced_search_issues(
        "project in (ENG, OPS)", fields="id", maxResults=5_000, json_result=True, use_post=True
    )
    assert every["isLast"] is True and len(every["issues"]) > 20


@check("a page token is bound to its query and expires after seven days")
def _():
    token = client.enhanced_search_issues("project = ENG", maxResults=1).nextPageToken
    refused(400, client.enhanced_search_issues, "project = OPS", maxResults=1, nextPageToken=token)
    refused(400, client.enhanced_search_issues, "project = ENG", maxResults=1, nextPageToken="x")
    control("clock", {"advance_seconds": 7 * 24 * 3_600 + 1})
    site.token = site.oauth.refresh_token(TOKEN_URL, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
    late = site.client()
    client._session.auth = late._session.auth
    refused(400, client.enhanced_search_issues, "project = ENG", maxResults=1, nextPageToken=token)


@check("an unbounded query is 400, the old search is 410")
def _():
    assert "Unbounded" in refused(400, client.search_issues, "ORDER BY created").text
    assert "Unbounded" in refused(400, client.search_issues, "").text
    assert "does not exist" in refused(400, client.search_issues, "colour = red").text
    gone = refused(410, client._get_json, "search", params={"jql": "project = ENG"})
    assert "search/jql" in gone.text


@check("a quoted date is in the person's time zone; milliseconds are absolute")
def _():
    issue = str(act(site.id, "issue.created")["object"]["id"])
    updated = client.issue(issue).fields.updated
    assert updated.endswith("+0000")
    at = datetime.strptime(updated, "%Y-%m-%dT%H:%M:%S.%f%z")
    found = lambda question: issue in [one.id for one in client.search_issues(question, maxResults=100)]
    minute = lambda hours: (at + timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M")
    later = lambda hours: (at + timedelta(hours=hours, minutes=1)).strftime("%Y/%m/%d %H:%M")
    # Phoenix is seven hours behind UTC, the whole year.
    assert found(f'updated >= "{minute(-7)}"') and not found(f'updated >= "{later(-7)}"')
    assert not found(f'updated >= "{minute(0)}"')
    ms = round(at.timestamp() * 1_000)
    assert found(f"updated >= {ms} AND updated <= {ms}") and not found(f"updated > {ms}")
    assert found("updated >= -5m") and not found("updated < startOfDay()")
    # Another person has another time zone.
    other = site.client(site.people[1])
    assert other.myself()["timeZone"] == "Africa/Lagos"
    ids = lambda question: [one.id for one in other.search_issues(question, maxResults=100)]
    assert issue in ids(f'updated >= "{minute(1)}"') and issue not in ids(f'updated >= "{later(1)}"')


@check("clauses are joined with AND, OR, NOT and brackets")
def _():
    everything = client.approximate_issue_count("project in (ENG, OPS)")
    done = client.approximate_issue_count("statusCategory = Done")
    assert 0 < done < everything
    assert client.approximate_issue_count("statusCategory != Done OR status in (Done, Rejected)") == everything
    assert client.approximate_issue_count("NOT (project = ENG OR project = OPS)") == 0
    assigned = client.approximate_issue_count("assignee is not EMPTY AND project in (ENG, OPS)")
    assert assigned + client.approximate_issue_count("project in (ENG, OPS) AND assignee is EMPTY") == everything
    mine = act(site.id, "issue.created", actor=site.admin, text="A most unusual valve")["object"]["id"]
    found = client.search_issues('reporter = currentUser() AND summary ~ "unusual valve"')
    assert [one.id for one in found] == [str(mine)]


@check("an issue has separate lists of changes, comments and worklogs")
def _():
    issue = act(site.id, "issue.created", actor=site.admin)["object"]["id"]
    change = act(site.id, "issue.transitioned", issue=issue, to="Done", assignee=site.people[2])
    act(site.id, "issue.edited", issue=issue, text="Another summary")
    for number in range(25):
        act(site.id, "comment.created", issue=issue, text=f"Comment {number}", actor=site.people[1])
    act(site.id, "comment.edited", issue=issue, text="Better", actor=site.people[3])
    act(site.id, "worklog.created", issue=issue, actor=site.people[1])
    whole = client.issue(str(issue), expand="changelog")
    assert whole.fields.summary == "Another summary" and whole.fields.status.name == "Done"
    assert whole.fields.status.statusCategory.key == "done"
    assert whole.fields.assignee.accountId == site.people[2] and whole.fields.reporter.accountId == site.admin
    newest, oldest = whole.changelog.histories
    assert [item.field for item in newest.items] == ["summary"] and newest.items[0].toString == "Another summary"
    assert {item.field for item in oldest.items} >= {"status", "assignee"} and oldest.id == str(change["object"]["history"])
    comments = client.comments(str(issue))
    assert len(comments) == 25 and comments[0].body == "Comment 0" and comments[-1].body == "Better"
    assert comments[-1].updateAuthor.accountId == site.people[3] != comments[-1].author.accountId
    assert client.comment(str(issue), comments[3].id).body == "Comment 3"
    (work,) = client.worklogs(str(issue))
    assert work.timeSpentSeconds == 3_600 and client.worklog(str(issue), work.id).author.accountId == site.people[1]
    (row,) = client.search_issues(f"id = {issue}", fields="comment")
    assert len(row.fields.comment.comments) == 20 and row.fields.comment.total == 25
    paged = client._get_json(f"issue/{issue}/comment", params={"startAt": 20, "maxResults": 3, "orderBy": "-created"})
    assert [one["body"] for one in paged["comments"]] == ["Comment 4", "Comment 3", "Comment 2"]


@check("text is a document from the third version on")
def _():
    issue = act(site.id, "comment.created", text="plain")["object"]["id"]
    modern = site.client(options={"rest_api_version": "3"})
    document = modern.comments(str(issue))[-1].raw["body"]
    assert document["type"] == "doc" and document["content"][0]["content"][0]["text"] == "plain"
    assert client.comments(str(issue))[-1].body == "plain"


@check("a moved issue keeps its id, a deleted one is 404")
def _():
    issue = str(act(site.id, "issue.created")["object"]["id"])
    before = client.issue(issue)
    act(site.id, "issue.moved", issue=int(issue))
    after = client.issue(issue)
    assert after.id == before.id and after.key != before.key
    assert client.issue(after.key).id == issue
    act(site.id, "issue.deleted", issue=int(issue))
    refused(404, client.issue, issue)
    assert client.search_issues(f"id = {issue}") == []


@check("a search may lag, except for issues in reconcileIssues")
def _():
    settings(index_lag_seconds=3_600)
    issue = act(site.id, "issue.created")["object"]["id"]
    assert client.search_issues(f"id = {issue}") == []
    found = client.enhanced_search_issues(f"id = {issue}", reconcileIssues=[issue])
    assert [one.id for one in found] == [str(issue)]
    settings(index_lag_seconds=0)


@check("worklogs are listed by time of change, without the last minute")
def _():
    settings(worklog_delay_seconds=60)
    since = round(time.time() * 1_000) - 1_000
    fresh = act(site.id, "worklog.created")["object"]["worklog"]
    listed = lambda which="updated", at=0: client._get_json(f"worklog/{which}", params={"since": at})
    assert fresh not in [one["worklogId"] for one in listed()["values"]]
    settings(worklog_delay_seconds=0)
    changed = listed(at=since)
    assert fresh in [one["worklogId"] for one in changed["values"]] and changed["lastPage"] is True
    (work,) = client._get_json("worklog/list", params={"ids": [fresh]}, use_post=True)
    act(site.id, "issue.deleted", issue=int(work["issueId"]))
    assert fresh in [one["worklogId"] for one in listed("deleted")["values"]]
    assert len(listed()["values"]) == len(facts("work_logged"))


@check("projects and versions are listed")
def _():
    assert {one.key for one in client.projects()} == {"ENG", "OPS"}
    assert client.project("ENG").id in {one["id"] for one in site.projects}
    refused(404, client.project, "NONE")
    act(site.id, "version.created")
    act(site.id, "version.released")
    versions = [one for project in site.projects for one in client.project_versions(project["id"])]
    released = [one for one in versions if one.released]
    assert released and all(len(one.releaseDate) == 10 for one in released)
    assert client.version(released[0].id).name == released[0].name
    assert {one.statusCategory.key for one in client.statuses()} == {"new", "indeterminate", "done"}
    assert [one.name for one in client.issue_types()] == ["Task"]


@check("a board has sprints, or an error without sprints")
def _():
    scrum, kanban = client.boards()
    assert (scrum.type, kanban.type) == ("scrum", "kanban")
    assert [one.id for one in client.boards(type="kanban")] == [kanban.id]
    started = act(site.id, "sprint.started")["object"]["id"]
    act(site.id, "sprint.created")
    sprints = client.sprints(scrum.id, maxResults=False)
    assert {one.state for one in sprints} >= {"active", "future"}
    assert started in [one.id for one in client.sprints(scrum.id, state="active,closed")]
    assert client.sprint(started).originBoardId == scrum.id
    assert "does not support sprints" in refused(400, client.sprints, kanban.id).text


@check("the client's retries follow Retry-After")
def _():
    retrying = site.client(max_retries=1)
    for effect, reason in (("too_many_requests", "burst"), ("secondary_limit", "tenant"), ("primary_limit", "global")):
        fault("myself", effect, seconds=1)
        begun = time.monotonic()
        assert retrying.myself()["accountId"] == site.admin
        assert time.monotonic() - begun >= 1
        fault("myself", effect, seconds=9)
        error = refused(429, client.myself)
        assert error.response.headers["retry-after"] == "9"
        assert reason in error.response.headers["ratelimit-reason"]
    fault("myself", "secondary_limit_bare")
    assert "retry-after" not in refused(429, client.myself).response.headers


@check("the app's points are exhausted, and reset with the hour")
def _():
    control("clock", {"advance_seconds": 3_601 - round(time.time() + control("state")["clock_offset_seconds"]) % 3_600})
    client = site.client(site.admin)
    control("limits", method="DELETE")
    settings(points_per_hour=30)
    headers = client._session.get(client._get_url("search/jql"), params={"jql": "project = ENG", "maxResults": 20}).headers
    assert headers["ratelimit-policy"] == '"global-app-quota";q=30;w=3600'
    assert headers["x-ratelimit-limit"] == "30" and int(headers["x-ratelimit-remaining"]) == 30 - 21
    assert headers["ratelimit"].startswith('"global-app-quota";t='), headers["ratelimit"]
    headers = client._session.get(client._get_url("myself")).headers
    assert "x-ratelimit-nearlimit" not in headers
    headers = client._session.get(client._get_url("serverInfo")).headers
    assert headers["x-ratelimit-nearlimit"] == "true" and ";r=4;t=" in headers["ratelimit"]
    # One response may exceed the remaining points; the next request is refused.
    assert client._session.get(client._get_url("status")).status_code == 200
    error = refused(429, client.myself)
    headers = error.response.headers
    assert headers["ratelimit-reason"] == "jira-quota-global-based" and headers["x-ratelimit-remaining"] == "0"
    wait, reset = int(headers["retry-after"]), datetime.fromisoformat(headers["x-ratelimit-reset"].replace("Z", "+00:00"))
    assert 3_500 < wait <= 3_600
    assert abs(reset - (datetime.now(timezone.utc) + timedelta(seconds=wait))) < timedelta(seconds=5)
    control("clock", {"advance_seconds": wait})
    assert site.client(site.admin).myself()["accountId"] == site.admin
    settings(points_per_hour=None)


@check("limits of a site and of an endpoint, and announced limits")
def _():
    client = site.client(site.admin)
    control("limits", method="DELETE")
    settings(site_points_per_hour=1)
    client._session.get(client._get_url("serverInfo"))
    error = refused(429, client.myself)
    assert error.response.headers["ratelimit-reason"] == "jira-quota-tenant-based"
    other = Site("jira-unlimited").client()
    settings(site_points_per_hour=None, limits_announced=True, points_per_hour=1)
    headers = other._session.get(other._get_url("myself")).headers
    assert headers["beta-ratelimit-policy"] and "ratelimit-policy" not in headers
    settings(points_per_hour=None, limits_announced=False, requests_per_second=2)
    for _ in range(100):
        try:
            client.myself()
        except JIRAError as error:
            assert error.response.headers["ratelimit-reason"] == "jira-burst-based"
            break
    else:
        raise AssertionError("no burst was too fast")
    settings(requests_per_second=None)
