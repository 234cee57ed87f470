"""A capture against a cluster that answers over HTTP: what is kept, what is a gap, and that it ends."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from crime_scene import SECRET_VALUE, commit_crime, restarted
from ready_pods import ready_pod

from receiver.clients import cluster
from receiver.demo.kubernetes import ApiServer, Fault, RealClock
from receiver.domain.events import EvidenceSealed
from receiver.evidence.capture import NOTHING_KEPT, Evidence, Limits
from receiver.evidence.manifest import MANIFEST, Manifest, differences
from receiver.evidence.selection import Subject
from receiver.evidence.vault import Capture, Vault, Writing

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
SHOP = Subject(1, NOW, ("namespace/shop",))


@dataclass
class Scene:
    """A cluster, the door to it and a vault."""

    api: ApiServer
    door: cluster.Cluster
    vault: Vault
    progress: list[None] = field(default_factory=list)

    async def take(self, subject: Subject = SHOP, **limits: Any) -> EvidenceSealed:
        """One capture."""
        return await Evidence(self.vault, Limits(**limits)).capture(
            subject, self.door, now=lambda: NOW, on_progress=lambda: self.progress.append(None)
        )

    def sealed(self, number: int = -1) -> tuple[Capture, Manifest]:
        """A capture as it lies there, held to its manifest."""
        capture = self.vault.captures()[number]
        found = capture.sealed()
        assert found is not None
        assert differences(found[0], capture.files()) == ()
        return capture, found[0]

    def document(self, path: str) -> Any:
        """A file of the newest capture."""
        return json.loads((self.sealed()[0].path / path).read_text())


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Scene]:
    async with ApiServer(clock=RealClock()) as api:
        door = await cluster.connect(url=api.url)
        yield Scene(api, door, Vault(folder / "vault"))
        await door.close()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with opened(tmp_path) as found:
        yield found


async def test_everything_of_a_namespace_is_kept(scene: Scene) -> None:
    pods = commit_crime(scene.api)
    sealed = await scene.take()
    _, manifest = scene.sealed()
    paths = {kept.path for kept in manifest.files}
    replicaset = scene.api.find("replicasets", "shop")[0]["metadata"]["name"]
    assert paths == {
        *(f"pods/shop/{pod}/{name}" for pod in pods for name in ("pod.json", "api.log")),
        *(f"namespaces/shop/{name}.json" for name in ("events", "networkpolicies", "rolebindings")),
        *(f"namespaces/shop/{name}.json" for name in ("secrets", "configmaps")),
        f"namespaces/shop/replicasets/{replicaset}.json",
        "namespaces/shop/deployments/api.json",
        "namespaces/shop/serviceaccounts/api.json",
        "namespaces/shop/roles/reader.json",
        "nodes/node-0.json",
        "nodes/node-1.json",
        "images.json",
    }
    assert (sealed.files, sealed.bytes) == (len(paths), manifest.bytes)
    assert sealed.gaps == ("ClusterRole cluster-admin: bound in shop; roles of clusters are not read",)
    assert scene.progress


async def test_no_secret_value_is_kept_and_what_was_left_out_is_said(scene: Scene) -> None:
    commit_crime(scene.api)
    await scene.take()
    capture, manifest = scene.sealed()
    for path in capture.files():
        content = (capture.path / path).read_text()
        assert SECRET_VALUE not in content and "aHVudGVyMi" not in content, path
    (keys,) = scene.document("namespaces/shop/secrets.json")
    assert (keys["metadata"]["name"], keys["sizes"]) == ("keys", {"password": len(SECRET_VALUE)})
    told = {kept.path: kept.redacted for kept in manifest.files if kept.redacted}
    assert told["namespaces/shop/deployments/api.json"] == (
        "spec.template.spec.containers[0].env[DB_PASSWORD]",
    )
    assert "MODE" in str(scene.document("namespaces/shop/deployments/api.json"))


async def test_the_log_before_a_restart_and_those_of_init_containers_are_kept(scene: Scene) -> None:
    scene.api.load([restarted("job")])
    scene.api.logs.previous["shop", "job"] = "before\n"
    await scene.take()
    capture, _ = scene.sealed()
    place = capture.path / "pods/shop/job"
    assert {path.name for path in place.iterdir()} == {"pod.json", "first.log", "api.log", "api.previous.log"}
    assert (place / "api.previous.log").read_text().endswith(" before\n")
    assert scene.document("images.json")[0]["imageID"] == "shop/api@sha256:0"


async def test_a_pod_that_is_gone_is_a_gap(scene: Scene) -> None:
    labels = ({"namespace": "shop", "pod": "gone-1"},)
    sealed = await scene.take(replace(SHOP, labels=labels))
    assert "Pod shop/gone-1: it is gone" in sealed.gaps
    assert scene.sealed()[1].files


async def test_what_is_not_allowed_is_a_gap_with_the_servers_words(scene: Scene) -> None:
    commit_crime(scene.api)
    scene.api.access.forbidden |= {("get", "pods/log"), ("list", "secrets")}
    sealed = await scene.take()
    assert sum('cannot get resource "pods/log"' in gap for gap in sealed.gaps) == 2
    assert sum("list Secret in shop: " in gap for gap in sealed.gaps) == 1
    assert "pods/shop" in str(scene.sealed()[1].files)


async def test_a_log_without_an_end_is_kept_from_its_start_and_from_its_end_at_no_memory(
    scene: Scene,
) -> None:
    scene.api.load([ready_pod("job", initContainers=[])])
    scene.api.logs.endless.add(("shop", "job"))
    scene.api.logs.by_pod["shop", "job"] = "newest\n"
    most = 8 * 1024 * 1024
    tracemalloc.start()
    await scene.take(log_bytes=most)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < most
    kept = {one.path: one for one in scene.sealed()[1].files}
    assert (kept["pods/shop/job/api.log"].bytes, kept["pods/shop/job/api.log"].truncated) == (most, True)
    assert not kept["pods/shop/job/api.newest.log"].truncated


async def test_all_logs_together_are_bounded_and_leave_room_for_the_rest(scene: Scene) -> None:
    pods = [ready_pod(f"job-{number}", initContainers=[]) for number in range(4)]
    scene.api.load(pods)
    scene.api.logs.endless |= {("shop", f"job-{number}") for number in range(4)}
    sealed = await scene.take(log_bytes=100_000, total_bytes=350_000, reserved_bytes=100_000)
    assert sealed.bytes <= 350_000
    assert any("no room: 350000 bytes are kept in all" in gap for gap in sealed.gaps)
    assert "namespaces/shop/events.json" in str(scene.sealed()[1].files)


async def test_at_most_twenty_pods_those_of_the_alerts_first(scene: Scene) -> None:
    scene.api.load([ready_pod(f"job-{number:02}") for number in range(25)])
    labels = ({"namespace": "shop", "pod": "job-24"},)
    sealed = await scene.take(replace(SHOP, labels=labels))
    pods = {kept.path.split("/")[2] for kept in scene.sealed()[1].files if kept.path.startswith("pods/")}
    assert len(pods) == 20 and "job-24" in pods
    assert "5 pods: 20 are looked at: not shop/job-19" in str(sealed.gaps)


async def test_at_the_deadline_what_is_there_is_sealed_and_the_rest_is_a_gap(scene: Scene) -> None:
    scene.api.load([ready_pod("job"), ready_pod("late")])
    scene.api.faults.add(Fault(kind="delay", seconds=30, path="/pods/late$", count=None))
    began = asyncio.get_running_loop().time()
    sealed = await scene.take(deadline=timedelta(seconds=1))
    assert asyncio.get_running_loop().time() - began < 4
    assert "Pod shop/late: not read, or in part, by the deadline of 1 s" in sealed.gaps
    assert "pods/shop/job/pod.json" in str(scene.sealed()[1].files)


async def test_a_log_that_is_cut_by_the_deadline_is_named_and_truncated(scene: Scene) -> None:
    scene.api.load([ready_pod("job", initContainers=[])])
    scene.api.logs.endless.add(("shop", "job"))
    huge = 10**11
    await scene.take(deadline=timedelta(seconds=1), log_bytes=huge, total_bytes=huge * 2)
    kept = {one.path: one for one in scene.sealed()[1].files}
    assert kept["pods/shop/job/api.log"].truncated
    assert kept["pods/shop/job/api.log"].bytes > 0


async def test_an_api_server_that_is_away_leaves_a_sealed_capture_of_gaps(scene: Scene) -> None:
    scene.api.faults.add(Fault(kind="drop", count=None))
    sealed = await scene.take()
    assert sealed.manifest and sealed.files == 1
    assert any("cannot be reached" in gap for gap in sealed.gaps)


async def test_an_answer_of_another_shape_costs_no_other_part(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.api.load([ready_pod("job")])
    monkeypatch.setattr(scene.door, "list_objects", _nonsense)
    sealed = await scene.take(replace(SHOP, labels=({"namespace": "shop", "pod": "job"},)))
    assert any("is not understood" in gap for gap in sealed.gaps)
    assert "pods/shop/job/api.log" in str(scene.sealed()[1].files)


async def _nonsense(*_: Any, **__: Any) -> Any:
    return [{"metadata": None}]


async def test_without_a_folder_nothing_is_asked_for_and_that_is_said(scene: Scene) -> None:
    sealed = await Evidence().capture(SHOP, scene.door, now=lambda: NOW, on_progress=lambda: None)
    assert (sealed.manifest, sealed.gaps) == ("", (NOTHING_KEPT,))
    assert not list(scene.api.calls)


async def test_a_folder_that_cannot_be_written_is_a_gap(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "vault").write_text("a file")
    sealed = await scene.take()
    assert (sealed.capture, sealed.manifest, sealed.files) == ("", "", 0)
    assert sealed.gaps[0].startswith("the evidence folder does not take it: ")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After 3000 bytes the disk is full."""
    left = 3000
    really = os.write

    def write(file: int, content: Any) -> int:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = really(file, bytes(content[:left]))
        left -= taken
        return taken

    monkeypatch.setattr("receiver.evidence.vault.os.write", write)
    yield


async def test_a_full_disk_is_a_gap_and_never_an_error(scene: Scene, full_disk: None) -> None:
    scene.api.load([ready_pod("job")])
    sealed = await scene.take()
    assert (sealed.manifest, sealed.files) == ("", 0)
    assert sealed.gaps[0] == "manifest.json: it could not be written: No space left on device"
    assert scene.vault.captures()[0].sealed() is None


async def test_a_disk_that_hangs_is_a_gap_once_it_had_its_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Writing.write

    def write(self: Writing, content: bytes) -> None:
        time.sleep(0.5)
        written(self, content)

    monkeypatch.setattr(Writing, "write", write)
    scene.api.load([ready_pod("job")])
    sealed = await scene.take(disk_time=timedelta(seconds=0.2))
    assert any("it did not answer in 0.2 s" in gap for gap in sealed.gaps)
    scene.sealed()


async def test_two_captures_at_once_have_folders_of_their_own(scene: Scene) -> None:
    commit_crime(scene.api)
    both = [scene.take(replace(SHOP, incident=number)) for number in (1, 2)]
    same = [scene.take(SHOP), scene.take(SHOP)]
    sealed = await asyncio.gather(*both, *same)
    assert len(scene.vault.captures()) == 4
    assert all(one.manifest for one in sealed)
    for number in range(4):
        scene.sealed(number)


async def test_what_was_sealed_before_a_crash_is_not_taken_again(scene: Scene) -> None:
    first = await scene.take()
    asked = len(list(scene.api.calls))
    assert await scene.take() == first
    assert len(list(scene.api.calls)) == asked
    assert len(scene.vault.captures()) == 1


async def test_what_was_never_sealed_is_named_as_abandoned_and_left(scene: Scene) -> None:
    first = await scene.take()
    capture, _ = scene.sealed()
    (capture.path / MANIFEST).unlink()
    left = set(capture.files())
    second = await scene.take()
    assert second.capture != first.capture
    assert f"capture {first.capture}: never sealed: abandoned, and left as it is" in second.gaps
    assert set(capture.files()) == left


async def test_another_lock_of_the_same_incident_is_captured_anew(scene: Scene) -> None:
    first = await scene.take()
    later = replace(SHOP, locked_at=NOW + timedelta(hours=1))
    assert (await scene.take(later)).capture != first.capture


@pytest.mark.parametrize("name", ["../../../../tmp/x", "a/b", "a\0b", "x" * 300, ".."], ids=ascii)
async def test_hostile_labels_never_leave_the_folder(scene: Scene, tmp_path: Path, name: str) -> None:
    labels = ({"namespace": name, "pod": name}, {"namespace": "shop", "pod": name})
    await scene.take(replace(SHOP, scopes=("cluster",), labels=labels))
    capture, _ = scene.sealed()
    assert files_beside(capture.path, tmp_path) == []
    assert all(name not in call.path for call in scene.api.calls)


def files_beside(folder: Path, root: Path) -> list[Path]:
    """Files below the root that are not in the folder."""
    return [path for path in root.rglob("*") if path.is_file() and folder not in path.parents]
