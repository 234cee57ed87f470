"""What speaks against shutting addresses out, each reason against it alone, and when it is known to hold."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from hand_clock import NOON
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.isolation import QUARANTINE, Act, Block, Hold, IsolationPlan, Wanted, all_but, deny_all
from receiver.domain.plans import NotApplicable
from receiver.domain.remediation import ClusterReader
from receiver.domain.selectors import selects
from remediations.isolation.block import BlockAddresses, read_networks

WAY = BlockAddresses(cast(ClusterReader, None))
UNTIL = NOON + timedelta(hours=24)
Json = dict[str, Any]


def wanted(*blocked: str) -> Wanted:
    networks = blocked or ("203.0.113.0/24", "2001:db8:1::/64")
    return Wanted(Act.IP_BLOCK, "shop", deployment="api", blocked=networks, until=UNTIL)


def service(name: str = "api", *, status: Json | None = None, **spec: Any) -> Json:
    usual = {
        "selector": {"app": "api"},
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "clusterIP": "10.96.0.9",
        "clusterIPs": ["10.96.0.9"],
    }
    given = {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}} if status is None else status
    return {"metadata": {"name": name}, "spec": usual | spec, "status": given}


def node(*addresses: tuple[str, str], **spec: Any) -> Json:
    told = [{"type": kind, "address": address} for kind, address in addresses]
    return {"metadata": {"name": "node-0"}, "spec": spec, "status": {"addresses": told}}


def pod(*, ip: str = "10.244.0.5", **labels: str) -> Json:
    return {"metadata": {"name": "api-1", "labels": {"app": "api", **labels}}, "status": {"podIP": ip}}


def network_policy(name: str = "theirs", **spec: Any) -> Json:
    usual = {"podSelector": {"matchLabels": {"app": "api"}}, "policyTypes": ["Ingress"]}
    return {"metadata": {"name": name}, "spec": usual | spec}


def deployment(**spec: Any) -> Json:
    usual = {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "api"}},
        "template": {"metadata": {"labels": {"app": "api", "tier": "web"}}, "spec": {}},
    }
    metadata = {"name": "api", "namespace": "shop", "uid": "u-1"}
    return {"metadata": metadata, "spec": usual | spec, "status": {"readyReplicas": 3}}


def api_server(*addresses: str) -> Json:
    return {"metadata": {"name": "kubernetes"}, "endpoints": [{"addresses": list(addresses)}]}


def seen(**changes: Any) -> Json:
    usual = {
        "deployment": deployment(),
        "pods": [pod()],
        "services": [service()],
        "policies": [],
        "nodes": [node(("InternalIP", "10.0.0.1"), ("ExternalIP", "198.51.100.9"), ("Hostname", "n"))],
        "api": api_server("198.51.100.20"),
        "monitoring": ["prometheus.monitoring.svc"],
    }
    return deepcopy(usual | changes)


def plan_of(state: Mapping[str, Any], about: Wanted | None = None) -> IsolationPlan | NotApplicable:
    return WAY.plan(state, about or wanted(), incident_id=7)


def planned(state: Mapping[str, Any] | None = None) -> tuple[IsolationPlan, Block]:
    plan = plan_of(state or seen())
    assert isinstance(plan, IsolationPlan), plan.reason
    (step,) = plan.steps
    assert isinstance(step, Block)
    return plan, step


def test_what_nothing_speaks_against_is_one_policy_that_lets_in_all_others() -> None:
    plan, step = planned()
    assert (plan.target.kind, plan.target.uid) == ("Deployment", "u-1")
    assert (step.target.namespace, step.target.name[:13]) == ("shop", "stanch-block-")
    assert (step.pods, step.blocked) == ({"app": "api"}, ("203.0.113.0/24", "2001:db8:1::/64"))
    assert all_but(step.pods, step.blocked)["ingress"] == [
        {
            "from": [
                {"namespaceSelector": {}},
                {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["203.0.113.0/24"]}},
                {"ipBlock": {"cidr": "::/0", "except": ["2001:db8:1::/64"]}},
            ]
        }
    ]
    assert f"kubectl --namespace shop delete networkpolicy {step.target.name}" in plan.undo_sentence


def test_what_is_not_blocked_of_one_kind_of_address_is_let_in_whole() -> None:
    assert all_but({"app": "api"}, ["203.0.113.7/32"])["ingress"][0]["from"][2] == {
        "ipBlock": {"cidr": "::/0"}
    }


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("203.0.112.0/23", "wider than /24"),
        ("0.0.0.0/0", "wider than /24"),
        ("2001:db8::/63", "wider than /64"),
        ("::/0", "wider than /64"),
        ("203.0.113.7/24", "write 203.0.113.0/24 for all of it, or 203.0.113.7 alone"),
        ("2001:db8::7/64", "write 2001:db8::/64 for all of it, or 2001:db8::7 alone"),
        ("203.0.113.0/255.255.255.0", "is no network"),
        ("203.0.113", "is no network"),
        ("203.0.113.0/33", "is no network"),
        ("2001:db8::1%eth0", "is no network"),
        ("evil.example", "is no network"),
        ("203.0.113.7\n", "is no network"),
        ("٢٠٣.0.113.7", "is no network"),
        ("", "is no network"),
    ],
)
def test_what_is_no_narrow_network_is_refused_with_what_to_write(written: str, says: str) -> None:
    networks, (wrong,) = read_networks([written])
    assert networks == () and says in wrong


def test_each_network_is_named_once_and_in_order_however_it_is_written() -> None:
    written = ["2001:DB8:0::/64", "203.0.113.9", "203.0.113.9/32", "2001:db8::/64", "192.0.2.0/24"]
    networks, wrong = read_networks(written)
    assert [str(one) for one in networks] == ["192.0.2.0/24", "203.0.113.9/32", "2001:db8::/64"]
    assert wrong == []


def test_a_hundred_are_a_list_and_one_more_is_not() -> None:
    many = [f"203.0.113.{number}" for number in range(101)]
    assert read_networks(many[:100])[1] == []
    assert "at most 100" in read_networks(many)[1][0]
    assert "at least one" in read_networks([])[1][0]


# What somebody wants to shut out, what is seen, and what is said against it.
OBJECTIONS: dict[str, tuple[tuple[str, ...], Json, str]] = {
    **{
        f"never: {network}": ((network,), {}, f"{network} overlaps with {what}")
        for network, what in (
            ("10.9.0.0/24", "private addresses"),
            ("172.31.0.0/24", "private addresses"),
            ("192.168.1.1/32", "private addresses"),
            ("100.64.0.0/24", "addresses of a provider's own network"),
            ("127.0.0.0/24", "loopback addresses"),
            ("169.254.169.254/32", "link-local addresses"),
            ("224.0.0.0/24", "multicast addresses"),
            ("255.255.255.255/32", "reserved addresses"),
            ("0.0.0.0/24", "unspecified addresses"),
            ("::/128", "unspecified addresses"),
            ("::1/128", "loopback addresses"),
            ("fd00::/64", "private addresses"),
            ("fe80::/64", "link-local addresses"),
            ("ff02::/64", "multicast addresses"),
            ("::ffff:cb00:7107/128", "IPv4 addresses"),
            ("64:ff9b::/96", "IPv4 addresses"),
        )
    },
    "an external address of a node": (("198.51.100.9/32",), {}, "198.51.100.9 of Node node-0"),
    "an internal one": (
        ("203.0.113.4/32",),
        {"nodes": [node(("InternalIP", "203.0.113.4"))]},
        "203.0.113.4 of Node node-0",
    ),
    "where a node's pods are": (
        ("203.0.113.4/32",),
        {"nodes": [node(("InternalIP", "10.0.0.1"), podCIDR="203.0.113.0/25")]},
        "203.0.113.0/25 of the pods of Node node-0",
    ),
    "the other kind of them": (
        ("2001:db8:9::/64",),
        {"nodes": [node(("InternalIP", "10.0.0.1"), podCIDRs=["10.1.0.0/24", "2001:db8:9::/56"])]},
        "2001:db8:9::/56 of the pods of Node node-0",
    ),
    "its own pod": ((), {"pods": [pod(ip="203.0.113.8")]}, "203.0.113.8 of Pod api-1"),
    "a Service": ((), {"services": [service(clusterIPs=["203.0.113.8"])]}, "203.0.113.8 of Service api"),
    "its outer address": ((), {"services": [service(externalIPs=["203.0.113.8"])]}, "of Service api"),
    "a load balancer": (("198.51.100.1/32",), {}, "198.51.100.1 of the load balancer of Service api"),
    "a load balancer of others": (
        ("198.51.100.2/32",),
        {
            "services": [
                service(),
                service(
                    "b", selector={"app": "b"}, status={"loadBalancer": {"ingress": [{"ip": "198.51.100.2"}]}}
                ),
            ]
        },
        "of the load balancer of Service b",
    ),
    "the API server": (("198.51.100.20/32",), {}, "198.51.100.20 of the API server"),
    "monitoring": ((), {"monitoring": ["203.0.113.30"]}, "203.0.113.30 of monitoring"),
    "no node is seen": ((), {"nodes": []}, "no node is seen, so whether it is among these is not known"),
    "a node without an address": ((), {"nodes": [node()]}, "Node node-0 tells no address, so whether"),
    "a node with a strange one": ((), {"nodes": [node(("InternalIP", "?"))]}, "has '?' for an address"),
    "a pending load balancer": ((), {"services": [service(status={})]}, "tells no address, so whether"),
    "one by a name": (
        (),
        {"services": [service(status={"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}})]},
        "the load balancer of Service api tells no address, so whether",
    ),
    "no API server": ((), {"api": None}, "the API server's address is not seen, so whether"),
    "an API server without addresses": ((), {"api": api_server()}, "address is not seen, so whether"),
    "more nodes than are read": (
        (),
        {"nodes": [node(("InternalIP", "10.0.0.1"))] * 5000},
        "there are 5000 nodes or more and not all are read",
    ),
    "more pods than are read": ((), {"pods": [pod()] * 500}, "500 pods or more"),
    "more Services than are read": ((), {"services": [service()] * 500}, "500 services or more"),
    "more policies than are read": (
        (),
        {"policies": [network_policy(podSelector={"matchLabels": {"app": "b"}})] * 500},
        "500 network policies or more",
    ),
    "pods on their host's network": (
        (),
        {"deployment": deployment(template={"spec": {"hostNetwork": True}})},
        "no network policy reaches them",
    ),
    "another policy": ((), {"policies": [network_policy()]}, "theirs decides what comes in"),
    "one for every pod": ((), {"policies": [network_policy(podSelector={})]}, "theirs decides"),
    "one without types": (
        (),
        {"policies": [{"metadata": {"name": "theirs"}, "spec": {"podSelector": {}}}]},
        "theirs decides",
    ),
    "one for pods as they will be": (
        (),
        {"policies": [network_policy(podSelector={"matchLabels": {"tier": "web"}})], "pods": []},
        "theirs decides",
    ),
    "one for a pod that is there": (
        (),
        {
            "policies": [network_policy(podSelector={"matchLabels": {"hand": "made"}})],
            "pods": [pod(hand="made")],
        },
        "theirs decides",
    ),
    "an earlier block": (
        (),
        {"policies": [network_policy("stanch-block-1", **all_but({"app": "api"}, ["192.0.2.1/32"]))]},
        "stanch-block-1 decides what comes in",
    ),
    "no Service": ((), {"services": []}, "it would shut out nobody"),
    "a Service inside": (
        (),
        {"services": [service(type="ClusterIP", status={})]},
        "it would shut out nobody",
    ),
    "a Service that hides clients": (
        (),
        {"services": [service(externalTrafficPolicy="Cluster")]},
        "it would shut out nobody",
    ),
    "a Service that says nothing": (
        (),
        {"services": [service(type="NodePort", externalTrafficPolicy=None)]},
        "it would shut out nobody",
    ),
    "a Service of others": ((), {"services": [service(selector={"app": "b"})]}, "it would shut out nobody"),
    "a Service without a selector": ((), {"services": [service(selector=None)]}, "it would shut out nobody"),
    "no Deployment": ((), {"deployment": None}, "there is no Deployment shop/api"),
    "a selector that is more than labels": (
        (),
        {
            "deployment": deployment(
                selector={
                    "matchLabels": {"app": "api"},
                    "matchExpressions": [{"key": "a", "operator": "Exists"}],
                }
            )
        },
        "does not select its pods by plain labels",
    ),
    "a selector of the mark": (
        (),
        {"deployment": deployment(selector={"matchLabels": {QUARANTINE: "7"}})},
        "does not select its pods by plain labels",
    ),
}


@pytest.mark.parametrize(("blocked", "changes", "says"), OBJECTIONS.values(), ids=OBJECTIONS.keys())
def test_each_reason_alone_is_enough_not_to_shut_anybody_out(
    blocked: tuple[str, ...], changes: Json, says: str
) -> None:
    refused = plan_of(seen(**changes), wanted(*blocked))
    assert isinstance(refused, NotApplicable)
    assert says in refused.reason
    assert "; " not in refused.reason


def test_another_of_the_same_name_is_left_alone() -> None:
    _, step = planned()
    theirs = network_policy(step.target.name, podSelector={"matchLabels": {"app": "b"}})
    refused = plan_of(seen(policies=[theirs]))
    assert isinstance(refused, NotApplicable) and "is there and says something else" in refused.reason


@pytest.mark.parametrize(
    "policy",
    [
        network_policy(policyTypes=["Egress"], egress=[]),
        network_policy(podSelector={"matchLabels": {"app": "b"}}),
        network_policy("stanch-quarantine", **deny_all()),
    ],
    ids=["what goes out", "other pods", "quarantine"],
)
def test_a_policy_that_decides_nothing_of_what_comes_in_here_is_in_nobodys_way(policy: Json) -> None:
    planned(seen(policies=[policy]))


def test_an_end_is_needed() -> None:
    endless = Wanted(Act.IP_BLOCK, "shop", deployment="api", blocked=("203.0.113.0/24",))
    assert "an end is needed" in str(plan_of(seen(), endless))


LABELS = st.dictionaries(
    st.sampled_from(["app", "tier", QUARANTINE]), st.sampled_from(["api", "7"]), min_size=1
)


@given(pods=LABELS, labels=LABELS)
def test_what_is_in_quarantine_is_never_let_in_again(pods: dict[str, str], labels: dict[str, str]) -> None:
    opened = all_but(pods, ["203.0.113.0/24"])["podSelector"]
    assert not selects(opened, {**labels, QUARANTINE: "7"})
    assert selects(opened, pods) is (QUARANTINE not in pods)


def test_a_pod_in_quarantine_does_not_stand_in_the_way_of_the_others() -> None:
    relabelled = pod(**{QUARANTINE: "7"})
    planned(seen(pods=[relabelled], policies=[network_policy("stanch-quarantine", **deny_all())]))


def test_the_card_says_of_each_service_whether_pods_see_who_asks() -> None:
    hides = service("hides", externalTrafficPolicy="Cluster")
    plan, _ = planned(seen(services=[service(), hides], monitoring=["prometheus", "prom.example.com"]))
    for says in (
        "Service api (LoadBalancer) has externalTrafficPolicy: Local",
        "Service hides (LoadBalancer) is not externalTrafficPolicy: Local",
        "what comes through a proxy or an ingress controller in the cluster is let in",
        "monitoring that runs in the cluster too",
        "monitoring at prom.example.com is outside the cluster",
        "hold only where the cluster's network enforces them",
        "at 2026",
    ):
        assert any(says in note for note in plan.notes), says
    assert not any("monitoring at prometheus is" in note for note in plan.notes)


@pytest.mark.parametrize("change", ["blocked", "until", "pods"])
def test_a_yes_is_to_these_addresses_of_these_pods_until_then(change: str) -> None:
    plan, _ = planned()
    others = {
        "blocked": plan_of(seen(), wanted("203.0.113.0/25")),
        "until": plan_of(seen(), Wanted(Act.IP_BLOCK, "shop", "", "", "api", wanted().blocked, NOON)),
        "pods": plan_of(seen(deployment=deployment(selector={"matchLabels": {"tier": "web"}}))),
    }
    other = others[change]
    assert isinstance(other, IsolationPlan)
    step, changed = plan.steps[0], other.steps[0]
    assert isinstance(step, Block)
    # Not by its name alone, which has a part of it.
    assert replace(plan, steps=(replace(step, **{change: getattr(changed, change)}),)).digest != plan.digest
    assert other.digest != plan.digest and other.steps[0].target.name != plan.steps[0].target.name
    assert plan.asked_for("lena", "logins").digest == plan.digest == planned()[0].digest


def standing(**changes: Any) -> tuple[IsolationPlan, Json]:
    """Its plan, and what is seen once it stands."""
    plan, step = planned()
    ours = network_policy(step.target.name, **all_but(step.pods, step.blocked))
    return plan, seen(**{"policies": [ours], **changes})


def test_what_stands_as_written_holds_and_is_planned_as_before() -> None:
    plan, state = standing()
    held = WAY.judge(plan, state, None)
    assert held.hold is Hold.HOLDS and "3 of 3 replicas are ready" in held.sentence
    again = plan_of(state)
    assert isinstance(again, IsolationPlan) and again.steps == plan.steps


@pytest.mark.parametrize(
    ("changes", "hold", "says"),
    [
        ({"policies": []}, Hold.NOT_YET, "somebody took NetworkPolicy shop/stanch-block-"),
        ({"deployment": None}, Hold.CANNOT_TELL, "Deployment shop/api is gone"),
        ({"services": []}, Hold.NOT_YET, "it shuts out nobody any more"),
        ({"deployment": deployment() | {"status": {}}}, Hold.NOT_YET, "none of 3 replicas is ready"),
    ],
)
def test_what_no_longer_holds_is_said(changes: Json, hold: Hold, says: str) -> None:
    plan, state = standing(**changes)
    held = WAY.judge(plan, state, None)
    assert held.hold is hold and says in held.sentence


def test_what_others_change_or_open_does_not_hold() -> None:
    plan, state = standing()
    opened = deepcopy(state)
    opened["policies"].append(network_policy("open", ingress=[{}]))
    assert "open may let in what this shuts out" in WAY.judge(plan, opened, None).sentence
    widened = deepcopy(state)
    widened["policies"][0]["spec"]["ingress"][0]["from"][1]["ipBlock"]["except"] = []
    assert "took" in WAY.judge(plan, widened, None).sentence
    crowded = deepcopy(state)
    crowded["policies"] += [network_policy(podSelector={"matchLabels": {"app": "b"}})] * 500
    assert WAY.judge(plan, crowded, None).hold is Hold.CANNOT_TELL


def test_there_is_no_write_that_takes_it_back_and_it_says_how_a_person_does() -> None:
    plan, state = standing()
    left = WAY.lift(plan, state)
    assert isinstance(left, NotApplicable) and "a person does: kubectl --namespace shop delete" in left.reason
    gone = WAY.lift(plan, state | {"policies": []})
    assert isinstance(gone, NotApplicable) and "is gone already" in gone.reason
