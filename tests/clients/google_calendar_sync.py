"""gcal_sync: full sync, incremental sync, 410, and series in its timeline."""

import asyncio
import datetime

import aiohttp
from gcal_sync.api import GoogleCalendarService
from gcal_sync.auth import AbstractAuth
from gcal_sync.store import InMemoryCalendarStore
from gcal_sync.sync import CalendarEventSyncManager, CalendarListSyncManager
from google_calendar_world import API, Account, check, settings

account = Account("calendar-sync", calendars=1, history=30)


class Auth(AbstractAuth):
    async def async_get_access_token(self):
        return account.token["access_token"]


def run(steps):
    """Runs the steps with the library's service."""

    async def start():
        async with aiohttp.ClientSession() as session:
            return await steps(GoogleCalendarService(Auth(session, host=API)))

    return asyncio.run(start())


class Mirror:
    """The library's copy of the primary calendar."""

    def __init__(self):
        self.store = InMemoryCalendarStore()

    def sync(self):
        """Runs the library's sync; returns the number of rows in its store, and its timeline."""

        async def steps(service):
            manager = CalendarEventSyncManager(service, account.address, self.store)
            await manager.run()
            return await manager.store_service.async_get_timeline(datetime.timezone.utc)

        return run(steps)

    def titles(self):
        """Titles of events in the next sixty days."""
        start = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=60)
        return [event.summary for event in self.sync().overlapping(start, end)]

    def token(self):
        return str(asyncio.run(self.store.async_load()))


mirror = Mirror()


@check("gcal_sync reads the list of calendars")
def _():
    async def steps(service):
        manager = CalendarListSyncManager(service, InMemoryCalendarStore())
        await manager.run()
        await manager.run()
        return (await manager.store_service.async_list_calendars()).calendars

    calendars = run(steps)
    assert len(calendars) == 3 and account.address in [calendar.id for calendar in calendars]


@check("gcal_sync accepts every event of a full sync over many pages")
def _():
    settings(max_page_size=3)
    assert mirror.titles()
    settings(max_page_size=2500)


@check("gcal_sync applies changes to its timeline, series included")
def _():
    series = account.create(rule="daily", text="standup")
    before = mirror.titles().count("standup")
    assert before > 30, before
    account.act("event.edited", event=series, scope="this", occurrence=2, text="special")
    titles = mirror.titles()
    assert titles.count("standup") == before - 1 and titles.count("special") == 1
    account.act("event.cancelled", event=series, scope="this", occurrence=3)
    assert mirror.titles().count("standup") == before - 2
    account.act("event.edited", event=series, scope="following", occurrence=5, text="later")
    titles = mirror.titles()
    assert (titles.count("standup"), titles.count("special")) == (3, 1), titles.count("standup")
    assert titles.count("later") == before - 5
    account.act("event.cancelled", event=series)
    titles = mirror.titles()
    assert not {"standup", "later", "special"} & set(titles)


@check("gcal_sync starts again after 410, on the first page and between pages")
def _():
    account.create(text="before the expiry")
    for after_pages in (0, 1):
        mirror.sync()
        settings(max_page_size=1)
        account.create(text="first")
        gone = account.create(text="second")
        account.act("event.cancelled", event=gone)
        account.expire(after_pages)
        settings(max_page_size=3)
        titles = mirror.titles()
        assert "before the expiry" in titles and "first" in titles and "second" not in titles
    settings(max_page_size=2500)


@check("gcal_sync reads all-day, private, out-of-office and location events")
def _():
    account.create(all_day=True, text="all day")
    account.create(private=True, text="private")
    account.create(event_type="outOfOffice", text="away")
    account.create(event_type="workingLocation", text="home")
    account.create(guests=account.people[1:], text="meeting", rule="weekly")
    assert {"all day", "private", "away", "home", "meeting"} <= set(mirror.titles())
