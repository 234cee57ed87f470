"""Times at which nothing is to be changed: over a weekend, over a holiday; in the zone of the people who
wrote it.

A freeze holds back cures and not an undo: what is there should not be worse than before.
"""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from receiver.policy.complaints import did_you_mean
from receiver.policy.fields import Fields
from receiver.policy.model import Freeze

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WEEK = re.compile(r"(?P<day>[A-Z][a-z]{2}) (?P<hour>\d{2}):(?P<minute>\d{2})")
_MINUTES_OF_DAY = 24 * 60


def holds(freeze: Freeze, now: datetime) -> bool:
    """Whether it is in force at this moment, by the clocks on the wall of its zone."""
    local = now.astimezone(ZoneInfo(freeze.zone))
    if freeze.weekly is not None:
        start, end = freeze.weekly
        minute = local.weekday() * _MINUTES_OF_DAY + local.hour * 60 + local.minute
        return start <= minute < end if start < end else minute >= start or minute < end
    if freeze.once is None:
        return False
    start_at, end_at = (datetime.fromisoformat(moment) for moment in freeze.once)
    return start_at <= local.replace(tzinfo=None) < end_at


def in_force(freezes: tuple[Freeze, ...], now: datetime) -> tuple[str, ...]:
    """The reasons of those that hold now."""
    return tuple(freeze.why for freeze in freezes if holds(freeze, now))


def read(fields: Fields) -> Freeze | None:
    """One entry of ``freezes``; None where it is complained about."""
    fields.known(("weekly", "from", "until", "zone", "why"))
    document = fields.document
    zone = fields.text("zone", needed=True)
    why = fields.text("why", needed=True)
    if zone is not None and not _is_zone(zone) and (node := fields.node("zone")) is not None:
        document.complain(node, f"{zone[:60]!r} is no time zone", "write a name such as Europe/Berlin or UTC")
        zone = None
    weekly = _weekly(fields)
    once = _once(fields)
    if fields.readable and "weekly" in fields and ("from" in fields or "until" in fields):
        document.complain(fields.key("weekly"), "a freeze is weekly, or from and until; not both")
    elif fields.readable and "weekly" not in fields and "from" not in fields and "until" not in fields:
        document.complain(fields.at, "when the freeze holds is missing", "add weekly: Fri 16:00 - Mon 08:00")
    if zone is None or why is None or (weekly is None and once is None):
        return None
    return Freeze(why, zone, weekly, once)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _weekly(fields: Fields) -> tuple[int, int] | None:
    said = fields.text("weekly") if "weekly" in fields else None
    node = fields.node("weekly") if said is not None else None
    if said is None or node is None:
        return None
    parts = [_WEEK.fullmatch(part.strip()) for part in said.split(" - ")]
    if len(parts) != 2 or any(part is None for part in parts):
        hint = "write weekly: Fri 16:00 - Mon 08:00"
        fields.document.complain(node, f"{said[:60]!r} is no stretch of a week", hint)
        return None
    minutes: list[int] = []
    for part in parts:
        assert part is not None
        day, hour, minute = part["day"], int(part["hour"]), int(part["minute"])
        if day not in DAYS:
            fields.document.complain(node, f"{day!r} is no day of the week", did_you_mean(day, DAYS))
            return None
        if hour > 23 or minute > 59:
            fields.document.complain(node, f"{part[0]!r} has no such time of day")
            return None
        minutes.append(DAYS.index(day) * _MINUTES_OF_DAY + hour * 60 + minute)
    if minutes[0] == minutes[1]:
        fields.document.complain(node, "it begins when it ends: that is the whole week, or nothing")
        return None
    return minutes[0], minutes[1]


def _once(fields: Fields) -> tuple[str, str] | None:
    if "from" not in fields and "until" not in fields:
        return None
    found: list[datetime] = []
    for key in ("from", "until"):
        said = fields.text(key, needed=True)
        node = fields.node(key)
        if said is None or node is None:
            return None
        try:
            moment = datetime.strptime(said, "%Y-%m-%d %H:%M")  # noqa: DTZ007 (its zone stands beside it)
        except ValueError:
            fields.document.complain(node, f"{said[:40]!r} is no moment", 'write "2026-12-20 08:00"')
            return None
        found.append(moment)
    if found[0] >= found[1] and (node := fields.node("until")) is not None:
        fields.document.complain(node, "it ends before it begins")
        return None
    return found[0].isoformat(), found[1].isoformat()
