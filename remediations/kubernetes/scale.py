"""Give a Deployment more replicas, never fewer; where an autoscaler owns them, raise its floor instead.

Where KEDA keeps the autoscaler, the floor is its ScaledObject's `minReplicaCount`: KEDA would take back what
is changed in the autoscaler itself.

The playbook's `kubectl scale --replicas=10` is absolute: it would scale a service of twenty *down*, and an
autoscaler would take it back (INC-001, fix 4; INC-002, fix 3; INC-003, fix 1; rows 001.4b, 1.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from receiver.domain import plans
from receiver.domain.backends import BACKEND
from receiver.domain.capacity import Amount, asked_by, fits, free_on, within_quotas
from receiver.domain.errors import NotServed
from receiver.domain.plans import (
    ApprovalDefault,
    Draft,
    FieldChange,
    NotApplicable,
    ObjectRef,
    PatchStep,
    Permission,
    Receipt,
    Risk,
    Spec,
    Step,
)
from receiver.domain.pools import too_many
from receiver.domain.remediation import ClusterReader, DatabaseReader, Evidence, Placement
from receiver.domain.workloads import (
    aim_of,
    aims_at,
    deployment_reference,
    keda_of,
    patch_of,
    put_back,
    reference,
)
from remediations.kubernetes.reading import nodes_and_pods

REPLICAS = "/spec/replicas"


@dataclass(frozen=True)
class Bounds:
    """Where a kind of autoscaler keeps its bounds, and what they are where it does not say."""

    api_version: str
    kind: str
    floor: str
    floor_if_unsaid: int
    ceiling: str
    ceiling_if_unsaid: int

    def of(self, scaler: Mapping[str, Any]) -> tuple[int, int]:
        """Its floor and its ceiling."""
        spec = scaler["spec"]
        return (
            int(spec.get(self.floor, self.floor_if_unsaid)),
            int(spec.get(self.ceiling, self.ceiling_if_unsaid)),
        )

    def reference(self, scaler: Mapping[str, Any]) -> ObjectRef:
        """The autoscaler by all that tells it from others."""
        return reference(scaler, api_version=self.api_version, kind=self.kind)


# An API server takes no autoscaler without a ceiling; should there be one, it may go nowhere.
HPA = Bounds("autoscaling/v2", "HorizontalPodAutoscaler", "minReplicas", 1, "maxReplicas", 0)
# https://keda.sh/docs/latest/reference/scaledobject-spec/
SCALED_OBJECT = Bounds("keda.sh/v1alpha1", "ScaledObject", "minReplicaCount", 0, "maxReplicaCount", 100)
KINDS = {bounds.kind: bounds for bounds in (HPA, SCALED_OBJECT)}
_PAUSED_AT = "autoscaling.keda.sh/paused-replicas"
# KEDA takes whatever Go does not read as false for a wish to pause.
_PAUSES = ("autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-scale-out")
_FALSE = ("0", "f", "F", "false", "False", "FALSE")


class Parameters(plans.Parameters):
    """What a policy may say below ``with``."""

    replicas: int = Field(ge=1, le=10_000, description="At least so many; more are left as they are.")
    raise_ceiling: bool = Field(
        False,
        description="Whether an autoscaler's ceiling (`maxReplicas`, of KEDA's `maxReplicaCount`) may be "
        "raised where it is lower.",
    )
    room: Literal["check", "autoscaled"] = Field(
        "check",
        description="`check`: the nodes must have room for the new pods; `autoscaled`: nodes are added by "
        "themselves, so only quotas are looked at.",
    )
    connection: str | None = Field(
        None,
        description="A database of the databases file that every pod connects to: it must have room, too.",
    )
    connections_each: int = Field(10, ge=1, le=1000, description="How many connections a pod holds at most.")


SPEC = Spec(
    name="deployment.scale",
    version=1,
    sentence="Gives the Deployment at least so many replicas; never fewer than it has.",
    risk=Risk.REVERSIBLE,
    approval_default=ApprovalDefault.A1,
    target_kinds=frozenset({"Deployment"}),
    parameters=Parameters,
    needs_labels=frozenset(),
    reads=(
        Permission("apps", "deployments", "get"),
        Permission("autoscaling", "horizontalpodautoscalers", "list"),
        Permission("autoscaling", "horizontalpodautoscalers", "get"),
        Permission("keda.sh", "scaledobjects", "list"),
        Permission("keda.sh", "scaledobjects", "get"),
        Permission("", "resourcequotas", "list"),
        Permission(BACKEND, "connections", "list"),
        Permission("", "nodes", "list", everywhere=True),
        Permission("", "pods", "list", everywhere=True),
    ),
    writes=(
        Permission("apps", "deployments", "patch"),
        Permission("autoscaling", "horizontalpodautoscalers", "patch"),
        Permission("keda.sh", "scaledobjects", "patch"),
    ),
    settle=timedelta(minutes=10),
    mitigates=True,
    about=__doc__,
    example="""\
- remediation: deployment.scale
  why: Every pod is at its limit, and so is the rate of requests
  with: {replicas: 10}
  expires: 2h
""",
)


class Scale:
    """`deployment.scale`."""

    spec = SPEC

    def __init__(self, cluster: ClusterReader, databases: DatabaseReader) -> None:
        self._cluster = cluster
        self._databases = databases

    async def observe(self, target: ObjectRef, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The Deployment, its autoscaler, what keeps that, the quotas, and what the nodes have left."""
        deployment = await self._cluster.get(target)
        if deployment is None:
            return {"deployment": None}
        scalers = await self._cluster.list_objects(
            "autoscaling/v2", "HorizontalPodAutoscaler", target.namespace
        )
        state: dict[str, Any] = {
            "deployment": deployment,
            "scaler": next((each for each in scalers if aims_at(each, target)), None),
            "quotas": await self._cluster.list_objects("v1", "ResourceQuota", target.namespace),
        }
        state["scaledObject"] = await self._kept_by(state["scaler"], target)
        if (connection := parameters.get("connection")) is not None:
            state["usage"] = await self._databases.usage(str(connection))
        if parameters.get("room", "check") == "check":
            state |= await nodes_and_pods(self._cluster)
        return state

    async def _kept_by(self, scaler: Mapping[str, Any] | None, target: ObjectRef) -> dict[str, Any] | None:
        """The ScaledObject that sets the replicas; it has no autoscaler while it is paused."""
        version, kind = SCALED_OBJECT.api_version, SCALED_OBJECT.kind
        if scaler is not None:
            name = keda_of(scaler)
            kept_by = None if name is None else ObjectRef(version, kind, target.namespace, name)
            return None if kept_by is None else await self._cluster.get(kept_by)
        try:
            found = await self._cluster.list_objects(version, kind, target.namespace)
        except NotServed:
            return None
        return next((each for each in found if aims_at(each, target)), None)

    def plan(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any], evidence: Evidence, *, now: datetime
    ) -> Draft | NotApplicable:
        """The replicas of the Deployment, or the floor of its autoscaler."""
        deployment = state["deployment"]
        if deployment is None:
            return NotApplicable("there is no such Deployment")
        asked = Parameters.model_validate(parameters)
        current = int(deployment["spec"].get("replicas", 1))
        scaler, scaled = state["scaler"], state["scaledObject"]
        keda = _keda_of(scaler, scaled)
        if current == 0:
            idle = "" if keda is None else " or KEDA saw nothing for it to do"
            return NotApplicable(f"it is scaled to zero: somebody switched it off{idle}")
        if keda is not None and (why := _not_by_keda(state, current)) is not None:
            return NotApplicable(f"KEDA ScaledObject {keda} {why}")
        if keda is not None:
            found = _by_scaler(SCALED_OBJECT, scaled, current, asked)
        elif scaler is not None:
            found = _by_scaler(HPA, scaler, current, asked)
        else:
            found = _by_hand(deployment, current, asked)
        if isinstance(found, NotApplicable):
            return found
        step, wanted, words = found
        more = max(0, wanted - current)
        try:
            reason = _no_room(state, deployment, more) if more else None
        except ValueError as error:
            return NotApplicable(f"whether there is room for {more} pods more cannot be told: {error}")
        if reason is not None:
            return NotApplicable(reason)
        if more and asked.connection is not None:
            usage, each = state["usage"], asked.connections_each
            reason = too_many(usage, wanted=more * each, given_back=0, connection=asked.connection)
            if reason is not None:
                return NotApplicable(reason)
        target = deployment_reference(deployment)
        return Draft(
            target=target,
            steps=(step,),
            summary=f"scale {target} from {current} to at least {wanted} replicas{words}",
            why=f"it has {current} replicas",
            blast_radius=f"{more} pods more; none is taken away",
            undo_sentence=f"undone by putting {step.changes[0].pointer} of {step.target} back",
        )

    def undo_plan(
        self, receipts: tuple[Receipt, ...], state: Mapping[str, Any]
    ) -> tuple[Step, ...] | NotApplicable:
        """The floor or the replicas as they were. Not the replicas where an autoscaler owns them by now."""
        if not receipts:
            return NotApplicable("there is no receipt to undo")
        scaler, scaled = state.get("scaler"), state.get("scaledObject")
        written = receipts[-1].target
        if written.kind == SCALED_OBJECT.kind:
            return put_back(receipts, scaled)
        if written.kind == HPA.kind:
            return put_back(receipts, scaler)
        if (keda := _keda_of(scaler, scaled)) is not None:
            return NotApplicable(f"KEDA ScaledObject {keda} sets the replicas now: nothing is to undo")
        if scaler is not None:
            name = scaler["metadata"]["name"]
            return NotApplicable(f"HorizontalPodAutoscaler {name} sets the replicas now: nothing is to undo")
        return put_back(receipts, state["deployment"])

    async def verify(self, receipt: Receipt) -> tuple[Placement, str]:
        """So many replicas are available."""
        target = receipt.target
        wanted = int(receipt.changes[0].after)
        if (bounds := KINDS.get(target.kind)) is not None:
            scaler = await self._cluster.get(target)
            if scaler is None or bounds.of(scaler)[0] < wanted:
                return Placement.FAILED, f"the floor of {target} is no longer {wanted}"
            target = aim_of(scaler)
        deployment = await self._cluster.get(target)
        if deployment is None:
            return Placement.FAILED, f"{target} is gone"
        if int(deployment["spec"].get("replicas", 1)) < wanted and target == receipt.target:
            return Placement.FAILED, "somebody set fewer replicas since"
        available = int(deployment.get("status", {}).get("availableReplicas", 0))
        placement = Placement.IN_PLACE if available >= wanted else Placement.NOT_YET
        return placement, f"{available} of {wanted} replicas are available"


def _by_hand(
    deployment: Mapping[str, Any], current: int, asked: Parameters
) -> tuple[PatchStep, int, str] | NotApplicable:
    if asked.replicas <= current:
        return NotApplicable(f"it has {current} replicas already; {asked.replicas} would not be more")
    change = FieldChange(REPLICAS, current, asked.replicas)
    target = deployment_reference(deployment)
    return patch_of(deployment, target, change), asked.replicas, ""


def _keda_of(scaler: Mapping[str, Any] | None, scaled: Mapping[str, Any] | None) -> str | None:
    """The name of the ScaledObject that sets the replicas; by its autoscaler, where there is one."""
    if scaler is not None:
        return keda_of(scaler)
    return None if scaled is None else str(scaled["metadata"]["name"])


def _not_by_keda(state: Mapping[str, Any], current: int) -> str | None:
    """Why a higher floor of the ScaledObject would not bring up more pods; None where it would."""
    scaled = state["scaledObject"]
    if scaled is None:
        return "is to keep its autoscaler, and there is none of that name"
    if not aims_at(scaled, deployment_reference(state["deployment"])):
        return "is to keep its autoscaler, but scales something else"
    if (why := _left_alone(scaled, current)) is not None:
        return why
    return (
        None
        if state["scaler"] is not None
        else "keeps no autoscaler of it now: its floor would change nothing"
    )


def _left_alone(scaled: Mapping[str, Any], current: int) -> str | None:
    """Why KEDA lets it be, as it is; None where it does not.

    https://keda.sh/docs/latest/concepts/scaling-deployments/#pausing-autoscaling
    """
    metadata = scaled["metadata"]
    if metadata.get("deletionTimestamp") is not None:
        return "is being deleted"
    annotations: Mapping[str, str] = metadata.get("annotations", {})
    if _PAUSED_AT in annotations:
        return f"is paused ({_PAUSED_AT})"
    for name in _PAUSES:
        if annotations.get(name, "false") not in _FALSE:
            return f"is paused ({name})"
    idle = scaled["spec"].get("idleReplicaCount")
    if idle is not None and current <= int(idle):
        return (
            f"keeps {idle} replicas while none of its triggers is active: a higher floor would change nothing"
        )
    return None


def _by_scaler(
    bounds: Bounds, scaler: Mapping[str, Any], current: int, asked: Parameters
) -> tuple[PatchStep, int, str] | NotApplicable:
    floor, ceiling = bounds.of(scaler)
    changes: list[FieldChange] = []
    wanted = asked.replicas
    if wanted > ceiling and asked.raise_ceiling:
        changes.append(FieldChange(f"/spec/{bounds.ceiling}", scaler["spec"].get(bounds.ceiling), wanted))
    elif wanted > ceiling:
        wanted = ceiling
    if wanted <= current:
        reason = f"it has {current} replicas already, and its autoscaler may go to {ceiling}"
        return NotApplicable(f"{reason}; {asked.replicas} would not be more")
    if floor >= wanted:
        return NotApplicable(f"the autoscaler's floor is {floor} already; its pods do not come up")
    changes.insert(0, FieldChange(f"/spec/{bounds.floor}", scaler["spec"].get(bounds.floor), wanted))
    limited = f", its ceiling, not {asked.replicas}" if wanted < asked.replicas else ""
    return (
        patch_of(scaler, bounds.reference(scaler), *changes),
        wanted,
        f", by the floor of its autoscaler ({floor} now{limited})",
    )


def _no_room(state: Mapping[str, Any], deployment: Mapping[str, Any], more: int) -> str | None:
    """Why there is none for so many pods more. Raises ValueError where an amount cannot be read."""
    each = asked_by(deployment["spec"]["template"]["spec"])
    needed = Amount(each.cpu * more, each.memory * more, each.pods * more)
    if (reason := within_quotas(state["quotas"], needed)) is not None:
        return f"{more} pods more are too many: {reason}"
    if "nodes" not in state:
        return None
    free = free_on(state["nodes"], state["pods"])
    if isinstance(free, NotApplicable):
        return free.reason
    placed = fits(free, each, more)
    if placed < more:
        return f"the nodes have room for {placed} of {more} pods more, each of which asks for {each}"
    return None
