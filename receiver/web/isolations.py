"""The API of isolations: ask for one, look at it, say yes or no. Only those with the right read them."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import Field, model_validator

from receiver.domain.isolation import Act, Wanted
from receiver.pipeline import containing
from receiver.store import isolations, timeline
from receiver.web import restricted
from receiver.web.keys import IDENTITY, WORLD
from receiver.web.requests import Decision, Reason, incident_number, json_body
from receiver.web.views import isolation_view

_NAME = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"


class Isolate(Reason):
    """Body of asking for an isolation: one pod, or one node."""

    act: Act
    namespace: str = Field("", max_length=63, pattern=rf"^$|{_NAME}")
    pod: str = Field("", max_length=253, pattern=rf"^$|{_NAME}")
    node: str = Field("", max_length=253, pattern=rf"^$|{_NAME}")

    @model_validator(mode="after")
    def _names_one(self) -> Isolate:
        if bool(self.node) == bool(self.pod) or bool(self.pod) != bool(self.namespace):
            raise ValueError("name a node, or a namespace and a pod")
        if self.node and self.act is Act.POD_QUARANTINE:
            raise ValueError("pod.quarantine takes a namespace and a pod")
        return self


async def isolate(request: web.Request) -> web.Response:
    """`POST /api/v1/incidents/{id}/isolate`."""
    body = Isolate.model_validate(await json_body(request))
    wanted = Wanted(body.act, body.namespace, body.pod, body.node)
    incident = await containing.isolate(
        request.app[WORLD], incident_number(request), request[IDENTITY], wanted, reason=body.reason
    )
    return await restricted.incident_answer(request, incident)


async def show_isolation(request: web.Request) -> web.Response:
    """`GET /api/v1/isolations/{id}`."""
    isolation_id = request.match_info["id"]

    def body(tx: Any) -> Any:
        plan = isolations.load(tx, isolation_id)
        return plan, timeline.load(tx, plan.incident_id)

    plan, incident = await request.app[WORLD].store.read(body)
    await restricted.must_see(request, incident.id)
    return web.json_response(isolation_view(f"S-{isolations.number_of(isolation_id)}", plan, incident))


async def approve_isolation(request: web.Request) -> web.Response:
    """`POST /api/v1/isolations/{id}/approve`."""
    body = Decision.model_validate(await json_body(request))
    incident = await containing.approve_isolation(
        request.app[WORLD],
        request.match_info["id"],
        request[IDENTITY],
        digest=body.digest,
        reason=body.reason,
    )
    return await restricted.incident_answer(request, incident)


async def deny_isolation(request: web.Request) -> web.Response:
    """`POST /api/v1/isolations/{id}/deny`."""
    body = Reason.model_validate(await json_body(request))
    incident = await containing.deny_isolation(
        request.app[WORLD], request.match_info["id"], request[IDENTITY], reason=body.reason
    )
    return await restricted.incident_answer(request, incident)
