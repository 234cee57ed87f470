"""The door to the PostgreSQL servers that are looked after: every look and the two signals go through it.

Statements are written here and take parameters; nobody outside can send one of their own. A backend is shown
in the shape of an object: its uid is when it began, its version is what it does and since when, so that the
condition of a signal reads like that of any other write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.clients.answers import Answer
from receiver.domain.plans import BackendStep, ObjectRef

BACKEND = "postgresql"


class Databases:
    """The configured connections, by name; none of them is opened before it is asked."""

    async def backend(self, ref: ObjectRef) -> dict[str, Any] | None:
        """The backend of that connection and pid, or None where there is none.

        Raises TemporaryError and PermanentError.
        """
        raise NotImplementedError

    async def signal(self, step: BackendStep) -> Answer:
        """One statement that tells this very backend, if it still does what it did."""
        raise NotImplementedError

    async def may_signal(self, step: BackendStep) -> bool | None:
        """Whether the configured role may tell a backend of this user anything; None: cannot be asked."""
        raise NotImplementedError


Rows = Mapping[str, Any]
