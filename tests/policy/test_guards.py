"""Every guard: what it objects to, what it lets pass, and that not knowing is an objection."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hand_clock import NOON

from receiver.domain.plans import Objection
from receiver.policy.guards import (
    ALWAYS_ON,
    Availability,
    Case,
    InsideFacts,
    OutsideFacts,
    Ownership,
    ask_all,
)
from receiver.policy.model import Budget, GuardRule, Guards

from .a_plan import plan

OUTSIDE = OutsideFacts(
    age=timedelta(seconds=1),
    cluster_wanted="prod",
    cluster_found="prod",
    alert_active=True,
    trigger_holds=True,
    suppressed=False,
    target_uid="uid-1",
    owners=(),
    availability=Availability(wanted=4, ready=4, max_unavailable=1),
    dry_run_ok=True,
    rights={"patch deployments.apps": True},
    sources={"Kubernetes": True, "Prometheus": True},
    values={"traffic": 5.0},
)
INSIDE = InsideFacts(
    paused=(),
    security_locks=(),
    runs_on_target=0,
    runs_of_policy=0,
    runs_in_cluster=0,
    failed_runs=0,
    target_held_by=None,
    pre_image_stored=True,
)
LIMITS = Guards(min_available=0.75)


def case(*, undoing: bool = False, mode: str = "propose", limits: Guards = LIMITS, **changed: Any) -> Case:
    """A case that every guard passes, but for what is changed."""
    outside = {name: value for name, value in changed.items() if hasattr(OUTSIDE, name)}
    inside = {name: value for name, value in changed.items() if name not in outside}
    return Case(
        plan=plan(mode=mode),
        limits=limits,
        cluster_budget=Budget(10, timedelta(hours=1)),
        outside=replace(OUTSIDE, **outside),
        inside=replace(INSIDE, **inside),
        undoing=undoing,
        now=NOON,
    )


def objections(found: Case) -> list[tuple[str, str]]:
    return [(objection.guard, objection.code) for objection in ask_all(found)[0]]


ARGO = Ownership("Argo CD", frozenset({"*"}), "its annotation")
SCALER = Ownership("HorizontalPodAutoscaler api", frozenset({"/spec/replicas"}), "its scaleTargetRef")
VPA = Ownership("VPA api", frozenset({"/spec"}), "its targetRef")

OBJECTIONS: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "another cluster": ({"cluster_found": "test"}, ("G0", "not_ours")),
    "no cluster label": ({"cluster_found": None}, ("G0", "not_ours")),
    "old facts": ({"age": timedelta(seconds=11)}, ("G1", "facts_old")),
    "neither fires nor holds": ({"alert_active": False, "trigger_holds": False}, ("G1", "no_longer_true")),
    "does not hold, and nobody says it fires": (
        {"alert_active": None, "trigger_holds": False},
        ("G1", "no_longer_true"),
    ),
    "nobody can say": ({"alert_active": None, "trigger_holds": None}, ("G1", "unknown")),
    "a manual incident asks the trigger alone": ({"manual": True, "trigger_holds": None}, ("G1", "unknown")),
    "the target cannot be read": ({"target_uid": None}, ("G2", "target_unseen")),
    "another object of that name": ({"target_uid": "uid-2"}, ("G2", "other_object")),
    "changed meanwhile": ({"target_changed": ("/spec/template",)}, ("G2", "fields_changed")),
    "owned as a whole": ({"owners": (ARGO,)}, ("G3", "owned")),
    "owned above the field": ({"owners": (VPA,)}, ("G3", "owned")),
    "owners unknown": ({"owners": None}, ("G3", "unknown")),
    "paused": ({"paused": ("by ann",)}, ("G4", "paused")),
    "a mode that does not act": ({"mode": "disabled"}, ("G4", "mode")),
    "a security lock": ({"security_locks": ("INC-007",)}, ("G5", "security_lock")),
    "somebody is changing it": ({"target_held_by": "P-2"}, ("G6", "target_busy")),
    "failed twice": ({"failed_runs": 2}, ("G6", "failures")),
    "the target's budget is spent": ({"runs_on_target": 1}, ("G6", "per_target")),
    "the policy's budget is spent": ({"runs_of_policy": 3}, ("G6", "per_policy")),
    "the cluster's budget is spent": ({"runs_in_cluster": 10}, ("G6", "per_cluster")),
    "too little stays ready": ({"availability": Availability(4, 4, 2)}, ("G7", "blast_radius")),
    "scaled to zero": ({"availability": Availability(0, 0, 0)}, ("G7", "scaled_to_zero")),
    "replicas unknown": ({"availability": None}, ("G7", "unknown")),
    "the dry run was refused": ({"dry_run_ok": False, "dry_run": "denied"}, ("G8", "dry_run")),
    "no dry run": ({"dry_run_ok": None}, ("G8", "dry_run")),
    "a right is missing": ({"rights": {"patch deployments.apps": False}}, ("G9", "forbidden")),
    "a right cannot be asked": ({"rights": {"patch deployments.apps": None}}, ("G9", "unknown")),
    "no right was asked": ({"rights": {}}, ("G9", "unknown")),
    "no pre-image": ({"pre_image_stored": False}, ("G10", "no_pre_image")),
    "a source does not answer": ({"sources": {"Prometheus": False}}, ("G11", "blind")),
    "no source was asked": ({"sources": {}}, ("G11", "blind")),
    "silenced": ({"suppressed": True}, ("G12", "suppressed")),
}

PASSES: dict[str, dict[str, Any]] = {
    "everything as it should be": {},
    "no cluster is configured": {"cluster_wanted": None, "cluster_found": None},
    "facts of ten seconds exactly": {"age": timedelta(seconds=10)},
    "fires though the trigger is unknown": {"trigger_holds": None},
    "fires though the trigger does not hold now": {"trigger_holds": False},
    "holds without an Alertmanager": {"alert_active": None, "suppressed": None},
    "a manual incident whose trigger holds": {"manual": True, "alert_active": None},
    "an autoscaler owns another field": {"owners": (SCALER,)},
    "a field whose name begins alike": {"owners": (replace(SCALER, fields=frozenset({"/spec/templ"})),)},
    "failed once": {"failed_runs": 1},
    "one run below each budget": {"runs_of_policy": 2, "runs_in_cluster": 9},
    "exactly enough stays ready": {"availability": Availability(4, 1, 1)},
    "a broken rollout is what a rollback heals": {"availability": Availability(4, 0, 0)},
    "an automatic mode": {"mode": "auto"},
}

UNDO_PASSES: dict[str, dict[str, Any]] = {
    "although nothing fires any more": {"alert_active": False, "trigger_holds": False},
    "although the facts about the alert are old": {"age": timedelta(minutes=1)},
    "although the budgets are spent": {"runs_on_target": 9, "runs_of_policy": 9, "runs_in_cluster": 99},
    "although runs failed": {"failed_runs": 5},
    "although the alert is silenced": {"suppressed": True},
}

UNDO_OBJECTIONS = (
    "a security lock",
    "paused",
    "somebody is changing it",
    "changed meanwhile",
    "no pre-image",
)


@pytest.mark.parametrize(("changed", "wanted"), OBJECTIONS.values(), ids=OBJECTIONS)
def test_a_guard_objects(changed: dict[str, Any], wanted: tuple[str, str]) -> None:
    assert objections(case(**changed)) == [wanted]


@pytest.mark.parametrize("changed", PASSES.values(), ids=PASSES)
def test_the_guards_let_pass(changed: dict[str, Any]) -> None:
    assert objections(case(**changed)) == []


@pytest.mark.parametrize("changed", UNDO_PASSES.values(), ids=UNDO_PASSES)
def test_an_undo_passes(changed: dict[str, Any]) -> None:
    assert objections(case(undoing=True, **changed)) == []


@pytest.mark.parametrize("name", UNDO_OBJECTIONS)
def test_an_undo_is_a_write_like_any_other(name: str) -> None:
    changed, wanted = OBJECTIONS[name]
    assert objections(case(undoing=True, **changed)) == [wanted]


def test_all_objections_come_at_once() -> None:
    found = objections(case(paused=("by ann",), runs_on_target=1, dry_run_ok=False))
    assert found == [("G4", "paused"), ("G6", "per_target"), ("G8", "dry_run")]


def test_every_guard_says_what_it_saw() -> None:
    found, passed = ask_all(case())
    assert found == ()
    assert [verdict.guard for verdict in passed] == [f"G{number}" for number in range(len(ALWAYS_ON))]
    assert all(verdict.observed for verdict in passed)


@pytest.mark.parametrize("left_out", range(len(ALWAYS_ON)), ids=[guard.__name__ for guard in ALWAYS_ON])
def test_without_any_one_guard_something_passes_that_must_not(
    left_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = tuple(guard for index, guard in enumerate(ALWAYS_ON) if index != left_out)
    monkeypatch.setattr("receiver.policy.guards.ALWAYS_ON", fewer)
    assert [name for name, (changes, _) in OBJECTIONS.items() if not objections(case(**changes))]


def test_every_guard_has_an_objection_in_this_table() -> None:
    assert {guard for _, (guard, _) in OBJECTIONS.values()} == {
        f"G{number}" for number in range(len(ALWAYS_ON))
    }


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [("traffic > 1.0", []), ("traffic > 9.0", ["policy_guard"]), ("lag > 1.0", ["unknown"])],
    ids=["holds", "does not hold", "is not known"],
)
def test_a_policys_own_guard_must_be_true(expr: str, wanted: list[str]) -> None:
    limits = replace(LIMITS, rules=(GuardRule(expr, "not now"),))
    found = objections(case(limits=limits))
    assert [code for _, code in found] == wanted


def test_an_objection_reads_as_a_sentence() -> None:
    assert str(Objection("G4", "paused", "paused: by ann")) == "G4 paused: paused: by ann"


def test_a_webhook_without_dry_runs_is_excused_only_where_the_policy_names_it() -> None:
    said = 'the dry run was refused: 400: admission webhook "audit.example.com" does not support dry run'
    refused = case(dry_run_ok=False, dry_run=said)
    assert ("G8", "dry_run") in objections(refused)
    named = replace(refused, limits=replace(refused.limits, dry_run_unsupported=("audit.example.com",)))
    assert ("G8", "dry_run") not in objections(named)
    other = replace(refused, limits=replace(refused.limits, dry_run_unsupported=("other.example.com",)))
    assert ("G8", "dry_run") in objections(other)
