"""A plan as the tests of decisions need one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from receiver.domain.plans import (
    ApprovalRule,
    FieldChange,
    ObjectRef,
    PatchStep,
    Plan,
    Risk,
    Undo,
    Verification,
)

TARGET = ObjectRef("apps/v1", "Deployment", "shop", "api", "uid-1")
VERIFICATION = Verification(
    queries={"err": "err"},
    success="err < 0.01",
    success_for=timedelta(minutes=5),
    every=timedelta(seconds=15),
    min_samples=16,
    settle=timedelta(minutes=5),
    within=timedelta(minutes=15),
    baseline=timedelta(minutes=10),
)


def plan(**changes: Any) -> Plan:
    """A rollback that one person of oncall or sre may approve; ``changes`` replace fields."""
    made = Plan(
        incident_id=1,
        epoch=1,
        policy="bad-release",
        policy_hash="hash",
        mode="propose",
        remediation="deployment.rollback",
        version=1,
        parameters={},
        target=TARGET,
        steps=(PatchStep(TARGET, (FieldChange("/spec/template", {"v": 2}, {"v": 1}),)),),
        risk=Risk.DISRUPTIVE,
        approval=ApprovalRule(groups=("oncall", "sre")),
        verification=VERIFICATION,
        undo=Undo(),
        monitor=timedelta(minutes=15),
    )
    return replace(made, **changes)
