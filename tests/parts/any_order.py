"""Things that happen to one world in any order, some at the same time: what the property tests draw from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from builders import CAROL, DAVE, alert, labels, notification
from cures import APP, NAMESPACE
from harness import Harness
from sqlalchemy import func, select

from receiver.demo.kubernetes.faults import Fault
from receiver.domain.errors import StanchError
from receiver.domain.incidents import PlanState
from receiver.pipeline import people
from receiver.policy.approval import Identity
from receiver.store.engine import Store
from receiver.store.schema import intents

LEAD = Identity("lena", ("security-lead",))


@dataclass
class Story:
    """One world in which things happen; ``raced`` is how often a lock met an approval or a write."""

    h: Harness
    firing: dict[str, Any]
    raced: int = 0

    async def happen(self, what: str) -> None:
        """One thing; what is not possible now is refused, which is as good."""
        with suppress(StanchError):
            await self.happenings()[what]()

    def happenings(self) -> dict[str, Callable[[], Any]]:
        h = self.h
        minutes = {"a minute": 1, "five minutes": 5, "twenty minutes": 20}
        faults = {"lose an answer": "lose-answer", "drop a request": "drop", "land late": "land-late"}
        return {
            "fire": lambda: self.fire("HighErrorRate"),
            "fire another": lambda: self.fire("HighErrorRate", instance="two"),
            "resolve": lambda: self.resolve("HighErrorRate"),
            "resolve another": lambda: self.resolve("HighErrorRate", instance="two"),
            "approve": lambda: self.answer(partial(people.approve_plan, digest=None)),
            "deny": lambda: self.answer(people.deny_plan),
            "undo": lambda: self.undo(True),
            "keep": lambda: self.undo(False),
            "pause": lambda: people.set_pause(h.world, CAROL, on=True, policy=None, reason="wait"),
            "resume": lambda: people.set_pause(h.world, CAROL, on=False, policy=None, reason=""),
            "secure": self.secure,
            "secure as somebody approves": self.secure_beside_an_approval,
            "secure while it is sent": self.secure_beside_a_write,
            "release": self.release,
            "a status moves": lambda: self.touch(),
            "somebody scales": lambda: self.scale(),
            **{name: partial(self.pass_minutes, count) for name, count in minutes.items()},
            **{name: partial(self.fault, kind) for name, kind in faults.items()},
        }

    async def fire(self, name: str, **more: str) -> None:
        carried = labels(alertname=name, pod=self.a_pod(), **more)
        key = str(sorted(more.items()))
        started = self.firing.setdefault(key, (self.h.clock.now(), carried))
        await self.h.deliver(notification(alert(starts_at=started[0], with_labels=started[1])))

    async def resolve(self, name: str, **more: str) -> None:
        if (started := self.firing.pop(str(sorted(more.items())), None)) is not None:
            ended = alert(
                status="resolved", starts_at=started[0], ends_at=self.h.clock.now(), with_labels=started[1]
            )
            await self.h.deliver(notification(ended))

    async def answer(self, how: Callable[..., Any]) -> None:
        for incident in await self.h.incidents():
            if incident.plan is not None:
                await how(self.h.world, incident.plan.plan_id, CAROL, reason="said so")

    async def undo(self, yes: bool) -> None:
        for incident in await self.h.incidents():
            if incident.plan is not None:
                await people.decide_undo(
                    self.h.world, incident.plan.plan_id, DAVE, undo=yes, reason="said so"
                )

    async def secure(self) -> None:
        for incident in await self.h.incidents():
            await people.secure(self.h.world, incident.id, LEAD, reason="a miner")

    async def secure_beside_an_approval(self) -> None:
        waits = [one.plan for one in await self.h.incidents() if one.plan is not None]
        self.raced += any(plan.state is PlanState.AWAITING for plan in waits)
        approve = self.answer(partial(people.approve_plan, digest=None))
        await asyncio.gather(approve, self.secure(), return_exceptions=True)

    async def secure_beside_a_write(self) -> None:
        with suppress(StanchError):
            await self.answer(partial(people.approve_plan, digest=None))
        working = asyncio.create_task(self.h.work())
        for _ in range(200):
            if working.done() or await in_flight(self.h.world.store):
                break
            await asyncio.sleep(0)
        self.raced += bool(await in_flight(self.h.world.store))
        await self.secure()
        await working

    async def release(self) -> None:
        for incident in await self.h.incidents():
            for who in (CAROL, LEAD):
                await people.release(self.h.world, incident.id, who, reason="clean")

    async def pass_minutes(self, count: int) -> None:
        await self.h.pass_time(timedelta(minutes=count), step=timedelta(seconds=30))

    async def touch(self) -> None:
        self.h.demo.api.touch("deployments", NAMESPACE, APP)

    async def scale(self) -> None:
        present = self.h.demo.api.get("deployments", NAMESPACE, APP)["spec"]["replicas"]
        self.h.demo.api.change("deployments", NAMESPACE, APP, {"spec": {"replicas": present + 1}})

    async def fault(self, kind: Any) -> None:
        seconds = 0.2 if kind == "land-late" else 0.0
        self.h.demo.api.faults.add(
            Fault(kind=kind, seconds=seconds, dry_run=False, path="deployments|eviction")
        )

    def a_pod(self) -> str:
        pods = self.h.demo.api.find("pods", NAMESPACE, f"app={APP}")
        return str(pods[0]["metadata"]["name"]) if pods else "none"


async def in_flight(store: Store) -> dict[str, int]:
    """How many writes are begun and not settled, by target."""
    statement = (
        select(intents.c.target, func.count().label("n"))
        .where(intents.c.state == "started")
        .group_by(intents.c.target)
    )
    return await store.read(lambda tx: {row.target: row.n for row in tx.execute(statement)})
