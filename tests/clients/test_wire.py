"""The wire: on whose behalf it asks."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from certificates import certificate, without_identifiers

from receiver.clients import cluster
from receiver.demo.kubernetes import ApiServer, RealClock, User
from receiver.domain.errors import TemporaryError
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


@pytest.mark.parametrize("known", [True, False], ids=["its authority is known", "another's"])
async def test_certificates_without_key_identifiers_are_taken_from_whom_we_know(
    known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, chain, key = without_identifiers(tmp_path)
    other, _ = certificate(tmp_path, "other")
    plain = ssl.create_default_context

    def strict(*arguments: Any, **options: Any) -> ssl.SSLContext:
        # As from Python 3.13 on.
        found = plain(*arguments, **options)
        found.verify_flags |= ssl.VERIFY_X509_STRICT
        return found

    async def answers(request: web.Request) -> web.Response:
        return web.json_response({"metadata": {"name": "job", "uid": "u"}})

    app = web.Application()
    app.router.add_get("/api/v1/namespaces/shop/pods/job", answers)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(chain, key)
    runner = web.AppRunner(app)
    await runner.setup()
    await (site := web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server)).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority if known else other))
    monkeypatch.setattr(ssl, "create_default_context", strict)
    door = await cluster.connect(url=f"https://127.0.0.1:{runner.addresses[0][1]}")
    try:
        if known:
            assert await door.get(ObjectRef("v1", "Pod", "shop", "job")) is not None
        else:
            with pytest.raises(TemporaryError, match="certificate is not taken: unable to get local issuer"):
                await door.get(ObjectRef("v1", "Pod", "shop", "job"))
    finally:
        await door.close()
        await site.stop()
        await runner.cleanup()


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
