"""What may be isolated, when, and by whose yes: each reason against it alone, and what is asked for anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hand_clock import NOON

from receiver.domain import events as ev
from receiver.domain.incidents import Incident, Lockdown, apply
from receiver.domain.isolation import (
    Act,
    Isolating,
    IsolationPlan,
    IsolationState,
    Relabel,
    Wanted,
)
from receiver.domain.plans import ObjectRef
from receiver.policy.isolating import approved, lifted, may_answer, not_known, not_now, outside

POD = ObjectRef("v1", "Pod", "shop", "api-1", "uid-1")
PLAN = IsolationPlan(
    1, Wanted(Act.POD_QUARANTINE, "shop", "api-1"), 1, POD, (Relabel(POD, {}, {}, {}),), "", "", (), "", ""
)
ONE = Isolating(
    "S-1", Act.POD_QUARANTINE, POD, PLAN.digest, IsolationState.APPROVED, NOON, approved_by="lena"
)
BOTH: Mapping[str, Any] = {
    "releases": (("carol", False), ("lena", True)),
    "released_by": ("carol", "lena"),
    "undo_wanted": ("carol", "lena"),
}


def locked(**changes: Any) -> Lockdown:
    return replace(Lockdown("a miner", ("namespace/shop",), NOON, captured=True), **changes)


@pytest.mark.parametrize(
    ("target", "scopes", "says"),
    [
        (POD, ("namespace/shop",), None),
        (POD, ("cluster",), None),
        (POD, ("Deployment/shop/api",), None),
        (POD, ("namespace/pay", "Pod/shop/api-1"), None),
        (POD, ("namespace/pay",), "secure 1 --scope namespace/shop comes first"),
        (POD, ("Deployment/shop/web", "node/node-1"), "Pod shop/api-1 is not in what incident 1 locks"),
        (
            ObjectRef("apps/v1", "Deployment", "edge", "api"),
            ("namespace/shop",),
            "--scope namespace/edge comes",
        ),
        (ObjectRef("v1", "Node", "", "node-1"), ("namespace/shop",), None),
    ],
)
def test_what_is_not_locked_is_not_isolated_by_hand_since_no_evidence_of_it_is_kept(
    target: ObjectRef, scopes: tuple[str, ...], says: str | None
) -> None:
    plan = replace(PLAN, target=target)
    why = outside(Incident(1, lockdown=locked(scopes=scopes)), plan)
    assert why is None if says is None else says in (why or "")


def test_what_is_approved_locked_and_kept_may_be_written() -> None:
    assert not_now(Incident(1, lockdown=locked(), isolations=(ONE,)), ONE, lifting=False) is None


def test_what_all_who_release_want_back_may_be_taken_back() -> None:
    done = replace(ONE, state=IsolationState.DONE)
    incident = Incident(1, lockdown=locked(**BOTH), isolations=(done,))
    assert not_now(incident, done, lifting=True) is None
    assert lifted(done, PLAN, locked(**BOTH)) is not None


@pytest.mark.parametrize(
    ("lockdown", "stored", "lifting", "why"),
    [
        (None, ONE, False, "no security incident"),
        (None, ONE, True, "no security incident"),
        (locked(), None, False, "decided otherwise"),
        (locked(), replace(ONE, state=IsolationState.DENIED), False, "decided otherwise"),
        (locked(), replace(ONE, step=1), False, "decided otherwise"),
        (locked(captured=False), ONE, False, "evidence is not kept"),
        (locked(**BOTH), ONE, False, "being released"),
        (locked(), ONE, True, "more was locked"),
        (locked(**{**BOTH, "undo_wanted": ("lena",)}), ONE, True, "more was locked"),
        (locked(releases=(("lena", True),), undo_wanted=("lena",)), ONE, True, "more was locked"),
    ],
)
def test_each_reason_alone_is_enough_not_to_write(
    lockdown: Lockdown | None, stored: Isolating | None, lifting: bool, why: str
) -> None:
    incident = Incident(1, lockdown=lockdown, isolations=() if stored is None else (stored,))
    assert why in (not_now(incident, ONE, lifting=lifting) or "")


def test_an_isolation_under_way_is_ended_whoever_released_it_meanwhile() -> None:
    started = replace(ONE, state=IsolationState.STARTED)
    incident = Incident(1, lockdown=locked(**BOTH), isolations=(started,))
    assert not_now(incident, started, lifting=False) is None


def test_this_very_plan_with_a_yes_on_record_is_approved() -> None:
    assert approved(ONE, PLAN) is not None
    assert approved(replace(ONE, state=IsolationState.STARTED), PLAN) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"approved_by": ""},
        {"digest": "another"},
        *({"state": state} for state in IsolationState if state not in ("approved", "under-way")),
    ],
    ids=str,
)
def test_without_a_yes_to_this_very_plan_nothing_is_approved(changes: Mapping[str, Any]) -> None:
    assert approved(replace(ONE, **changes), PLAN) is None


@pytest.mark.parametrize("lockdown", [locked(), locked(**{**BOTH, "undo_wanted": ("carol",)})])
def test_nothing_is_taken_back_unless_all_who_release_want_it(lockdown: Lockdown) -> None:
    assert lifted(ONE, PLAN, lockdown) is None


def test_another_one_than_was_isolated_is_not_taken_back() -> None:
    assert lifted(replace(ONE, digest="another"), PLAN, locked(**BOTH)) is None


@pytest.mark.parametrize(
    ("groups", "round_", "refused"),
    [
        (("security-lead",), 1, None),
        (("security-deputy",), 1, "the security lead's for 5 minutes"),
        (("security-deputy",), 2, None),
        (("oncall", "sre-lead"), 3, "takes a security lead"),
        ((), 3, "takes a security lead"),
    ],
)
def test_a_yes_is_a_leads_and_then_a_deputys_too(
    groups: tuple[str, ...], round_: int, refused: str | None
) -> None:
    leads, deputies = frozenset({"security-lead"}), frozenset({"security-deputy"})
    said = may_answer(replace(ONE, round=round_), groups, leads=leads, deputies=deputies)
    assert (said is None) if refused is None else (refused in (said or ""))


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        (ONE, False),
        (replace(ONE, state=IsolationState.DENIED), False),
        (replace(ONE, state=IsolationState.FAILED), False),
        # What stands beside a state for people decides nothing.
        (replace(ONE, state=IsolationState.DENIED, sentence="released before it was carried out"), False),
        (replace(ONE, state=IsolationState.RELEASED), True),
        (replace(ONE, state=IsolationState.LIFTED), True),
    ],
)
def test_what_was_taken_back_or_never_begun_is_asked_for_anew(known: Isolating, asked: bool) -> None:
    assert not_known([PLAN, PLAN], [known]) == ([PLAN] if asked else [])


@pytest.mark.parametrize(
    ("releases", "lifts"),
    [
        ((("carol", False, ""), ("lena", True, "")), True),
        ((("lena", True, ""),), False),
        ((("carol", False, ""), ("dave", False, "")), False),
        ((("lena", True, ""), ("lena", True, "")), False),
        # One account under two names is one person; two accounts are two, whatever they are called.
        ((("lena", True, "u-1"), ("lena@new.example", True, "u-1")), False),
        ((("lena", True, "u-1"), ("lena", True, "u-2")), True),
    ],
)
def test_two_different_people_lift_it_one_of_them_a_lead(
    releases: tuple[tuple[str, bool, str], ...], lifts: bool
) -> None:
    incident = Incident(1, lockdown=locked())
    for seq, (by, lead, uid) in enumerate(releases, 1):
        incident = apply(incident, ev.Recorded(seq, NOON, by, ev.ReleaseGiven(by, lead, "seen", uid=uid)))
    assert incident.lockdown is not None
    assert incident.lockdown.may_lift is lifts
