"""Runs google-api-python-client and google-auth, unmodified, against the simulated Gmail."""

import gmail_pushes  # noqa: F401  (each module runs its checks as it is imported)
import gmail_reading  # noqa: F401
from gmail_world import check

check.finish()
