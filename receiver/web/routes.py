"""Every route, in one table: the server is built from it, and so is the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from receiver.domain.severity import Severity
from receiver.web import api, isolations, journal, metrics, owing, requests, stream, webhook

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Parameter:
    """Something that may stand in the query, or in a header; none is needed."""

    name: str
    schema: Mapping[str, Any]
    description: str
    where: str = "query"


@dataclass(frozen=True)
class Route:
    """One operation of the API.

    ``body`` is its model, ``answer`` what a success is in words, ``content`` its type and ``shape`` the
    schema of a JSON answer. ``refuses`` are the statuses besides those that every call of its kind has.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answer: str = "the document"
    body: type[BaseModel] | None = None
    secured: bool = True
    content: str = "application/json"
    shape: str = "Document"
    parameters: tuple[Parameter, ...] = ()
    refuses: frozenset[int] = frozenset()


# What an answer means, in words that hold for every operation.
REFUSALS: Mapping[int, str] = {
    400: "what was sent is not what is wanted; the sentence names the place",
    401: "credentials are missing or wrong",
    403: "the caller may not",
    404: "there is no such thing",
    409: "not as it stands now; the sentence says what stands against it",
    413: "the body is larger than allowed",
    500: "an internal error; the log has it",
    502: "the cluster refused what it was asked for this",
    503: "the store or the cluster is away, or the service is stopping: try again later",
}

_NUMBER = {"type": "string", "pattern": "^[0-9]{1,15}$"}
_MOMENT = {"type": "string", "maxLength": 64}
_PAGE = (
    Parameter("limit", _NUMBER, f"how many at most; {api.MAX_PAGE} where it is more"),
    Parameter("cursor", _NUMBER, "`next_cursor` of the page before"),
)
_BETWEEN = (
    Parameter("from", _MOMENT, "a date or an RFC 3339 time; what came since"),
    Parameter("to", _MOMENT, "the same; what came before"),
)
# Shapes that several answers share; what stands in a view is its own business.
_SHAPES: Mapping[str, Any] = {
    "Error": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]},
    "Document": {"type": "object"},
    "Items": {
        "type": "object",
        "properties": {"items": {"type": "array", "items": {"type": "object"}}},
        "required": ["items"],
    },
    "Page": {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": {"type": "object"}},
            "next_cursor": {"type": ["string", "null"]},
        },
        "required": ["items", "next_cursor"],
    },
    "Health": {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]},
}

METRICS = "/metrics"
# What a second listener serves, where there is one.
WATCHED = ("/healthz", "/readyz", METRICS)


async def openapi(request: web.Request) -> web.Response:
    """`GET /openapi.json`."""
    return web.json_response(document())


ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/api/v1/alerts",
        webhook.receive,
        "Take an Alertmanager notification",
        "kept durably",
        content="text/plain",
        refuses=frozenset({413}),
    ),
    Route("GET", "/api/v1/alerts", api.list_alerts, "Alerts, newest first", shape="Page", parameters=_PAGE),
    Route(
        "GET",
        "/api/v1/journal",
        journal.export_journal,
        "Deliveries that are still kept",
        "JSON lines",
        content="application/x-ndjson",
        parameters=_BETWEEN,
    ),
    Route(
        "GET",
        "/api/v1/incidents",
        api.list_incidents,
        "Incidents, newest first",
        shape="Page",
        parameters=(
            *_PAGE,
            Parameter("open", {"enum": ["1", "true", "yes"]}, "only those that are open"),
            Parameter("severity", {"enum": [one.value for one in Severity]}, "only those as bad as this"),
        ),
    ),
    Route(
        "POST",
        "/api/v1/incidents",
        api.create_incident,
        "Open a security incident by hand",
        body=api.NewIncident,
    ),
    Route("GET", "/api/v1/incidents/{id}", api.show_incident, "One incident"),
    Route(
        "GET",
        "/api/v1/incidents/{id}/timeline",
        api.show_timeline,
        "Everything that happened to it, in order",
        shape="Page",
        parameters=(Parameter("after", _NUMBER, "only what has a greater `seq`"),),
    ),
    Route("POST", "/api/v1/incidents/{id}/ack", api.acknowledge, "Acknowledge"),
    Route(
        "POST",
        "/api/v1/incidents/{id}/note",
        api.note,
        "Write a note into the timeline",
        body=requests.Reason,
    ),
    Route(
        "POST",
        "/api/v1/incidents/{id}/secure",
        api.secure,
        "Turn it into a security incident",
        body=api.Securing,
    ),
    Route(
        "POST",
        "/api/v1/incidents/{id}/release",
        api.release,
        "One of two people's yes to lifting its lock",
        body=api.Releasing,
    ),
    Route(
        "POST",
        "/api/v1/incidents/{id}/isolate",
        isolations.isolate,
        "Ask for a pod or a node to be isolated",
        body=isolations.Isolate,
    ),
    Route(
        "POST",
        "/api/v1/incidents/{id}/awareness",
        owing.set_awareness,
        "Since when somebody knew of the breach",
        body=owing.Awareness,
    ),
    Route(
        "POST",
        "/api/v1/incidents/{id}/authority",
        owing.tell_authority,
        "The authority was told, or need not be",
        body=owing.Authority,
    ),
    Route(
        "POST",
        "/api/v1/incidents/{id}/assess",
        owing.assess,
        "Answer questions of the assessment",
        body=owing.Assessment,
    ),
    Route(
        "POST",
        "/api/v1/incidents/{id}/renewed",
        owing.renewed,
        "Show that credentials are new",
        body=owing.Renewal,
    ),
    Route(
        "POST",
        "/api/v1/incidents/{id}/attest",
        owing.attest,
        "Stand up for what must be so before it is closed",
        body=owing.Attesting,
    ),
    Route(
        "GET",
        "/api/v1/isolations/{id}",
        isolations.show_isolation,
        "One isolation, as its approver must see it",
    ),
    Route(
        "POST",
        "/api/v1/isolations/{id}/approve",
        isolations.approve_isolation,
        "A security lead's yes to exactly this isolation",
        body=requests.Decision,
    ),
    Route("POST", "/api/v1/isolations/{id}/deny", isolations.deny_isolation, "Say no", body=requests.Reason),
    Route("POST", "/api/v1/incidents/{id}/close", api.close, "Close with a cause", body=requests.Reason),
    Route(
        "POST", "/api/v1/incidents/{id}/severity", api.set_severity, "Say how bad it is", body=api.NewSeverity
    ),
    Route(
        "GET",
        "/api/v1/facts/{hash}",
        api.show_facts,
        "What an event was too large for, or what was found",
    ),
    Route("GET", "/api/v1/policies", api.show_policies, "The policies in force, and why newer ones are not"),
    Route(
        "GET",
        "/api/v1/policies/stats",
        api.policy_stats,
        "What became of what policies proposed",
        shape="Items",
        parameters=(
            Parameter("days", {"type": "integer", "minimum": 1, "maximum": api.MAX_DAYS}, "of the last days"),
        ),
    ),
    Route("GET", "/api/v1/plans", api.list_plans, "Plans, newest first", shape="Page", parameters=_PAGE),
    Route("GET", "/api/v1/plans/{id}", api.show_plan, "One plan, as its approver must see it"),
    Route("GET", "/api/v1/plans/{id}/target", api.show_target, "The plan's object as it is now"),
    Route(
        "POST",
        "/api/v1/plans/{id}/approve",
        api.approve,
        "Say yes to exactly this plan",
        body=requests.Decision,
    ),
    Route(
        "POST",
        "/api/v1/plans/{id}/breakglass",
        api.break_glass,
        "Have it carried out on one's own word",
        body=requests.BreakGlass,
    ),
    Route("POST", "/api/v1/plans/{id}/deny", api.deny, "Say no", body=requests.Reason),
    Route("POST", "/api/v1/plans/{id}/settle", api.settle, "Settle an unknown effect", body=api.Settlement),
    Route("POST", "/api/v1/plans/{id}/undo", api.undo, "Put it back", body=requests.Reason),
    Route("POST", "/api/v1/plans/{id}/keep", api.keep, "Leave it and look further", body=requests.Reason),
    Route("POST", "/api/v1/pause", api.pause, "The kill switch", body=api.Pause),
    Route("POST", "/api/v1/resume", api.resume, "Let it act again", body=api.Pause),
    Route(
        "GET",
        "/api/v1/audit",
        api.export_audit,
        "The sealed audit chain as JSON lines",
        "JSON lines",
        content="application/x-ndjson",
    ),
    Route(
        "GET",
        "/api/v1/events",
        stream.events,
        "Every new event, server-sent",
        "an event stream",
        content="text/event-stream",
        parameters=(
            Parameter("after", _NUMBER, "from this event on, where the header is not there"),
            Parameter("Last-Event-ID", _NUMBER, "from this event on; from now on without one", "header"),
        ),
    ),
    Route("GET", "/healthz", metrics.healthz, "The process lives", secured=False, shape="Health"),
    Route("GET", "/readyz", metrics.readyz, "It can take deliveries", secured=False, shape="Health"),
    Route("GET", METRICS, metrics.metrics, "Prometheus metrics", "text", secured=False, content="text/plain"),
    Route("GET", "/openapi.json", openapi, "This document", secured=False),
)


def document() -> dict[str, Any]:
    """The API as OpenAPI 3.1."""
    bodies = [(route.body, "validation") for route in ROUTES if route.body is not None]
    _, described = models_json_schema(bodies, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Stanch", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": {**_SHAPES, **described["$defs"]},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    success: dict[str, Any] = {"schema": _named(route.shape)} if route.content == "application/json" else {}
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    others = [
        {"name": one.name, "in": one.where, "description": one.description, "schema": one.schema}
        for one in route.parameters
    ]
    wrong = "Health" if route.shape == "Health" else "Error"
    operation: dict[str, Any] = {
        "operationId": getattr(route.handler, "__name__", route.path),
        "summary": route.summary,
        "parameters": [*in_path, *others],
        "responses": {
            "200": {"description": route.answer, "content": {route.content: success}},
            **{
                str(status): {
                    "description": REFUSALS[status],
                    "content": {"application/json": {"schema": _named(wrong if status == 503 else "Error")}},
                }
                for status in sorted(_refusals(route))
            },
        },
        "security": [{"token": []}] if route.secured else [],
    }
    if route.body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": _named(route.body.__name__)}}}
    return operation


def _refusals(route: Route) -> frozenset[int]:
    """Every status but 200 that may answer it."""
    found = {500, 503, *route.refuses}
    if route.secured:
        found.add(401)
    if not route.secured or route.handler is webhook.receive:
        return frozenset(found)
    # Whoever the cluster knows is asked about there, whatever they call.
    found |= {403, 502}
    if route.parameters:
        found.add(400)
    if "{" in route.path:
        found.add(404)
    if route.method == "POST":
        found.add(409)
    if route.body is not None:
        found |= {400, 413}
    return frozenset(found)


def _named(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
