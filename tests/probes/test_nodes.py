"""How the nodes of a workload are and what is used of them: told as far as it is known, and no further."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from builders import policies, policy
from cures import APP, NAMESPACE
from harness import Harness, harness
from stories import noticed

from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.events import Diagnosed, NothingApplies
from receiver.domain.plans import ObjectRef
from receiver.policy.model import Candidate, ProbeUse
from receiver.probes import nodes
from receiver.probes.nodes import Used
from receiver.store.engine import Store

TARGET = ObjectRef("apps/v1", "Deployment", NAMESPACE, APP)
NOTHING_USED = Used({}, {})


def pod(name: str, on: str | None) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {} if on is None else {"nodeName": on}}


def node(*, spec: dict[str, Any] | None = None, **conditions: str) -> dict[str, Any]:
    told = [{"type": kind, "status": status} for kind, status in conditions.items()]
    return {
        "spec": spec or {},
        "status": {"conditions": told, "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    }


def use(cpu: str, memory: str = "0") -> dict[str, Decimal]:
    return {"cpu": Decimal(cpu), "memory": Decimal(memory)}


@pytest.mark.parametrize(
    ("found", "facts"),
    [
        (node(Ready="True", DiskPressure="False"), {"ready": True, "diskPressure": False}),
        (node(Ready="True", DiskPressure="True"), {"ready": True, "diskPressure": True}),
        (node(Ready="Unknown", MemoryPressure="Unknown"), {"ready": False}),
        (node(PIDPressure="True"), {"pidPressure": True}),
        (node(spec={"unschedulable": True, "taints": [{}, {}]}), {"unschedulable": True, "taints": 2}),
    ],
    ids=["well", "disk", "not heard of", "no word on Ready", "cordoned"],
)
def test_a_condition_that_is_not_told_is_missing(found: dict[str, Any], facts: dict[str, Any]) -> None:
    (told,) = nodes.facts_of([pod("a", "n")], {"n": found}, NOTHING_USED)["nodes"]
    assert told == {"name": "n", "pods": 1, "unschedulable": False, "taints": 0, **facts}


def test_the_nodes_are_counted_by_what_ails_them() -> None:
    pods = [pod("a", "n-1"), pod("b", "n-1"), pod("c", "n-2"), pod("d", "n-3"), pod("e", None)]
    found = {"n-1": node(Ready="False"), "n-2": node(Ready="True", DiskPressure="True"), "n-3": None}
    facts = nodes.facts_of(pods, found, NOTHING_USED)
    assert (facts["count"], facts["looked"], facts["gone"]) == (3, 3, 1)
    assert (facts["notReady"], facts["underPressure"], facts["unschedulable"]) == (1, 1, 0)
    assert [each["pods"] for each in facts["nodes"]] == [2, 1]


def test_use_is_a_share_of_what_is_allocatable() -> None:
    used = Used({"n-1": use("1", "2147483648"), "n-2": use("3")}, {})
    facts = nodes.facts_of([pod("a", "n-1"), pod("b", "n-2")], {"n-1": node(), "n-2": node()}, used)
    assert (facts["nodes"][0]["cpu"], facts["nodes"][0]["memory"]) == (0.25, 0.25)
    assert (facts["cpuMax"], facts["memoryMax"]) == (0.75, 0.25)


@pytest.mark.parametrize("lacking", [{"n-1": node()}, {"n-1": node(), "n-2": None}], ids=["not read", "gone"])
def test_the_fullest_node_is_not_known_while_one_is_not_measured(lacking: dict[str, Any]) -> None:
    used = Used({"n-1": use("1", "2147483648")}, {})
    facts = nodes.facts_of([pod("a", "n-1"), pod("b", "n-2")], lacking, used)
    assert facts["nodes"][0]["cpu"] == 0.25
    assert facts.keys().isdisjoint({"cpuMax", "memoryMax"})


def test_use_that_is_not_known_is_missing_and_never_zero() -> None:
    facts = nodes.facts_of([pod("a", "n")], {"n": node()}, "the metrics API does not tell")
    assert facts["unmeasured"] == "the metrics API does not tell"
    assert not {"cpuMax", "memoryMax", "topCpu", "topMemory"} & facts.keys()
    assert not {"cpu", "memory"} & facts["nodes"][0].keys()
    assert nodes.facts_of([], {}, NOTHING_USED).keys().isdisjoint({"cpuMax", "topCpu", "unmeasured"})


@pytest.mark.parametrize(
    ("cores", "factor"),
    [
        ({"a": "0.1", "b": "0.2", "c": "2"}, 2 / 0.15),
        ({"a": "1", "b": "1", "c": "1"}, 1.0),
        ({"c": "2"}, None),
        ({"a": "0", "b": "0", "c": "2"}, None),
        ({"a": "0.5", "c": "2"}, 4.0),
        ({"a": "0.5", "c": "2", "of-another-workload": "9"}, 4.0),
    ],
    ids=["outlier", "alike", "alone", "idle siblings", "one unmeasured", "a stranger"],
)
def test_the_top_pod_is_compared_with_its_siblings(cores: dict[str, str], factor: float | None) -> None:
    used = Used({}, {name: use(each) for name, each in cores.items()})
    found = nodes.outlier([pod("a", "n"), pod("b", "n"), pod("c", "m")], used, "cpu")
    assert found is not None
    assert (found["pod"], found["node"], found["cores"]) == ("c", "m", float(cores["c"]))
    assert found.get("factor") == (None if factor is None else pytest.approx(factor))


async def look(h: Harness) -> Any:
    return await nodes.look(h.world.cluster, TARGET)


async def test_it_looks_at_the_nodes_of_a_real_workload(store: Store) -> None:
    async with harness(store) as h:
        h.demo.api.change("nodes", "", "node-1", {"spec": {"unschedulable": True}})
        found = await look(h)
        assert (found["count"], found["looked"], found["notReady"], found["unschedulable"]) == (2, 2, 0, 1)
        assert sum(each["pods"] for each in found["nodes"]) == h.demo.scenario.replicas
        assert "listing PodMetrics in greenlang: the API server has no such kind" in found["unmeasured"]
        assert await nodes.look(h.world.cluster, ObjectRef("apps/v1", "Deployment", NAMESPACE, "no")) is None


async def test_the_metrics_api_tells_what_is_used(store: Store) -> None:
    async with harness(store) as h:
        metrics = h.demo.api.metrics
        metrics.installed = True
        names = [each["metadata"]["name"] for each in h.demo.api.find("pods", NAMESPACE, f"app={APP}")]
        for name in names:
            metrics.by_pod[NAMESPACE, name] = {"cpu": "100m", "memory": "1Gi"}
        metrics.by_pod[NAMESPACE, names[0]] = {"cpu": "1234567890n", "memory": "1Gi"}
        metrics.by_node["node-0"] = {"cpu": "4", "memory": "8Gi"}
        metrics.by_node["node-1"] = {"cpu": "2", "memory": "8Gi"}
        found = await look(h)
        assert found["measured"] == len(names)
        assert (found["cpuMax"], found["memoryMax"]) == (0.5, 0.25)
        assert (found["topCpu"]["pod"], found["topCpu"]["factor"]) == (names[0], pytest.approx(12.3456789))
        # A node that is not measured has no share, and may be the fullest one.
        del metrics.by_node["node-1"]
        found = await look(h)
        assert "cpuMax" not in found
        told = {each["name"]: each for each in found["nodes"]}
        assert "cpu" in told["node-0"]
        assert "cpu" not in told["node-1"]


async def test_without_the_right_to_the_metrics_the_rest_is_still_told(store: Store) -> None:
    async with harness(store) as h:
        h.demo.api.metrics.installed = True
        h.demo.api.access.forbidden.add(("list", "pods"))
        with pytest.raises(PermanentError, match="listing Pod in"):
            await look(h)
        h.demo.api.access.forbidden.clear()
        h.demo.api.access.forbidden.add(("get", "nodes"))
        with pytest.raises(PermanentError, match="cannot get resource"):
            await look(h)


class Slow:
    """A door to a cluster whose metrics API does not answer."""

    def __init__(self, door: Any) -> None:
        self._door = door

    async def get(self, ref: ObjectRef) -> Any:
        return await self._door.get(ref)

    async def list_objects(self, api_version: str, kind: str, namespace: str, **narrowed: Any) -> Any:
        if kind == "PodMetrics":
            raise TemporaryError("the API server did not answer in time")
        return await self._door.list_objects(api_version, kind, namespace, **narrowed)

    async def log(self, *_: Any, **__: Any) -> str:
        raise AssertionError


async def test_metrics_that_are_late_leave_the_nodes_known(store: Store) -> None:
    async with harness(store) as h:
        found = await nodes.look(Slow(h.world.cluster), TARGET)
        assert found["unmeasured"].endswith("did not answer in time")
        assert found["count"] == 2


async def test_a_condition_over_use_that_is_not_known_proposes_nothing(store: Store) -> None:
    when = "nodes.cpuMax < 0.5 || nodes.topCpu.factor > 3.0"
    looking = policies(
        policy(
            probes=(ProbeUse("nodes", "nodes", {}),),
            candidates=(Candidate("deployment.rollback", "because", when, {"to": "known-good"}),),
        )
    )
    async with harness(store, policies=looking) as h:
        await noticed(h)
        events = await h.events()
        (found,) = [event for event in events if isinstance(event, Diagnosed)]
        assert found.facts["nodes"]["notReady"] == 0
        (nothing,) = [event for event in events if isinstance(event, NothingApplies)]
        assert "is not known" in str(nothing)


async def test_pods_that_may_be_those_of_others_are_not_looked_at(store: Store) -> None:
    selector = {"matchLabels": {"app": APP}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}
    async with harness(store) as h:
        template = h.demo.scenario.manifest(h.demo.scenario.good)
        labelled = {**template["spec"]["template"], "metadata": {"labels": {"app": APP, "tier": "web"}}}
        spec = {**template["spec"], "selector": selector, "template": labelled}
        h.demo.api.load([{**template, "metadata": {"name": "other", "namespace": NAMESPACE}, "spec": spec}])
        with pytest.raises(PermanentError, match="selects its pods by expressions"):
            await nodes.look(h.world.cluster, ObjectRef("apps/v1", "Deployment", NAMESPACE, "other"))


def test_an_amount_that_cannot_be_read_is_missing() -> None:
    sick = node()
    sick["status"]["allocatable"]["cpu"] = "four"
    (told,) = nodes.facts_of([pod("a", "n")], {"n": sick}, Used({"n": use("1", "1073741824")}, {}))["nodes"]
    assert "cpu" not in told
    assert told["memory"] == 0.125
