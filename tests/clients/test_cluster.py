"""The door to the cluster: what is asked there is the object that was named, and no other thing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from ready_pods import ready_pod as a_ready_pod

from receiver.clients import cluster, wire
from receiver.demo.kubernetes import ApiServer, RealClock
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.plans import ObjectRef


@pytest.mark.parametrize("name", ["api-1/log", "api-1/../../secrets/key", "..", ".", "api%2Flog"])
async def test_a_name_that_leads_elsewhere_is_never_asked_for(name: str) -> None:
    async with ApiServer(clock=RealClock()) as api:
        door = await cluster.connect(url=api.url)
        with pytest.raises(PermanentError, match="is not a valid object name"):
            await door.get(ObjectRef("v1", "Pod", "shop", name))
        await door.close()
        assert not list(api.calls)


async def test_a_namespace_that_leads_elsewhere_is_never_asked_for() -> None:
    async with ApiServer(clock=RealClock()) as api:
        door = await cluster.connect(url=api.url)
        with pytest.raises(PermanentError, match="is not a valid object name"):
            await door.list_objects("v1", "Pod", "..")
        await door.close()
        assert not list(api.calls)


@pytest.fixture
async def ready_pod() -> AsyncIterator[ApiServer]:
    """A cluster with the pod shop/job in it."""
    async with ApiServer(clock=RealClock()) as api:
        api.load([a_ready_pod("job")])
        yield api


async def test_a_log_without_an_end_is_read_block_by_block_and_left(ready_pod: ApiServer) -> None:
    ready_pod.logs.endless.add(("shop", "job"))
    door = await cluster.connect(url=ready_pod.url)
    blocks = door.log_blocks("shop", "job", container="api", previous=False, limit_bytes=10**12)
    taken = 0
    async with aclosing(blocks):
        async for block in blocks:
            assert len(block) <= cluster.LOG_BLOCK_BYTES
            taken += len(block)
            if taken > 10**6:
                break
    assert await door.ready()
    await door.close()


async def test_a_log_that_cannot_be_had_says_why(ready_pod: ApiServer) -> None:
    door = await cluster.connect(url=ready_pod.url)
    blocks = door.log_blocks("shop", "job", container="api", previous=True, limit_bytes=100)
    with pytest.raises(PermanentError, match="previous terminated container"):
        await anext(blocks)
    await door.close()


async def test_an_answer_that_is_too_large_is_refused_before_it_is_kept(
    ready_pod: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_ANSWER_BYTES", 300)
    door = await cluster.connect(url=ready_pod.url)
    with pytest.raises(TemporaryError, match="larger than 300 bytes"):
        await door.list_objects("v1", "Pod", "shop")
    await door.close()
