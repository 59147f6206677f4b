"""Runs the jira package, unmodified, against the simulator; OAuth by requests-oauthlib."""

import jira_oauth  # noqa: F401  (each module runs its checks as it is imported)
import jira_reading  # noqa: F401
from jira_world import check

check.finish()
