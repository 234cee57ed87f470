"""Shut networks out of one workload, the rest of the world let in as before: `ip.block`.

The playbook's blocklist (row 007.1d). A network policy cannot deny: it allows what it names, so this one
allows every pod and every address but some. From that follows when it can be asked for at all. Policies add
up, so where another one decides about the same pods this one would open what that one closed. And it sees who
asks only where no Service and no proxy has put its own address in the place of the client's.

What cannot be told is an objection, like what is known to be wrong: a list that holds a node, a load balancer
or the API server would be an outage of our own making.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from receiver.domain.canonical import digest_of
from receiver.domain.capacity import MOST_PODS
from receiver.domain.isolation import (
    BLOCK,
    MOST_BLOCKED,
    QUARANTINE,
    WIDEST_IPV4,
    WIDEST_IPV6,
    Act,
    Block,
    Held,
    Hold,
    IsolationPlan,
    IsolationSpec,
    IsolationStep,
    Wanted,
    all_but,
)
from receiver.domain.plans import NotApplicable, ObjectRef, Permission
from receiver.domain.remediation import ClusterReader
from receiver.domain.selectors import selects
from receiver.domain.workloads import deployment_reference, selector_of
from remediations.isolation.reading import ENFORCED, MOST_NAMED, addresses_of, listed

SPEC = IsolationSpec(
    act=Act.IP_BLOCK,
    version=1,
    sentence="Lets everything into a workload's pods but what comes from some networks; by hand only.",
    undo="a person deletes the network policy; nothing is ever deleted from here",
    reads=(
        Permission("apps", "deployments", "get"),
        Permission("", "pods", "list"),
        Permission("", "services", "list"),
        Permission("", "nodes", "list", everywhere=True),
        Permission("networking.k8s.io", "networkpolicies", "list"),
        Permission("networking.k8s.io", "networkpolicies", "get"),
        # The API server's own addresses stand in the namespace default.
        Permission("discovery.k8s.io", "endpointslices", "get", everywhere=True),
    ),
    writes=(Permission("networking.k8s.io", "networkpolicies", "create"),),
    about=__doc__,
)
API_SERVER = ObjectRef("discovery.k8s.io/v1", "EndpointSlice", "default", "kubernetes")
# A list that is cut does not tell what is left.
_MOST = 500
_WRITTEN = re.compile(r"[0-9a-fA-F:.]{2,45}(/[0-9]{1,3})?", re.ASCII)
# Nobody on the internet has one of these: pods, nodes, proxies and tunnels of our own do, or nobody.
_NEVER = tuple(
    (ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "unspecified addresses"),
        ("10.0.0.0/8", "private addresses"),
        ("100.64.0.0/10", "addresses of a provider's own network"),
        ("127.0.0.0/8", "loopback addresses"),
        ("169.254.0.0/16", "link-local addresses"),
        ("172.16.0.0/12", "private addresses"),
        ("192.168.0.0/16", "private addresses"),
        ("224.0.0.0/4", "multicast addresses"),
        ("240.0.0.0/4", "reserved addresses"),
        ("::/128", "unspecified addresses"),
        ("::1/128", "loopback addresses"),
        ("::ffff:0:0/96", "IPv4 addresses, to be written as such"),
        ("64:ff9b::/96", "IPv4 addresses behind a translator"),
        ("fc00::/7", "private addresses"),
        ("fe80::/10", "link-local addresses"),
        ("ff00::/8", "multicast addresses"),
    )
)
_SHOWING = ("LoadBalancer", "NodePort")

Network = IPv4Network | IPv6Network
Document = Mapping[str, Any]


class BlockAddresses:
    """`ip.block`. ``monitoring`` are the hosts that the service asks for measurements."""

    spec = SPEC

    def __init__(self, cluster: ClusterReader, monitoring: Iterable[str] = ()) -> None:
        self._cluster = cluster
        self._monitoring = tuple(monitoring)

    async def observe(self, wanted: Wanted) -> Mapping[str, Any]:
        """The workload, who sends it something, and every address that is ours as far as it can be read."""
        cluster, place = self._cluster, wanted.namespace
        deployment = await cluster.get(ObjectRef("apps/v1", "Deployment", place, wanted.deployment))
        labels = None if deployment is None else selector_of(deployment)
        return {
            "deployment": deployment,
            "pods": await cluster.list_objects("v1", "Pod", place, labels=labels, limit=_MOST)
            if labels
            else [],
            "services": await cluster.list_objects("v1", "Service", place, limit=_MOST),
            "policies": await cluster.list_objects(
                "networking.k8s.io/v1", "NetworkPolicy", place, limit=_MOST
            ),
            "nodes": await cluster.list_objects("v1", "Node", "", limit=MOST_PODS),
            "api": await cluster.get(API_SERVER),
            "monitoring": list(self._monitoring),
        }

    def plan(
        self, state: Mapping[str, Any], wanted: Wanted, *, incident_id: int
    ) -> IsolationPlan | NotApplicable:
        """One network policy, if nothing objects."""
        deployment = state["deployment"]
        if deployment is None:
            return NotApplicable(f"there is no Deployment {wanted.namespace}/{wanted.deployment}")
        target = deployment_reference(deployment)
        labels = selector_of(deployment)
        if labels is None or QUARANTINE in labels:
            return NotApplicable(f"{target} does not select its pods by plain labels of its own")
        if wanted.until is None:
            return NotApplicable("an end is needed: addresses are given to others")
        networks, wrong = read_networks(wanted.blocked)
        blocked = tuple(str(network) for network in networks)
        told = [incident_id, target.key, target.uid, dict(labels), blocked, wanted.until.isoformat()]
        name = BLOCK + digest_of(told)[:10]
        policy = ObjectRef("networking.k8s.io/v1", "NetworkPolicy", target.namespace, name)
        step = Block(policy, labels, blocked, wanted.until, incident_id)
        objections = [*wrong, *guards(state, networks, step)]
        if objections:
            return NotApplicable(f"{wanted}: {listed(objections, '; ')}")
        many = "network" if len(blocked) == 1 else "networks"
        return IsolationPlan(
            incident_id=incident_id,
            wanted=wanted,
            version=SPEC.version,
            target=target,
            steps=(step,),
            summary=f"shut {len(blocked)} {many} out of the pods of {target}, everything else let in",
            why="",
            notes=_notes(state, step),
            undo_sentence=f"a person deletes it: {by_hand(step)}; nothing is ever deleted from here",
            asked_by="",
        )

    def lift(self, plan: IsolationPlan, state: Mapping[str, Any]) -> IsolationStep | NotApplicable:
        """There is no write that takes it back: it would be a delete, or the right to change policies."""
        step = _step(plan)
        if not any(one["metadata"]["name"] == step.target.name for one in state["policies"]):
            return NotApplicable(f"{step.target} is gone already")
        return NotApplicable(f"nothing is deleted from here; a person does: {by_hand(step)}")

    def traffic(self, plan: IsolationPlan) -> str | None:
        """What a pod sends says nothing of who is not let in."""
        return None

    def judge(self, plan: IsolationPlan, state: Mapping[str, Any], traffic: float | None) -> Held:
        """The policy stands as written, nothing opens it, and the workload still has pods that serve."""
        step, deployment = _step(plan), state["deployment"]
        if deployment is None or deployment["metadata"]["uid"] != plan.target.uid:
            return Held(Hold.CANNOT_TELL, f"{plan.target} is gone, and nothing of ours ended it")
        if not any(_is_ours(one, step) for one in state["policies"]):
            return Held(Hold.NOT_YET, f"somebody took {step.target} away or changed it")
        if len(state["policies"]) >= _MOST:
            return Held(
                Hold.CANNOT_TELL, "there are too many network policies to tell what they allow together"
            )
        if others := _deciding(state, step):
            return Held(
                Hold.NOT_YET, f"network policies add up: {listed(others)} may let in what this shuts out"
            )
        if not any(_keeps_clients(one) for one in _serving(state, step)):
            return Held(Hold.NOT_YET, f"it shuts out nobody any more: {_UNSEEN}")
        ready = int((deployment.get("status") or {}).get("readyReplicas") or 0)
        wanted = int(deployment["spec"].get("replicas", 1))
        if wanted and not ready:
            return Held(Hold.NOT_YET, f"none of {wanted} replicas is ready: look whether the policy is why")
        return Held(
            Hold.HOLDS,
            f"{step.target} stands as written, {ready} of {wanted} replicas are ready; "
            "who is shut out is not counted",
        )


def by_hand(step: Block) -> str:
    """What a person types to take it back."""
    return f"kubectl --namespace {step.target.namespace} delete networkpolicy {step.target.name}"


def read_networks(written: Iterable[str]) -> tuple[tuple[Network, ...], list[str]]:
    """The networks, each once and in order, and what is wrong with the others; pure."""
    texts = list(dict.fromkeys(written))
    found: set[Network] = set()
    wrong = [] if texts else ["name at least one network"]
    if len(texts) > MOST_BLOCKED:
        return (), [f"{len(texts)} networks are named, and at most {MOST_BLOCKED} may be"]
    for text in texts:
        network = _network(text)
        if isinstance(network, str):
            wrong.append(network)
        else:
            found.add(network)
    return tuple(sorted(found, key=lambda one: (one.version, int(one.network_address), one.prefixlen))), wrong


def _network(text: str) -> Network | str:
    if not _WRITTEN.fullmatch(text):
        return f"{text[:60]!r} is no network; write 203.0.113.0/24, or one address"
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return f"{text} is no network; write 203.0.113.0/24, or one address"
    address = text.partition("/")[0]
    if ip_network(address).network_address != network.network_address:
        return f"{text} names an address within {network}: write {network} for all of it, or {address} alone"
    widest = WIDEST_IPV4 if network.version == 4 else WIDEST_IPV6
    if network.prefixlen < widest:
        return f"{network} is wider than /{widest}"
    return network


def guards(state: Mapping[str, Any], networks: Iterable[Network], step: Block) -> list[str]:
    """Everything that speaks against shutting these out of this workload, what is not known too; pure."""
    own = _own(state)
    found: list[str] = []
    for network in networks:
        found += [
            f"{network} overlaps with {what}"
            for other, what in (*_NEVER, *own.known)
            if _meet(network, other)
        ]
    found += [f"{what}, so whether it is among these is not known" for what in own.unknown]
    template = state["deployment"]["spec"].get("template", {}).get("spec") or {}
    if template.get("hostNetwork") is True:
        found.append("its pods are on their host's network: no network policy reaches them")
    if others := _deciding(state, step):
        found.append(
            f"network policies add up, and {listed(others)} decides what comes in: this one would open what "
            "that closes. Take it away first, or block the addresses there"
        )
    if any(
        one["metadata"]["name"] == step.target.name and not _is_ours(one, step) for one in state["policies"]
    ):
        found.append(f"{step.target} is there and says something else")
    if not any(_keeps_clients(one) for one in _serving(state, step)):
        found.append(f"it would shut out nobody: {_UNSEEN}. Block them at the ingress or the web firewall")
    return found


_UNSEEN = (
    "no Service of type LoadBalancer or NodePort with externalTrafficPolicy: Local selects the pods, so they "
    "do not see the addresses of clients"
)


@dataclass
class _Own:
    """Networks that are ours, each with what it is, and what of ours has no address that could be read."""

    known: list[tuple[Network, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def add(self, addresses: Iterable[Any], what: str) -> None:
        for address in addresses:
            try:
                network = ip_network(str(address), strict=False)
            except ValueError:
                self.unknown.append(f"{what} has {str(address)[:60]!r} for an address")
            else:
                self.known.append((network, f"{address} of {what}"))


def _own(state: Mapping[str, Any]) -> _Own:
    own = _Own()
    for kind, found, most in (
        ("nodes", state["nodes"], MOST_PODS),
        ("pods", state["pods"], _MOST),
        ("services", state["services"], _MOST),
        ("network policies", state["policies"], _MOST),
    ):
        if len(found) >= most:
            own.unknown.append(f"there are {most} {kind} or more and not all are read")
    if not state["nodes"]:
        own.unknown.append("no node is seen")
    for node in state["nodes"]:
        _add_node(own, node)
    for pod in state["pods"]:
        own.add(sorted(addresses_of(pod)), f"Pod {pod['metadata']['name']}")
    for service in state["services"]:
        _add_service(own, service)
    serving = [address for one in (state["api"] or {}).get("endpoints") or [] for address in one["addresses"]]
    if not serving:
        own.unknown.append("the API server's address is not seen")
    own.add(serving, "the API server")
    own.add((host for host in state["monitoring"] if _is_address(host)), "monitoring")
    return own


def _add_node(own: _Own, node: Document) -> None:
    name = f"Node {node['metadata']['name']}"
    told = (node.get("status") or {}).get("addresses") or []
    addresses = [one.get("address") for one in told if one.get("type") in ("InternalIP", "ExternalIP")]
    if not addresses:
        own.unknown.append(f"{name} tells no address")
    own.add(addresses, name)
    spec = node.get("spec") or {}
    # Many networks give out addresses themselves and set none; those of the pods are looked at anyway.
    own.add(filter(None, (*(spec.get("podCIDRs") or ()), spec.get("podCIDR"))), f"the pods of {name}")


def _add_service(own: _Own, service: Document) -> None:
    name, spec = f"Service {service['metadata']['name']}", service.get("spec") or {}
    inside = {*(spec.get("clusterIPs") or ()), spec.get("clusterIP")} - {None, "", "None"}
    own.add(sorted(map(str, inside)), name)
    own.add(spec.get("externalIPs") or (), name)
    if spec.get("type") != "LoadBalancer":
        return
    given = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    own.add((one["ip"] for one in given if one.get("ip")), f"the load balancer of {name}")
    if not given or not all(one.get("ip") for one in given):
        own.unknown.append(f"the load balancer of {name} tells no address")


def _meet(one: Network, other: Network) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.overlaps(other)


def _is_address(host: str) -> bool:
    try:
        ip_network(host)
    except ValueError:
        return False
    return True


def _labelled(state: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    """The labels that a pod of the workload is made with, and those of each that is there."""
    template: Document = state["deployment"]["spec"].get("template") or {}
    for one in (template, *state["pods"]):
        yield (one.get("metadata") or {}).get("labels") or {}


def _deciding(state: Mapping[str, Any], step: Block) -> list[str]:
    """The other network policies that decide what is let into these pods."""
    chosen = [labels for labels in _labelled(state) if QUARANTINE not in labels]
    found: list[str] = []
    for policy in state["policies"]:
        spec = policy.get("spec") or {}
        # Where no type is said, a policy decides about what comes in.
        if "Ingress" not in (spec.get("policyTypes") or ["Ingress"]) or _is_ours(policy, step):
            continue
        if any(selects(spec.get("podSelector") or {}, labels) for labels in chosen):
            found.append(str(policy["metadata"]["name"]))
    return sorted(found)


def _is_ours(policy: Document, step: Block) -> bool:
    same_name = policy["metadata"]["name"] == step.target.name
    return bool(same_name and policy.get("spec") == all_but(step.pods, step.blocked))


def _serving(state: Mapping[str, Any], step: Block) -> list[Document]:
    """The Services that send something to these pods."""
    labelled = list(_labelled(state))
    return [
        service
        for service in state["services"]
        if (chosen := (service.get("spec") or {}).get("selector"))
        and any(selects({"matchLabels": chosen}, labels) for labels in labelled)
    ]


def _keeps_clients(service: Document) -> bool:
    spec = service["spec"]
    return spec.get("type") in _SHOWING and spec.get("externalTrafficPolicy") == "Local"


def _notes(state: Mapping[str, Any], step: Block) -> tuple[str, ...]:
    """What this sees and does not, said plainly."""
    notes = [
        _of_service(service) for service in _serving(state, step) if service["spec"].get("type") in _SHOWING
    ]
    outside = [host for host in state["monitoring"] if not _is_in_cluster(host)]
    return (
        *notes[:MOST_NAMED],
        "what comes through a proxy or an ingress controller in the cluster is let in, whoever sent it: "
        "every pod is, monitoring that runs in the cluster too",
        *(f"monitoring at {host} is outside the cluster: look that it is none of these" for host in outside),
        "many people may share an address: customers behind it are shut out as well",
        "some networks (Cilium) count no node as an address, and shut out what comes from another node "
        "itself; what policies of other kinds than NetworkPolicy say is not looked at",
        ENFORCED,
        f"it stays until a person deletes it; at {step.until.isoformat(timespec='minutes')} people are asked "
        "to",
    )


def _of_service(service: Document) -> str:
    name = f"Service {service['metadata']['name']} ({service['spec']['type']})"
    if _keeps_clients(service):
        return f"{name} has externalTrafficPolicy: Local: pods see who asks, unless a proxy stands before it"
    return f"{name} is not externalTrafficPolicy: Local: what comes by it has a node's address and is let in"


def _is_in_cluster(host: str) -> bool:
    """By how it is named: `prometheus`, or `prometheus.monitoring.svc` and longer."""
    parts = host.rstrip(".").split(".")
    return not _is_address(host) and (len(parts) == 1 or "svc" in parts[2:3])


def _step(plan: IsolationPlan) -> Block:
    return next(step for step in plan.steps if isinstance(step, Block))
