"""What a probe cannot tell stays with that probe: the others' facts are there all the same."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from builders import policies, policy
from harness import harness
from stories import noticed
from structlog.testing import capture_logs

from receiver.clients.endpoints import Endpoints
from receiver.domain.events import Diagnosed
from receiver.pipeline.steps import diagnose_step
from receiver.policy.model import ProbeUse
from receiver.store.engine import Store

LOOKING = policies(
    policy(
        probes=(
            ProbeUse("provider", "status-page", {"endpoint": "openai"}),
            ProbeUse("rollout", "rollout-history", {}),
        ),
        candidates=(),
    )
)


class Faulty(Endpoints):
    """A door with a bug in it."""

    async def ask(self, *_: Any) -> Any:
        raise KeyError("a bug of ours, with a secret=hunter2 in it")


class Silent(Endpoints):
    """A door that nobody answers; ``asked`` is set once somebody knocked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def ask(self, *_: Any) -> Any:
        self.asked.set()
        await asyncio.Event().wait()


async def test_a_fault_in_one_probe_leaves_its_facts_missing_and_no_others(store: Store) -> None:
    async with harness(store, policies=LOOKING, endpoints=Faulty()) as h:
        with capture_logs() as logs:
            await noticed(h)
        (found,) = [event for event in await h.events() if isinstance(event, Diagnosed)]
        assert found.missing == {"provider": "a fault in the probe; the log has it"}
        assert found.facts["rollout"]["hasEarlier"] is True
        (line,) = [line for line in logs if line.get("event_code") == "probe_failed"]
        assert (line["log_level"], line["incident"], line["probe"]) == ("error", 1, "status-page")
        assert line["exc_info"]


async def test_whoever_is_cancelled_while_a_probe_looks_is_cancelled(store: Store) -> None:
    door = Silent()
    async with harness(store, policies=LOOKING) as h:
        await noticed(h)
        world = replace(h.world, endpoints=door)
        step = asyncio.create_task(diagnose_step(world, await h.incident()), name="diagnosis")
        await door.asked.wait()
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
