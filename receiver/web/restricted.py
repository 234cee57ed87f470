"""What those without the right see of a security incident: that there is one, and nothing it is about.

An attacker may read along with anybody's token, so this does not go by who responds but by who is named for
it: the groups behind the approvers `security-lead` and `security`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from receiver.domain.errors import NotAllowed
from receiver.domain.incidents import Incident
from receiver.domain.locks import RESTRICTED
from receiver.pipeline import people
from receiver.pipeline.entitling import why_not_have
from receiver.policy.rights import Right, Verb
from receiver.store import locks
from receiver.web.keys import IDENTITY, WORLD
from receiver.web.views import alert_view, incident_view


def sees_all(request: web.Request) -> bool:
    """Whether whoever asks may read security incidents."""
    return bool(people.security_readers(request.app[WORLD]) & set(request[IDENTITY].groups))


async def hidden(request: web.Request) -> frozenset[int]:
    """The incidents that whoever asks may not read."""
    if sees_all(request):
        return frozenset()
    return await request.app[WORLD].store.read(locks.restricted)


async def must_see(request: web.Request, incident_id: int) -> None:
    """Raises NotAllowed where this incident may not be read."""
    if incident_id in await hidden(request):
        raise NotAllowed(f"incident {incident_id} is a {RESTRICTED}")


async def must_see_all(request: web.Request) -> None:
    """Raises NotAllowed where any incident may not be read: what is asked for tells of all of them."""
    if await hidden(request):
        raise NotAllowed(f"a {RESTRICTED} is open; this tells of all incidents and takes its right")


def incident_shown(incident: Incident, hidden: frozenset[int]) -> dict[str, Any]:
    """The incident, or that there is one."""
    found = incident_view(incident)
    if incident.id not in hidden:
        return found
    kept = {name: found[name] for name in ("id", "status", "severity", "firing", "opened_at", "epoch")}
    emptied = {name: _empty(value) for name, value in found.items()}
    return {**emptied, **kept, "title": RESTRICTED, "restricted": True}


async def incident_answer(request: web.Request, incident: Incident) -> web.Response:
    """The answer of a call that changed an incident; to whoever may not read it, that it was heard."""
    why = await why_not_have(request.app[WORLD], request[IDENTITY], Right(Verb.GET))
    if why is not None:
        return web.json_response({"id": incident.id, "status": incident.status.value})
    return web.json_response(incident_shown(incident, await hidden(request)))


def alert_shown(row: Any, hidden: frozenset[int]) -> dict[str, Any]:
    """The alert, or that there is one."""
    found = alert_view(row)
    if row.incident_id not in hidden:
        return found
    emptied = {name: _empty(value) for name, value in found.items()}
    return {**emptied, "id": found["id"], "incident": found["incident"], "restricted": True}


def _empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {}
    return [] if isinstance(value, list) else None
