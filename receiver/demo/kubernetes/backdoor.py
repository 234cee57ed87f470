"""Doors that no Kubernetes has: order trouble, make foreign writes, read the calls, over HTTP.

For a test that drives the server as a process of its own. In-process the same is a method call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aiohttp import web

from receiver.demo.kubernetes.faults import Fault
from receiver.demo.kubernetes.status import ApiError

if TYPE_CHECKING:
    from receiver.demo.kubernetes.server import ApiServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(app: web.Application, api: ApiServer) -> None:
    """Hang `/_stanch/...` into ``app``."""

    async def calls(request: web.Request) -> web.Response:
        return web.json_response([asdict(call) for call in api.calls])

    async def list_faults(request: web.Request) -> web.Response:
        return web.json_response(api.faults.as_json())

    async def order_faults(request: web.Request) -> web.Response:
        """One fault or a list of them."""
        order = await request.json()
        orders = order if isinstance(order, list) else [order]
        api.faults.add(*[Fault.from_json(each) for each in orders])
        return web.json_response(api.faults.as_json(), status=201)

    async def clear_faults(request: web.Request) -> web.Response:
        api.faults.clear()
        return web.json_response([])

    async def touch(request: web.Request) -> web.Response:
        """`{"resource", "namespace", "name"}`: once, `every` n seconds, or with a foreign `patch`."""
        order: dict[str, Any] = await request.json()
        where = (order["resource"], order.get("namespace", ""), order["name"])
        if "patch" in order:
            obj = api.change(*where, order["patch"], manager=order.get("manager", "kubectl-edit"))
        elif "every" in order:
            api.flap(*where, every=timedelta(seconds=order["every"]), times=order.get("times"))
            obj = api.get(*where)
        else:
            obj = api.touch(*where)
        return web.json_response(obj)

    async def logs(request: web.Request) -> web.Response:
        """`{"image", "text"}` or `{"namespace", "pod", "text"}`."""
        order = await request.json()
        if "image" in order:
            api.logs.by_image[order["image"]] = order["text"]
        else:
            api.logs.by_pod[order["namespace"], order["pod"]] = order["text"]
        return web.json_response({})

    async def forbid(request: web.Request) -> web.Response:
        """`[["patch", "deployments"], ...]`: from now on, for everybody; replaces what was forbidden."""
        api.access.forbidden = {(verb, resource) for verb, resource in await request.json()}
        return web.json_response(sorted(api.access.forbidden))

    app.router.add_get("/_stanch/calls", calls)
    app.router.add_get("/_stanch/faults", list_faults)
    app.router.add_post("/_stanch/faults", _explained(order_faults))
    app.router.add_delete("/_stanch/faults", clear_faults)
    app.router.add_post("/_stanch/touch", _explained(touch))
    app.router.add_post("/_stanch/logs", _explained(logs))
    app.router.add_post("/_stanch/forbidden", _explained(forbid))


def _explained(handler: Handler) -> Handler:
    """A bad order is a 400 with the reason, not a traceback."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            return web.json_response(error.body, status=error.code)
        except (ValueError, KeyError, TypeError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)

    return handle
