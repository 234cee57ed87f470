"""What the API server refuses our own accounts: the printed policies, asked about single writes."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest
import yaml
from ready_pods import ready_pod
from typer.testing import CliRunner

from receiver.cli.main import app
from receiver.demo.kubernetes import ApiError, SteppedClock, User, World
from receiver.demo.kubernetes.admission import Write, enforce
from receiver.demo.kubernetes.requests import Target
from receiver.demo.kubernetes.resources import by_plural
from receiver.domain.isolation import QUARANTINE, TAINT, all_but, deny_all
from receiver.policy.admission import ACCOUNTS, ISOLATOR_ACCOUNT, admissions, documents
from remediations.isolation.block import read_networks

READER, EXECUTOR = (f"system:serviceaccount:stanch:stanch-{role}" for role in ("reader", "executor"))
MARKED = {QUARANTINE: "1"}
Json = dict[str, Any]


def pod(labels: Json | None = None, *, spec: Json | None = None, **metadata: Any) -> Json:
    labelled = {"labels": labels} if labels else {}
    return {
        "metadata": {"name": "api-1", "namespace": "shop", **labelled, **metadata},
        "spec": spec or {"containers": [{"name": "api", "image": "shop/api:1"}]},
    }


def node(*taints: Json, labels: Json | None = None, **spec: Any) -> Json:
    tainted = {"taints": list(taints)} if taints else {}
    labelled = {"labels": labels} if labels else {}
    return {
        "metadata": {"name": "node-0", **labelled},
        "spec": {"podCIDR": "10.0.0.0/24", **spec, **tainted},
    }


def network_policy(name: str = "stanch-quarantine", **spec: Any) -> Json:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {**deny_all(), **spec}}


BLOCKED = ["203.0.113.0/24", "2001:db8::/64"]
INTO_WORKLOAD = all_but({"app": "api"}, BLOCKED)


def block(*, name: str = "stanch-block-1", **spec: Any) -> Json:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {**INTO_WORKLOAD, **spec}}


def letting_in(*peers: Json, **more: Any) -> Json:
    return block(ingress=[{"from": [*peers], **more}])


def selecting(**selector: Any) -> Json:
    return block(podSelector={**INTO_WORKLOAD["podSelector"], **selector})


def address(cidr: str, *blocked: str) -> Json:
    return {"ipBlock": {"cidr": cidr, **({"except": [*blocked]} if blocked else {})}}


EVERY: Json = {"namespaceSelector": {}}
V4, V6 = "0.0.0.0/0", "::/0"


def workload(replicas: int | None) -> Json:
    spec = {} if replicas is None else {"replicas": replicas}
    return {"metadata": {"name": "api", "namespace": "shop"}, "spec": spec}


def eviction(name: str) -> Json:
    return {"metadata": {"name": name, "namespace": "shop"}}


OTHER = {"containers": [{"name": "api", "image": "shop/api:2"}]}
ENDS_PODS = {"key": "compromised", "effect": "NoExecute"}
NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}
OWNER = {"kind": "ReplicaSet", "name": "api", "uid": "1", "controller": True}
NONE_DELETED = "Stanch deletes nothing"
SPEC_STAYS = "a pod in quarantine is evidence: its spec stays"
MARK_STAYS = "a pod in quarantine is evidence: only the isolator takes the mark off"
NOT_EVICTED = "a pod in quarantine is evidence: nobody of Stanch evicts it"
NOTHING_ELSE = "the isolator changes pods and nodes and creates a network policy, and does nothing else"
TWO_FIELDS = "the isolator changes of a node's spec unschedulable and taints only"
NO_EXECUTE = "the isolator adds no NoExecute taint: it ends pods, and with them the evidence"
THIS_ONE = "the isolator creates stanch-quarantine, which lets nothing through, stanch-block-…, and no other"
SOME_PODS = "stanch-block-… is about what comes into some pods, and about none in quarantine"
EVERY_POD = "stanch-block-… lets in every pod"
BOTH_KINDS = "stanch-block-… lets in addresses of both kinds"
SOMEBODY = "stanch-block-… shuts somebody out"
NARROW = "stanch-block-… shuts out at most 100 networks, none wider than /24 or /64"
NO_REPLICAS = "Stanch sets nothing that runs to no replicas"

# Who, what (with the subresource), as it is to be, as it is, and what is said against it.
Row = tuple[str, str, Json | None, Json | None, str]
TABLE: dict[str, Row] = {
    "a pod in quarantine is deleted": (EXECUTOR, "pods", None, pod(MARKED), NONE_DELETED),
    "any pod is deleted": (EXECUTOR, "pods", None, pod(), NONE_DELETED),
    "its namespace is deleted": (EXECUTOR, "namespaces", None, eviction("shop"), NONE_DELETED),
    "the isolator deletes": (ISOLATOR_ACCOUNT, "networkpolicies", None, network_policy(), NONE_DELETED),
    "an administrator deletes": ("admin", "pods", None, pod(MARKED), ""),
    "a pod in quarantine gets another image": (
        EXECUTOR,
        "pods",
        pod(MARKED, spec=OTHER),
        pod(MARKED),
        SPEC_STAYS,
    ),
    "any pod gets another image": (EXECUTOR, "pods", pod(spec=OTHER), pod(), ""),
    "a debugger is put into a pod in quarantine": (
        READER,
        "pods/ephemeralcontainers",
        pod(MARKED, spec=OTHER),
        pod(MARKED),
        SPEC_STAYS,
    ),
    "a pod in quarantine gets other resources": (
        EXECUTOR,
        "pods/resize",
        pod(MARKED, spec=OTHER),
        pod(MARKED),
        SPEC_STAYS,
    ),
    "a note on a pod in quarantine": (
        EXECUTOR,
        "pods",
        pod(MARKED, annotations={"a": "b"}),
        pod(MARKED),
        "",
    ),
    "the executor takes the mark off": (EXECUTOR, "pods", pod({"app": "api"}), pod(MARKED), MARK_STAYS),
    "the executor takes all labels off": (EXECUTOR, "pods", pod(), pod(MARKED), MARK_STAYS),
    "the isolator takes the mark off": (ISOLATOR_ACCOUNT, "pods", pod({"app": "api"}), pod(MARKED), ""),
    "a pod in quarantine is evicted": (EXECUTOR, "pods/eviction", eviction("marked"), None, NOT_EVICTED),
    "another pod is evicted": (EXECUTOR, "pods/eviction", eviction("well"), None, ""),
    "an administrator evicts it": ("admin", "pods/eviction", eviction("marked"), None, ""),
    "the isolator evicts": (ISOLATOR_ACCOUNT, "pods/eviction", eviction("well"), None, NOTHING_ELSE),
    "a workload is scaled to nothing": (EXECUTOR, "deployments", workload(0), workload(3), NO_REPLICAS),
    "the same by its scale": (EXECUTOR, "deployments/scale", workload(None), workload(3), NO_REPLICAS),
    **{
        f"the {what} is set to none": (EXECUTOR, what, workload(0), workload(2), NO_REPLICAS)
        for what in ("statefulsets", "statefulsets/scale", "replicasets", "replicasets/scale")
    },
    "a workload is scaled down": (EXECUTOR, "deployments", workload(1), workload(3), ""),
    "what does not run is changed": (EXECUTOR, "statefulsets", workload(0), workload(0), ""),
    "a pod is put into quarantine": (
        ISOLATOR_ACCOUNT,
        "pods",
        pod(MARKED, annotations={"a": "b"}),
        pod({"app": "api"}),
        "",
    ),
    "a pod gets other labels": (
        ISOLATOR_ACCOUNT,
        "pods",
        pod({"app": "web"}),
        pod({"app": "api"}),
        "the isolator puts pods into quarantine and takes them out, and no other labels on",
    ),
    "the image changes with the mark": (
        ISOLATOR_ACCOUNT,
        "pods",
        pod(MARKED, spec=OTHER),
        pod(),
        "the isolator changes nothing that a pod runs",
    ),
    "a finalizer comes with the mark": (
        ISOLATOR_ACCOUNT,
        "pods",
        pod(MARKED, finalizers=["a/b"]),
        pod(),
        "the isolator leaves finalizers as they are",
    ),
    "an owner goes with the mark": (
        ISOLATOR_ACCOUNT,
        "pods",
        pod(MARKED),
        pod(ownerReferences=[OWNER]),
        "the isolator leaves ownerReferences as they are",
    ),
    "the status of a pod is written": (ISOLATOR_ACCOUNT, "pods/status", pod(), pod(), NOTHING_ELSE),
    "a workload is changed": (ISOLATOR_ACCOUNT, "deployments", workload(3), workload(3), NOTHING_ELSE),
    "a node is cordoned and tainted": (
        ISOLATOR_ACCOUNT,
        "nodes",
        node(dict(TAINT), unschedulable=True),
        node(),
        "",
    ),
    "both are taken back": (
        ISOLATOR_ACCOUNT,
        "nodes",
        node(),
        node(dict(TAINT), unschedulable=True),
        "",
    ),
    "pods are driven off a node": (ISOLATOR_ACCOUNT, "nodes", node(ENDS_PODS), node(), NO_EXECUTE),
    "a taint of the control plane stays": (
        ISOLATOR_ACCOUNT,
        "nodes",
        node(NOT_READY, dict(TAINT)),
        node(NOT_READY),
        "",
    ),
    "another NoExecute beside it": (
        ISOLATOR_ACCOUNT,
        "nodes",
        node(NOT_READY, ENDS_PODS),
        node(NOT_READY),
        NO_EXECUTE,
    ),
    "another field of a node": (ISOLATOR_ACCOUNT, "nodes", node(podCIDR="10.9.0.0/24"), node(), TWO_FIELDS),
    "a new field of a node": (ISOLATOR_ACCOUNT, "nodes", node(providerID="x"), node(), TWO_FIELDS),
    "a field of a node is lost": (ISOLATOR_ACCOUNT, "nodes", node(), node(providerID="x"), TWO_FIELDS),
    "a label of a node": (
        ISOLATOR_ACCOUNT,
        "nodes",
        node(labels={"a": "b"}),
        node(),
        "the isolator leaves labels as they are",
    ),
    "a finalizer of a node": (
        ISOLATOR_ACCOUNT,
        "nodes",
        {**node(), "metadata": {"name": "node-0", "finalizers": ["a/b"]}},
        node(),
        "the isolator leaves finalizers as they are",
    ),
    "the one network policy": (ISOLATOR_ACCOUNT, "networkpolicies", network_policy(), None, ""),
    "one of another name": (ISOLATOR_ACCOUNT, "networkpolicies", network_policy("open"), None, THIS_ONE),
    "one that lets something in": (
        ISOLATOR_ACCOUNT,
        "networkpolicies",
        network_policy(ingress=[{}]),
        None,
        THIS_ONE,
    ),
    "one for every pod": (
        ISOLATOR_ACCOUNT,
        "networkpolicies",
        network_policy(podSelector={}),
        None,
        THIS_ONE,
    ),
    "one for one direction": (
        ISOLATOR_ACCOUNT,
        "networkpolicies",
        network_policy(policyTypes=["Egress"]),
        None,
        THIS_ONE,
    ),
    "it is changed afterwards": (
        ISOLATOR_ACCOUNT,
        "networkpolicies",
        network_policy(ingress=[{}]),
        network_policy(),
        NOTHING_ELSE,
    ),
    **{
        f"a block: {what}": (ISOLATOR_ACCOUNT, "networkpolicies", new, None, said)
        for what, new, said in (
            ("both kinds", block(), ""),
            ("IPv4 only", letting_in(EVERY, address(V4, "203.0.113.7/32"), address(V6)), ""),
            ("IPv6 only", letting_in(EVERY, address(V4), address(V6, "2001:db8::7/128")), ""),
            ("of another name", block(name="block-1"), THIS_ONE),
            ("as the other one", block(name="stanch-quarantine"), THIS_ONE),
            ("the other one by this name", network_policy("stanch-block-1"), SOME_PODS),
            ("what goes out as well", block(policyTypes=["Ingress", "Egress"]), SOME_PODS),
            ("what goes out is said", block(egress=[{}]), SOME_PODS),
            ("of every pod", block(podSelector={}), SOME_PODS),
            ("of every pod not in quarantine", selecting(matchLabels={}), SOME_PODS),
            ("of pods in quarantine", selecting(matchExpressions=[]), SOME_PODS),
            (
                "of pods in quarantine only",
                selecting(matchExpressions=[{"key": QUARANTINE, "operator": "Exists"}]),
                SOME_PODS,
            ),
            ("nobody is let in", block(ingress=[]), EVERY_POD),
            ("a rule that lets in all", block(ingress=[{}]), EVERY_POD),
            ("a second rule", block(ingress=[*INTO_WORKLOAD["ingress"], {}]), EVERY_POD),
            (
                "one port only",
                letting_in(EVERY, address(V4, BLOCKED[0]), address(V6), ports=[{"port": 80}]),
                EVERY_POD,
            ),
            (
                "some namespaces only",
                letting_in({"namespaceSelector": {"matchLabels": {"a": "b"}}}, address(V4), address(V6)),
                EVERY_POD,
            ),
            ("no pods", letting_in(address(V4, BLOCKED[0]), address(V6)), EVERY_POD),
            ("IPv6 is left out", letting_in(EVERY, address(V4, BLOCKED[0])), EVERY_POD),
            (
                "part of IPv4 only",
                letting_in(EVERY, address("203.0.113.0/24", "203.0.113.7/32"), address(V6)),
                BOTH_KINDS,
            ),
            (
                "part of IPv6 only",
                letting_in(EVERY, address(V4, BLOCKED[0]), address("2001:db8::/32")),
                BOTH_KINDS,
            ),
            (
                "pods with IPv4",
                letting_in(EVERY, {**address(V4, BLOCKED[0]), "podSelector": {}}, address(V6)),
                BOTH_KINDS,
            ),
            (
                "pods with IPv6",
                letting_in(EVERY, address(V4, BLOCKED[0]), {**address(V6), "podSelector": {}}),
                BOTH_KINDS,
            ),
            ("nobody is shut out", letting_in(EVERY, address(V4), address(V6)), SOMEBODY),
            ("half of IPv4", letting_in(EVERY, address(V4, "0.0.0.0/1"), address(V6)), NARROW),
            ("much of IPv6", letting_in(EVERY, address(V4), address(V6, "2001:db8::/32")), NARROW),
            (
                "one too many",
                letting_in(EVERY, address(V4, *(f"203.0.{n}.0/24" for n in range(101))), address(V6)),
                NARROW,
            ),
        )
    },
    "a block is changed afterwards": (
        ISOLATOR_ACCOUNT,
        "networkpolicies",
        block(),
        letting_in(EVERY, address(V4), address(V6)),
        NOTHING_ELSE,
    ),
    "a block is deleted": (ISOLATOR_ACCOUNT, "networkpolicies", None, block(), NONE_DELETED),
    "a pod is created": (ISOLATOR_ACCOUNT, "pods", pod(), None, NOTHING_ELSE),
    "a binding is created": (ISOLATOR_ACCOUNT, "rolebindings", eviction("me"), None, NOTHING_ELSE),
}


@pytest.fixture(scope="module")
def guarded() -> World:
    """A cluster with the policies in it, and in `shop` one pod that is in quarantine and one that is not."""
    world = World(SteppedClock())
    marked = ready_pod("marked")
    marked["metadata"]["labels"] = MARKED
    world.load([*documents(admissions()), marked, ready_pod("well")])
    return world


def asked(
    world: World, who: str, what: str, new: Json | None, old: Json | None, *, place: str = "shop"
) -> str:
    """What the API server says against it."""
    plural, _, subresource = what.partition("/")
    resource = by_plural(plural)
    name = str((new or old or {})["metadata"]["name"])
    target = Target(resource, place if resource.namespaced else None, name, subresource)
    try:
        enforce(world.store, Write(user=User(who), target=target, new=new, old=old))
    except ApiError as error:
        assert (error.code, error.body["reason"]) == (403, "Forbidden")
        return str(error.body["details"]["causes"][0]["message"]).partition("denied request: ")[2]
    return ""


@pytest.mark.parametrize(("who", "what", "new", "old", "said"), TABLE.values(), ids=TABLE.keys())
def test_what_is_refused_and_what_is_not(
    guarded: World, who: str, what: str, new: Json | None, old: Json | None, said: str
) -> None:
    assert asked(guarded, who, what, new, old) == said


@pytest.mark.parametrize(("base", "everybody", "longest"), [("203.0.113.0", V4, 32), ("2001:db8::", V6, 128)])
def test_what_is_too_wide_for_the_cluster_is_too_wide_for_us(
    guarded: World, base: str, everybody: str, longest: int
) -> None:
    """Of every length, so that neither is wider than the other."""
    for length in range(8, longest + 1):
        network = str(ip_network(f"{base}/{length}", strict=False))
        peers = [address(kind, *((network,) if kind == everybody else ())) for kind in (V4, V6)]
        said = asked(guarded, ISOLATOR_ACCOUNT, "networkpolicies", letting_in(EVERY, *peers), None)
        assert (said, length) == (NARROW if read_networks([network])[1] else "", length)


@pytest.mark.parametrize("who", [*ACCOUNTS, ISOLATOR_ACCOUNT])
def test_none_of_our_accounts_ends_a_pod_in_quarantine(guarded: World, who: str) -> None:
    assert asked(guarded, who, "pods", None, pod(MARKED))
    assert asked(guarded, who, "pods/eviction", eviction("marked"), None)
    assert asked(guarded, who, "pods", pod(MARKED, spec=OTHER), pod(MARKED))


def test_a_pod_of_that_name_elsewhere_may_be_evicted(guarded: World) -> None:
    assert asked(guarded, EXECUTOR, "pods/eviction", eviction("marked"), None, place="other") == ""


def test_every_policy_is_bound_refuses_when_in_doubt_and_is_for_our_accounts_only() -> None:
    found = documents(admissions(["one"], "two"))
    policies, bindings = found[::2], found[1::2]
    for policy, binding in zip(policies, bindings, strict=True):
        assert policy["metadata"]["name"] == binding["spec"]["policyName"]
        assert binding["spec"]["validationActions"] == ["Deny"]
        assert policy["spec"]["failurePolicy"] == "Fail"
        ours = policy["spec"]["matchConditions"][0]["expression"]
        assert ours in (
            'request.userInfo.username in ["one", "two"]',
            'request.userInfo.username in ["two"]',
        )


def test_every_check_refuses_something_in_the_table() -> None:
    said = {row[-1] for row in TABLE.values()}
    rules = {check.message for one in admissions() for check in one.checks}
    assert rules == said - {""}


def test_the_command_prints_what_kubectl_takes() -> None:
    shown = CliRunner().invoke(app, ["admission", "--account", "a", "--isolator", "b", "-o", "json"])
    assert json.loads(shown.stdout)["items"] == documents(admissions(["a"], "b"))
    text = CliRunner().invoke(app, ["admission"]).stdout
    assert list(yaml.safe_load_all(text)) == documents(admissions())
