"""Did it help: the success window, regression, and silence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hand_clock import NOON

from receiver.domain.plans import Verification
from receiver.domain.severity import Severity
from receiver.policy.expressions import Truth
from receiver.policy.verification import Outcome, Point, holds_through, judge, monitoring_window, thinned

EVERY = timedelta(seconds=15)
RULES = Verification(
    queries={"err": "err"},
    success="err < 0.01",
    success_for=timedelta(minutes=5),
    every=EVERY,
    min_samples=16,
    settle=timedelta(minutes=5),
    within=timedelta(minutes=15),
    baseline=timedelta(minutes=10),
    regression="err > baseline.err * 1.2",
    regression_for=timedelta(minutes=2),
)
BASELINE = {"err": 0.30}
WINDOW = 21  # points of five minutes at every 15 s, both ends included
GOOD: float | None = 0.001
SICK: float | None = 0.25
WORSE: float | None = 0.40
THRESHOLD: float | None = 0.01
A_FIFTH_MORE: float | None = 0.36
NO_DATA: float | None = None


def points(values: Sequence[float | None]) -> list[Point]:
    return [(NOON + EVERY * step, {"err": value}) for step, value in enumerate(values)]


def outcome(values: Sequence[float | None]) -> Outcome:
    """Judged at the moment of the last sample."""
    taken = points(values)
    return judge(RULES, taken, BASELINE, since=NOON, now=taken[-1][0]).outcome


OUTCOMES: dict[str, tuple[list[float | None], Outcome]] = {
    "good for the whole window": ([GOOD] * WINDOW, Outcome.IMPROVED),
    "good for a moment less": ([GOOD] * (WINDOW - 1), Outcome.WAIT),
    "exactly at the threshold is not below it": ([THRESHOLD] * WINDOW, Outcome.WAIT),
    "sick first, then good for the whole window": ([SICK] * 10 + [GOOD] * WINDOW, Outcome.IMPROVED),
    "one sick sample starts the window anew": ([GOOD] * 20 + [SICK] + [GOOD] * 5, Outcome.WAIT),
    "a lost scrape does not": ([GOOD] * 10 + [NO_DATA] + [GOOD] * 10, Outcome.IMPROVED),
    "five lost scrapes leave sixteen": ([GOOD] * 8 + [NO_DATA] * 5 + [GOOD] * 8, Outcome.IMPROVED),
    "six leave too few": ([GOOD] * 8 + [NO_DATA] * 6 + [GOOD] * 7, Outcome.WAIT),
    "the newest sample must have data": ([GOOD] * (WINDOW - 1) + [NO_DATA], Outcome.WAIT),
    "worse for two minutes": ([WORSE] * 9, Outcome.WORSE),
    "worse for less": ([WORSE] * 8, Outcome.WAIT),
    "worse, but not any more": ([WORSE] * 8 + [SICK], Outcome.WAIT),
    "a fifth more exactly is not worse": ([A_FIFTH_MORE] * 9, Outcome.WAIT),
    "worse with a gap is not told": ([WORSE] * 5 + [NO_DATA] + [WORSE] * 4, Outcome.WAIT),
    "sick to the end": ([SICK] * 61, Outcome.NOT_IMPROVED),
    "no data to the end": ([NO_DATA] * 61, Outcome.INCONCLUSIVE),
    "too few samples to the end": ([NO_DATA] * 46 + [SICK] * 15, Outcome.INCONCLUSIVE),
    "good samples with gaps to the end": ([GOOD, *[NO_DATA] * 4] * 12 + [NO_DATA], Outcome.INCONCLUSIVE),
}


@pytest.mark.parametrize(("values", "wanted"), OUTCOMES.values(), ids=OUTCOMES)
def test_a_verdict_follows_the_samples(values: list[float | None], wanted: Outcome) -> None:
    assert outcome(values) is wanted


def test_samples_from_before_the_change_do_not_count() -> None:
    since = NOON + timedelta(minutes=4)
    taken = points([GOOD] * WINDOW)
    assert judge(RULES, taken, BASELINE, since=since, now=taken[-1][0]).outcome is Outcome.WAIT


def test_without_a_baseline_nothing_is_worse() -> None:
    taken = points([WORSE] * 20)
    assert judge(RULES, taken, {"err": None}, since=NOON, now=taken[-1][0]).outcome is Outcome.WAIT


def test_waiting_says_when_to_look_again_and_never_after_the_deadline() -> None:
    late = NOON + timedelta(minutes=14, seconds=50)
    assert judge(RULES, [], BASELINE, since=NOON, now=NOON).look_again_at == NOON + EVERY
    assert judge(RULES, [], BASELINE, since=NOON, now=late).look_again_at == NOON + RULES.within


@pytest.mark.parametrize(
    ("severity", "scenario", "minutes"),
    [
        (Severity.P0, 15, 30),
        (Severity.P1, 15, 60),
        (Severity.P2, 15, 15),
        (None, 15, 15),
        (Severity.P0, 45, 45),
    ],
    ids=["P0", "P1", "P2 takes the scenario's", "unknown takes the scenario's", "the longer one counts"],
)
def test_monitoring_takes_the_longer_window(severity: Severity | None, scenario: int, minutes: int) -> None:
    assert monitoring_window(severity, timedelta(minutes=scenario)) == timedelta(minutes=minutes)


LOOKS: dict[str, tuple[list[float | None], Truth]] = {
    "well": ([GOOD], Truth.TRUE),
    "ill": ([SICK], Truth.FALSE),
    "no data": ([NO_DATA], Truth.UNKNOWN),
    "well all the time": ([GOOD] * 9, Truth.TRUE),
    "ill in between": ([GOOD, SICK, GOOD], Truth.FALSE),
    "a gap in between": ([GOOD, NO_DATA, GOOD], Truth.TRUE),
    "a gap at the end": ([GOOD, GOOD, NO_DATA], Truth.UNKNOWN),
}


@pytest.mark.parametrize(("values", "wanted"), LOOKS.values(), ids=LOOKS)
def test_it_holds_where_it_holds_now_and_never_failed(values: list[float | None], wanted: Truth) -> None:
    assert holds_through(RULES, points(values), BASELINE) is wanted


def test_the_timeline_gets_sixty_points_at_most() -> None:
    thin = thinned(points([GOOD] * 500), NOON)
    assert len(thin) <= 60
    assert thin[0] == (0.0, {"err": GOOD})
