"""What goes on beside the incidents: joining, telling, sealing, pruning, reconciling, following the policies,
walking the audit chain.

Each duty is a loop of its own that a failure makes wait, not end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection

from receiver.announce.messages import anchor
from receiver.domain.errors import StanchError, Unavailable
from receiver.pipeline.counters import Counters
from receiver.pipeline.expiring import end_blocks, expire
from receiver.pipeline.joining import join_waiting
from receiver.pipeline.pruning import AT_ONCE, prune
from receiver.pipeline.reconciliation import RECONCILE, reconcile
from receiver.pipeline.recording import tell
from receiver.pipeline.telling import deliver
from receiver.pipeline.world import World
from receiver.store import audit, audit_rounds, duties, intake

log = structlog.get_logger(__name__)

State = dict[str, Any]

PRUNE = "prune"
ANCHOR = "anchor"
AUDIT = audit_rounds.DUTY
# Fifty million events a day at least; a round takes a few hundredths of a core while it goes.
AUDIT_EVERY = timedelta(seconds=30)
AUDIT_STEPS = 80
AUDIT_WITHIN = timedelta(seconds=20)
EXPIRE = "expire"
EXPIRE_EVERY = timedelta(minutes=1)
LEASE = timedelta(seconds=60)
# A person does not notice it, and a storm fills it with hundreds of deliveries.
JOIN_APART = timedelta(milliseconds=20)


@dataclass(frozen=True)
class Retention:
    """How long what was done with is kept; of webhook bodies also how much, whichever comes first."""

    age: timedelta = timedelta(days=7)
    size_bytes: int = 2 * 1024**3


class Duties:
    """All the loops of one process, started and stopped together."""

    def __init__(
        self, world: World, counters: Counters, *, on_joined: Callable[[], None], retention: Retention
    ) -> None:
        self._world = world
        self._counters = counters
        self._on_joined = on_joined
        self._retention = retention
        self._kept = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        # Out of reach of whoever writes to the store.
        self._audited = audit.START
        self._complained: int | None = None

    def kept(self) -> None:
        """A delivery was committed: read it now rather than at the next poll."""
        self._kept.set()

    def start(self) -> None:
        """Begin all of them."""
        timing = self._world.timing
        loops: list[tuple[str, Callable[[], Awaitable[bool]], timedelta]] = [
            ("joining", self.join, timing.poll / 5),
            ("telling", self.tell, timing.poll / 4),
            ("sealing", self.seal, timing.seal),
            ("pruning", self.prune, timing.poll * 10),
            ("anchoring", self.anchor, timing.poll * 5),
            ("auditing", self.audit, timing.poll * 5),
            ("reconciling", self.reconcile, timing.poll),
            ("expiring", self.expire, timing.poll * 5),
        ]
        for name, duty, pause in loops:
            self._tasks.append(asyncio.create_task(self._loop(name, duty, pause), name=f"duty-{name}"))

    async def stop(self) -> None:
        """End all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _loop(self, name: str, duty: Callable[[], Awaitable[bool]], pause: timedelta) -> None:
        while True:
            more = False
            try:
                more = await duty()
            except Unavailable as error:
                log.warning("the store is away", event_code="store_away", duty=name, why=str(error))
            except StanchError as error:
                log.warning("a duty could not be done", event_code="duty_failed", duty=name, why=str(error))
            except Exception:
                log.exception("a duty failed", event_code="duty_failed", duty=name)
            if not more:
                await self._wait(name, pause)

    async def _wait(self, name: str, pause: timedelta) -> None:
        if name != "joining":
            await asyncio.sleep(pause.total_seconds())
            return
        try:
            async with asyncio.timeout(pause.total_seconds()):
                await self._kept.wait()
        except TimeoutError:
            return

    async def join(self) -> bool:
        """Read and join what is waiting; True while there may be more.

        While senders come, it rests twice as long as it worked: joining takes the interpreter from them, and
        what they bring meanwhile costs one transaction and not many.
        """
        began = self._world.steady()
        self._kept.clear()
        joined = await join_waiting(self._world, self._counters)
        if joined.deliveries and self._kept.is_set():
            took = timedelta(seconds=self._world.steady() - began)
            await asyncio.sleep(max(2 * took, JOIN_APART).total_seconds())
        if joined.doubtful:
            await self._world.store.write(lambda tx: duties.make_due(tx, RECONCILE))
        if joined.incidents:
            self._on_joined()
        return joined.deliveries > 0

    async def tell(self) -> bool:
        """Deliver what the outbox holds; True while there may be more."""
        return await deliver(self._world, self._counters) > 0

    async def seal(self) -> bool:
        """Bring new timeline rows into the chain; True while there may be more."""
        return await self._world.store.write(audit.seal) >= 2000

    async def anchor(self) -> bool:
        """Say the chain's head where a thief of the database cannot reach: in the log, and to who is told."""
        await self._chore(ANCHOR, self._world.timing.anchor, self._say_head)
        return False

    async def audit(self) -> bool:
        """Look whether what was sealed is as it was, a bounded part at a time.

        A chain that does not fit stops nothing but is told: an attacker must not be able to stop what heals.
        """
        await self._chore(AUDIT, AUDIT_EVERY, self._audit_some)
        return False

    async def prune(self) -> bool:
        """Drop what is old and done with, bodies, messages and facts, in small transactions."""
        await self._chore(PRUNE, self._world.timing.prune, self._prune_all)
        return False

    async def expire(self) -> bool:
        """Ask about mitigations whose time is over, and about addresses that are still shut out."""
        world = self._world

        async def body(state: State) -> State:
            await expire(world)
            await end_blocks(world)
            return state

        await self._chore(EXPIRE, EXPIRE_EVERY, body)
        return False

    async def reconcile(self) -> bool:
        """Ask the sources what fires, when it is time."""
        world = self._world

        async def body(state: State) -> State:
            return await reconcile(world, self._counters, state)

        if await self._chore(RECONCILE, world.timing.reconcile, body):
            self._on_joined()
        return False

    async def _chore(self, name: str, every: timedelta, body: Callable[[State], Awaitable[State]]) -> bool:
        """Do it if it is due and nobody else does, with what its last round left; whether it was done."""
        world = self._world

        def taking(tx: Connection) -> State | None:
            return duties.take(tx, name, owner=world.owner, now=world.clock.now(), lease=LEASE)

        taken = await world.store.write(taking)
        if taken is None:
            return False
        left = taken
        try:
            left = await body(taken)
        finally:
            due = world.clock.now() + every
            await world.store.write(
                lambda tx: duties.finish(tx, name, owner=world.owner, next_due_at=due, state=left)
            )
        return True

    async def _say_head(self, state: State) -> State:
        world = self._world
        head = await world.store.read(audit.head)
        log.info("audit anchor", event_code="audit_anchor", seal=head.seal, hash=head.hash)
        told = [head.seal, head.hash]
        if not head.seal or state.get("told") == told:
            return state
        key = f"audit-anchor/{head.seal}/{head.hash}"
        message = anchor(head.seal, head.hash)
        await world.store.write(lambda tx: tell(world, tx, message, key=key))
        return {"told": told}

    async def _audit_some(self, state: State) -> State:
        world = self._world
        known = audit_rounds.read_round(state).also(self._audited)
        until = world.steady() + AUDIT_WITHIN.total_seconds()
        for _ in range(AUDIT_STEPS):
            began = world.steady()
            now = world.clock.now()
            limit = 0 if known.rests(now) else audit_rounds.STEP
            sight = await world.store.read(partial(audit_rounds.look, known=known, limit=limit))
            known = audit_rounds.went_on(known, sight, now=now, limit=limit)
            if not limit or began > until:
                break
            # Joining and carrying out go first.
            await asyncio.sleep(2 * (world.steady() - began))
        self._audited = known.newest
        if known.broken is not None and known.broken != self._complained:
            log.error(
                "what was sealed into the audit chain does not fit any more",
                event_code="audit_broken",
                row=known.broken,
            )
        self._complained = known.broken
        return audit_rounds.round_state(known)

    async def _prune_all(self, state: State) -> State:
        store, limits = self._world.store, self._retention
        before = self._world.clock.now() - limits.age
        await prune(store, before)
        while await store.read(intake.delivery_bytes) > limits.size_bytes:
            if not await store.write(_drop_oldest):
                break
        return state


def _drop_oldest(tx: Connection) -> int:
    ids = intake.oldest_done(tx, limit=AT_ONCE)
    intake.drop_deliveries(tx, ids)
    return len(ids)
