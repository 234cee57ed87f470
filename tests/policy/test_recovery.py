"""After a crash the object itself tells what happened, or nobody does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.domain.plans import (
    FENCE,
    MARKER,
    BackendStep,
    EvictStep,
    FieldChange,
    ObjectRef,
    PatchStep,
    Signal,
    WarmUpStep,
)
from receiver.policy.recovery import CannotTell, Happened, NotYet, Seen, what_happened

SINCE = datetime(2026, 3, 2, 3, 0, 0, 500_000, tzinfo=UTC)
DEPLOYMENT = PatchStep(ObjectRef("apps/v1", "Deployment", "shop", "api", "u"), ())
SCALER = PatchStep(
    ObjectRef("autoscaling/v2", "HorizontalPodAutoscaler", "shop", "api", "u"),
    (FieldChange("/spec/minReplicas", 2, 10),),
)
EVICTION = EvictStep(ObjectRef("v1", "Pod", "shop", "api-1", "u"))


def backend(signal: Signal) -> BackendStep:
    target = ObjectRef("postgresql", "Backend", "main", "4711", "u")
    return BackendStep(target, signal, "app", ("app",), "10", "idle for 5 min", "app, idle")


def found(
    annotations: dict[str, str] | None = None,
    *,
    version: str = "10",
    generation: int | None = 3,
    uid: str = "u",
    smallest: int = 2,
    written: str | None = None,
    manager: str = "stanch",
    leaving: bool = False,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"uid": uid, "resourceVersion": version, "annotations": annotations or {}}
    if generation is not None:
        metadata["generation"] = generation
    if written is not None:
        metadata["managedFields"] = [{"manager": manager, "time": written}]
    if leaving:
        metadata["deletionTimestamp"] = "2026-03-02T03:00:01Z"
    return {"metadata": metadata, "spec": {"minReplicas": smallest}}


WARM_UP = WarmUpStep(ObjectRef("http", "Endpoint", "", "api", "u"), 5)


CASES: dict[str, tuple[Any, dict[str, Any] | None, Seen | type]] = {
    "requests leave no trace": (WARM_UP, found(generation=None), CannotTell),
    "requests to an endpoint that is gone": (WARM_UP, None, CannotTell),
    "our marker": (DEPLOYMENT, found({MARKER: "mine"}, version="11", generation=4), Happened(4)),
    "our marker, and somebody changed it since": (
        DEPLOYMENT,
        found({MARKER: "mine"}, generation=9),
        Happened(9),
    ),
    "nothing happened": (DEPLOYMENT, found(), NotYet(impossible=False)),
    "only a status moved": (DEPLOYMENT, found(version="12"), NotYet(impossible=True)),
    "another intent's marker proves nothing": (
        DEPLOYMENT,
        found({MARKER: "other"}),
        NotYet(impossible=False),
    ),
    "we fenced it": (
        DEPLOYMENT,
        found({FENCE: "mine"}, version="13", generation=4),
        NotYet(impossible=True),
    ),
    "somebody changed the spec": (DEPLOYMENT, found(version="14", generation=4), CannotTell),
    "another object of that name": (DEPLOYMENT, found(uid="other"), CannotTell),
    "it is gone": (DEPLOYMENT, None, CannotTell),
    "no generation, and nothing happened": (SCALER, found(generation=None), NotYet(impossible=False)),
    "no generation, and only a status moved": (
        SCALER,
        found(generation=None, version="12"),
        NotYet(impossible=True),
    ),
    "no generation, our marker": (
        SCALER,
        found({MARKER: "mine"}, generation=None, smallest=10),
        Happened(None),
    ),
    "no generation, and the field is another": (SCALER, found(generation=None, smallest=4), CannotTell),
    "no generation, and something was written under our name in that second": (
        SCALER,
        found(generation=None, written="2026-03-02T03:00:00Z"),
        CannotTell,
    ),
    "no generation, and our name is from before": (
        SCALER,
        found(generation=None, written="2026-03-02T02:59:59Z"),
        NotYet(impossible=False),
    ),
    "no generation, and others wrote": (
        SCALER,
        found(generation=None, written="2026-03-02T03:00:07Z", manager="kubectl"),
        NotYet(impossible=False),
    ),
    "the pod is there": (EVICTION, found(generation=None), NotYet(impossible=False)),
    "the pod is there, its status moved": (
        EVICTION,
        found(generation=None, version="12"),
        NotYet(impossible=False),
    ),
    "the pod is leaving": (EVICTION, found(generation=None, leaving=True), Happened(None)),
    "the pod is gone": (EVICTION, None, Happened(None)),
    "another pod has its name": (EVICTION, found(generation=None, uid="other"), Happened(None)),
    "the backend is gone": (backend(Signal.TERMINATE), None, Happened(None)),
    "the backend is there": (
        backend(Signal.TERMINATE),
        found(generation=None),
        NotYet(impossible=False),
    ),
    "the backend does something else": (
        backend(Signal.TERMINATE),
        found(generation=None, version="11"),
        NotYet(impossible=True),
    ),
    "the cancelled statement is over": (
        backend(Signal.CANCEL),
        found(generation=None, version="11"),
        Happened(None),
    ),
    "the statement goes on": (backend(Signal.CANCEL), found(generation=None), NotYet(impossible=False)),
}


@pytest.mark.parametrize(("step", "now", "expected"), CASES.values(), ids=CASES)
def test_what_the_object_tells(step: Any, now: dict[str, Any] | None, expected: Seen | type) -> None:
    sent_generation = 3 if step is DEPLOYMENT else None
    seen = what_happened(
        step, intent="mine", sent_version="10", sent_generation=sent_generation, since=SINCE, found=now
    )
    if isinstance(expected, type):
        assert isinstance(seen, expected)
    else:
        assert seen == expected


def test_an_unknown_effect_says_why() -> None:
    seen = what_happened(
        DEPLOYMENT,
        intent="mine",
        sent_version="10",
        sent_generation=3,
        since=SINCE,
        found=found(generation=5),
    )
    assert isinstance(seen, CannotTell)
    assert "generation 3 is 5 now" in seen.reason
