"""Pruning by hand, and a backup that is taken and restored: as people do it, with the commands."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from builders import CAROL
from harness import Harness, harness
from real_service import API_TOKEN, ClusterProcess, ServiceProcess
from shop import firing, ill_shop, manifests, names, write_policies
from sqlalchemy import func, select
from stories import noticed

from receiver.pipeline import people, pruning
from receiver.store import audit, retention, timeline
from receiver.store.engine import Store
from receiver.store.schema import deliveries, facts, incident_events, outbox, plans

LATER = timedelta(days=40)


async def stanch(environment: Mapping[str, str], *words: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "receiver.cli.main", *words]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=-1, stderr=-1
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def list_of(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


async def rows(store: Store) -> dict[str, int]:
    tables = (deliveries, outbox, facts, plans, incident_events)
    return await store.read(
        lambda tx: {
            table.name: tx.execute(select(func.count()).select_from(table)).scalar_one() for table in tables
        }
    )


async def one_that_is_over(h: Harness) -> None:
    """It was diagnosed, and is over."""
    await noticed(h)
    await people.close(h.world, 1, CAROL, cause="bad release")
    while await h.world.store.write(audit.seal):
        pass


async def chain(store: Store) -> audit.Head | audit.Broken:
    return audit.verify(await store.read(lambda tx: audit.export(tx, limit=10_000)))


async def test_what_is_dropped_is_what_was_counted_and_no_timeline_loses_a_word(store: Store) -> None:
    async with harness(store) as h:
        await one_that_is_over(h)
        at = h.clock.now() + LATER
        before, head = await rows(store), await chain(store)
        counted = await pruning.count(store, at)
        seen: list[int] = []
        gone = await pruning.prune(store, at, dropped=seen.append)
        after = await rows(store)
        assert gone == counted
        assert gone.deliveries and gone.facts
        assert sum(seen) == gone.total == sum(before.values()) - sum(after.values())
        assert (after["plans"], after["incident_events"]) == (before["plans"], before["incident_events"])
        assert isinstance(head, audit.Head)
        assert await chain(store) == head
        assert (await pruning.count(store, at)).total == 0


async def test_what_an_open_incident_found_stays(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        needed = (await rows(store))["facts"]
        gone = await pruning.prune(store, h.clock.now() + LATER)
        assert (gone.facts, (await rows(store))["facts"]) == (0, needed)
        assert needed


async def test_what_is_young_stays(store: Store) -> None:
    async with harness(store) as h:
        await one_that_is_over(h)
        before = await rows(store)
        gone = await pruning.prune(store, h.clock.now() - timedelta(hours=1))
        assert (gone.total, await rows(store)) == (0, before)


class Interrupted(Exception):
    """Ctrl-C."""


async def test_a_run_that_is_cut_off_leaves_a_good_store_and_the_next_does_the_rest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "AT_ONCE", 1)
    async with harness(store) as h:
        await one_that_is_over(h)
        await store.write(
            lambda tx: [timeline.store_facts(tx, number, at=h.clock.now()) for number in range(4)]
        )
        at = h.clock.now() + LATER
        total, head = (await pruning.count(store, at)).total, await chain(store)
        done: list[int] = []

        def cut_off(dropped: int) -> None:
            done.append(dropped)
            if sum(done) >= 3:
                raise Interrupted

        with pytest.raises(Interrupted):
            await pruning.prune(store, at, dropped=cut_off)
        assert await chain(store) == head
        assert (await pruning.count(store, at)).total == total - sum(done)
        assert (await pruning.prune(store, at)).total == total - sum(done)


async def test_messages_that_were_not_delivered_are_neither_counted_nor_dropped(store: Store) -> None:
    async with harness(store) as h:
        await one_that_is_over(h)
        waiting = await store.read(
            lambda tx: tx.execute(select(func.count()).select_from(outbox)).scalar_one()
        )
        at = h.clock.now() + LATER
        counted = await store.read(lambda tx: retention.count_letters(tx, before=at))
        await pruning.prune(store, at)
        left = (await rows(store))["outbox"]
        assert left == waiting - counted


async def test_the_command_counts_asks_and_drops(store: Store, store_url: str, tmp_path: Path) -> None:
    async with harness(store) as h:
        await one_that_is_over(h)
    await store.close()
    kept = {"PATH": "/usr/bin:/bin", "STANCH_STORE": store_url}
    words = ("prune", "--older-than", "1h")
    code, out, _ = await stanch(kept, *words, "--dry-run", "-o", "json")
    counted = json.loads(out)
    assert (code, counted["dropped"]) == (0, False)
    code, _, err = await stanch(kept, *words)
    assert (code, "--yes" in err) == (2, True) if counted["deliveries"] else (0, False)
    code, out, _ = await stanch(kept, *words, "--yes", "-o", "json")
    assert code == 0
    assert {**json.loads(out), "dropped": 0, "before": 0} == {**counted, "dropped": 0, "before": 0}
    code, _, err = await stanch(kept, "prune", "--older-than", "59m", "--yes")
    assert code == 2


async def test_a_store_of_another_release_or_none_is_left_alone(tmp_path: Path) -> None:
    words = ("prune", "--older-than", "1h", "--yes")
    environment = {"PATH": "/usr/bin:/bin", "STANCH_STORE": f"sqlite:///{tmp_path}/none"}
    code, _, err = await stanch(environment, *words)
    assert (code, "there is no store" in err, list_of(tmp_path)) == (2, True, [])


async def test_a_backup_taken_under_alerts_is_restored_and_its_incidents_go_on(tmp_path: Path) -> None:
    apps = names(3)
    file = tmp_path / "data" / "stanch.sqlite3"
    async with ill_shop() as prometheus, ClusterProcess(tmp_path, manifests(apps)) as cluster:
        service = ServiceProcess(
            tmp_path / "service",
            store=f"sqlite:///{file}",
            cluster_url=cluster.url,
            prometheus_url=prometheus.url,
            policies=write_policies(tmp_path / "policies"),
        )
        async with service, aiohttp.ClientSession() as session:
            assert await service.post_alerts(firing(apps[0]), session) == 200
            await a_plan(service)
            posting = asyncio.create_task(keep_posting(service, session, apps[1]))
            code, out, err = await stanch(service.settings, "backup", str(tmp_path / "saved"), "-o", "json")
            assert (code, json.loads(out)["file"]) == (0, str(tmp_path / "saved")), err
            assert await posting == {200}
            code, _, err = await stanch(service.settings, "backup", str(tmp_path / "saved"))
            assert (code, "already" in err) == (2, True)
            # What comes after the backup is lost by the restore.
            assert await service.post_alerts(firing(apps[2]), session) == 200
            await a_plan(service)
            await service.stop()
            shutil.rmtree(file.parent)
            file.parent.mkdir()
            shutil.copy(tmp_path / "saved", file)
            await service.start()
            found = {one["title"] for one in await service.incidents()}
            assert not any(apps[2] in title for title in found)
            digest = (await a_plan(service))["digest"]
            body = {"digest": digest, "reason": "restored"}
            assert (await service.api("POST", "plans/P-1/approve", body))[0] == 200
            await until_written(cluster)
            environment = {**service.settings, "STANCH_URL": service.url, "STANCH_TOKEN": API_TOKEN}
            code, chain_text, err = await stanch(environment, "audit", "export")
            assert code == 0, err
            (tmp_path / "audit.jsonl").write_text(chain_text)
            code, out, _ = await stanch(environment, "audit", "verify", str(tmp_path / "audit.jsonl"))
            assert (code, "every row fits" in out) == (0, True)


async def keep_posting(service: ServiceProcess, session: aiohttp.ClientSession, app: str) -> set[int]:
    return {await service.post_alerts(firing(app), session) for _ in range(60)}


async def a_plan(service: ServiceProcess) -> dict[str, Any]:
    """The first plan, once there is one."""
    for _ in range(400):
        status, found = await service.api("GET", "plans/P-1")
        if status == 200:
            plan: dict[str, Any] = found
            return plan
        await asyncio.sleep(0.05)
    raise AssertionError(f"no plan: {found}")


async def until_written(cluster: ClusterProcess) -> None:
    for _ in range(400):
        if cluster.writes():
            assert len(cluster.writes()) == 1
            return
        await asyncio.sleep(0.05)
    raise AssertionError("nothing was carried out")
