"""google-api-python-client: lists, paging, sync tokens, series, channels, errors."""

import uuid

from checks import control
from google_calendar_world import (
    CALENDARS, Account, check, consent, pages, refused, service, settings,
)

account = Account("calendar-reading", calendars=2)
events, calendars = account.service.events(), account.service.calendarList()


def listed(**params):
    """Rows of all pages and the last sync token."""
    found = pages(events, events.list(calendarId="primary", **params))
    rows = [row for page in found for row in page.get("items", [])]
    return rows, found[-1].get("nextSyncToken")


@check("the list of calendars has the primary one, which is also found by its name")
def _():
    rows = [row for page in pages(calendars, calendars.list()) for row in page["items"]]
    [primary] = [row for row in rows if row.get("primary")]
    assert primary["id"] == account.address and primary["accessRole"] == "owner"
    assert calendars.get(calendarId="primary").execute() == primary
    assert len(pages(calendars, calendars.list(maxResults=1))) == len(rows) == 4
    writable = calendars.list(minAccessRole="writer").execute()["items"]
    assert len(writable) == 3, "holidays are for readers"


@check("pages follow each other, and only the last one has a sync token")
def _():
    for _ in range(5):
        account.create()
    settings(max_page_size=2)
    found = pages(events, events.list(calendarId="primary", maxResults=2500))
    assert [len(page["items"]) for page in found] == [2, 2, 1]
    assert [("nextSyncToken" in page) for page in found] == [False, False, True]
    settings(max_page_size=2500)
    again = events.list(calendarId="primary", syncToken=found[-1]["nextSyncToken"]).execute()
    assert again["items"] == [] and again["nextSyncToken"]


@check("an edited series comes back whole, and a deleted instance as a shell")
def _():
    series = account.create(rule="daily", text="series")
    for number in (1, 2, 3):
        account.act("event.edited", event=series, scope="this", occurrence=number)
    _, token = listed(showDeleted=True)
    facts = account.act("event.edited", event=series, text="renamed")["facts"]
    assert [fact["kind"] for fact in facts] == ["event_updated"], facts
    rows, token = listed(showDeleted=True, syncToken=token)
    assert len(rows) == 4 and len({row["updated"] for row in rows}) == 1
    facts = account.act("event.cancelled", event=series, scope="this", occurrence=4)["facts"]
    assert sorted(fact["kind"] for fact in facts) == ["event_cancelled", "event_updated"]
    rows, _ = listed(showDeleted=True, syncToken=token)
    [shell] = [row for row in rows if row["status"] == "cancelled"]
    assert set(shell) == {"kind", "etag", "id", "status", "recurringEventId", "originalStartTime"}
    assert int(shell["etag"].strip('"')) // 2_000 % 1_000 == int(rows[0]["updated"][-4:-1])


@check("series expand into instances, in the order of their starts")
def _():
    series = account.create(rule="weekly", text="expanded")
    account.act("event.cancelled", event=series, scope="this", occurrence=1)
    found = pages(events, events.list(
        calendarId="primary", singleEvents=True, orderBy="startTime", q="expanded", maxResults=50,
    ))
    rows = [row for page in found for row in page["items"]]
    starts = [row["start"]["dateTime"] for row in rows]
    assert len(rows) > 50 and starts == sorted(starts) and "nextSyncToken" not in found[-1]
    assert all(row["recurringEventId"] == series for row in rows)


@check("a deletion is found by updatedMin and after an expired sync token")
def _():
    event = account.create()
    _, token = listed()
    account.act("event.cancelled", event=event)
    account.expire()
    error = refused(410, events.list(calendarId="primary", syncToken=token))
    assert error["reason"] == "fullSyncRequired" and error["location"] == "syncToken"
    assert event not in [row["id"] for row in listed()[0]]
    assert not account.row(f"event:{event}:cancelled")["polled"]
    assert event in [row["id"] for row in listed(updatedMin="2026-01-01T00:00:00Z")[0]]
    assert account.row(f"event:{event}:cancelled")["polled"]
    assert refused(410, events.get(calendarId="primary", eventId=event))["reason"] == "deleted"


@check("fields select the tokens alone")
def _():
    page = events.list(calendarId="primary", fields="nextPageToken,nextSyncToken").execute()
    assert list(page) == ["nextSyncToken"]


@check("parameters that contradict a sync token, and unknown calendars, are refused")
def _():
    _, token = listed()
    for name, value in {"q": "a", "orderBy": "updated", "updatedMin": "2026-01-01T00:00:00Z"}.items():
        error = refused(400, events.list(calendarId="primary", syncToken=token, **{name: value}))
        assert error["location"] == name
    assert refused(404, events.list(calendarId="nobody@else.example"))["reason"] == "notFound"
    assert refused(400, events.list(calendarId="primary", syncToken="x"))["reason"] == "invalid"


@check("a channel is created, is not created twice, and ends")
def _():
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    body = {"id": first, "type": "web_hook", "address": "https://else.example/", "token": "t"}
    channel = events.watch(calendarId="primary", body=body).execute()
    assert channel["kind"] == "api#channel" and channel["expiration"].isdigit()
    error = refused(400, events.watch(calendarId="primary", body=body))
    assert error["reason"] == "channelIdNotUnique"
    stop = {"id": first, "resourceId": channel["resourceId"]}
    assert account.service.channels().stop(body=stop).execute() == ""
    refused(404, account.service.channels().stop(body=stop))
    holidays = "en.usa#holiday@group.v.calendar.google.com"
    error = refused(400, events.watch(calendarId=holidays, body={**body, "id": second}))
    assert error["reason"] == "pushNotSupportedForRequestedResource"


@check("an expired access token is refreshed")
def _():
    control("google/tokens", {"expire": account.address})
    assert calendars.get(calendarId="primary").execute()["id"] == account.address


@check("a missing scope is a 403 response")
def _():
    narrow = service(consent(account.people[1], (CALENDARS,)))
    narrow.calendarList().list().execute()
    error = refused(403, narrow.events().list(calendarId="primary"))
    assert error["reason"] == "insufficientPermissions"
