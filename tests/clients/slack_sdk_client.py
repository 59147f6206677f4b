"""Runs slack_sdk, unmodified, against the simulator."""

import slack_oauth  # noqa: F401  (each module runs its checks as it is imported)
import slack_reading  # noqa: F401
import slack_organization  # noqa: F401
import slack_events  # noqa: F401
from slack_world import check

check.finish()
