"""The 72 hours within which an authority must hear of a breach of personal data. Pure.

Playbook row 007.7: from the moment of awareness on record, with warnings at 24, 48 and 66 hours.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from receiver.domain.events import ClockWarned
from receiver.domain.security import SecurityRecord

HOURS = 72
WARN_AT = (24, 48, 66, HOURS)


def warning(record: SecurityRecord, now: datetime) -> ClockWarned | None:
    """The newest warning that is due and was not given; of several that were missed one is enough."""
    if record.authority is not None:
        return None
    passed = [hours for hours in WARN_AT if now >= record.aware_at + timedelta(hours=hours)]
    if not passed or passed[-1] <= record.warned:
        return None
    return ClockWarned(passed[-1], record.aware_at + timedelta(hours=HOURS))


def next_warning(record: SecurityRecord) -> datetime | None:
    """When the next one is due; None where none is to come."""
    if record.authority is not None:
        return None
    left = [hours for hours in WARN_AT if hours > record.warned]
    return record.aware_at + timedelta(hours=left[0]) if left else None
