"""Walks the stored chain again and again while the service serves: what changed in it since it was sealed?

A round goes from the chain's start to its end, a bounded part at a time, and rests before the next. The
newest row that was ever seen must stay, at rest too: that is how a removed tail is found. Whoever can write
to the store can write here as well: an anchor that was kept elsewhere says more (`audit.verify`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection

from receiver.store import audit, duties
from receiver.store.audit import START, Broken, Head
from receiver.store.timeline import moment, seconds

DUTY = "audit"
# Some milliseconds of work: whoever else wants the store, or the interpreter, waits no longer.
STEP = 250
REST = timedelta(hours=1)


@dataclass(frozen=True)
class Round:
    """How far this round has come, and what the rounds before it found.

    ``at`` is the last row that fitted in this one. ``broken`` is the place of the first row that does not
    fit, until a whole round finds none. Moments are seconds since the epoch.
    """

    at: Head = START
    newest: Head = START
    broken: int | None = None
    verified_at: float | None = None
    rests_until: float = 0.0

    def rests(self, now: datetime) -> bool:
        """Whether it is not yet time to begin the next one."""
        return now < moment(self.rests_until)

    def also(self, seen: Head) -> Round:
        """With this row, seen by somebody else, among those that must stay."""
        return replace(self, newest=max(self.newest, seen, key=lambda head: head.seal))


@dataclass(frozen=True)
class Sight:
    """A part of the chain as it is stored: ``newest`` is what stands at the place of the newest row seen."""

    rows: Sequence[Mapping[str, Any]]
    head: Head
    newest: str | None


_ROUND: TypeAdapter[Round] = TypeAdapter(Round)


def read_round(state: Mapping[str, Any]) -> Round:
    """What `round_state` wrote; the first round where it is anything else."""
    try:
        return _ROUND.validate_python(state)
    except ValidationError:
        return Round()


def round_state(found: Round) -> dict[str, Any]:
    """A round as plain JSON."""
    state: dict[str, Any] = _ROUND.dump_python(found, mode="json")
    return state


def look(tx: Connection, known: Round, *, limit: int) -> Sight:
    """The next rows of the chain, and how it ends; no rows for a limit of 0."""
    rows = audit.export(tx, after=known.at.seal, limit=limit) if limit else []
    newest = audit.hash_at(tx, known.newest.seal) if known.newest.seal else START.hash
    return Sight(rows, audit.head(tx), newest)


def went_on(known: Round, sight: Sight, *, now: datetime, limit: int) -> Round:
    """The round after this sight, which was taken with this limit. Pure."""
    if sight.newest != known.newest.hash:
        # Either the rows after the head are gone, or that one is another.
        return _ended(known, now, broken=min(sight.head.seal + 1, known.newest.seal))
    at = audit.verify(sight.rows, since=known.at)
    if isinstance(at, Broken):
        return _ended(known, now, broken=at.seal)
    seen = replace(known, at=at).also(sight.head).also(at)
    if not limit or len(sight.rows) == limit:
        return seen
    return replace(_ended(seen, now, broken=None), verified_at=seconds(now))


def _ended(known: Round, now: datetime, *, broken: int | None) -> Round:
    return replace(known, at=START, broken=broken, rests_until=seconds(now + REST))


def figures(tx: Connection) -> Mapping[str, float | None]:
    """What the metrics tell of it, by name; None where no whole round has ended well yet."""
    known = read_round(duties.left_by(tx, DUTY))
    return {"audit_broken": float(known.broken is not None), "audit_verified": known.verified_at}
