"""A second, independent client: the real kubectl works against the small API server, and has real effects."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sysconfig
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from receiver.cli.main import app
from receiver.demo.kubernetes import ApiServer, JsonObject, SteppedClock, is_ready

Manifest = Callable[..., JsonObject]
KUBECTL = shutil.which("kubectl", path=sysconfig.get_path("scripts"))


class Kubectl:
    """Runs kubectl as a process beside the loop that serves it."""

    def __init__(self, home: Path, url: str) -> None:
        self._home = home
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "small", "cluster": {"server": url}}],
            "users": [{"name": "admin", "user": {}}],
            "contexts": [
                {"name": "it", "context": {"cluster": "small", "user": "admin", "namespace": "shop"}}
            ],
            "current-context": "it",
        }
        (home / "config").write_text(json.dumps(config))

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        assert KUBECTL, "kubectl belongs to the test parts"
        environment = {
            "HOME": str(self._home),
            "KUBECONFIG": str(self._home / "config"),
            "PATH": os.environ["PATH"],
        }
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            KUBECTL, *arguments, env=environment, stdout=pipe, stderr=pipe
        )

    async def __call__(self, *arguments: str) -> str:
        """Run to the end and return what it printed; fail with what it complained about."""
        process = await self.start(*arguments)
        out, err = await asyncio.wait_for(process.communicate(), timeout=30)
        assert process.returncode == 0, err.decode()
        return out.decode()


@pytest.fixture
def kubectl(api: ApiServer, tmp_path: Path, manifest: Manifest) -> Kubectl:
    api.rollout(manifest("v1"), ago=timedelta(hours=2))
    api.rollout(manifest("v2"), ago=timedelta(hours=1))
    return Kubectl(tmp_path, api.url)


def image(api: ApiServer) -> str:
    containers = api.get("deployments", "shop", "api")["spec"]["template"]["spec"]["containers"]
    return str(containers[0]["image"])


async def test_get_lists_by_name(kubectl: Kubectl, api: ApiServer) -> None:
    out = await kubectl("get", "deployments,replicasets,pods", "-o", "name")
    assert out.splitlines()[0] == "deployment.apps/api"
    assert len(out.splitlines()) == 1 + 2 + 3


async def test_get_json_is_the_object_as_stored(kubectl: Kubectl, api: ApiServer) -> None:
    out = await kubectl("get", "deployment", "api", "-o", "json", "--show-managed-fields")
    assert json.loads(out) == api.get("deployments", "shop", "api")


async def test_get_knows_selectors(kubectl: Kubectl) -> None:
    assert await kubectl("get", "pods", "-l", "app=web", "-o", "name") == ""
    out = await kubectl("get", "pods", "-l", "app in (api)", "--field-selector", "status.phase=Running")
    assert len(out.splitlines()) == 1 + 3


async def test_scale_scales(kubectl: Kubectl, api: ApiServer, clock: SteppedClock) -> None:
    await kubectl("scale", "deployment/api", "--replicas=5", "--current-replicas=3")
    await clock.advance(timedelta(minutes=1))
    assert api.get("deployments", "shop", "api")["status"]["readyReplicas"] == 5
    assert sum(is_ready(pod) for pod in api.find("pods", "shop")) == 5


async def test_set_env_touches_one_container_only(kubectl: Kubectl, api: ApiServer) -> None:
    await kubectl("set", "env", "deployment/api", "-c", "api", "BREAKER=on", "MODE-")
    containers = api.get("deployments", "shop", "api")["spec"]["template"]["spec"]["containers"]
    assert containers[0]["env"] == [{"name": "BREAKER", "value": "on"}]
    assert "env" not in containers[1]


async def test_set_image_is_followed_by_rollout_status(
    kubectl: Kubectl, api: ApiServer, clock: SteppedClock
) -> None:
    """`rollout status` watches while the clock moves, and ends when the last old pod is gone."""
    await kubectl("set", "image", "deployment/api", "api=shop/api:v3")
    watching = await kubectl.start("rollout", "status", "deployment/api")
    await api.calls.until(lambda call: "watch" in call.query)
    await clock.advance(timedelta(minutes=5))
    out, _ = await asyncio.wait_for(watching.communicate(), timeout=30)
    assert "new replicas have been updated" in out.decode()
    assert out.decode().endswith('deployment "api" successfully rolled out\n')


async def test_rollout_status_tells_of_a_broken_image(
    kubectl: Kubectl, api: ApiServer, clock: SteppedClock
) -> None:
    await kubectl("set", "image", "deployment/api", "api=shop/api:broken")
    await clock.advance(timedelta(minutes=11))
    process = await kubectl.start("rollout", "status", "deployment/api")
    _, err = await asyncio.wait_for(process.communicate(), timeout=30)
    assert process.returncode == 1
    assert 'deployment "api" exceeded its progress deadline' in err.decode()


async def test_rollout_undo_goes_back(kubectl: Kubectl, api: ApiServer, clock: SteppedClock) -> None:
    await kubectl("rollout", "undo", "deployment/api")
    assert image(api) == "shop/api:v1"
    await clock.advance(timedelta(minutes=5))
    assert await kubectl("rollout", "status", "deployment/api")


async def test_rollout_undo_can_name_a_revision(kubectl: Kubectl, api: ApiServer) -> None:
    await kubectl("set", "image", "deployment/api", "api=shop/api:v3")
    await kubectl("rollout", "undo", "deployment/api", "--to-revision=1")
    assert image(api) == "shop/api:v1"


async def test_rollout_history_lists_revisions(kubectl: Kubectl) -> None:
    await kubectl("annotate", "deployment/api", "kubernetes.io/change-cause=v2 goes out")
    rows = (await kubectl("rollout", "history", "deployment/api")).splitlines()[2:]
    assert [row.split(maxsplit=1) for row in rows if row] == [["1", "<none>"], ["2", "v2 goes out"]]


async def test_rollout_restart_makes_new_pods(kubectl: Kubectl, api: ApiServer, clock: SteppedClock) -> None:
    before = {pod["metadata"]["uid"] for pod in api.find("pods", "shop")}
    await kubectl("rollout", "restart", "deployment/api")
    await clock.advance(timedelta(minutes=5))
    assert not before & {pod["metadata"]["uid"] for pod in api.find("pods", "shop")}


async def test_cordon_and_taint_change_the_node(kubectl: Kubectl, api: ApiServer) -> None:
    await kubectl("cordon", "node-0")
    await kubectl("taint", "node", "node-0", "compromised=true:NoSchedule")
    spec = api.get("nodes", "", "node-0")["spec"]
    assert spec["unschedulable"] is True
    assert spec["taints"] == [{"effect": "NoSchedule", "key": "compromised", "value": "true"}]


async def test_logs_prints_what_was_set(kubectl: Kubectl, api: ApiServer) -> None:
    api.logs.by_image["shop/api:v2"] = "one\ntwo\nthree\n"
    assert await kubectl("logs", "deployment/api", "-c", "api", "--tail=2") == "two\nthree\n"


async def test_create_checks_fields_on_the_server(
    kubectl: Kubectl, api: ApiServer, manifest: Manifest, tmp_path: Path
) -> None:
    misspelt: dict[str, Any] = manifest(replicaz=3)
    misspelt["metadata"]["name"] = "other"
    (tmp_path / "other.json").write_text(json.dumps(misspelt))
    process = await kubectl.start("create", "-f", str(tmp_path / "other.json"))
    _, err = await asyncio.wait_for(process.communicate(), timeout=30)
    assert 'unknown field "spec.replicaz"' in err.decode()


async def test_apply_writes_only_what_changed(
    kubectl: Kubectl, api: ApiServer, manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "api.json").write_text(json.dumps(manifest("v4")))
    await kubectl("apply", "-f", str(tmp_path / "api.json"))
    assert image(api) == "shop/api:v4"
    [write] = [call for call in api.writes if call.method == "PATCH"]
    assert write.user_agent.startswith("kubectl/v1.37")


async def test_delete_takes_replica_sets_and_pods_along(kubectl: Kubectl, api: ApiServer) -> None:
    await kubectl("delete", "deployment", "api", "--timeout=20s")
    await kubectl("get", "pods")
    assert api.find("replicasets", "shop") == api.find("pods", "shop") == []


async def test_the_printed_admission_policies_can_be_applied_and_hold(
    kubectl: Kubectl, api: ApiServer, tmp_path: Path
) -> None:
    printed = tmp_path / "admission.yaml"
    printed.write_text(CliRunner().invoke(app, ["admission", "--account", "kubernetes-admin"]).stdout)
    assert await kubectl("apply", "-f", str(printed))
    assert "configured" not in await kubectl("apply", "-f", str(printed))
    process = await kubectl.start("scale", "deployment/api", "--replicas=0")
    _, err = await asyncio.wait_for(process.communicate(), timeout=30)
    assert "Stanch sets nothing that runs to no replicas" in err.decode()
