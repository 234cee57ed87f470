"""What a remediation is: how to look, how to plan, how to put back, how to see that it is in place.

It reads through a door it is given and never writes. Registering one in the catalogue is all it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from receiver.domain.endpoints import Answered, EndpointKind
from receiver.domain.plans import Draft, NotApplicable, ObjectRef, Receipt, Spec, Step


class Placement(StrEnum):
    """Whether a change is physically there; whether it helped is asked elsewhere."""

    IN_PLACE = "in-place"
    NOT_YET = "not-yet"
    FAILED = "failed"


@dataclass(frozen=True)
class Evidence:
    """What is known of the patient beside the cluster: whether it was well, sample by sample.

    ``healthy`` is the policy's success condition over the look-back, oldest first; None is no data.
    """

    first_bad_at: datetime | None
    healthy: tuple[tuple[datetime, bool | None], ...] = ()


class ClusterReader(Protocol):
    """The read-only half of the cluster's door."""

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        """The object as JSON, or None where there is none."""

    async def list_objects(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        *,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        limit: int = 500,
    ) -> list[dict[str, Any]]:
        """Up to ``limit`` objects that carry all the labels."""

    async def log(
        self, namespace: str, pod: str, *, container: str | None = None, since_seconds: int, limit_bytes: int
    ) -> str:
        """The newest lines of one container."""


class DatabaseReader(Protocol):
    """The read-only half of the door to the databases; each is asked by the name of its connection.

    Whatever is not to be had raises TemporaryError or PermanentError.
    """

    async def backend(self, ref: ObjectRef) -> dict[str, Any] | None:
        """The backend of that connection and pid in the shape of an object, or None where there is none."""

    async def backends(self, connection: str) -> dict[str, Any]:
        """The application's sessions: ``database``, ``users``, ``at`` (the server's clock), ``backends``."""

    async def statements(self, connection: str, *, running_for: timedelta) -> dict[str, Any]:
        """The same for those whose statement runs at least so long: who blocks most first, then oldest."""

    async def usage(self, connection: str) -> dict[str, Any]:
        """Connections ``used`` of those ``usable`` by everybody, and the ``groups`` that use them."""

    async def replication(self, connection: str) -> dict[str, Any]:
        """A standby's ``lag`` in seconds (None: unknown), or a primary's ``standbys``."""

    async def storage(self, connection: str) -> dict[str, Any]:
        """What takes space: ``slots``, ``archiver``, ``tables``, ``database``, ``wal``; each may lack."""


class EndpointReader(Protocol):
    """The door to what may be read outside the cluster; each is asked by its name in the endpoints file."""

    async def ask(self, name: str, kind: EndpointKind) -> Answered:
        """What the endpoint of that name and kind answers.

        Whatever is not to be had raises TemporaryError or PermanentError.
        """

    def warmable(self, name: str) -> dict[str, Any] | None:
        """The endpoint of that name in the shape of an object, or None where none may be warmed up."""


class Remediation(Protocol):
    """One kind of cure."""

    @property
    def spec(self) -> Spec:
        """What it declares of itself."""

    async def observe(self, target: ObjectRef, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read what planning needs; writes nothing. A plain JSON state, completed with API defaults."""

    def plan(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any], evidence: Evidence, *, now: datetime
    ) -> Draft | NotApplicable:
        """The steps from that state; pure."""

    def undo_plan(
        self, receipts: tuple[Receipt, ...], state: Mapping[str, Any]
    ) -> tuple[Step, ...] | NotApplicable:
        """The steps that put back exactly what was captured; pure. Not where somebody changed it since."""

    async def verify(self, receipt: Receipt) -> tuple[Placement, str]:
        """Whether the change is in place, with a sentence; reads only."""
