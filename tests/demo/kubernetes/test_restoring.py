"""Objects as kubectl printed them go into the small cluster as they were, and live on from there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from receiver.demo.kubernetes import ApiServer, SteppedClock
from receiver.packaged import policies
from receiver.trials.policy_test.objects import read_objects

FILE = policies() / "tests" / "cluster" / "two-releases.yaml"
OLD, NEW = "greenlang-api-7c56b99cf4", "greenlang-api-9456dfdfc"


@pytest.fixture
def api() -> ApiServer:
    objects = read_objects(FILE.name, FILE.read_text())
    assert not isinstance(objects, str)
    api = ApiServer(clock=SteppedClock(datetime(2026, 3, 2, 3, tzinfo=UTC)), automatic=False)
    api.restore(objects)
    return api


def test_uid_times_generation_and_status_stay(api: ApiServer) -> None:
    deployment = api.get("deployments", "greenlang", "greenlang-api")
    metadata = deployment["metadata"]
    assert metadata["uid"] == "8d116ece-1738-47d9-bd9c-172411e20b8f"
    assert (metadata["creationTimestamp"], metadata["generation"]) == ("2026-03-01T10:00:00Z", 2)
    assert deployment["status"]["availableReplicas"] == 4
    sets = {one["metadata"]["name"]: one for one in api.find("replicasets", "greenlang")}
    assert {name: one["spec"]["replicas"] for name, one in sets.items()} == {OLD: 0, NEW: 4}
    assert sets[NEW]["metadata"]["creationTimestamp"] == "2026-03-02T02:50:00Z"


def test_pods_that_the_file_leaves_out_have_been_there_for_a_while(api: ApiServer) -> None:
    assert api.ready_pods("greenlang", "app=greenlang-api") == {"well": 4}


def test_a_rollback_reuses_the_old_replica_set(api: ApiServer) -> None:
    template = api.get("replicasets", "greenlang", OLD)["spec"]["template"]
    labels = {name: value for name, value in template["metadata"]["labels"].items() if "hash" not in name}
    wanted = {**template, "metadata": {"labels": labels}}
    api.change("deployments", "greenlang", "greenlang-api", {"spec": {"template": wanted}})
    api.reconcile()
    assert isinstance(api.clock, SteppedClock)
    api.clock.jump(timedelta(minutes=2))
    api.reconcile()
    sets = {one["metadata"]["name"]: one["spec"]["replicas"] for one in api.find("replicasets", "greenlang")}
    assert sets == {OLD: 4, NEW: 0}
    assert api.get("deployments", "greenlang", "greenlang-api")["metadata"]["generation"] == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: List\n", "a List without items"),
        ("[1, 2]\n", "holds no object"),
        ("a: [\n", "this is no YAML"),
        ("{apiVersion: v1, kind: Pdo, metadata: {name: a}}\n", 'no Pdo of v1; did you mean "Pod"?'),
        ("{apiVersion: v1, kind: Pod, metadata: {name: a}}\n", "Pod a names no namespace"),
        ("{apiVersion: v1, kind: Pod}\n", "the Pod has no name"),
        ("{apiVersion: v1, kind: List, items: [7]}\n", "object 0: it is no mapping"),
    ],
)
def test_what_is_no_export_is_told(text: str, said: str) -> None:
    found = read_objects("file.yaml", text)
    assert isinstance(found, str)
    assert said in found
