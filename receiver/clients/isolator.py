"""The other door to the Kubernetes API: through it security incidents are isolated, and nothing else is done.

It has an identity of its own, which may patch pods and nodes and create network policies. There is no method
that deletes, evicts or changes what a pod runs, and a step cannot say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, assert_never

from receiver.clients.answers import Answer, Rejected
from receiver.clients.wire import WRITE_TIMEOUT_SECONDS, Wire, path_of
from receiver.domain.isolation import Block, Deny, IsolationStep, Relabel, Shun, all_but, deny_all
from receiver.domain.plans import MANAGER, MARKER, ObjectRef
from receiver.domain.pointers import escaped

# What the annotations of one object may come to, names and values together; more is a 422.
MOST_ANNOTATION_BYTES = 256 * 1024


class IsolatorDoor(Protocol):
    """Carries out isolations."""

    async def carry_out(
        self, step: IsolationStep, current: Mapping[str, Any] | None, *, intent: str
    ) -> Answer:
        """The one write of this step on the object as just read, only if it is still that version."""


class NoIsolator:
    """Where nothing is ever isolated: trials and explanations."""

    async def carry_out(
        self, step: IsolationStep, current: Mapping[str, Any] | None, *, intent: str
    ) -> Answer:
        """See `IsolatorDoor.carry_out`."""
        return Rejected(403, "Forbidden", (), "nothing is isolated from here")


class Isolator:
    """One API server, as the account that isolates."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def carry_out(
        self, step: IsolationStep, current: Mapping[str, Any] | None, *, intent: str
    ) -> Answer:
        """See `IsolatorDoor.carry_out`."""
        query = [
            ("fieldManager", MANAGER),
            ("fieldValidation", "Strict"),
            ("timeout", f"{WRITE_TIMEOUT_SECONDS}s"),
        ]
        target = step.target
        match step:
            case Deny() | Block():
                path = path_of(target.api_version, target.kind, target.namespace)
                return await self._wire.write("POST", path, query, _policy(step, intent), "application/json")
            case Relabel() | Shun():
                assert current is not None
                path = path_of(target.api_version, target.kind, target.namespace, target.name)
                operations = [
                    *_same_version(target, current),
                    *_annotated(step, current, intent),
                    *_changed(step, current),
                ]
                return await self._wire.write("PATCH", path, query, operations, "application/json-patch+json")
            case _:
                assert_never(step)


def _policy(step: Deny | Block, intent: str) -> dict[str, Any]:
    annotations = {MARKER: intent}
    match step:
        case Deny():
            spec = deny_all()
        case Block():
            spec = all_but(step.pods, step.blocked)
            annotations |= {
                "stanch.dev/incident": str(step.incident_id),
                "stanch.dev/asked-by": step.asked_by,
                "stanch.dev/until": step.until.isoformat(),
            }
        case _:
            assert_never(step)
    target = step.target
    return {
        "apiVersion": target.api_version,
        "kind": target.kind,
        "metadata": {"name": target.name, "namespace": target.namespace, "annotations": annotations},
        "spec": spec,
    }


def _same_version(target: ObjectRef, current: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A stale version answers with a clean 409, as in every write of ours."""
    version = current["metadata"]["resourceVersion"]
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
        {"op": "replace", "path": "/metadata/uid", "value": target.uid},
    ]


def _annotated(step: Relabel | Shun, current: Mapping[str, Any], intent: str) -> list[dict[str, Any]]:
    wanted: dict[str, str | None] = {MARKER: intent}
    if isinstance(step, Relabel):
        wanted |= step.annotations
    there = current["metadata"].get("annotations")
    added = _fitting({name: said for name, said in wanted.items() if said is not None}, there or {})
    if there is None:
        return [{"op": "add", "path": "/metadata/annotations", "value": added}]
    removed = [name for name, said in wanted.items() if said is None and name in there]
    return [
        *({"op": "remove", "path": _annotation(name)} for name in removed),
        *({"op": "add", "path": _annotation(name), "value": said} for name, said in added.items()),
    ]


def _annotation(name: str) -> str:
    return f"/metadata/annotations/{escaped(name)}"


def _fitting(wanted: Mapping[str, str], there: Mapping[str, str]) -> dict[str, str]:
    """As many as the object still takes: whoever fills it up must not keep it from being isolated."""
    room = MOST_ANNOTATION_BYTES - sum(_size(*one) for one in there.items())
    found: dict[str, str] = {}
    for name, said in wanted.items():
        needs = _size(name, said) - (_size(name, there[name]) if name in there else 0)
        if needs <= room:
            found[name] = said
            room -= needs
    return found


def _size(name: str, said: str) -> int:
    return len(name.encode()) + len(said.encode())


def _changed(step: Relabel | Shun, current: Mapping[str, Any]) -> list[dict[str, Any]]:
    # `add` of a member that is there replaces it as a whole; the version is pinned.
    match step:
        case Relabel():
            return [{"op": "add", "path": "/metadata/labels", "value": dict(step.after)}]
        case Shun():
            taints = [dict(taint) for taint in step.taints]
            return [
                {"op": "add", "path": "/spec/unschedulable", "value": step.unschedulable},
                {"op": "add", "path": "/spec/taints", "value": taints},
            ]
        case _:
            assert_never(step)
