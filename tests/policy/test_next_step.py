"""No state is without an exit or a due time, except those that wait for a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hand_clock import NOON

from receiver.domain.events import ApprovalRequested, Event, MonitoringStarted, ReadyToResolve, Resolved
from receiver.domain.incidents import Incident, IncidentAlert, PlanProgress, PlanState, Status
from receiver.domain.occurrences import Ending
from receiver.domain.severity import Severity
from receiver.policy import next_step as steps
from receiver.policy.next_step import Record, Rest, next_step

from .a_plan import plan

HASH = plan().policy_hash
WAITS_FOR_A_PERSON = {PlanState.UNKNOWN, PlanState.UNDO_ASKED, PlanState.INCONCLUSIVE, PlanState.SHADOWED}


def incident(
    state: PlanState | None,
    *,
    firing: bool = True,
    how: Ending = Ending.RESOLVED,
    progress: dict[str, Any] | None = None,
    **changes: Any,
) -> Incident:
    alert = IncidentAlert("a", {}, {}, NOON, None if firing else NOON, None if firing else how)
    made = None
    if state is not None:
        made = PlanProgress("P-1", "deployment.rollback", plan().digest, state, NOON, since=NOON, round=1)
        made = replace(made, **(progress or {}))
    usual = Incident(
        1,
        alerts={"a": alert},
        severity=Severity.P2,
        classified_at=NOON,
        diagnosed_at=NOON,
        plan=made,
        opened_at=NOON,
    )
    return replace(usual, **changes)


def after(
    found: Incident, *, now: datetime = NOON, policy_hash: str | None = HASH, looked: set[type] | None = None
) -> steps.Next:
    return next_step(
        found,
        plan() if found.plan else None,
        policy_hash=policy_hash,
        looked=frozenset(looked or ()),
        now=now,
    )


@pytest.mark.parametrize("firing", [True, False], ids=["firing", "quiet"])
@pytest.mark.parametrize("state", list(PlanState), ids=str)
def test_every_state_goes_on_or_waits_for_somebody(state: PlanState, firing: bool) -> None:
    found = after(incident(state, firing=firing))
    if isinstance(found, Rest) and found.until is None:
        assert state in WAITS_FOR_A_PERSON


@pytest.mark.parametrize("state", list(PlanState), ids=str)
def test_looking_without_a_change_comes_back_or_rests(state: PlanState) -> None:
    every = {
        steps.Classify,
        steps.Diagnose,
        steps.Propose,
        steps.Review,
        steps.Execute,
        steps.Undo,
        steps.Recover,
    }
    every |= {steps.Settle, steps.Judge, steps.CheckQuiet}
    assert isinstance(after(incident(state), looked=every), Rest | Record)


@pytest.mark.parametrize("state", [PlanState.EXECUTING, PlanState.UNDOING], ids=str)
def test_an_open_intent_comes_before_everything(state: PlanState) -> None:
    late = NOON + timedelta(hours=3)
    assert after(incident(state, classified_at=None), now=late) == steps.Recover()


def test_a_resolved_incident_rests() -> None:
    assert after(incident(None, status=Status.RESOLVED)) == Rest(None, "it is resolved")


@pytest.mark.parametrize("looked", [False, True], ids=["not looked", "looked in vain"])
@pytest.mark.parametrize("how", list(Ending), ids=str)
@pytest.mark.parametrize("state", [None, *PlanState], ids=str)
def test_that_the_alerts_ended_resolves_nothing_by_itself(
    state: PlanState | None, how: Ending, looked: bool
) -> None:
    """Only a look at the metrics starts the window, and another one ends it."""
    found = incident(state, firing=False, how=how, progress={"executed_at": NOON, "watched_since": NOON})
    every: set[type] = {steps.CheckQuiet} if looked else set()
    for now in (NOON, NOON + timedelta(days=7)):
        told = after(found, now=now, looked=every)
        ends = [event for event in told.events if ends_it(event)] if isinstance(told, Record) else []
        assert ends == []


def ends_it(event: Event) -> bool:
    return isinstance(event, Resolved | ReadyToResolve | MonitoringStarted)


def test_a_window_that_nobody_watched_to_its_end_is_looked_at_before_it_resolves() -> None:
    """The service may have been down meanwhile."""
    found = incident(PlanState.VERIFIED, firing=False, monitoring_until=NOON)
    much_later = NOON + timedelta(hours=5)
    assert after(found, now=much_later) == steps.CheckQuiet()
    told = after(found, now=much_later, looked={steps.CheckQuiet})
    assert isinstance(told, Record)
    assert [event.event for event in told.events] == ["Resolved"]
    told = after(replace(found, severity=Severity.P1), now=much_later, looked={steps.CheckQuiet})
    assert isinstance(told, Record)
    assert [event.event for event in told.events] == ["ReadyToResolve"]


ROWS: dict[str, tuple[Incident, datetime, str | None, steps.Next | type | str]] = {
    "how bad is asked first": (incident(None, classified_at=None), NOON, HASH, steps.Classify),
    "and again every half minute": (incident(None), NOON + timedelta(seconds=30), HASH, steps.Classify),
    "then it is looked at": (incident(None, diagnosed_at=None), NOON, HASH, steps.Diagnose),
    "then a cure is looked for": (incident(None), NOON, HASH, steps.Propose),
    "a plan is asked about": (incident(PlanState.PLANNED), NOON, HASH, "ApprovalRequested"),
    "a changed policy voids it": (incident(PlanState.AWAITING), NOON, "other", "PlanVoided"),
    "a policy that is gone voids it": (incident(PlanState.APPROVED), NOON, None, "PlanVoided"),
    "all alerts ended: suspended": (
        incident(PlanState.AWAITING, firing=False),
        NOON,
        HASH,
        "ApprovalSuspended",
    ),
    "one fires again: asked again": (incident(PlanState.SUSPENDED), NOON, HASH, "ApprovalRequested"),
    "nobody answered": (
        incident(PlanState.AWAITING, progress={"expires_at": NOON}),
        NOON,
        HASH,
        "ApprovalExpired",
    ),
    "asked again later": (
        incident(PlanState.EXPIRED, progress={"ask_again_at": NOON}),
        NOON,
        HASH,
        "ApprovalRequested",
    ),
    "a changed policy is not asked about again": (
        incident(PlanState.EXPIRED, progress={"ask_again_at": NOON + timedelta(minutes=9)}),
        NOON,
        "other",
        "PlanVoided",
    ),
    "nor after a suspension": (incident(PlanState.SUSPENDED), NOON, "other", "PlanVoided"),
    "what was handed over stays so, whatever the policy": (
        incident(PlanState.EXPIRED, progress={"expired_rounds": 4}),
        NOON,
        "other",
        Rest,
    ),
    "handed over in the end": (
        incident(PlanState.AWAITING, progress={"expires_at": NOON, "round": 4}),
        NOON,
        HASH,
        "Escalated",
    ),
    "approved: carried out": (incident(PlanState.APPROVED), NOON, HASH, steps.Execute),
    "approved too long ago": (
        incident(PlanState.APPROVED, progress={"execute_before": NOON}),
        NOON,
        HASH,
        "PlanVoided",
    ),
    "refused a moment ago": (
        incident(PlanState.APPROVED, progress={"retry_at": NOON + timedelta(seconds=5)}),
        NOON,
        HASH,
        Rest,
    ),
    "executed: is it in place?": (incident(PlanState.EXECUTED), NOON, HASH, steps.Settle),
    "in place: did it help?": (incident(PlanState.WATCHED), NOON, HASH, steps.Judge),
    "an undo that was decided": (incident(PlanState.UNDO_APPROVED), NOON, HASH, steps.Undo),
    "it did not help: the next candidate": (incident(PlanState.STILL_SICK), NOON, HASH, steps.Propose),
    "it helped and still fires": (
        incident(PlanState.VERIFIED, classified_at=NOON + timedelta(minutes=15)),
        NOON + timedelta(minutes=15),
        HASH,
        "Escalated",
    ),
    "plans keep going stale": (
        incident(PlanState.VOID, tried=(("deployment.rollback", "void"),) * 5),
        NOON,
        HASH,
        "Escalated",
    ),
    "quiet: do the metrics agree?": (incident(None, firing=False), NOON, HASH, steps.CheckQuiet),
    "quiet long enough: one more look": (
        incident(None, firing=False, monitoring_until=NOON),
        NOON,
        HASH,
        steps.CheckQuiet,
    ),
    "less bad for a quarter of an hour": (
        incident(None, lower_since=NOON - timedelta(minutes=15), lower_to=Severity.P3),
        NOON,
        HASH,
        "DowngradeProposed",
    ),
}


@pytest.mark.parametrize(("found", "now", "policy_hash", "expected"), ROWS.values(), ids=ROWS)
def test_what_comes_next(
    found: Incident, now: datetime, policy_hash: str | None, expected: steps.Next | type | str
) -> None:
    told = after(found, now=now, policy_hash=policy_hash)
    if isinstance(expected, str):
        assert isinstance(told, Record)
        assert expected in [event.event for event in told.events]
    else:
        assert isinstance(told, expected) if isinstance(expected, type) else told == expected


def test_events_that_wait_for_people_are_recorded_once() -> None:
    found = incident(PlanState.VERIFIED, escalated=("P-1 helped by the metrics, but the alert still fires",))
    later = NOON + timedelta(hours=1)
    told = after(replace(found, classified_at=later), now=later)
    assert isinstance(told, Rest)
    assert told.why == "P-1 helped by the metrics, but the alert still fires"


@pytest.mark.parametrize(
    ("state", "expired_rounds", "round_", "groups"),
    [
        pytest.param(PlanState.PLANNED, 0, 1, ("oncall",), id="first the first group"),
        pytest.param(PlanState.SUSPENDED, 0, 1, ("oncall",), id="suspended: the same round again"),
        pytest.param(PlanState.EXPIRED, 1, 2, ("sre",), id="nobody answered: the next group"),
        pytest.param(PlanState.SUSPENDED, 1, 2, ("sre",), id="suspended in the second round"),
        pytest.param(PlanState.PLANNED, 2, 3, ("oncall", "sre"), id="a plan made anew goes on: everybody"),
    ],
)
def test_whom_a_request_asks_and_in_which_round(
    state: PlanState, expired_rounds: int, round_: int, groups: tuple[str, ...]
) -> None:
    asking = {"expired_rounds": expired_rounds, "ask_again_at": NOON}
    told = after(incident(state, progress=asking))
    assert isinstance(told, Record)
    (request,) = told.events
    assert isinstance(request, ApprovalRequested)
    assert (request.round, request.groups) == (round_, groups)
