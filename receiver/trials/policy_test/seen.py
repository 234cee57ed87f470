"""What a test can see at one moment: the incidents, what people were told, what was written to the cluster.

The writes are the cluster's own record of them, not the service's word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from receiver.demo.kubernetes import Call
from receiver.domain import events as ev
from receiver.domain.incidents import Incident
from receiver.domain.plans import MARKER, ObjectRef, Plan
from receiver.trials.policy_test.model import Obeyed

Kind = Literal["execute", "undo", "unknown"]

_POINTER = "/metadata/annotations"


@dataclass(frozen=True)
class SeenIncident:
    """One incident with its timeline, and the body of its newest plan."""

    incident: Incident
    timeline: tuple[ev.Recorded, ...]
    plan: Plan | None = None

    def newest(self, *kinds: type) -> Any:
        """The newest event of these kinds; None where there is none."""
        return next((one.event for one in reversed(self.timeline) if isinstance(one.event, kinds)), None)


@dataclass(frozen=True)
class Write:
    """One write of the service that the cluster took; ``remediation`` empty: no timeline knows of it."""

    at: datetime
    kind: Kind
    remediation: str


@dataclass(frozen=True)
class Seen:
    """Everything, at one moment. Incidents are in the order in which they opened."""

    incidents: tuple[SeenIncident, ...] = ()
    writes: tuple[Write, ...] = ()
    told: tuple[Mapping[str, Any], ...] = ()

    def incident(self, number: int | None) -> SeenIncident | None:
        """The incident of that number, or the newest."""
        if number is None:
            return self.incidents[-1] if self.incidents else None
        return next((found for found in self.incidents if found.incident.id == number), None)


def writes_of(calls: Iterable[Call], incidents: Iterable[SeenIncident]) -> tuple[Write, ...]:
    """The writes among these calls, each with what it was for: its marker names the intent, and an eviction,
    which can carry none, the pod.
    """
    begun: dict[str, tuple[Kind, str]] = {}
    for seen in incidents:
        remediations: dict[str, str] = {}
        for recorded in seen.timeline:
            event = recorded.event
            if isinstance(event, ev.Planned):
                remediations[event.plan_id] = event.remediation
            elif isinstance(event, ev.ExecutionStarted):
                begun[event.intent] = (event.kind, remediations.get(event.plan_id, ""))
            elif isinstance(event, ev.Executed) and event.receipt.target.kind == "Pod":
                begun[event.receipt.target.uid] = ("execute", remediations.get(event.plan_id, ""))
    found: list[Write] = []
    for call in calls:
        if call.applied is not None:
            unknown: tuple[Kind, str] = ("unknown", "")
            kind, remediation = begun.get(_marker(call.body), unknown)
            found.append(Write(datetime.fromisoformat(call.at), kind, remediation))
    return tuple(found)


def obeyed_of(obeyed: Iterable[Obeyed], incidents: Iterable[SeenIncident]) -> tuple[Write, ...]:
    """What was obeyed beside the cluster, each with what it was for: a receipt names who obeyed."""
    remediations: dict[ObjectRef, str] = {}
    for seen in incidents:
        planned = {
            one.event.plan_id: one.event.remediation
            for one in seen.timeline
            if isinstance(one.event, ev.Planned)
        }
        for recorded in seen.timeline:
            event = recorded.event
            if isinstance(event, ev.Executed):
                remediations[event.receipt.target] = planned.get(event.plan_id, "")
    found: list[Write] = []
    for one in obeyed:
        remediation = remediations.get(one.target, "")
        found.append(Write(one.at, "execute" if remediation else "unknown", remediation))
    return tuple(found)


def _marker(body: Any) -> str:
    """The intent that a JSON patch carries, whether it adds one annotation or the whole map, or an eviction's
    pod.
    """
    if isinstance(body, Mapping) and body.get("kind") == "Eviction":
        return str(body.get("deleteOptions", {}).get("preconditions", {}).get("uid", ""))
    for operation in body if isinstance(body, list) else []:
        path, value = str(operation.get("path")), operation.get("value")
        if path == f"{_POINTER}/{MARKER.replace('/', '~1')}":
            return str(value)
        if path == _POINTER and isinstance(value, Mapping):
            return str(value.get(MARKER, ""))
    return ""
