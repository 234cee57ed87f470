"""Does an alert still fire, by what the sources say? Nothing ends by being absent from a webhook body.

Absence counts only where every configured Alertmanager answered and has been up long enough to know, for
three rounds on end, and Prometheus, with the rule freshly evaluated, does not fire it. Anything else holds
the alert, and says so. Alertmanager facts A-6, A-8, A-9, A-14 and A-15 are why this is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from receiver.domain.durations import in_words

ROUNDS = 3
# A fresh Alertmanager is empty until Prometheus sends again (a minute by default) and groups wait.
UP_FOR = timedelta(minutes=10)
FRESH_INTERVALS = 2


@dataclass(frozen=True)
class SourceSays:
    """One Alertmanager in one round; ``listed`` None where it did not answer."""

    listed: bool | None
    up_for: timedelta


@dataclass(frozen=True)
class RuleSays:
    """Prometheus about one alert; ``firing`` None where it did not answer.

    ``evaluated_ago`` None: no rule of that name. ``clear_for`` is how long it surely has not fired.
    """

    firing: bool | None
    evaluated_ago: timedelta | None = None
    interval: timedelta = timedelta(minutes=1)
    for_: timedelta = timedelta(0)
    answered: bool = True


class Presence(StrEnum):
    """What the sources together say of one alert."""

    PRESENT = "present"
    ABSENT = "absent"
    HELD = "held"


def presence(managers: Sequence[SourceSays], rule: RuleSays) -> tuple[Presence, str]:
    """Whether this round is evidence for firing, for absence, or for nothing, and then why.

    The words stay the same from round to round: they are written to the timeline when they change.
    """
    if any(manager.listed for manager in managers) or rule.firing is True:
        return Presence.PRESENT, ""
    if not managers:
        return Presence.HELD, "no Alertmanager is configured"
    silent = sum(manager.listed is None for manager in managers)
    if silent:
        return Presence.HELD, f"{silent} of {len(managers)} Alertmanagers did not answer"
    if any(manager.up_for < UP_FOR for manager in managers):
        return Presence.HELD, f"an Alertmanager is up for less than {in_words(UP_FOR)}"
    if not rule.answered or rule.firing is None:
        return Presence.HELD, "Prometheus did not answer"
    if rule.evaluated_ago is None:
        return Presence.HELD, "Prometheus has no rule of that name"
    if not _fresh(rule):
        return Presence.HELD, f"the rule was not evaluated for {FRESH_INTERVALS} of its intervals"
    return Presence.ABSENT, ""


class Doubt(StrEnum):
    """What becomes of a firing that started before its alert was said to have ended."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    UNREACHABLE = "unreachable"
    OPEN = "open"


def settle_doubt(managers: Sequence[SourceSays], rule: RuleSays) -> Doubt:
    """Whether a doubtful firing is true; ``UNREACHABLE`` counts as firing, and is said.

    A source that does not answer cannot refute it, and a page too many is better than one too few. ``OPEN``
    is asked again in the next round: everybody answered, and nobody could know.
    """
    if any(manager.listed for manager in managers) or rule.firing is True:
        return Doubt.CONFIRMED
    if rule.firing is False and _fresh(rule):
        return Doubt.REFUTED
    if managers and all(manager.listed is False and manager.up_for >= UP_FOR for manager in managers):
        return Doubt.REFUTED
    if any(manager.listed is None for manager in managers) or not rule.answered:
        return Doubt.UNREACHABLE
    return Doubt.OPEN


def still_held(managers: Sequence[SourceSays], rule: RuleSays, *, listed: bool) -> bool:
    """Whether nobody can tell of this alert, which no Alertmanager lists now; ``listed`` says that one did.

    One that no source ever listed is held only by a doubt that nobody could be asked about.
    """
    if listed:
        return presence(managers, rule)[0] is Presence.HELD
    return settle_doubt(managers, rule) is Doubt.UNREACHABLE


def is_gone(rounds: int, *, first_absent_at: datetime | None, now: datetime, rule: RuleSays) -> bool:
    """Whether enough rounds in a row were absent, over longer than the rule's own ``for``."""
    if rounds < ROUNDS or first_absent_at is None:
        return False
    return now - first_absent_at >= rule.for_


def _fresh(rule: RuleSays) -> bool:
    return rule.evaluated_ago is not None and rule.evaluated_ago <= rule.interval * FRESH_INTERVALS
