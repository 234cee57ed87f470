"""Whose token it is, the cluster says: for our audience, remembered for seconds, and never on a guess."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hand_clock import HandSteady

from receiver.clients import cluster
from receiver.demo.kubernetes import ApiServer, Fault, RealClock, User
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.policy.approval import Identity, KnownBy
from receiver.web.cluster_identities import MOST_REMEMBERED, PATH, REMEMBERED_SECONDS, ClusterIdentities

CAROL = User("oidc:carol@greenlang.io", ("oidc:sre",), audiences=("stanch",))


@asynccontextmanager
async def asking(steady: HandSteady | None = None) -> AsyncIterator[tuple[ApiServer, ClusterIdentities]]:
    """An API server that knows us and carol."""
    async with ApiServer(clock=RealClock()) as api:
        api.access.tokens |= {"ours": User("system:serviceaccount:stanch:stanch"), "hers": CAROL}
        door = await cluster.connect(url=api.url, token="ours")
        yield api, ClusterIdentities(door.wire, audience="stanch", steady=steady or HandSteady())
        await door.close()


def reviews(api: ApiServer) -> int:
    return sum(call.path == PATH for call in api.calls)


async def test_whoever_has_a_token_for_us_is_who_the_cluster_says() -> None:
    async with asking() as (_, identities):
        assert await identities.who("hers") == Identity(
            "oidc:carol@greenlang.io", ("oidc:sre",), KnownBy.CLUSTER
        )


@pytest.mark.parametrize("token", ["", "garbage", "x" * 20_000, "\udcff", "a b", "\u0000"])
async def test_what_the_cluster_does_not_know_is_nobody(token: str) -> None:
    async with asking() as (_, identities):
        assert await identities.who(token) is None


async def test_a_token_for_another_audience_or_for_the_api_server_is_refused() -> None:
    async with asking() as (api, identities):
        api.access.tokens |= {"other": User("carol", audiences=("vault",)), "plain": User("carol")}
        assert await identities.who("other") is None
        assert await identities.who("plain") is None


async def test_the_answer_is_remembered_for_seconds_and_asked_for_again() -> None:
    steady = HandSteady()
    async with asking(steady) as (api, identities):
        for _ in range(3):
            await identities.who("hers")
        assert reviews(api) == 1
        del api.access.tokens["hers"]
        steady.seconds = REMEMBERED_SECONDS - 0.1
        assert await identities.who("hers") is not None
        steady.seconds = REMEMBERED_SECONDS
        assert await identities.who("hers") is None


async def test_no_number_of_wrong_tokens_fills_the_memory() -> None:
    async with asking() as (_, identities):
        for number in range(MOST_REMEMBERED + 5):
            identities._known[str(number).encode()] = None
        await identities.who("hers")
        assert len(identities._known) == MOST_REMEMBERED


async def test_where_the_cluster_cannot_be_asked_nobody_is_let_in_and_nobody_told_that_they_are_wrong() -> (
    None
):
    async with asking() as (api, identities):
        api.faults.add(Fault(kind="refuse", status=503, path=PATH))
        with pytest.raises(TemporaryError, match="does not say whose token it is"):
            await identities.who("hers")
        api.access.forbidden.add(("create", "tokenreviews"))
        api.faults.add(Fault(kind="refuse", status=403, path=PATH))
        with pytest.raises(PermanentError):
            await identities.who("hers")
