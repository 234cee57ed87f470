"""Evidence first: read and sealed once, before anything else happens, and never in the way of anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from builders import CAROL, alert, labels, notification
from harness import Harness, harness
from stories import approved, end_leases, noticed

from receiver.demo.kubernetes import Fault
from receiver.domain import events as ev
from receiver.evidence.capture import NOTHING_KEPT, Evidence, Limits
from receiver.evidence.manifest import differences
from receiver.evidence.vault import Vault
from receiver.pipeline import people
from receiver.policy.approval import Identity
from receiver.store.engine import Store

LEAD = Identity("lena", ("security-lead",))
SLOW_LOGS = Fault(kind="delay", seconds=3600, path="/log$", count=None)


@asynccontextmanager
async def kept_in(store: Store, vault: Vault, limits: Limits | None = None) -> AsyncIterator[Harness]:
    async with harness(store, evidence=Evidence(vault, limits)) as h:
        yield h


async def sealed(h: Harness, number: int = 1) -> list[ev.EvidenceSealed]:
    return [event for event in await h.events(number) if isinstance(event, ev.EvidenceSealed)]


async def secure(h: Harness, *scopes: str) -> None:
    await people.secure(h.world, 1, CAROL, reason="a miner runs in it", scopes=scopes)


async def test_it_is_sealed_once_and_before_anything_else_is_done(store: Store, tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault")
    async with kept_in(store, vault) as h:
        await approved(h)
        await secure(h)
        await h.work()
        kinds = await h.kinds()
        after = kinds[kinds.index("TurnedSecurity") + 1 :]
        assert after == [
            "PlanVoided",
            "IsolationConsidered",
            "EvidenceSealed",
            "CredentialsListed",
            "LockInForce",
        ]
        await h.pass_time(timedelta(minutes=5))
        (event,) = await sealed(h)
        (capture,) = vault.captures()
        found = capture.sealed()
        assert found is not None and (event.capture, event.manifest) == (capture.name, found[1])
        assert differences(found[0], capture.files()) == ()
        assert {path.split("/")[0] for path in capture.files()} >= {"pods", "namespaces", "nodes"}
        incident = await h.incident()
        assert incident.evidence == (event,)
        assert h.demo.real_writes == 0


async def test_the_lock_stands_while_it_is_read_and_intake_and_others_go_on(
    store: Store, tmp_path: Path
) -> None:
    async with kept_in(store, Vault(tmp_path / "vault")) as h:
        await approved(h)
        h.demo.api.faults.add(SLOW_LOGS)
        await secure(h)
        working = asyncio.create_task(h.work())
        await h.demo.api.calls.until(lambda call: call.path.endswith("/log"))
        started = h.clock.now()
        other = labels(namespace="elsewhere", alertname="Other")
        await h.deliver(notification(alert(starts_at=started, with_labels=other)))
        await h.rival().work()
        assert "Classified" in await h.kinds(2)
        assert "EvidenceSealed" not in await h.kinds()
        h.demo.api.faults.clear()
        await h.clock.advance(timedelta(hours=2))
        await working
        assert h.demo.real_writes == 0


async def test_what_a_dead_worker_left_is_abandoned_and_another_one_is_taken(
    store: Store, tmp_path: Path
) -> None:
    vault = Vault(tmp_path / "vault")
    async with kept_in(store, vault) as h:
        await noticed(h)
        h.demo.api.faults.add(SLOW_LOGS)
        await secure(h)
        working = asyncio.create_task(h.work())
        await h.demo.api.calls.until(lambda call: call.path.endswith("/log"))
        tasks = list(h.worker._tasks)
        for task in [*tasks, working]:
            task.cancel()
        await asyncio.gather(working, *tasks, return_exceptions=True)
        await end_leases(h)
        h.demo.api.faults.clear()
        await h.rival().work()
        (event,) = await sealed(h)
        left, taken = vault.captures()
        assert (left.sealed(), event.capture) == (None, taken.name)
        assert f"capture {left.name}: never sealed: abandoned, and left as it is" in event.gaps


async def test_what_was_sealed_before_a_crash_is_told_and_not_read_again(
    store: Store, tmp_path: Path
) -> None:
    vault = Vault(tmp_path / "vault")
    async with kept_in(store, vault) as h:
        await noticed(h)
        await secure(h)
        really = h.world.evidence.capture

        async def and_die(*args: object, **more: object) -> ev.EvidenceSealed:
            await really(*args, **more)  # type: ignore[arg-type]
            raise asyncio.CancelledError

        h.world.evidence.capture = and_die  # type: ignore[method-assign]
        await h.work()
        h.world.evidence.capture = really  # type: ignore[method-assign]
        assert await sealed(h) == []
        await end_leases(h)
        await h.rival().work()
        (event,) = await sealed(h)
        (capture,) = vault.captures()
        assert event.capture == capture.name


async def test_a_folder_that_does_not_take_it_holds_nothing_up(store: Store, tmp_path: Path) -> None:
    (tmp_path / "vault").write_text("no folder")
    async with kept_in(store, Vault(tmp_path / "vault")) as h:
        await noticed(h)
        await secure(h)
        await h.work()
        (event,) = await sealed(h)
        assert (event.manifest, event.files) == ("", 0)
        assert "does not take it" in event.gaps[0]
        incident = await h.incident()
        assert incident.lockdown is not None and incident.lockdown.in_force_at is not None


async def test_without_a_folder_that_is_said_once(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await secure(h)
        await h.pass_time(timedelta(minutes=2))
        assert [event.gaps for event in await sealed(h)] == [(NOTHING_KEPT,)]


async def test_more_that_is_locked_is_read_too(store: Store, tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault")
    async with kept_in(store, vault) as h:
        await noticed(h)
        await secure(h)
        await h.work()
        await h.pass_time(timedelta(seconds=15))
        await secure(h, "node/node-0")
        await h.work()
        first, second = await sealed(h)
        assert "node/node-0" not in first.scopes
        assert set(second.scopes) == {*first.scopes, "node/node-0"}
        assert len(vault.captures()) == 2


async def test_an_incident_that_no_alert_tells_of_is_captured_by_its_scope(
    store: Store, tmp_path: Path
) -> None:
    async with kept_in(store, Vault(tmp_path / "vault")) as h:
        await people.open_security(
            h.world, LEAD, title="x", reason="y", scopes=("Deployment/greenlang/greenlang-api",)
        )
        await h.work()
        (event,) = await sealed(h)
        assert event.manifest and event.files > 10
