"""What our own store tells a probe of the past: the other incidents of a target, without those restricted."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from receiver.domain.errors import TemporaryError, Unavailable
from receiver.domain.incidents import Incident
from receiver.domain.plans import ObjectRef
from receiver.pipeline.world import World
from receiver.policy.matching import concerns
from receiver.probes.incidents import History, PastCure, PastIncident
from receiver.store import effects, reading

# One with twenty alerts takes most of a millisecond to read and to look through, and this is for one probe.
MOST_INCIDENTS = 300


@dataclass(frozen=True)
class Past:
    """The past as one incident sees it, which does not count itself; an `IncidentReader`."""

    world: World
    present: Incident

    async def around(self, target: ObjectRef, *, since: datetime) -> History:
        """See `IncidentReader.around`."""
        try:
            return await self.world.store.read(lambda tx: self._read(tx, target, since))
        except Unavailable as error:
            raise TemporaryError(f"our own store: {error}") from error

    def _read(self, tx: Connection, target: ObjectRef, since: datetime) -> History:
        found = reading.list_incidents(
            tx, before=None, limit=MOST_INCIDENTS, only_open=False, opened_since=since
        )
        told = [each for each in found if each.id != self.present.id and each.lockdown is None]
        cures: dict[int, list[PastCure]] = defaultdict(list)
        for tried in effects.tried_on(tx, target.key, [each.id for each in told]):
            cures[tried.incident_id].append(PastCure(tried.remediation, tried.executed_at, tried.outcome))
        past: list[PastIncident] = []
        for each in told:
            if each.opened_at is None:
                continue
            # What was carried out on it was about it, by whatever policy that was and is no longer loaded.
            own = each.id in cures or concerns(self.world.loaded.policies, each, target)
            if own or _in_namespace(each, target.namespace):
                cause = each.cause or ""
                past.append(PastIncident(each.opened_at, each.resolved_at, cause, own, tuple(cures[each.id])))
        return History(tuple(past), _known_since(found, since))


def _in_namespace(incident: Incident, namespace: str) -> bool:
    return any(alert.labels.get("namespace") == namespace for alert in incident.alerts.values())


def _known_since(found: list[Incident], since: datetime) -> datetime:
    """Since when all that were opened are among these; numbers are given in the order of opening."""
    oldest = found[-1].opened_at if len(found) >= MOST_INCIDENTS else None
    return since if oldest is None else oldest
