"""Runs google-api-python-client and gcal_sync, unmodified, against the simulator."""

import google_calendar_reading  # noqa: F401  (each module runs its checks as it is imported)
import google_calendar_sync  # noqa: F401
from google_calendar_world import check

check.finish()
