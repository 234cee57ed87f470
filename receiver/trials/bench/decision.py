"""How long one decision takes, without asking anybody: which of five hundred policies, how bad, is the cure's
condition true, and what every guard says.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from receiver.app import read_policies
from receiver.domain.incidents import IncidentAlert
from receiver.domain.plans import FieldChange, ObjectRef, PatchStep, Plan, Risk
from receiver.policy.approval import DEFAULT_RULES
from receiver.policy.classification import Series, classify
from receiver.policy.expressions import Truth, evaluate
from receiver.policy.guards import Availability, Case, InsideFacts, OutsideFacts, ask_all
from receiver.policy.matching import policies_for, resolve_target
from receiver.policy.model import Match, Matcher, Policy, PolicySet
from receiver.trials.bench import patients
from receiver.trials.bench.service import Bench
from receiver.trials.bench.table import Row, median, percentile

POLICIES = 500
DECISIONS = 400
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FACTS = {"rollout": {"hasEarlier": True}}
TARGET = ObjectRef("apps/v1", "Deployment", patients.NAMESPACE, "api-250", "uid-250")


@dataclass(frozen=True)
class Situation:
    """Everything that a decision is made from."""

    alert: IncidentAlert
    policies: PolicySet
    series: Series
    plan: Plan
    outside: OutsideFacts
    inside: InsideFacts


async def decision(bench: Bench) -> list[Row]:
    """One alert over five hundred policies."""
    at_hand = situation(patients.write_policies(bench.fresh("decision")))
    raw: dict[str, list[Any]] = {"median_ms": [], "p99_ms": []}
    for run in range(bench.runs):
        bench.say(f"decision, run {run + 1} of {bench.runs}")
        took: list[float] = []
        for _ in range(DECISIONS):
            began = time.perf_counter()
            decide(at_hand)
            took.append((time.perf_counter() - began) * 1000)
        raw["median_ms"].append(median(took))
        raw["p99_ms"].append(percentile(took, 0.99))
    note = f"p99 {median(raw['p99_ms']):.2f} ms"
    return [
        Row(
            f"decision for one alert over {POLICIES} policies",
            median(raw["median_ms"]),
            "ms",
            1,
            "lower",
            note,
            raw,
        )
    ]


def decide(at_hand: Situation) -> None:
    """Match, classify, try the cure's condition, ask the guards. Raises AssertionError where none fits."""
    labels = at_hand.alert.labels
    found = policies_for([at_hand.alert], at_hand.policies, now=NOW, first_seen={})
    assert len(found) == 1
    policy = found[0][0]
    assert isinstance(resolve_target(policy.target, labels), ObjectRef)
    judgement = classify(policy.classify, at_hand.series, [labels], now=NOW)
    assert judgement.decided
    candidate = policy.candidates[0]
    assert candidate.when is not None
    assert evaluate(candidate.when, {**FACTS, "labels": dict(labels)})[0] is Truth.TRUE
    objections, _ = ask_all(
        Case(
            plan=at_hand.plan,
            limits=policy.guards,
            cluster_budget=at_hand.policies.cluster_budget,
            outside=at_hand.outside,
            inside=at_hand.inside,
            undoing=False,
            now=NOW,
        )
    )
    assert not objections


def situation(folder: Path) -> Situation:
    """Five hundred policies of which one fits, and facts that nothing speaks against."""
    loaded = read_policies(folder).policies
    assert loaded is not None
    usual = loaded.policies[0]
    many = tuple(_variant(usual, number) for number in range(POLICIES))
    labels = {
        "alertname": "Errors250",
        "namespace": patients.NAMESPACE,
        "app": "api-250",
        "severity": "warning",
    }
    moments = [NOW - timedelta(seconds=15) * number for number in range(20, -1, -1)]
    return Situation(
        alert=IncidentAlert("identity", labels, {}, NOW - timedelta(minutes=5)),
        policies=replace(loaded, policies=many),
        series={"err": [(at, patients.SICK) for at in moments]},
        plan=_plan(many[250]),
        outside=OutsideFacts(
            age=timedelta(seconds=1),
            alert_active=True,
            trigger_holds=True,
            suppressed=False,
            target_uid=TARGET.uid,
            owners=(),
            availability=Availability(wanted=4, ready=4, max_unavailable=1),
            dry_run_ok=True,
            rights={"patch deployments.apps": True},
            sources={"Kubernetes": True, "Prometheus": True},
        ),
        inside=InsideFacts(
            paused=(),
            security_locks=(),
            runs_on_target=0,
            runs_of_policy=0,
            runs_in_cluster=0,
            failed_runs=0,
            target_held_by=None,
            pre_image_stored=True,
        ),
    )


def _variant(usual: Policy, number: int) -> Policy:
    """Half of the policies name their alert, half describe it by a pattern."""
    if number % 2 == 0:
        matcher = Matcher("alertname", "=", f"Errors{number}")
    else:
        matcher = Matcher("alertname", "=~", f"(Errors|Latency){number}")
    matchers = (matcher, Matcher("namespace", "=~", f"{patients.NAMESPACE}|other-{number}"))
    return replace(usual, name=f"policy-{number:03d}", match=Match(matchers))


def _plan(policy: Policy) -> Plan:
    return Plan(
        incident_id=1,
        epoch=1,
        policy=policy.name,
        policy_hash=policy.hash,
        mode=policy.mode.value,
        remediation="deployment.rollback",
        version=1,
        parameters={},
        target=TARGET,
        steps=(PatchStep(TARGET, (FieldChange("/spec/template", {"v": 2}, {"v": 1}),)),),
        risk=Risk.DISRUPTIVE,
        approval=DEFAULT_RULES[Risk.DISRUPTIVE],
        verification=policy.verification,
        undo=policy.undo,
        monitor=policy.monitor,
    )
