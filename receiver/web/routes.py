"""Every route, in one table: the server is built from it, and so is the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from receiver.web import api, isolations, journal, metrics, owing, requests, stream, webhook

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Route:
    """One operation of the API; ``body`` is its model, ``answer`` what a success is in words."""

    method: str
    path: str
    handler: Handler
    summary: str
    answer: str = "the document"
    body: type[BaseModel] | None = None
    secured: bool = True


METRICS = "/metrics"
# What a second listener serves, where there is one.
WATCHED = ("/healthz", "/readyz", METRICS)


async def openapi(request: web.Request) -> web.Response:
    """`GET /openapi.json`."""
    return web.json_response(document())


ROUTES: tuple[Route, ...] = (
    Route("POST", "/api/v1/alerts", webhook.receive, "Take an Alertmanager notification", "kept durably"),
    Route("GET", "/api/v1/alerts", api.list_alerts, "Alerts, newest first"),
    Route("GET", "/api/v1/journal", journal.export_journal, "Deliveries that are still kept", "JSON lines"),
    Route("GET", "/api/v1/incidents", api.list_incidents, "Incidents, newest first"),
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
    Route("GET", "/api/v1/policies/stats", api.policy_stats, "What became of what policies proposed"),
    Route("GET", "/api/v1/plans", api.list_plans, "Plans, newest first"),
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
    Route("GET", "/api/v1/audit", api.export_audit, "The sealed audit chain as JSON lines", "JSON lines"),
    Route("GET", "/api/v1/events", stream.events, "Every new event, server-sent", "an event stream"),
    Route("GET", "/healthz", metrics.healthz, "The process lives", secured=False),
    Route("GET", "/readyz", metrics.readyz, "It can take deliveries", secured=False),
    Route("GET", METRICS, metrics.metrics, "Prometheus metrics", "text", secured=False),
    Route("GET", "/openapi.json", openapi, "This document", secured=False),
)


def document() -> dict[str, Any]:
    """The API as OpenAPI 3.1."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {
        "Error": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    }
    for route in ROUTES:
        operation: dict[str, Any] = {
            "operationId": getattr(route.handler, "__name__", route.path),
            "summary": route.summary,
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in re.findall(r"{(\w+)}", route.path)
            ],
            "responses": {
                "200": {"description": route.answer},
                "default": {
                    "description": "what went wrong, in a sentence",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                },
            },
            "security": [{"token": []}] if route.secured else [],
        }
        if route.body is not None:
            schemas[route.body.__name__] = route.body.model_json_schema()
            reference = {"$ref": f"#/components/schemas/{route.body.__name__}"}
            operation["requestBody"] = {"content": {"application/json": {"schema": reference}}}
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Stanch", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
