"""The wire: on whose behalf it asks."""

from __future__ import annotations

from receiver.clients import cluster
from receiver.demo.kubernetes import ApiServer, RealClock, User
from receiver.domain.plans import ObjectRef, Permission

SERVICE, ISOLATOR = (f"system:serviceaccount:stanch:{name}" for name in ("stanch", "stanch-isolator"))


async def test_every_request_is_that_of_the_account_it_acts_as() -> None:
    async with ApiServer(clock=RealClock()) as api:
        api.access.tokens["t0ken"] = User(SERVICE)
        for account in (None, ISOLATOR):
            door = await cluster.connect(url=api.url, token="t0ken", act_as=account)
            await door.get(ObjectRef("v1", "Pod", "shop", "job"))
            await door.may(Permission("", "pods", "get"), "shop", "job")
            await door.wire.write("POST", "/api/v1/namespaces", [], {}, "application/json")
            await door.close()
        assert [call.user for call in api.calls] == [SERVICE] * 3 + [ISOLATOR] * 3
