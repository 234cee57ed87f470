"""Whether the clocks of those who must agree about time agree with ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from receiver.trials.doctor.findings import Area, Finding, well, wrong

# Verification compares our time with Prometheus's samples, which come every 15 s or so.
MOST = timedelta(seconds=5)


@dataclass(frozen=True)
class Clock:
    """What a clock said, between two moments of ours; ``step`` is how coarsely it tells its time."""

    whose: str
    said: datetime
    asked: datetime
    answered: datetime
    step: timedelta = timedelta(0)


def judge(clocks: Iterable[Clock]) -> list[Finding]:
    """Each clock against ours. What the way there and back may account for is not held against it."""
    return [_judged(clock) for clock in clocks]


def _judged(clock: Clock) -> Finding:
    # The true time of its word lies between both; a coarse clock cuts off what follows.
    early, late = clock.asked - clock.said - clock.step, clock.said - clock.answered
    off = max(early, late, timedelta(0))
    if off <= MOST:
        return well(Area.CLOCK, f"{clock.whose} and this machine agree about the time")
    side = "behind" if early > late else "ahead"
    return wrong(
        Area.CLOCK,
        f"the clock of {clock.whose} is {off.total_seconds():.0f} s {side} of this machine's;"
        f" {MOST.total_seconds():.0f} s are borne",
        "synchronise both machines: chronyc tracking, or timedatectl timesync-status, says which one is off",
    )
