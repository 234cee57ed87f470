"""The log of a container: the one before, those that ran first, a part of it, and one without an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ready_pods import ready_pod

from receiver.demo.kubernetes import ApiServer

if TYPE_CHECKING:
    from tests.demo.kubernetes.conftest import Client

PATH = "/api/v1/namespaces/shop/pods/job/log"


@pytest.fixture
def loaded(api: ApiServer) -> ApiServer:
    """With a pod that is ready."""
    api.load([ready_pod("job")])
    api.logs.by_pod["shop", "job"] = "one\ntwo\n"
    return api


async def test_the_container_before_has_a_log_only_if_there_was_one(
    loaded: ApiServer, client: Client
) -> None:
    status, body = await client("GET", f"{PATH}?previous=true")
    assert (status, body["message"]) == (
        400,
        'previous terminated container "api" in pod "job" not found',
    )
    loaded.logs.previous["shop", "job"] = "before\n"
    assert await client("GET", f"{PATH}?previous=true") == (200, "before\n")


async def test_a_part_of_it_begins_at_the_lines_that_were_asked_for(
    loaded: ApiServer, client: Client
) -> None:
    assert await client("GET", f"{PATH}?limitBytes=5") == (200, "one\nt")
    assert await client("GET", f"{PATH}?tailLines=1&limitBytes=2") == (200, "tw")
    _, stamped = await client("GET", f"{PATH}?timestamps=true&tailLines=1")
    assert stamped.endswith("Z two\n") and stamped.startswith("20")


async def test_init_containers_have_logs_too(loaded: ApiServer, client: Client) -> None:
    assert (await client("GET", f"{PATH}?container=first"))[0] == 200
    status, body = await client("GET", f"{PATH}?container=other")
    assert (status, body["message"]) == (400, "container other is not valid for pod job")


async def test_one_without_an_end_is_as_long_as_was_asked_for(loaded: ApiServer, client: Client) -> None:
    loaded.logs.endless.add(("shop", "job"))
    _, text = await client("GET", f"{PATH}?limitBytes=100000")
    assert len(text) == 100_000
