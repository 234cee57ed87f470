"""Cut one pod off from everything without ending it: `pod.quarantine`.

The playbook cordons the node, which isolates nothing that runs (row 007.1c). The pod loses all its labels, so
that no Service sends it anything and its workload lets go of it, and gets a mark that a network policy
selects, which lets nothing in or out. It goes on running, as evidence.

Network policies add up: another one that allows something and still selects the pod keeps that open, a pod
on the host's network is not reached by any, and connections that are open may live on. That is computed as
far as it can be, said before the yes, and looked at afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.isolation import (
    DENY_ALL,
    LABELS_BEFORE,
    NOT_TO_BE_ENDED,
    QUARANTINE,
    Act,
    Deny,
    Held,
    Hold,
    IsolationPlan,
    IsolationSpec,
    IsolationStep,
    Relabel,
    Wanted,
    deny_all,
)
from receiver.domain.plans import NotApplicable, ObjectRef, Permission
from receiver.domain.remediation import ClusterReader
from receiver.domain.selectors import selects
from receiver.domain.workloads import reference
from remediations.isolation.reading import ENFORCED, addresses_of, listed

SPEC = IsolationSpec(
    act=Act.POD_QUARANTINE,
    version=1,
    sentence="Cuts one pod off from its Services and from the network; it goes on running.",
    undo=(
        "its labels come back, on release and if two people ask for it; its workload then takes it back and "
        "may end a pod that is too many, this one too"
    ),
    reads=(
        Permission("", "pods", "get"),
        Permission("networking.k8s.io", "networkpolicies", "list"),
        Permission("networking.k8s.io", "networkpolicies", "get"),
        Permission("discovery.k8s.io", "endpointslices", "list"),
    ),
    writes=(
        Permission("networking.k8s.io", "networkpolicies", "create"),
        Permission("", "pods", "patch"),
    ),
    about=__doc__,
)
# Annotations of one object are 256 KiB in all; the labels stand in our own store as well.
_MOST_LABELS = 16_000
# What still leaves a pod that lets nothing out: the odd packet of the node's own counters.
_SILENT_BELOW = 50.0


class Quarantine:
    """`pod.quarantine`."""

    spec = SPEC

    def __init__(self, cluster: ClusterReader) -> None:
        self._cluster = cluster

    async def observe(self, wanted: Wanted) -> Mapping[str, Any]:
        """The pod, the network policies of its namespace, and who sends it something."""
        return {
            "pod": await self._cluster.get(ObjectRef("v1", "Pod", wanted.namespace, wanted.pod)),
            "policies": await self._cluster.list_objects(
                "networking.k8s.io/v1", "NetworkPolicy", wanted.namespace
            ),
            "slices": await self._slices(wanted.namespace),
        }

    async def _slices(self, namespace: str) -> list[dict[str, Any]] | None:
        """None where they cannot be read: cutting off needs none of them, only judging does."""
        try:
            return await self._cluster.list_objects("discovery.k8s.io/v1", "EndpointSlice", namespace)
        except (TemporaryError, PermanentError):
            return None

    def plan(
        self, state: Mapping[str, Any], wanted: Wanted, *, incident_id: int
    ) -> IsolationPlan | NotApplicable:
        """The network policy first: from the moment of the mark on nothing gets through."""
        pod = state["pod"]
        if pod is None:
            return NotApplicable(f"there is no pod {wanted.namespace}/{wanted.pod}")
        target = reference(pod, api_version="v1", kind="Pod")
        labels = pod["metadata"].get("labels") or {}
        mark = {QUARANTINE: str(incident_id)}
        if labels.get(QUARANTINE, mark[QUARANTINE]) != mark[QUARANTINE]:
            return NotApplicable(f"{target} is in quarantine for incident {labels[QUARANTINE][:20]} already")
        named = any(one["metadata"]["name"] == DENY_ALL for one in state["policies"])
        if named and not any(map(_is_ours, state["policies"])):
            return NotApplicable(
                f"NetworkPolicy {wanted.namespace}/{DENY_ALL} is there and says something else; "
                "rename it, or cut the pod off by hand"
            )
        annotations = {**NOT_TO_BE_ENDED, **_kept(labels)}
        known = pod["metadata"].get("annotations") or {}
        relabel = Relabel(target, labels, mark, annotations, {name: known.get(name) for name in annotations})
        deny = ObjectRef("networking.k8s.io/v1", "NetworkPolicy", target.namespace, DENY_ALL)
        return IsolationPlan(
            incident_id=incident_id,
            wanted=wanted,
            version=SPEC.version,
            target=target,
            steps=(Deny(deny), relabel),
            summary=f"cut {target} off from its Services and from the network; it goes on running",
            why="",
            notes=_notes(pod, state["policies"], mark),
            undo_sentence=SPEC.undo,
            asked_by="",
        )

    def lift(self, plan: IsolationPlan, state: Mapping[str, Any]) -> IsolationStep | NotApplicable:
        """Its labels as they were. The network policy stays and selects nothing."""
        pod = state["pod"]
        if pod is None or pod["metadata"]["uid"] != plan.target.uid:
            return NotApplicable(f"{plan.target} is gone")
        ours = next(step for step in plan.steps if isinstance(step, Relabel))
        if (pod["metadata"].get("labels") or {}) != ours.after:
            return NotApplicable(f"somebody changed the labels of {plan.target} since")
        if ours.before == ours.after:
            return NotApplicable(f"{plan.target} had the mark before; its labels are in {LABELS_BEFORE}")
        before = {name: ours.annotations_before.get(name) for name in ours.annotations}
        return Relabel(plan.target, ours.after, ours.before, before, ours.annotations)

    def traffic(self, plan: IsolationPlan) -> str | None:
        """What the kubelet counts as sent by the pod."""
        where = f'namespace="{plan.target.namespace}",pod="{plan.target.name}"'
        return f"sum(rate(container_network_transmit_bytes_total{{{where}}}[1m]))"

    def judge(self, plan: IsolationPlan, state: Mapping[str, Any], traffic: float | None) -> Held:
        """No Service sends it anything, and it sends nothing itself."""
        pod = state["pod"]
        if pod is None or pod["metadata"]["uid"] != plan.target.uid:
            return Held(Hold.CANNOT_TELL, f"{plan.target} is gone, and nothing of ours ended it")
        if QUARANTINE not in (pod["metadata"].get("labels") or {}):
            return Held(Hold.NOT_YET, f"somebody took the mark off {plan.target}")
        if not any(map(_is_ours, state["policies"])):
            return Held(Hold.NOT_YET, f"somebody took NetworkPolicy {DENY_ALL} away or changed it")
        if state["slices"] is None:
            return Held(Hold.CANNOT_TELL, "whether a Service sends it anything cannot be read")
        serving = sorted(
            one["metadata"]["name"]
            for one in state["slices"]
            if any(_is_of(each, pod) for each in one.get("endpoints") or [])
        )
        if serving:
            return Held(Hold.NOT_YET, f"it is still among the endpoints of {listed(serving)}")
        if traffic is None:
            return Held(
                Hold.CANNOT_TELL, "no Service sends it anything; what it sends itself is not measured"
            )
        if traffic > _SILENT_BELOW:
            return Held(Hold.NOT_YET, f"it still sends {traffic:.0f} bytes a second")
        return Held(
            Hold.HOLDS,
            f"no Service sends it anything, and it sends less than {_SILENT_BELOW:.0f} bytes a second",
        )


def _is_ours(policy: Mapping[str, Any]) -> bool:
    return bool(policy["metadata"]["name"] == DENY_ALL and policy.get("spec") == deny_all())


def _kept(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels as they were, beside the pod, for whoever has no access to our store."""
    text = json.dumps(dict(sorted(labels.items())), separators=(",", ":"))
    return {LABELS_BEFORE: text} if len(text) <= _MOST_LABELS else {}


def _notes(
    pod: Mapping[str, Any], policies: list[Mapping[str, Any]], mark: Mapping[str, str]
) -> tuple[str, ...]:
    """What this does not do, said plainly."""
    notes: list[str] = []
    if pod["spec"].get("hostNetwork"):
        notes.append("it is on the host's network: no network policy reaches it, isolate the node as well")
    if opened := sorted(one["metadata"]["name"] for one in policies if _opens(one, mark)):
        notes.append(
            f"network policies add up: {listed(opened)} still allows it something; "
            "whether it talks is looked at afterwards"
        )
    if pod["metadata"].get("deletionTimestamp"):
        notes.append("somebody deleted it already: it ends within its grace period, whatever is done here")
    notes += _replaced(pod)
    notes.append(ENFORCED)
    return tuple(notes)


def _opens(policy: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a network policy selects what has these labels only, and allows it something."""
    spec = policy.get("spec") or {}
    selected = selects(spec.get("podSelector") or {}, labels)
    return selected and bool(spec.get("ingress") or spec.get("egress"))


def _replaced(pod: Mapping[str, Any]) -> list[str]:
    """What its workload does once it has let go of it."""
    owners = pod["metadata"].get("ownerReferences") or []
    owner = next((one for one in owners if one.get("controller")), None)
    if owner is None:
        return []
    named = f"{owner['kind']} {owner['name']}"
    match owner["kind"]:
        case "StatefulSet":
            return [f"{named} cannot start another one while it is there: they would have one name"]
        case "Node":
            return ["it is a static pod, which its node's kubelet runs from a file: isolate the node as well"]
        case _:
            return [f"{named} starts another pod of the same image in its place"]


def _is_of(endpoint: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Whether an endpoint is this pod; on a host's network many have one address."""
    about = endpoint.get("targetRef") or {}
    if about.get("uid"):
        return bool(about["uid"] == pod["metadata"]["uid"])
    return bool(addresses_of(pod) & set(endpoint.get("addresses") or []))
