"""The API of isolations: ask for one, look at it, say yes or no. Only those with the right read them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field, model_validator

from receiver.domain.durations import Duration
from receiver.domain.isolation import LONGEST_BLOCK, MOST_BLOCKED, Act, Wanted
from receiver.pipeline import containing
from receiver.pipeline.world import World
from receiver.store import isolations, timeline
from receiver.web import restricted
from receiver.web.keys import IDENTITY, WORLD
from receiver.web.requests import Decision, Reason, incident_number, json_body
from receiver.web.views import isolation_view

_NAME = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
_MOST_WRITTEN = 60


class Isolate(Reason):
    """Body of asking for an isolation: one pod, one node, or addresses and what they are shut out of."""

    act: Act
    namespace: str = Field("", max_length=63, pattern=rf"^$|{_NAME}")
    pod: str = Field("", max_length=253, pattern=rf"^$|{_NAME}")
    node: str = Field("", max_length=253, pattern=rf"^$|{_NAME}")

    deployment: str = Field("", max_length=253, pattern=rf"^$|{_NAME}")
    block: list[Annotated[str, Field(max_length=_MOST_WRITTEN)]] = Field(
        default_factory=list, max_length=MOST_BLOCKED
    )
    expires: Annotated[Duration, Field(gt=timedelta(), le=LONGEST_BLOCK)] | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Isolate:
        blocks = (self.deployment, self.block, self.expires)
        if self.act is Act.IP_BLOCK:
            if not (all(blocks) and self.namespace) or self.pod or self.node:
                raise ValueError(
                    "ip.block takes a namespace and a deployment, networks to block, and expires"
                )
            return self
        if any(blocks):
            raise ValueError("deployment, block and expires belong to ip.block")
        if bool(self.node) == bool(self.pod) or bool(self.pod) != bool(self.namespace):
            raise ValueError("name a node, or a namespace and a pod")
        if self.node and self.act is Act.POD_QUARANTINE:
            raise ValueError("pod.quarantine takes a namespace and a pod")
        return self

    def wanted(self, world: World) -> Wanted:
        """The same as a noun; what expires does so from now on."""
        until = None if self.expires is None else world.clock.now().replace(microsecond=0) + self.expires
        return Wanted(
            self.act, self.namespace, self.pod, self.node, self.deployment, tuple(self.block), until
        )


async def isolate(request: web.Request) -> web.Response:
    """`POST /api/v1/incidents/{id}/isolate`."""
    body = Isolate.model_validate(await json_body(request))
    world = request.app[WORLD]
    incident = await containing.isolate(
        world, incident_number(request), request[IDENTITY], body.wanted(world), reason=body.reason
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
