"""Trouble on order: each fault does to a request what it says, as often as it says, and the record tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from receiver.demo.kubernetes import ApiServer, Fault, JsonObject, SteppedClock
from receiver.demo.kubernetes.server import parse_duration

Manifest = Callable[..., JsonObject]
DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/api"
TO_FIVE = {"spec": {"replicas": 5}}


@pytest.fixture(autouse=True)
def deployment(api: ApiServer, manifest: Manifest) -> None:
    api.rollout(manifest("v1"), ago=timedelta(hours=1))


def replicas(api: ApiServer) -> int:
    return int(api.get("deployments", "shop", "api")["spec"]["replicas"])


async def arrived(api: ApiServer) -> None:
    """Wait until a request is there; the fault has had its effect on it by the next turn of the loop."""
    await api.calls.until(lambda call: call.method == "PATCH")
    await asyncio.sleep(0)


async def test_a_delay_holds_the_request_back(api: ApiServer, client: Any, clock: SteppedClock) -> None:
    api.faults.add(Fault(kind="delay", seconds=5, method="PATCH"))
    sent = asyncio.create_task(client.patch(DEPLOYMENT, TO_FIVE))
    await arrived(api)
    await clock.advance(timedelta(seconds=4))
    assert replicas(api) == 3
    await clock.advance(timedelta(seconds=1))
    assert (await sent)[0] == 200


async def test_a_late_answer_is_late_only_for_the_client(
    api: ApiServer, client: Any, clock: SteppedClock
) -> None:
    api.faults.add(Fault(kind="answer-late", seconds=5))
    sent = asyncio.create_task(client.patch(DEPLOYMENT, TO_FIVE))
    await arrived(api)
    assert replicas(api) == 5
    assert not sent.done()
    await clock.advance(timedelta(seconds=5))
    assert (await sent)[0] == 200


async def test_a_lost_answer_leaves_the_client_in_doubt(api: ApiServer, client: Any) -> None:
    api.faults.add(Fault(kind="lose-answer"))
    with pytest.raises(aiohttp.ClientError):
        await client.patch(DEPLOYMENT, TO_FIVE)
    assert replicas(api) == 5
    [call] = api.calls
    assert (call.status, call.answered, call.fault) == (200, False, "lose-answer")
    assert api.writes == [call]


async def test_a_dropped_request_does_nothing(api: ApiServer, client: Any) -> None:
    api.faults.add(Fault(kind="drop"))
    with pytest.raises(aiohttp.ClientError):
        await client.patch(DEPLOYMENT, TO_FIVE)
    assert (replicas(api), api.writes) == (3, [])


async def test_a_late_landing_writes_long_after_the_client_gave_up(
    api: ApiServer, client: Any, clock: SteppedClock
) -> None:
    api.faults.add(Fault(kind="land-late", seconds=30))
    with pytest.raises(aiohttp.ClientError):
        await client.patch(DEPLOYMENT, TO_FIVE)
    assert replicas(api) == 3
    await clock.advance(timedelta(seconds=30))
    assert replicas(api) == 5
    [write] = api.writes
    assert not write.answered


async def test_a_late_landing_still_minds_its_precondition(
    api: ApiServer, client: Any, clock: SteppedClock
) -> None:
    api.faults.add(Fault(kind="land-late", seconds=30))
    version = api.get("deployments", "shop", "api")["metadata"]["resourceVersion"]
    with pytest.raises(aiohttp.ClientError):
        await client.patch(DEPLOYMENT, {"metadata": {"resourceVersion": version}, **TO_FIVE})
    api.touch("deployments", "shop", "api")
    await clock.advance(timedelta(seconds=30))
    assert (replicas(api), [call.status for call in api.calls]) == (3, [409])


@pytest.mark.parametrize(
    ("timeout", "respected", "landed"),
    [
        pytest.param("10s", True, False, id="given up at the timeout"),
        pytest.param("60s", True, True, id="in time"),
        pytest.param("10s", False, True, id="told not to care"),
    ],
)
async def test_a_late_landing_respects_the_timeout_it_was_sent_with(
    api: ApiServer, client: Any, clock: SteppedClock, timeout: str, respected: bool, landed: bool
) -> None:
    api.faults.add(Fault(kind="land-late", seconds=30, respect_timeout=respected))
    with pytest.raises(aiohttp.ClientError):
        await client.patch(f"{DEPLOYMENT}?timeout={timeout}", TO_FIVE)
    await clock.advance(timedelta(seconds=30))
    assert (replicas(api) == 5) is landed


async def test_a_refusal_may_say_when_to_come_again(api: ApiServer, client: Any) -> None:
    api.faults.add(Fault(kind="refuse", status=429, retry_after=7), Fault(kind="refuse", status=503))
    async with client.session.get(api.url + DEPLOYMENT) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
        assert (await answer.json())["reason"] == "TooManyRequests"
    async with client.session.get(api.url + DEPLOYMENT) as answer:
        assert answer.status == 503
        assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(
    ("fault", "hit"),
    [
        pytest.param(Fault(kind="refuse", method="PATCH"), True, id="method"),
        pytest.param(Fault(kind="refuse", method="PUT"), False, id="another method"),
        pytest.param(Fault(kind="refuse", path=r"deployments/api$"), True, id="path"),
        pytest.param(Fault(kind="refuse", path=r"pods"), False, id="another path"),
        pytest.param(Fault(kind="refuse", dry_run=True), False, id="dry runs only"),
        pytest.param(Fault(kind="refuse", dry_run=False), True, id="real ones only"),
    ],
)
async def test_a_fault_hits_what_it_names(api: ApiServer, client: Any, fault: Fault, hit: bool) -> None:
    api.faults.add(fault)
    status, _ = await client.patch(DEPLOYMENT, TO_FIVE)
    assert (status == 503) is hit


async def test_a_fault_wears_off_after_its_count(api: ApiServer, client: Any) -> None:
    api.faults.add(Fault(kind="refuse", count=2))
    assert [(await client("GET", DEPLOYMENT))[0] for _ in range(3)] == [503, 503, 200]


async def test_a_fault_without_a_count_stays_until_cleared(api: ApiServer, client: Any) -> None:
    api.faults.add(Fault(kind="refuse", count=None))
    assert [(await client("GET", DEPLOYMENT))[0] for _ in range(3)] == [503] * 3
    api.faults.clear()
    assert (await client("GET", DEPLOYMENT))[0] == 200


async def test_faults_can_be_ordered_over_http(api: ApiServer, client: Any) -> None:
    status, _ = await client("POST", "/_stanch/faults", {"kind": "refuse", "status": 500})
    assert (status, api.faults.pending) == (201, [Fault(kind="refuse", status=500)])
    assert (await client("DELETE", "/_stanch/faults"))[1] == api.faults.pending == []


@pytest.mark.parametrize(
    "order",
    [
        pytest.param({"kind": "explode"}, id="no such kind"),
        pytest.param({"kind": "drop", "chance": 0.5}, id="no such field"),
        pytest.param({"kind": "drop", "path": "("}, id="no regular expression"),
    ],
)
async def test_a_bad_order_is_explained(client: Any, order: JsonObject) -> None:
    status, body = await client("POST", "/_stanch/faults", order)
    assert (status, list(body)) == (400, ["error"])


async def test_somebody_else_can_be_made_to_write(api: ApiServer, client: Any) -> None:
    where = {"resource": "deployments", "namespace": "shop", "name": "api"}
    before = api.get("deployments", "shop", "api")["metadata"]
    _, touched = await client("POST", "/_stanch/touch", where)
    assert touched["metadata"]["generation"] == before["generation"]
    _, changed = await client("POST", "/_stanch/touch", {**where, "patch": TO_FIVE, "manager": "ops"})
    assert changed["metadata"]["generation"] == before["generation"] + 1
    assert (replicas(api), api.writes, len(api.calls)) == (5, [], 0)


async def test_a_status_can_be_made_to_flap(api: ApiServer, clock: SteppedClock) -> None:
    version = api.store.version
    flapping = api.flap("deployments", "shop", "api", every=timedelta(milliseconds=100), times=5)
    await clock.advance(timedelta(seconds=1))
    await flapping
    assert api.store.version == version + 5


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("", None), ("soon", None)]
)
def test_durations_are_read_as_go_writes_them(text: str, seconds: float | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert parse_duration(text) == expected
