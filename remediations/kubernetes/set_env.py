"""Set one environment variable of one container of a Deployment.

The playbook's `kubectl set env` with an unknown name restarts every pod for nothing, without `-c` it changes
sidecars too, and on a list it overwrites the other entries (section 1.5). So a variable must be there, or the
policy says that it may be added; lists are appended to; numbers have bounds and a direction. Breakers,
providers, timeouts, pool sizes and disabled agents are all set this way (INC-001, 002, 004 to 006).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from receiver.domain import plans
from receiver.domain.backends import BACKEND
from receiver.domain.plans import (
    ApprovalDefault,
    Draft,
    FieldChange,
    NotApplicable,
    ObjectRef,
    Permission,
    Receipt,
    Risk,
    Spec,
    Step,
)
from receiver.domain.pointers import pointed_at
from receiver.domain.pools import pods_at_most, too_many
from receiver.domain.redaction import SECRET_NAME
from receiver.domain.remediation import ClusterReader, DatabaseReader, Evidence, Placement
from receiver.domain.workloads import CONTAINERS, container_of, deployment_reference, in_place, patch_of

_NAME = r"^[A-Za-z_][A-Za-z0-9_.-]{0,100}$"
_ENTRY = re.compile(r"[A-Za-z0-9._:/-]{1,200}")


class Parameters(plans.Parameters):
    """What a policy may say below ``with``."""

    names: list[str] = Field(
        description="The variable; of several the first that the container has, where names differ between "
        "releases.",
        min_length=1,
    )
    value: str = Field(
        description="The wanted value, quoted; `{{ labels.x }}` looks up a label.",
        min_length=1,
        max_length=4096,
    )
    container: str | None = Field(None, description="Which container; needed where there are several.")
    mode: Literal["set", "append"] = Field(
        "set", description="`append` adds the value to a list with commas, and leaves the other entries."
    )
    add: bool = Field(False, description="Whether a variable that the container lacks may be added.")
    direction: Literal["up", "down"] | None = Field(
        None, description="Only where the number grows, or shrinks, by this."
    )
    least: float | None = Field(None, description="A value below this is never set.")
    most: float | None = Field(None, description="A value above this is never set.")

    connection: str | None = Field(
        None,
        description="Where the value is the size of each pod's pool: the database, by its name in the "
        "databases file, that must have room for all of them.",
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for name in self.names:
            if not re.fullmatch(_NAME, name):
                raise ValueError(f"{name[:60]!r} is no name of a variable")
            if SECRET_NAME.search(name):
                raise ValueError(f"{name} looks like a secret: that is rotated at its source, by a person")
        numbers = self.direction is not None or self.least is not None or self.most is not None
        if self.mode == "append" and numbers:
            raise ValueError("a list has no direction and no bounds")
        if numbers and "{{" not in self.value and (wrong := _outside(self, self.value)) is not None:
            raise ValueError(wrong)
        return self


SPEC = Spec(
    name="deployment.set-env",
    version=1,
    sentence="Sets one environment variable of one container; the pods restart with it.",
    risk=Risk.DISRUPTIVE,
    approval_default=ApprovalDefault.A1,
    target_kinds=frozenset({"Deployment"}),
    parameters=Parameters,
    needs_labels=frozenset(),
    reads=(Permission("apps", "deployments", "get"), Permission(BACKEND, "connections", "list")),
    writes=(Permission("apps", "deployments", "patch"),),
    settle=timedelta(minutes=5),
    mitigates=True,
    about=__doc__,
    example="""\
- remediation: deployment.set-env
  why: The provider fails, and what waits for it holds up everything else
  with: {names: [ENABLE_CIRCUIT_BREAKER, CIRCUIT_BREAKER_ENABLED], value: "true"}
  expires: 24h
""",
)


class SetEnv:
    """`deployment.set-env`."""

    spec = SPEC

    def __init__(self, cluster: ClusterReader, databases: DatabaseReader) -> None:
        self._cluster = cluster
        self._databases = databases

    async def observe(self, target: ObjectRef, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The Deployment, and how full the database is, where the policy names one."""
        state: dict[str, Any] = {"deployment": await self._cluster.get(target)}
        if (connection := parameters.get("connection")) is not None:
            state["usage"] = await self._databases.usage(str(connection))
        return state

    def plan(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any], evidence: Evidence, *, now: datetime
    ) -> Draft | NotApplicable:
        """One entry of one container's list, changed or added."""
        deployment = state["deployment"]
        if deployment is None:
            return NotApplicable("there is no such Deployment")
        if deployment["spec"].get("paused", False):
            return NotApplicable("the rollout is paused: nothing would restart")
        asked = Parameters.model_validate(parameters)
        found = container_of(deployment, asked.container)
        if isinstance(found, NotApplicable):
            return found
        index, container = found
        change = _change(index, container, asked)
        if isinstance(change, NotApplicable):
            return change
        target = deployment_reference(deployment)
        name, before, after = _told(change)
        if asked.connection is not None:
            reason = _pool(deployment, state["usage"], asked.connection, before, after)
            if reason is not None:
                return NotApplicable(reason)
        was = "it is not set now" if before is None else f"now {before}"
        return Draft(
            target=target,
            steps=(patch_of(deployment, target, change),),
            summary=f"set {name}={after} in container {container['name']} of {target} ({was})",
            why=f"{name} is {before or 'not set'}",
            blast_radius=f"all {deployment['spec'].get('replicas', 1)} pods restart, by rolling update",
            notes=("whether the program reads this variable is not known to the cluster",),
            undo_sentence=f"undone by {'removing it' if before is None else f'setting {name}={before}'}",
        )

    def undo_plan(
        self, receipts: tuple[Receipt, ...], state: Mapping[str, Any]
    ) -> tuple[Step, ...] | NotApplicable:
        """This one variable as it was, wherever in the list it stands now; others' changes stay."""
        deployment = state["deployment"]
        if not receipts:
            return NotApplicable("there is no receipt to undo")
        written = receipts[-1]
        if deployment is None or deployment["metadata"]["uid"] != written.target.uid:
            return NotApplicable("the Deployment is gone")
        change = _undone(written.changes[0], deployment)
        if isinstance(change, NotApplicable):
            return change
        return (patch_of(deployment, written.target, change),)

    async def verify(self, receipt: Receipt) -> tuple[Placement, str]:
        """Every replica runs with it."""
        return in_place(await self._cluster.get(receipt.target), receipt)


def _change(index: int, container: Mapping[str, Any], asked: Parameters) -> FieldChange | NotApplicable:
    entries: list[Mapping[str, Any]] | None = container.get("env")
    names = [str(entry.get("name")) for entry in entries or []]
    name = next((name for name in asked.names if name in names), None)
    pointer = f"{CONTAINERS}/{index}/env"
    if name is None:
        if not asked.add:
            lacking = " or ".join(asked.names)
            return NotApplicable(f"container {container['name']} has no {lacking}: setting it may do nothing")
        name = asked.names[0]
    place = names.index(name) if name in names else None
    entry = None if place is None or entries is None else entries[place]
    if entry is not None and "valueFrom" in entry:
        return NotApplicable(
            f"{name} comes from elsewhere ({', '.join(entry['valueFrom'])}): change it there"
        )
    present = None if entry is None else str(entry.get("value", ""))
    wanted = _wanted(asked, present)
    if isinstance(wanted, NotApplicable):
        return wanted
    after = {"name": name, "value": wanted}
    if entries is None:
        return FieldChange(pointer, None, [after])
    return FieldChange(f"{pointer}/{len(entries) if place is None else place}", entry, after)


def _wanted(asked: Parameters, present: str | None) -> str | NotApplicable:
    """The value to write, from what is there."""
    if asked.mode == "append":
        if not _ENTRY.fullmatch(asked.value):
            return NotApplicable("the value to append is no single plain entry")
        entries = [entry.strip() for entry in (present or "").split(",") if entry.strip()]
        if asked.value in entries:
            return NotApplicable(f"{asked.value} is in the list already")
        return ",".join([*entries, asked.value])
    if asked.value == present:
        return NotApplicable(f"it is {present} already")
    if (wrong := _outside(asked, asked.value)) is not None:
        return NotApplicable(wrong)
    if asked.direction is None or present is None:
        return asked.value
    before, after = _number(present), _number(asked.value)
    if before is None or after is None:
        return NotApplicable(
            f"{present[:60]!r} is no number, and the policy wants it to go {asked.direction}"
        )
    if (after > before) is not (asked.direction == "up"):
        return NotApplicable(f"from {present} to {asked.value} is not {asked.direction}")
    return asked.value


def _outside(asked: Parameters, value: str) -> str | None:
    if asked.direction is None and asked.least is None and asked.most is None:
        return None
    number = _number(value)
    if number is None:
        return f"{value[:60]!r} is no number, and bounds or a direction are given"
    if asked.least is not None and number < asked.least:
        return f"{value} is below the bound of {asked.least:g}"
    if asked.most is not None and number > asked.most:
        return f"{value} is above the bound of {asked.most:g}"
    return None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"-?\d{1,15}(\.\d{1,6})?", text.strip()) else None


def _pool(
    deployment: Mapping[str, Any], usage: Mapping[str, Any], connection: str, before: str | None, after: str
) -> str | None:
    """Why the database has no room for pools of that size, also while the pods are replaced."""
    size, present = _number(after), _number(before or "0")
    if size is None:
        return f"{after[:60]!r} is no size of a pool"
    wanted = int(pods_at_most(deployment) * size)
    held = int(deployment["spec"].get("replicas", 1)) * int(present or 0)
    return too_many(usage, wanted=wanted, given_back=held, connection=connection)


def _told(change: FieldChange) -> tuple[str, str | None, str]:
    """The variable with its value before and after."""
    after = change.after[0] if isinstance(change.after, list) else change.after
    before = None if change.before is None else str(change.before.get("value", ""))
    return str(after["name"]), before, str(after["value"])


def _undone(written: FieldChange, deployment: Mapping[str, Any]) -> FieldChange | NotApplicable:
    name, _, value = _told(written)
    pointer = written.pointer if isinstance(written.after, list) else written.pointer.rpartition("/")[0]
    entries = pointed_at(deployment, pointer) or []
    place = next((index for index, entry in enumerate(entries) if entry.get("name") == name), None)
    if place is None or entries[place].get("value") != value:
        return NotApplicable(f"somebody changed {name} since; it is left as it is")
    if isinstance(written.after, list) and len(entries) == 1:
        return FieldChange(pointer, entries, None)
    before = None if isinstance(written.after, list) else written.before
    return FieldChange(f"{pointer}/{place}", entries[place], before)
