"""What went wrong, named by what comes next.

A refusal is no error: guards answer with objections. Nor is a plan that went stale, or a write of which
nobody knows whether it happened: both are events. `CancelledError` always goes on.
"""

from __future__ import annotations


class StanchError(Exception):
    """Anything of ours that a caller may want to catch."""


class TemporaryError(StanchError):
    """Trying again later may help; ``retry_after`` is in seconds."""

    def __init__(self, message: str, *, retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(StanchError):
    """Trying again will not help; a person must change something first."""


class NotServed(PermanentError):
    """The API server has no such kind: what would make it is not installed, so there are none."""


class Unavailable(StanchError):
    """The store cannot take it now; nothing was kept, so the sender must try again (503)."""


NOT_OURS = (
    "{} cannot be read by this release: a newer one wrote it, or it is damaged; this replica leaves it alone"
)


class NewerWords(StanchError, ValueError):
    """What is stored is in none of this release's words: it is left to the newer one that wrote it (503)."""


class Conflict(StanchError):
    """What was asked does not fit the present state; the message says what to do instead (409)."""


class AnotherPlan(Conflict):
    """What was approved is not the plan that there is (409)."""


class NotFound(StanchError):
    """There is nothing of that name (404)."""


class NotAllowed(StanchError):
    """This identity may not do that; the message names who may (403)."""
