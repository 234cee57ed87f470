"""The API: read incidents, timelines, plans and alerts; approve, deny and the rest.

Every call but health and metrics needs a token. Errors are JSON with one sentence that says what to do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any

import structlog
from aiohttp import web
from pydantic import Field, ValidationError
from structlog.contextvars import bound_contextvars

from receiver.domain.errors import (
    Conflict,
    NewerWords,
    NotAllowed,
    NotFound,
    PermanentError,
    TemporaryError,
    Unavailable,
)
from receiver.domain.severity import Severity
from receiver.pipeline import people
from receiver.pipeline.entitling import must
from receiver.policy.rights import Verb
from receiver.store import audit, effects, intake, reading, statistics, timeline
from receiver.web import restricted
from receiver.web.identifying import identify
from receiver.web.keys import COUNTERS, IDENTITY, WORLD
from receiver.web.requests import BreakGlass, Decision, Reason, incident_number, json_body
from receiver.web.views import plan_view, policies_view, recorded_view, tally_view

log = structlog.get_logger(__name__)

OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json"})
MAX_PAGE = 200
_NAMED = re.compile(r"/api/v1/(?:(?P<kind>incidents)/|plans/[Pp]-)(?P<number>[0-9]{1,15})(?:/|$)")
MAX_DAYS = 3650

_STATUS: dict[type[Exception], int] = {
    NotFound: 404,
    NotAllowed: 403,
    Conflict: 409,
    Unavailable: 503,
    NewerWords: 503,
    TemporaryError: 503,
    PermanentError: 502,
}


class Settlement(Reason):
    """Body of settling an unknown effect."""

    done: bool


ScopeName = Annotated[
    str,
    Field(
        pattern=r"^(cluster|(namespace|node)/[a-z0-9]([a-z0-9.-]*[a-z0-9])?|[A-Z][A-Za-z]+/[a-z0-9-]+/[a-z0-9.-]+)$",
        max_length=400,
    ),
]


class Securing(Reason):
    """Body of turning an incident into a security incident."""

    scopes: list[ScopeName] = Field(
        default_factory=list,
        max_length=50,
        description="cluster, namespace/N, node/N or Kind/NAMESPACE/N; the alerts' namespaces where empty",
    )


class Releasing(Reason):
    """Body of one of the two yeses that lift a security lock."""

    undo_isolation: bool = Field(
        False, description="take back what was isolated, where both people who release it want that"
    )


class NewIncident(Securing):
    """Body of a security incident that no alert tells of."""

    title: str = Field(max_length=200)


class NewSeverity(Reason):
    """Body of a person's word on the severity."""

    severity: Severity


class Pause(Reason):
    """Body of the kill switch; without a policy it holds everything."""

    policy: str | None = Field(None, max_length=253)


@web.middleware
async def errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """The web edge: every error becomes an answer, and none shows what it must not."""
    # Bound for this request only: a connection's next one is handled in the same context.
    with bound_contextvars(**named_fields(request.path)):
        return await _answering(request, handler)


async def _answering(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except tuple(_STATUS) as error:
        status = next(code for kind, code in _STATUS.items() if isinstance(error, kind))
        if isinstance(error, NotAllowed):
            request.app[COUNTERS].refused_callers["not allowed"] += 1
            who = request.get(IDENTITY)
            log.warning(
                "a call was not allowed",
                event_code="not_allowed",
                by=None if who is None else who.name,
                known_by=None if who is None else who.known_by.value,
                method=request.method,
                path=request.path,
                why=str(error),
            )
        return web.json_response({"error": str(error)}, status=status)
    except ValidationError as error:
        problems = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
        return web.json_response({"error": "; ".join(problems)}, status=400)
    except web.HTTPException as error:
        return web.json_response({"error": error.reason}, status=error.status, headers=_kept(error))
    except Exception:
        log.exception("a request failed", event_code="request_failed", path=request.path)
        return web.json_response({"error": "an internal error; it is in the log"}, status=500)


def named_fields(path: str) -> dict[str, int | str]:
    """The incident or the plan that an address names, for the log; nothing of one that is not well-formed."""
    found = _NAMED.match(path)
    if found is None:
        return {}
    kind, number = found.group("kind", "number")
    return {"incident": int(number)} if kind == "incidents" else {"plan": f"P-{int(number)}"}


def _kept(error: web.HTTPException) -> dict[str, str]:
    return {name: error.headers[name] for name in ("Allow", "Location") if name in error.headers}


@web.middleware
async def authenticate(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A token for everything but what is open; the intake has credentials of its own."""
    if request.path in OPEN or (request.path == "/api/v1/alerts" and request.method == "POST"):
        return await handler(request)
    who = await identify(request)
    if isinstance(who, str):
        request.app[COUNTERS].refused_callers[who] += 1
        log.warning("a caller was refused", event_code="caller_refused", why=who, path=request.path)
        return web.json_response(
            {"error": "a valid token is needed: Authorization: Bearer ..."},
            status=401,
            headers={"WWW-Authenticate": 'Bearer realm="stanch"'},
        )
    request[IDENTITY] = who
    if request.method == "GET":
        # Any workload can get a token for us; every other call asks for the right it takes itself.
        await must(request.app[WORLD], who, Verb.GET)
    return await handler(request)


async def list_alerts(request: web.Request) -> web.Response:
    """`GET /api/v1/alerts`."""
    before, limit = _page(request)
    rows = await request.app[WORLD].store.read(lambda tx: intake.list_alerts(tx, before=before, limit=limit))
    hidden = await restricted.hidden(request)
    shown = [restricted.alert_shown(row, hidden) for row in rows]
    return _items(shown, rows[-1].id if len(rows) == limit else None)


async def list_incidents(request: web.Request) -> web.Response:
    """`GET /api/v1/incidents`, with ``open=true`` and ``severity=P1``."""
    before, limit = _page(request)
    only_open = request.query.get("open", "") in ("1", "true", "yes")
    severity = request.query.get("severity") or None
    rows = await request.app[WORLD].store.read(
        lambda tx: reading.list_incidents(
            tx, before=before, limit=limit, only_open=only_open, severity=severity
        )
    )
    hidden = await restricted.hidden(request)
    shown = [restricted.incident_shown(row, hidden) for row in rows]
    return _items(shown, rows[-1].id if len(rows) == limit else None)


async def show_incident(request: web.Request) -> web.Response:
    """`GET /api/v1/incidents/{id}`."""
    number = incident_number(request)
    found = await request.app[WORLD].store.read(lambda tx: timeline.load(tx, number))
    return await restricted.incident_answer(request, found)


async def show_timeline(request: web.Request) -> web.Response:
    """`GET /api/v1/incidents/{id}/timeline`, with ``after=SEQ``."""
    number = incident_number(request)
    after = _integer(request, "after", 0)
    await restricted.must_see(request, number)

    def body(tx: Any) -> Any:
        timeline.load(tx, number)
        return timeline.timeline(tx, number, after=after, limit=MAX_PAGE * 5, whole=False)

    recorded = await request.app[WORLD].store.read(body)
    following = recorded[-1].seq if len(recorded) == MAX_PAGE * 5 else None
    return _items([recorded_view(one) for one in recorded], following)


async def show_facts(request: web.Request) -> web.Response:
    """`GET /api/v1/facts/{hash}`: what an event names by its ``whole`` or its ``facts_hash``."""
    name = request.match_info["hash"]
    text = await request.app[WORLD].store.read(lambda tx: timeline.load_facts(tx, name))
    return web.Response(text=text, content_type="application/json")


async def show_policies(request: web.Request) -> web.Response:
    """`GET /api/v1/policies`."""
    return web.json_response(policies_view(request.app[WORLD].loaded))


async def policy_stats(request: web.Request) -> web.Response:
    """`GET /api/v1/policies/stats`, with ``days=30``."""
    days = request.query.get("days")
    if days is not None and not (days.isdecimal() and 0 < int(days) <= MAX_DAYS):
        return web.json_response({"error": f"days is a whole number from 1 to {MAX_DAYS}"}, status=400)
    world = request.app[WORLD]
    since = None if days is None else world.clock.now() - timedelta(days=int(days))
    found = await world.store.read(lambda tx: statistics.tallies(tx, since=since))
    return web.json_response({"items": [tally_view(tally) for tally in found]})


async def list_plans(request: web.Request) -> web.Response:
    """`GET /api/v1/plans`."""
    before, limit = _page(request)

    def body(tx: Any) -> Any:
        found = effects.list_plans(tx, before=before, limit=limit)
        return [(plan, timeline.load(tx, plan.plan.incident_id)) for plan in found]

    rows = await request.app[WORLD].store.read(body)
    following = effects.plan_number(rows[-1][0].plan_id) if len(rows) == limit else None
    hidden = await restricted.hidden(request)
    seen = [(stored, incident) for stored, incident in rows if incident.id not in hidden]
    return _items([plan_view(stored, incident, ()) for stored, incident in seen], following)


async def show_plan(request: web.Request) -> web.Response:
    """`GET /api/v1/plans/{id}`."""
    plan_id = request.match_info["id"]

    def body(tx: Any) -> Any:
        stored = effects.load_plan(tx, plan_id)
        incident = timeline.load(tx, stored.plan.incident_id)
        progress = incident.plan
        votes = effects.votes(tx, stored.plan_id, round_=progress.round if progress is not None else 1)
        return stored, incident, votes

    stored, incident, votes = await request.app[WORLD].store.read(body)
    await restricted.must_see(request, incident.id)
    return web.json_response(plan_view(stored, incident, votes))


async def _must_see_plan(request: web.Request) -> None:
    """A refusal tells what a plan does: whoever may not read of its incident hears of that first."""
    plan_id = request.match_info["id"]
    stored = await request.app[WORLD].store.read(lambda tx: effects.load_plan(tx, plan_id))
    await restricted.must_see(request, stored.plan.incident_id)


async def approve(request: web.Request) -> web.Response:
    """`POST /api/v1/plans/{id}/approve`."""
    body = Decision.model_validate(await json_body(request))
    await _must_see_plan(request)
    answered = await people.approve_plan(
        request.app[WORLD],
        request.match_info["id"],
        request[IDENTITY],
        digest=body.digest,
        reason=body.reason,
    )
    return _answered(answered)


async def break_glass(request: web.Request) -> web.Response:
    """`POST /api/v1/plans/{id}/breakglass`."""
    body = BreakGlass.model_validate(await json_body(request))
    await _must_see_plan(request)
    answered = await people.break_glass(
        request.app[WORLD],
        request.match_info["id"],
        request[IDENTITY],
        digest=body.digest,
        reason=body.reason,
    )
    return _answered(answered)


async def deny(request: web.Request) -> web.Response:
    """`POST /api/v1/plans/{id}/deny`."""
    body = Reason.model_validate(await json_body(request))
    await _must_see_plan(request)
    answered = await people.deny_plan(
        request.app[WORLD], request.match_info["id"], request[IDENTITY], reason=body.reason
    )
    return _answered(answered)


async def show_target(request: web.Request) -> web.Response:
    """`GET /api/v1/plans/{id}/target`: the live object, for settling."""
    world, plan_id = request.app[WORLD], request.match_info["id"]
    await _must_see_plan(request)
    return web.json_response(await people.show_target(world, plan_id))


async def settle(request: web.Request) -> web.Response:
    """`POST /api/v1/plans/{id}/settle`."""
    body = Settlement.model_validate(await json_body(request))
    await _must_see_plan(request)
    return await restricted.incident_answer(
        request,
        await people.settle_effect(
            request.app[WORLD],
            request.match_info["id"],
            request[IDENTITY],
            done=body.done,
            reason=body.reason,
        ),
    )


async def undo(request: web.Request) -> web.Response:
    """`POST /api/v1/plans/{id}/undo`."""
    return await _undo(request, undo_it=True)


async def keep(request: web.Request) -> web.Response:
    """`POST /api/v1/plans/{id}/keep`: leave it as it is, and look further."""
    return await _undo(request, undo_it=False)


async def _undo(request: web.Request, *, undo_it: bool) -> web.Response:
    body = Reason.model_validate(await json_body(request))
    await _must_see_plan(request)
    return await restricted.incident_answer(
        request,
        await people.decide_undo(
            request.app[WORLD], request.match_info["id"], request[IDENTITY], undo=undo_it, reason=body.reason
        ),
    )


async def acknowledge(request: web.Request) -> web.Response:
    """`POST /api/v1/incidents/{id}/ack`."""
    return await restricted.incident_answer(
        request, await people.acknowledge(request.app[WORLD], incident_number(request), request[IDENTITY])
    )


async def note(request: web.Request) -> web.Response:
    """`POST /api/v1/incidents/{id}/note`."""
    body = Reason.model_validate(await json_body(request))
    return await restricted.incident_answer(
        request,
        await people.note(request.app[WORLD], incident_number(request), request[IDENTITY], text=body.reason),
    )


async def set_severity(request: web.Request) -> web.Response:
    """`POST /api/v1/incidents/{id}/severity`."""
    body = NewSeverity.model_validate(await json_body(request))
    return await restricted.incident_answer(
        request,
        await people.set_severity(
            request.app[WORLD],
            incident_number(request),
            request[IDENTITY],
            severity=body.severity,
            reason=body.reason,
        ),
    )


async def create_incident(request: web.Request) -> web.Response:
    """`POST /api/v1/incidents`: a security incident that no alert tells of."""
    body = NewIncident.model_validate(await json_body(request))
    world = request.app[WORLD]
    return await restricted.incident_answer(
        request,
        await people.open_security(
            world, request[IDENTITY], title=body.title, reason=body.reason, scopes=tuple(body.scopes)
        ),
    )


async def secure(request: web.Request) -> web.Response:
    """`POST /api/v1/incidents/{id}/secure`."""
    body = Securing.model_validate(await json_body(request))
    world, number = request.app[WORLD], incident_number(request)
    return await restricted.incident_answer(
        request,
        await people.secure(world, number, request[IDENTITY], reason=body.reason, scopes=tuple(body.scopes)),
    )


async def release(request: web.Request) -> web.Response:
    """`POST /api/v1/incidents/{id}/release`."""
    body = Releasing.model_validate(await json_body(request))
    return await restricted.incident_answer(
        request,
        await people.release(
            request.app[WORLD],
            incident_number(request),
            request[IDENTITY],
            reason=body.reason,
            undo=body.undo_isolation,
        ),
    )


async def close(request: web.Request) -> web.Response:
    """`POST /api/v1/incidents/{id}/close`."""
    body = Reason.model_validate(await json_body(request))
    return await restricted.incident_answer(
        request,
        await people.close(
            request.app[WORLD], incident_number(request), request[IDENTITY], cause=body.reason
        ),
    )


async def pause(request: web.Request) -> web.Response:
    """`POST /api/v1/pause`: the kill switch."""
    return await _pause(request, on=True)


async def resume(request: web.Request) -> web.Response:
    """`POST /api/v1/resume`."""
    return await _pause(request, on=False)


async def _pause(request: web.Request, *, on: bool) -> web.Response:
    body = Pause.model_validate(await json_body(request))
    left = await people.set_pause(
        request.app[WORLD], request[IDENTITY], on=on, policy=body.policy, reason=body.reason
    )
    return web.json_response({"paused": list(left)})


async def export_audit(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/audit`: the sealed chain as JSON lines, a header line first."""
    store = request.app[WORLD].store
    await restricted.must_see_all(request)
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    head = await store.read(audit.head)
    first = {"format": audit.FORMAT, "head": {"seal": head.seal, "hash": head.hash}}
    await response.write(json.dumps(first).encode() + b"\n")
    after = 0
    while rows := await store.read(_exporting(after)):
        for row in rows:
            await response.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        after = rows[-1]["seal"]
    await response.write_eof()
    return response


def _exporting(after: int) -> Callable[[Any], list[dict[str, Any]]]:
    return lambda tx: audit.export(tx, after=after)


def _answered(answered: people.Answered) -> web.Response:
    return web.json_response(
        {
            "plan": answered.plan_id,
            "state": answered.state,
            "approvals": answered.approvals,
            "needed": answered.needed,
            "waived": list(answered.waived),
            "incident": answered.incident.id,
        }
    )


def _items(items: list[dict[str, Any]], next_cursor: int | None) -> web.Response:
    return web.json_response(
        {"items": items, "next_cursor": None if next_cursor is None else str(next_cursor)}
    )


def _page(request: web.Request) -> tuple[int | None, int]:
    limit = _integer(request, "limit", 50)
    cursor = _integer(request, "cursor", 0)
    return cursor or None, max(1, min(limit, MAX_PAGE))


def _integer(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise web.HTTPBadRequest(reason=f"{name} must be a number")
    return int(text)
