"""When nothing is changed: by the clocks on the wall of the people who said so."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from receiver.policy.freezes import holds, in_force
from receiver.policy.guards import ask_all
from receiver.policy.loading import load
from receiver.policy.model import Freeze
from receiver.probes.catalogue import FACTS
from remediations.registry import catalogue

from .test_guards import case, objections

LIMITS = "apiVersion: stanch/v1\nkind: Limits\nmetadata: {name: us}\nspec:\n  freezes:\n    - {ENTRY}\n"
WEEKEND = Freeze("weekend", "Europe/Berlin", weekly=(4 * 1440 + 16 * 60, 8 * 60))
HOLIDAYS = Freeze("holidays", "Europe/Berlin", once=("2026-12-20T08:00:00", "2027-01-02T08:00:00"))
NIGHT = Freeze("night", "UTC", weekly=(0, 6 * 60))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("freeze", "moment", "expected"),
    [
        pytest.param(WEEKEND, "2026-03-06T14:59", False, id="a minute before Friday four, in winter"),
        pytest.param(WEEKEND, "2026-03-06T15:00", True, id="Friday four in Berlin is three in UTC"),
        pytest.param(WEEKEND, "2026-03-08T12:00", True, id="Sunday"),
        pytest.param(WEEKEND, "2026-03-09T06:59", True, id="a minute before Monday eight"),
        pytest.param(WEEKEND, "2026-03-09T07:00", False, id="Monday eight"),
        pytest.param(WEEKEND, "2026-07-03T13:59", False, id="a minute before Friday four, in summer"),
        pytest.param(WEEKEND, "2026-07-03T14:00", True, id="in summer Friday four is two in UTC"),
        pytest.param(WEEKEND, "2026-03-30T05:59", True, id="the Monday after the clocks went forward"),
        pytest.param(WEEKEND, "2026-03-30T06:00", False, id="and its eight o'clock"),
        pytest.param(NIGHT, "2026-03-09T05:59", True, id="within one day"),
        pytest.param(NIGHT, "2026-03-10T05:00", False, id="of that day only"),
        pytest.param(HOLIDAYS, "2026-12-20T06:59", False, id="before the holidays"),
        pytest.param(HOLIDAYS, "2026-12-20T07:00", True, id="they begin"),
        pytest.param(HOLIDAYS, "2027-01-02T07:00", False, id="they end"),
    ],
)
def test_when_it_holds(freeze: Freeze, moment: str, expected: bool) -> None:
    assert holds(freeze, at(moment)) is expected


def test_it_holds_a_cure_back_and_not_an_undo() -> None:
    frozen = replace(case(), freezes=in_force((WEEKEND, HOLIDAYS), at("2026-12-26T12:00")))
    assert objections(frozen) == [("G4", "freeze")]
    assert "a change freeze holds: weekend; holidays" in str(ask_all(frozen)[0][0])
    assert objections(replace(frozen, undoing=True)) == []


def loaded(entry: str) -> list[str]:
    found = load({"limits.yaml": LIMITS.replace("ENTRY", entry)}, catalogue=catalogue(), probe_facts=FACTS)
    return [f"{one.line}:{one.column}: {one.message}" for one in found.complaints]


def test_both_kinds_are_read() -> None:
    text = 'weekly: "Fri 16:00 - Mon 08:00", zone: Europe/Berlin, why: weekend'
    found = load({"limits.yaml": LIMITS.replace("ENTRY", text)}, catalogue=catalogue(), probe_facts=FACTS)
    assert found.policies is not None
    assert found.policies.freezes == (WEEKEND,)
    assert loaded('from: "2026-12-20 08:00", until: "2027-01-02 08:00", zone: UTC, why: x') == []


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        pytest.param("zone: UTC, why: x", "when the freeze holds is missing", id="no time"),
        pytest.param('weekly: "Fri 16:00 - Mon 08:00", why: x', 'field "zone" is missing', id="no zone"),
        pytest.param(
            'weekly: "Fri 16:00 - Mon 08:00", zone: Berlin, why: x',
            "'Berlin' is no time zone",
            id="a zone that is none",
        ),
        pytest.param(
            'weekly: "Fri 4pm - Mon", zone: UTC, why: x', "is no stretch of a week", id="another notation"
        ),
        pytest.param(
            'weekly: "Fry 16:00 - Mon 08:00", zone: UTC, why: x', "'Fry' is no day", id="a day that is none"
        ),
        pytest.param(
            'weekly: "Fri 25:00 - Mon 08:00", zone: UTC, why: x', "no such time of day", id="an hour"
        ),
        pytest.param(
            'weekly: "Fri 16:00 - Fri 16:00", zone: UTC, why: x', "the whole week, or nothing", id="nothing"
        ),
        pytest.param('from: "2026-12-20 08:00", zone: UTC, why: x', '"until" is missing', id="no end"),
        pytest.param(
            'from: "2027-12-20 08:00", until: "2027-01-02 08:00", zone: UTC, why: x',
            "it ends before it begins",
            id="turned round",
        ),
        pytest.param(
            'from: "20.12.2026", until: "2027-01-02 08:00", zone: UTC, why: x', "is no moment", id="a date"
        ),
        pytest.param(
            'weekly: "Fri 16:00 - Mon 08:00", from: "2026-12-20 08:00", until: "2027-01-02 08:00", '
            "zone: UTC, why: x",
            "weekly, or from and until; not both",
            id="both",
        ),
    ],
)
def test_what_is_wrong_with_one_is_said(entry: str, complaint: str) -> None:
    assert complaint in " / ".join(loaded(entry))
