"""What the sources together say of one alert that none of them may have: firing, gone, or not to be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hand_clock import NOON

from receiver.policy.absence import (
    Doubt,
    Presence,
    RuleSays,
    SourceSays,
    is_gone,
    presence,
    settle_doubt,
    still_held,
)

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
LISTS = SourceSays(True, DAY)
WITHOUT = SourceSays(False, DAY)
YOUNG = SourceSays(False, timedelta(minutes=9, seconds=59))
JUST_OLD_ENOUGH = SourceSays(False, timedelta(minutes=10))
SILENT = SourceSays(None, timedelta(0))
AHEAD = SourceSays(False, timedelta(minutes=-5))

CALM = RuleSays(False, evaluated_ago=timedelta(seconds=30), interval=MINUTE)
FIRES = replace(CALM, firing=True)
OLD = replace(CALM, evaluated_ago=2 * MINUTE + timedelta(seconds=1))
JUST_FRESH = replace(CALM, evaluated_ago=2 * MINUTE)
UNKNOWN_RULE = RuleSays(False)
NO_ANSWER_ABOUT_ALERTS = replace(CALM, firing=None)
DOWN = RuleSays(None, answered=False)


@pytest.mark.parametrize(
    ("managers", "rule", "found", "because"),
    [
        pytest.param([LISTS], CALM, Presence.PRESENT, "", id="it is listed"),
        pytest.param([WITHOUT, LISTS], CALM, Presence.PRESENT, "", id="one of two lists it"),
        pytest.param([SILENT, LISTS], DOWN, Presence.PRESENT, "", id="one lists it, all others are silent"),
        pytest.param([WITHOUT], FIRES, Presence.PRESENT, "", id="Prometheus alone has it"),
        pytest.param([YOUNG], FIRES, Presence.PRESENT, "", id="Prometheus has it, Alertmanager not yet"),
        pytest.param([WITHOUT], CALM, Presence.ABSENT, "", id="nobody has it and everybody could know"),
        pytest.param([WITHOUT, WITHOUT], CALM, Presence.ABSENT, "", id="neither peer has it"),
        pytest.param([JUST_OLD_ENOUGH], JUST_FRESH, Presence.ABSENT, "", id="exactly at both bounds"),
        pytest.param([WITHOUT, SILENT], CALM, Presence.HELD, "1 of 2", id="one of two peers is silent"),
        pytest.param([SILENT], CALM, Presence.HELD, "1 of 1", id="the only Alertmanager is silent"),
        pytest.param([], CALM, Presence.HELD, "no Alertmanager", id="no Alertmanager is configured"),
        pytest.param([YOUNG], CALM, Presence.HELD, "less than 10 min", id="Alertmanager is young"),
        pytest.param([WITHOUT, YOUNG], CALM, Presence.HELD, "less than", id="one of two peers is young"),
        pytest.param([AHEAD], CALM, Presence.HELD, "less than", id="its clock is ahead of ours"),
        pytest.param([WITHOUT], DOWN, Presence.HELD, "did not answer", id="Prometheus is down"),
        pytest.param([WITHOUT], NO_ANSWER_ABOUT_ALERTS, Presence.HELD, "did not answer", id="half an answer"),
        pytest.param([WITHOUT], UNKNOWN_RULE, Presence.HELD, "no rule", id="no rule of that name"),
        pytest.param([WITHOUT], OLD, Presence.HELD, "not evaluated", id="the rule stands still"),
    ],
)
def test_absence_needs_everybody_to_answer_and_to_be_able_to_know(
    managers: Sequence[SourceSays], rule: RuleSays, found: Presence, because: str
) -> None:
    said, reason = presence(managers, rule)
    assert said is found
    assert because in reason
    assert bool(reason) == (said is Presence.HELD)


def test_the_reason_to_hold_reads_the_same_in_the_next_round() -> None:
    """Each change of the words is a row in the timeline."""
    older = replace(YOUNG, up_for=timedelta(minutes=9, seconds=30))
    assert presence([YOUNG], CALM) == presence([older], CALM)
    assert presence([WITHOUT], OLD) == presence([WITHOUT], replace(OLD, evaluated_ago=timedelta(hours=1)))


@pytest.mark.parametrize(
    ("rounds", "missing_for", "rule_for", "gone"),
    [
        pytest.param(2, DAY, timedelta(0), False, id="two rounds are not enough, however long"),
        pytest.param(3, MINUTE, timedelta(0), True, id="three rounds are"),
        pytest.param(3, MINUTE, 5 * MINUTE, False, id="but not within the rule's own for"),
        pytest.param(3, 5 * MINUTE, 5 * MINUTE, True, id="exactly the rule's own for"),
    ],
)
def test_an_alert_is_gone_after_three_rounds_and_the_rules_own_for(
    rounds: int, missing_for: timedelta, rule_for: timedelta, gone: bool
) -> None:
    rule = replace(CALM, for_=rule_for)
    assert is_gone(rounds, first_absent_at=NOON - missing_for, now=NOON, rule=rule) is gone


def test_rounds_without_a_beginning_end_nothing() -> None:
    assert not is_gone(3, first_absent_at=None, now=NOON, rule=CALM)


@pytest.mark.parametrize(
    ("managers", "rule", "becomes"),
    [
        pytest.param([LISTS], DOWN, Doubt.CONFIRMED, id="an Alertmanager lists it"),
        pytest.param([WITHOUT], FIRES, Doubt.CONFIRMED, id="Prometheus fires it"),
        pytest.param([], FIRES, Doubt.CONFIRMED, id="Prometheus fires it and nobody else is asked"),
        pytest.param([WITHOUT], CALM, Doubt.REFUTED, id="nobody has it"),
        pytest.param([SILENT], CALM, Doubt.REFUTED, id="Alertmanager is silent, a fresh Prometheus says no"),
        pytest.param([WITHOUT], DOWN, Doubt.REFUTED, id="an old Alertmanager does not list it"),
        pytest.param([WITHOUT], UNKNOWN_RULE, Doubt.REFUTED, id="not listed, and no rule of that name"),
        pytest.param([SILENT], DOWN, Doubt.UNREACHABLE, id="nobody answers"),
        pytest.param(
            [WITHOUT, SILENT], UNKNOWN_RULE, Doubt.UNREACHABLE, id="a peer that may have it is silent"
        ),
        pytest.param([], DOWN, Doubt.UNREACHABLE, id="the only source is down"),
        pytest.param([YOUNG], UNKNOWN_RULE, Doubt.OPEN, id="Alertmanager answers, too young to know"),
        pytest.param([YOUNG], OLD, Doubt.OPEN, id="Alertmanager is young and the rule stands still"),
        pytest.param([], UNKNOWN_RULE, Doubt.OPEN, id="nobody is there who could ever know"),
    ],
)
def test_a_doubtful_firing_is_settled_by_whoever_can_know(
    managers: Sequence[SourceSays], rule: RuleSays, becomes: Doubt
) -> None:
    assert settle_doubt(managers, rule) is becomes


@pytest.mark.parametrize(
    ("managers", "rule", "listed", "held"),
    [
        pytest.param([SILENT], CALM, True, True, id="its Alertmanager is silent"),
        pytest.param([WITHOUT], CALM, True, False, id="everybody says that it is missing"),
        pytest.param([SILENT], FIRES, True, False, id="Prometheus fires it"),
        pytest.param([SILENT], DOWN, False, True, id="never listed, and nobody answers"),
        pytest.param([WITHOUT], UNKNOWN_RULE, False, False, id="never listed, and everybody answers"),
        pytest.param([YOUNG], OLD, False, False, id="never listed, and nobody could ever know"),
    ],
)
def test_an_alert_is_held_while_nobody_can_tell_of_it(
    managers: Sequence[SourceSays], rule: RuleSays, listed: bool, held: bool
) -> None:
    assert still_held(managers, rule, listed=listed) is held
