"""The 72 hours: warned of once each at 24, 48, 66 and 72 hours after somebody knew, until it is settled."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from receiver.domain.security import Said, SecurityRecord
from receiver.policy.authority_clock import next_warning, warning

AWARE = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
RECORD = SecurityRecord(aware_at=AWARE)


@pytest.mark.parametrize(
    ("passed", "warned", "found"),
    [
        (0, 0, None),
        (23.99, 0, None),
        (24, 0, 24),
        (24, 24, None),
        (47.99, 24, None),
        (48, 24, 48),
        (66, 48, 66),
        (72, 66, 72),
        (500, 72, None),
        # The service was away: one warning, the newest.
        (67, 0, 66),
        (80, 24, 72),
    ],
)
def test_a_warning_is_given_once_when_its_hour_has_come(
    passed: float, warned: int, found: int | None
) -> None:
    given = warning(replace(RECORD, warned=warned), AWARE + timedelta(hours=passed))
    assert (None if given is None else given.hours) == found
    if given is not None:
        assert given.until == AWARE + timedelta(hours=72)


@pytest.mark.parametrize(("warned", "hours"), [(0, 24), (24, 48), (48, 66), (66, 72), (72, None)])
def test_the_next_one_is_known(warned: int, hours: int | None) -> None:
    due = None if hours is None else AWARE + timedelta(hours=hours)
    assert next_warning(replace(RECORD, warned=warned)) == due


def test_nobody_is_warned_once_it_is_settled() -> None:
    told = replace(RECORD, authority=Said("lena", "case 4711", AWARE), filed=True)
    assert warning(told, AWARE + timedelta(hours=100)) is None
    assert next_warning(told) is None
