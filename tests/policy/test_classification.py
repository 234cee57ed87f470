"""How bad is it: the playbook's numbers at their exact boundaries, and what missing data may do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest
from hand_clock import NOON

from receiver import packaged
from receiver.domain.severity import Severity
from receiver.packaged import read_files
from receiver.policy.classification import Judgement, classify
from receiver.policy.loading import load
from receiver.policy.model import Classify, LevelRule
from receiver.probes.catalogue import FACTS
from remediations.registry import catalogue

EVERY = timedelta(seconds=15)
P0, P1, P2, P3 = Severity
CRITICAL = [{"severity": "critical"}]


def _shipped() -> Classify:
    policies = load(read_files(packaged.policies()), catalogue=catalogue(), probe_facts=FACTS).policies
    assert policies is not None
    policy = policies.named("inc-001-bad-release")
    assert policy is not None
    return policy.classify


SHIPPED = _shipped()
WELL = {"err": 0.0, "p95": 0.2, "traffic": 20.0, "probes_down": 0.0}


def history(
    values: Mapping[str, float | None], *, steps: int = 40
) -> dict[str, list[tuple[datetime, float]]]:
    """The same value at every step up to noon; None gives no sample."""
    moments = [NOON - EVERY * step for step in range(steps, -1, -1)]
    return {
        name: [] if value is None else [(moment, value) for moment in moments]
        for name, value in values.items()
    }


def judged(
    values: Mapping[str, float | None], labels: Sequence[Mapping[str, str]] = (), rules: Classify = SHIPPED
) -> Judgement:
    return classify(rules, history({**WELL, **values}), labels, now=NOON)


BOUNDARIES: dict[str, tuple[dict[str, float | None], Severity | None]] = {
    "99 % errors": ({"err": 0.99}, P0),
    "just below 99 %": ({"err": 0.9899}, P1),
    "just above 20 %": ({"err": 0.2001}, P1),
    "20 % exactly": ({"err": 0.20}, P2),
    "5 % exactly": ({"err": 0.05}, P2),
    "just below 5 %": ({"err": 0.0499}, P3),
    "just above 1 %": ({"err": 0.0101}, P3),
    "1 % exactly": ({"err": 0.01}, None),
    "p95 just above 5 s": ({"p95": 5.001}, P1),
    "p95 of 5 s exactly": ({"p95": 5.0}, P2),
    "p95 just above 1 s": ({"p95": 1.001}, P2),
    "p95 of 1 s exactly": ({"p95": 1.0}, None),
    "two places cannot reach us": ({"probes_down": 2.0}, P0),
    "one place cannot reach us": ({"probes_down": 1.0}, None),
    "an outage without traffic, seen from outside": ({"err": None, "traffic": 0.0, "probes_down": 3.0}, P0),
    "the worst of several": ({"err": 0.06, "p95": 6.0}, P1),
}


@pytest.mark.parametrize(("values", "wanted"), BOUNDARIES.values(), ids=BOUNDARIES)
def test_the_playbooks_boundaries(values: dict[str, float | None], wanted: Severity | None) -> None:
    judgement = judged(values)
    assert judgement.severity is wanted
    assert judgement.decided


def test_measured_health_lowers_a_critical_label_to_p3() -> None:
    judgement = judged({}, CRITICAL)
    assert (judgement.severity, judgement.decided) == (P3, True)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("critical", P1), ("Critical", P1), ("page", P1), ("warning", P2), ("info", P3), ("sev9", P2)],
    ids=["critical", "case does not count", "page", "warning", "info", "a value not listed"],
)
def test_without_data_the_label_speaks(text: str, wanted: Severity) -> None:
    judgement = judged(dict.fromkeys(WELL), [{"severity": text}])
    assert (judgement.severity, judgement.decided) == (wanted, False)


def test_without_data_and_label_nothing_is_known() -> None:
    judgement = judged(dict.fromkeys(WELL))
    assert (judgement.severity, judgement.decided) == (None, False)


def test_missing_data_never_lowers_below_what_is_measured() -> None:
    judgement = judged({"err": 0.5, "probes_down": None}, [{"severity": "info"}])
    assert (judgement.severity, judgement.decided) == (P1, False)
    assert judgement.rule.startswith("P1: err > 0.20")
    assert "probes_down" in judgement.reason


def test_a_label_raises_over_a_milder_measurement_while_worse_is_undecided() -> None:
    judgement = judged({"err": 0.02, "p95": None}, CRITICAL)
    assert (judgement.severity, judgement.rule) == (P1, "severity label")


def test_a_missing_p95_does_not_hide_an_error_rate() -> None:
    assert judged({"err": 0.5, "p95": None}).severity is P1


def test_not_a_number_is_no_data() -> None:
    assert not judged({"err": math.nan}).decided


RULE = LevelRule("err > 0.20", timedelta(minutes=2), requires="traffic > 0.2")
RULES = Classify({P1: (RULE,)}, {"critical": P1}, EVERY)


def _with_history(err: Sequence[float | None], traffic: float = 20.0) -> Judgement:
    """Judge the last values of err, oldest first, the newest at noon."""
    moments = [NOON - EVERY * step for step in range(len(err) - 1, -1, -1)]
    series = {
        "err": [(at, value) for at, value in zip(moments, err, strict=True) if value is not None],
        "traffic": [(at, traffic) for at in moments],
    }
    return classify(RULES, series, [], now=NOON)


HISTORIES: dict[str, tuple[list[float | None], Severity | None, bool]] = {
    "the whole time": ([0.5] * 9, P1, True),
    "now, but not at the beginning": ([0.1, *[0.5] * 8], None, False),
    "now, but not in the middle": ([*[0.5] * 4, 0.1, *[0.5] * 4], None, False),
    "neither in the middle nor now": ([*[0.5] * 4, 0.1, *[0.5] * 3, 0.1], None, True),
    "not any more": ([*[0.5] * 8, 0.1], None, True),
    "one point lost": ([*[0.5] * 4, None, *[0.5] * 4], P1, True),
    "two points lost": ([*[0.5] * 3, None, None, *[0.5] * 4], None, False),
    "two points lost, but one shows health": ([0.1, 0.5, None, None, *[0.5] * 4, 0.1], None, True),
    "too short a history": ([0.5] * 7, None, False),
    "a longer history": ([0.0, 0.0, *[0.5] * 9], P1, True),
}


@pytest.mark.parametrize(("err", "wanted", "decided"), HISTORIES.values(), ids=HISTORIES)
def test_for_is_read_from_history(err: list[float | None], wanted: Severity | None, decided: bool) -> None:
    judgement = _with_history(err)
    assert (judgement.severity, judgement.decided) == (wanted, decided)


def test_a_level_that_holds_since_a_moment_is_undecided_so_the_label_counts_and_nothing_lowers() -> None:
    moments = [NOON - EVERY * step for step in range(8, -1, -1)]
    err = [(at, 0.5 if at == NOON else 0.1) for at in moments]
    series = {"err": err, "traffic": [(at, 20.0) for at in moments]}
    judgement = classify(RULES, series, [{"severity": "critical"}], now=NOON)
    assert (judgement.severity, judgement.decided) == (P1, False)
    assert "holds now, but not yet for 2 min" in judgement.reason


def test_too_little_traffic_leaves_it_undecided() -> None:
    judgement = _with_history([0.5] * 9, traffic=0.1)
    assert not judgement.decided
    assert "traffic > 0.2 does not hold" in judgement.reason


def test_health_is_health_even_with_little_traffic() -> None:
    assert _with_history([*[0.5] * 8, 0.0], traffic=0.1).decided
