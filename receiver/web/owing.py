"""The API of what people owe after an attack: the clock, the assessment, new credentials, attestations."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from receiver.domain.security import Attestation, Question
from receiver.pipeline import owing
from receiver.web import restricted
from receiver.web.keys import IDENTITY, WORLD
from receiver.web.requests import Reason, incident_number, json_body

_Text = Annotated[str, Field(min_length=1, max_length=2000)]


class Awareness(Reason):
    """Body of since when somebody knew."""

    since: AwareDatetime


class Authority(Reason):
    """Body of the authority's having been told, or of that not being required."""

    filed: bool


class Assessment(BaseModel):
    """Body of answers to some of the four questions."""

    model_config = ConfigDict(extra="forbid")

    answers: dict[Question, _Text] = Field(min_length=1)


class Renewal(BaseModel):
    """Body of credentials being new; none named means all that are left."""

    model_config = ConfigDict(extra="forbid")

    credentials: list[Annotated[str, Field(max_length=600)]] = Field(default_factory=list, max_length=200)
    owner: Annotated[str, Field(min_length=1, max_length=200)]
    proof: _Text


class Attesting(BaseModel):
    """Body of standing up for something by name."""

    model_config = ConfigDict(extra="forbid")

    what: list[Attestation] = Field(min_length=1, max_length=4)
    proof: _Text


async def set_awareness(request: web.Request) -> web.Response:
    """`POST /api/v1/incidents/{id}/awareness`."""
    body = Awareness.model_validate(await json_body(request))
    world, number, who = request.app[WORLD], incident_number(request), request[IDENTITY]
    found = await owing.set_awareness(world, number, who, since=body.since, reason=body.reason)
    return await restricted.incident_answer(request, found)


async def tell_authority(request: web.Request) -> web.Response:
    """`POST /api/v1/incidents/{id}/authority`."""
    body = Authority.model_validate(await json_body(request))
    world, number, who = request.app[WORLD], incident_number(request), request[IDENTITY]
    found = await owing.tell_authority(world, number, who, filed=body.filed, reason=body.reason)
    return await restricted.incident_answer(request, found)


async def assess(request: web.Request) -> web.Response:
    """`POST /api/v1/incidents/{id}/assess`."""
    body = Assessment.model_validate(await json_body(request))
    world, number, who = request.app[WORLD], incident_number(request), request[IDENTITY]
    return await restricted.incident_answer(request, await owing.assess(world, number, who, body.answers))


async def renewed(request: web.Request) -> web.Response:
    """`POST /api/v1/incidents/{id}/renewed`."""
    body = Renewal.model_validate(await json_body(request))
    world, number, who = request.app[WORLD], incident_number(request), request[IDENTITY]
    named = tuple(body.credentials)
    found = await owing.renewed(world, number, who, credentials=named, owner=body.owner, proof=body.proof)
    return await restricted.incident_answer(request, found)


async def attest(request: web.Request) -> web.Response:
    """`POST /api/v1/incidents/{id}/attest`."""
    body = Attesting.model_validate(await json_body(request))
    world, number, who = request.app[WORLD], incident_number(request), request[IDENTITY]
    found = await owing.attest(world, number, who, what=tuple(body.what), proof=body.proof)
    return await restricted.incident_answer(request, found)
