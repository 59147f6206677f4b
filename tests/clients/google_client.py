"""Runs Google's clients for Python, unmodified, against the simulator."""

import google_oauth  # noqa: F401  (each module runs its checks as it is imported)
import google_drive  # noqa: F401
from google_world import check

check.finish()
