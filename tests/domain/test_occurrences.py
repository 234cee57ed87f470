"""Whatever order, repetition and delay: the same facts are the same occurrences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.occurrences import (
    FACTS_KEPT,
    Ended,
    Ending,
    Facts,
    Firing,
    Occurrence,
    is_doubtful,
    occurrences,
    open_occurrence,
    pruned,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def facts(*told: Firing | Ended) -> Facts:
    found = Facts()
    for fact in told:
        found = found.with_firing(fact) if isinstance(fact, Firing) else found.with_ending(fact)
    return found


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param([Firing(at(0))], [Occurrence(at(0), None)], id="it fires"),
        pytest.param(
            [Firing(at(0)), Ended(at(0), at(5))],
            [Occurrence(at(0), at(5), Ending.RESOLVED)],
            id="it fired and ended",
        ),
        pytest.param(
            [Ended(at(0), at(5))], [Occurrence(at(0), at(5), Ending.RESOLVED)], id="only its end was told"
        ),
        pytest.param(
            [Ended(at(0), at(5)), Firing(at(0))],
            [Occurrence(at(0), at(5), Ending.RESOLVED)],
            id="a stale retry after the resolve opens nothing",
        ),
        pytest.param(
            [Firing(at(0)), Ended(at(0), at(5)), Firing(at(8))],
            [Occurrence(at(0), at(5), Ending.RESOLVED), Occurrence(at(8), None)],
            id="a flap is two occurrences",
        ),
        pytest.param(
            [Firing(at(3)), Firing(at(0))], [Occurrence(at(0), None)], id="the earliest start told counts"
        ),
        pytest.param(
            [Ended(at(0), at(40)), Firing(at(10)), Firing(at(10), witnessed_at=at(50))],
            [Occurrence(at(0), None)],
            id="a source that was asked and says firing opens it again",
        ),
        pytest.param(
            [Ended(at(0), at(5)), Ended(at(3), at(9))],
            [Occurrence(at(0), at(9), Ending.RESOLVED)],
            id="two replicas' overlapping ends are one occurrence",
        ),
        pytest.param(
            [Firing(at(0)), Ended(at(0), at(5), Ending.GONE), Ended(at(0), at(5))],
            [Occurrence(at(0), at(5), Ending.RESOLVED)],
            id="told beats inferred",
        ),
    ],
)
def test_what_was_told_makes_these_occurrences(
    told: list[Firing | Ended], expected: list[Occurrence]
) -> None:
    assert list(occurrences(facts(*told))) == expected


def test_a_firing_from_before_the_last_end_is_doubtful_and_one_from_after_is_not() -> None:
    known = facts(Firing(at(0)), Ended(at(0), at(5)))
    assert is_doubtful(known, at(0))
    assert is_doubtful(known, at(5))
    assert not is_doubtful(known, at(6))
    assert not is_doubtful(facts(Firing(at(0))), at(0))


minutes = st.integers(min_value=0, max_value=60)
firings = st.builds(lambda start: Firing(at(start)), minutes)
endings = st.builds(
    lambda start, lasts, how: Ended(at(start), at(start + lasts), how),
    minutes,
    minutes,
    st.sampled_from(Ending),
)
tellings = st.lists(st.one_of(firings, endings), min_size=1, max_size=12)


@given(tellings, st.randoms(use_true_random=False))
def test_any_order_and_repetition_of_the_same_facts_gives_the_same_occurrences(
    told: list[Firing | Ended], random: object
) -> None:
    shuffled = [*told, *told]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert occurrences(facts(*shuffled)) == occurrences(facts(*told))


@given(tellings)
def test_occurrences_never_overlap_and_only_the_last_is_open(told: list[Firing | Ended]) -> None:
    found = occurrences(facts(*told))
    for earlier, later in pairwise(found):
        assert earlier.ends_at is not None
        assert earlier.ends_at < later.starts_at


@given(tellings)
def test_every_end_that_was_told_lies_inside_an_occurrence(told: list[Firing | Ended]) -> None:
    found = occurrences(facts(*told))
    for fact in told:
        if isinstance(fact, Ended):
            assert any(
                one.starts_at <= fact.starts_at and (one.ends_at is None or one.ends_at >= fact.ends_at)
                for one in found
            )


@given(tellings)
def test_a_firing_later_than_every_end_is_open(told: list[Firing | Ended]) -> None:
    ends = [fact.ends_at for fact in told if isinstance(fact, Ended)]
    late = [fact for fact in told if isinstance(fact, Firing) and all(fact.starts_at > end for end in ends)]
    assert (open_occurrence(facts(*told)) is not None) == bool(late)


def test_forgetting_old_facts_keeps_what_is_open() -> None:
    told: list[Firing | Ended] = []
    for number in range(FACTS_KEPT):
        told += [Firing(at(number * 10)), Ended(at(number * 10), at(number * 10 + 5))]
    told.append(Firing(at(FACTS_KEPT * 10)))
    found = pruned(facts(*told))
    assert len(found.firings) + len(found.endings) <= FACTS_KEPT + 2
    assert open_occurrence(found) == Occurrence(at(FACTS_KEPT * 10), None)
