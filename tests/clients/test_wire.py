"""The wire: on whose behalf it asks."""

from __future__ import annotations

from receiver.clients import cluster
from receiver.demo.kubernetes import ApiServer, RealClock, User
from receiver.domain.plans import FieldChange, ObjectRef, PatchStep, Permission

SERVICE, ISOLATOR = (f"system:serviceaccount:stanch:{name}" for name in ("stanch", "stanch-isolator"))

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "api", "namespace": "shop"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "api"}},
        "template": {
            "metadata": {"labels": {"app": "api"}},
            "spec": {"containers": [{"name": "api", "image": "shop/api:1"}]},
        },
    },
}


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


async def test_what_reads_and_what_writes_may_be_two_accounts() -> None:
    reader, executor = "system:serviceaccount:stanch:reader", "system:serviceaccount:stanch:executor"
    async with ApiServer(clock=RealClock()) as api:
        api.access.tokens["t0ken"] = User(SERVICE)
        api.load([DEPLOYMENT])
        door = await cluster.connect(url=api.url, token="t0ken", act_as=reader, write_as=executor)
        found = await door.get(ObjectRef("apps/v1", "Deployment", "shop", "api"))
        assert found is not None
        await door.may(Permission("apps", "deployments", "patch"), "shop", "api")
        target = ObjectRef("apps/v1", "Deployment", "shop", "api", found["metadata"]["uid"])
        step = PatchStep(target, (FieldChange("/spec/replicas", 1, 2),))
        for dry_run in (True, False):
            await door.patch(step, current=found, marker={}, dry_run=dry_run)
        await door.close()
        assert [call.user for call in api.calls] == [reader, executor, executor, executor]
