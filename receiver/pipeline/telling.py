"""Deliver what waits in the outbox: at least once, retried for a long time, each destination for itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog
from sqlalchemy import Connection
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from receiver.domain.errors import PermanentError, StanchError, TemporaryError
from receiver.domain.incidents import Incident
from receiver.pipeline.counters import Counters
from receiver.pipeline.tracing import Outcome
from receiver.pipeline.world import Destination, World
from receiver.store import outbox, timeline
from receiver.store.outbox import Letter

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=60)
LONGEST_WAIT = timedelta(minutes=15)
# Some three days of trying at the longest wait; then it is a dead letter with a metric of its own.
ATTEMPTS = 300
AT_ONCE = 50


async def deliver(world: World, counters: Counters) -> int:
    """Send what is due now; how many letters were tried."""
    letters = await world.store.write(
        lambda tx: outbox.take(tx, owner=world.owner, now=world.clock.now(), lease=LEASE, limit=AT_ONCE)
    )
    places = {destination.name: destination for destination in world.destinations}
    about = await _incidents(world, letters) if world.tracer.on else {}
    await asyncio.gather(
        *(
            _tell(world, counters, letter, places.get(letter.destination), about.get(letter.incident_id))
            for letter in letters
        )
    )
    return len(letters)


async def _incidents(world: World, letters: Sequence[Letter]) -> dict[int | None, Incident]:
    """Those that these letters are about; none where they cannot be read, which must not hold up a letter."""
    numbers = {letter.incident_id for letter in letters if letter.incident_id is not None}
    try:
        return await world.store.read(lambda tx: {number: timeline.load(tx, number) for number in numbers})
    except StanchError:
        return {}


async def _tell(
    world: World, counters: Counters, letter: Letter, place: Destination | None, incident: Incident | None
) -> None:
    tracer = world.tracer
    with tracer.span("tell") if incident is None else tracer.of_incident("tell", lambda: incident) as span:
        span.set(destination=letter.destination)
        span.set(outcome=await _send(world, counters, letter, place))


async def _send(world: World, counters: Counters, letter: Letter, place: Destination | None) -> Outcome:
    if place is None:
        return await _failed(world, counters, letter, "this destination is no longer configured", retry=False)
    try:
        # A blip is tried again at once; an outage waits in the row, where a crash does not lose it.
        async for attempt in AsyncRetrying(
            stop=stop_after_attempt(2),
            wait=wait_fixed(0.2),
            retry=retry_if_exception_type(TemporaryError),
            reraise=True,
        ):
            with attempt:
                await place.send(letter.body, key=letter.key)
    except TemporaryError as error:
        return await _failed(world, counters, letter, str(error), retry=letter.attempts < ATTEMPTS)
    except PermanentError as error:
        return await _failed(world, counters, letter, str(error), retry=False)
    counters.messages[f"{letter.destination}:sent"] += 1
    await world.store.write(lambda tx: outbox.sent(tx, letter, at=world.clock.now()))
    return "sent"


async def _failed(world: World, counters: Counters, letter: Letter, error: str, *, retry: bool) -> Outcome:
    outcome: Outcome = "retried" if retry else "dead"
    counters.messages[f"{letter.destination}:{outcome}"] += 1
    say = log.warning if retry else log.error
    say("a message was not delivered", event_code="message_failed", destination=letter.destination, why=error)
    await world.store.write(_noting(world, letter, error, retry=retry))
    return outcome


def _noting(world: World, letter: Letter, error: str, *, retry: bool) -> Callable[[Connection], None]:
    now = world.clock.now()
    longest = min(LONGEST_WAIT.total_seconds(), 2.0 ** min(letter.attempts, 12))
    # Full jitter: many letters that failed together do not come back together.
    again = now + timedelta(seconds=1 + random.uniform(0, longest)) if retry else None  # noqa: S311
    return lambda tx: outbox.failed(tx, letter, error=error, again_at=again, at=now)
