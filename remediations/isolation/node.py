"""Let no new pod onto a node that may be compromised: `node.isolate`.

The playbook's cordon and taint (rows 007.1a and 007.1b). They isolate nothing that already runs there, and
say so; `NoExecute`, drain and delete end pods and with them the evidence, and cannot be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.domain.capacity import MOST_PODS, takes_pods
from receiver.domain.isolation import (
    TAINT,
    Act,
    Held,
    Hold,
    IsolationPlan,
    IsolationSpec,
    IsolationStep,
    Shun,
    Wanted,
)
from receiver.domain.plans import NotApplicable, ObjectRef, Permission
from receiver.domain.remediation import ClusterReader
from receiver.domain.workloads import reference

SPEC = IsolationSpec(
    act=Act.NODE_ISOLATE,
    version=1,
    sentence="Lets no new pod onto a node, by cordon and taint; what runs there goes on.",
    undo="the taint goes and, where we cordoned it, the node takes pods again; on release, if two people ask",
    reads=(
        Permission("", "pods", "get"),
        Permission("", "nodes", "get", everywhere=True),
        Permission("", "nodes", "list", everywhere=True),
    ),
    writes=(Permission("", "nodes", "patch", everywhere=True),),
    about=__doc__,
)
_CONTROL_PLANE = frozenset({"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"})


class IsolateNode:
    """`node.isolate`."""

    spec = SPEC

    def __init__(self, cluster: ClusterReader) -> None:
        self._cluster = cluster

    async def observe(self, wanted: Wanted) -> Mapping[str, Any]:
        """The node, found by its name or by its pod, and all nodes."""
        name = wanted.node
        if not name:
            pod = await self._cluster.get(ObjectRef("v1", "Pod", wanted.namespace, wanted.pod))
            name = "" if pod is None else str(pod["spec"].get("nodeName") or "")
        node = await self._cluster.get(ObjectRef("v1", "Node", "", name)) if name else None
        return {
            "node": node,
            "nodes": await self._cluster.list_objects("v1", "Node", "", limit=MOST_PODS),
        }

    def plan(
        self, state: Mapping[str, Any], wanted: Wanted, *, incident_id: int
    ) -> IsolationPlan | NotApplicable:
        """Both fields in one write."""
        node = state["node"]
        if node is None:
            return NotApplicable(f"{wanted}: there is no such node")
        target = reference(node, api_version="v1", kind="Node")
        others = [each for each in state["nodes"] if each["metadata"]["uid"] != target.uid]
        if not any(takes_pods(each) for each in others):
            return NotApplicable(f"{target} is the last node that takes pods: nothing would run elsewhere")
        if _runs_the_cluster(node) and not any(map(_leads, others)):
            return NotApplicable(f"{target} is the last of the control plane that is not cordoned")
        taints = _taints(node)
        kept = _without_ours(taints)
        return IsolationPlan(
            incident_id=incident_id,
            wanted=Wanted(wanted.act, wanted.namespace, wanted.pod, target.name),
            version=SPEC.version,
            target=target,
            steps=(
                Shun(target, bool(node["spec"].get("unschedulable")), True, taints, (*kept, dict(TAINT))),
            ),
            summary=f"let no new pod onto {target}, by cordon and taint",
            why="",
            notes=("this isolates nothing that already runs on it",),
            undo_sentence=SPEC.undo,
            asked_by="",
        )

    def lift(self, plan: IsolationPlan, state: Mapping[str, Any]) -> IsolationStep | NotApplicable:
        """Our taint goes; the cordon too, where it was ours."""
        node = state["node"]
        if node is None or node["metadata"]["uid"] != plan.target.uid:
            return NotApplicable(f"{plan.target} is gone")
        taints = _taints(node)
        kept = _without_ours(taints)
        if kept == taints:
            return NotApplicable(f"somebody took the taint off {plan.target} since")
        ours = next(step for step in plan.steps if isinstance(step, Shun))
        now = bool(node["spec"].get("unschedulable"))
        # Whoever had put one of that name there has it back.
        theirs = tuple(one for one in ours.taints_before if one not in _without_ours(ours.taints_before))
        back = Shun(plan.target, now, now and ours.unschedulable_before, taints, (*kept, *theirs))
        if (back.unschedulable, back.taints) == (now, taints):
            return NotApplicable(f"{plan.target} was cordoned and tainted before, and not by this incident")
        return back

    def traffic(self, plan: IsolationPlan) -> str | None:
        """What runs on it goes on, so its traffic says nothing."""
        return None

    def judge(self, plan: IsolationPlan, state: Mapping[str, Any], traffic: float | None) -> Held:
        """Both fields stand."""
        node = state["node"]
        if node is None or node["metadata"]["uid"] != plan.target.uid:
            return Held(Hold.CANNOT_TELL, f"{plan.target} is gone, and nothing of ours ended it")
        if not node["spec"].get("unschedulable"):
            return Held(Hold.NOT_YET, f"somebody uncordoned {plan.target}")
        if _without_ours(_taints(node)) == _taints(node):
            return Held(Hold.NOT_YET, f"somebody took the taint off {plan.target}")
        return Held(Hold.HOLDS, f"{plan.target} takes no new pods; what runs on it goes on")


def _taints(node: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    return tuple(node["spec"].get("taints") or ())


def _without_ours(taints: tuple[Mapping[str, Any], ...]) -> tuple[Mapping[str, Any], ...]:
    return tuple(one for one in taints if (one.get("key"), one.get("effect")) != _named(TAINT))


def _named(taint: Mapping[str, str]) -> tuple[str, str]:
    return taint["key"], taint["effect"]


def _runs_the_cluster(node: Mapping[str, Any]) -> bool:
    return bool(_CONTROL_PLANE & set(node["metadata"].get("labels") or {}))


def _leads(node: Mapping[str, Any]) -> bool:
    return _runs_the_cluster(node) and not node["spec"].get("unschedulable")
