"""Even a door that tries cannot end or change a pod in quarantine, whatever the rights of its account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ready_pods import ready_pod
from rights import EXECUTOR_ACCOUNT, READER_ACCOUNT, SERVICE, TOKEN

from receiver.clients import cluster
from receiver.clients.answers import Answer, Applied, Rejected
from receiver.clients.cluster import Cluster
from receiver.clients.wire import path_of
from receiver.demo.kubernetes import ApiServer, RealClock, User
from receiver.domain.isolation import DENY_ALL, QUARANTINE, deny_all
from receiver.domain.plans import EvictStep, FieldChange, ObjectRef, PatchStep
from receiver.domain.workloads import reference
from receiver.policy.admission import ISOLATOR_ACCOUNT, admissions, documents

ACCOUNTS = (SERVICE, READER_ACCOUNT, EXECUTOR_ACCOUNT, ISOLATOR_ACCOUNT)
JSON_PATCH = "application/json-patch+json"
IMAGE = "/spec/containers/0/image"
Pod = dict[str, Any]
Attempt = Callable[[Cluster, Pod], Awaitable[Answer]]


async def evict(door: Cluster, pod: Pod) -> Answer:
    return await door.evict(EvictStep(reference(pod, api_version="v1", kind="Pod")), dry_run=False)


async def ask_for_eviction(door: Cluster, pod: Pod) -> Answer:
    return await door.evict(EvictStep(reference(pod, api_version="v1", kind="Pod")), dry_run=True)


async def change_image(door: Cluster, pod: Pod) -> Answer:
    change = FieldChange(IMAGE, pod["spec"]["containers"][0]["image"], "shop/api:2")
    step = PatchStep(reference(pod, api_version="v1", kind="Pod"), (change,))
    return await door.patch(step, current=pod, marker={"stanch.dev/intent": "1"}, dry_run=False)


async def change_image_and_mark(door: Cluster, pod: Pod) -> Answer:
    body = [
        {"op": "add", "path": "/metadata/labels", "value": {"app": "api"}},
        {"op": "replace", "path": IMAGE, "value": "shop/api:2"},
    ]
    return await door.wire.write("PATCH", _path(pod), [], body, JSON_PATCH)


async def replace(door: Cluster, pod: Pod) -> Answer:
    changed = {**pod, "spec": {**pod["spec"], "terminationGracePeriodSeconds": 0}}
    return await door.wire.write("PUT", _path(pod), [], changed, "application/json")


async def delete(door: Cluster, pod: Pod) -> Answer:
    return await door.wire.write("DELETE", _path(pod), [], None, "application/json")


async def delete_all(door: Cluster, pod: Pod) -> Answer:
    return await door.wire.write("DELETE", path_of("v1", "Pod", "shop"), [], None, "application/json")


async def delete_namespace(door: Cluster, pod: Pod) -> Answer:
    path = path_of("v1", "Namespace", "", "shop")
    return await door.wire.write("DELETE", path, [], None, "application/json")


async def let_through(door: Cluster, pod: Pod) -> Answer:
    path = path_of("networking.k8s.io/v1", "NetworkPolicy", "shop", DENY_ALL)
    return await door.wire.write("DELETE", path, [], None, "application/json")


def _path(pod: Pod) -> str:
    return path_of("v1", "Pod", "shop", pod["metadata"]["name"])


ATTEMPTS: tuple[Attempt, ...] = (
    evict,
    ask_for_eviction,
    change_image,
    change_image_and_mark,
    replace,
    delete,
    delete_all,
    delete_namespace,
    let_through,
)


@asynccontextmanager
async def quarantined() -> AsyncIterator[tuple[ApiServer, dict[str, Cluster]]]:
    """A pod in quarantine beside one that is not; every account has every right, and a door."""
    async with ApiServer(clock=RealClock()) as api:
        marked = ready_pod("marked")
        marked["metadata"]["labels"] = {QUARANTINE: "1"}
        deny = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": DENY_ALL, "namespace": "shop"},
            "spec": deny_all(),
        }
        api.load([*documents(admissions()), marked, ready_pod("well"), deny])
        api.access.tokens[TOKEN] = User(SERVICE)
        doors = {name: await cluster.connect(url=api.url, token=TOKEN, act_as=name) for name in ACCOUNTS}
        yield api, doors
        for door in doors.values():
            await door.close()


async def pod_of(door: Cluster, name: str) -> Pod:
    found = await door.get(ObjectRef("v1", "Pod", "shop", name))
    assert found is not None
    return found


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.__name__)
async def test_what_would_end_or_change_it_is_denied(account: str, attempt: Attempt) -> None:
    async with quarantined() as (api, doors):
        before = api.store.version
        answer = await attempt(doors[account], await pod_of(doors[account], "marked"))
        assert isinstance(answer, Rejected) and answer.status == 403
        assert "ValidatingAdmissionPolicy 'stanch-" in answer.sentence
        assert api.store.version == before


async def test_the_executor_goes_on_healing_what_is_not_in_quarantine() -> None:
    async with quarantined() as (_, doors):
        executor = doors[EXECUTOR_ACCOUNT]
        for attempt in (change_image, evict):
            assert isinstance(await attempt(executor, await pod_of(executor, "well")), Applied)


async def in_order(steps: list[tuple[str, Attempt, str]]) -> None:
    async with quarantined() as (api, doors):
        evidence = api.get("pods", "shop", "marked")
        for account, attempt, name in steps:
            pod = await doors[account].get(ObjectRef("v1", "Pod", "shop", name))
            if pod is not None:
                await attempt(doors[account], pod)
            assert api.get("pods", "shop", "marked") == evidence
            assert api.get("networkpolicies", "shop", DENY_ALL)["spec"] == deny_all()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from(ACCOUNTS), st.sampled_from(ATTEMPTS), st.sampled_from(("marked", "well"))),
        max_size=12,
    )
)
def test_whoever_tries_what_in_whatever_order_the_evidence_stands(
    steps: list[tuple[str, Attempt, str]],
) -> None:
    asyncio.run(in_order(steps))
