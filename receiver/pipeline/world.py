"""Everything a step of the pipeline may reach, handed in once by whoever starts the service."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from receiver.clients.alertmanager import Alertmanager
from receiver.clients.cluster import Cluster
from receiver.clients.database import Databases
from receiver.clients.endpoints import Endpoints
from receiver.clients.isolator import IsolatorDoor, NoIsolator
from receiver.clients.prometheus import Prometheus
from receiver.domain.clock import Clock
from receiver.domain.isolation import Act, Isolation
from receiver.domain.plans import Spec
from receiver.domain.remediation import Remediation
from receiver.domain.standing import Standing
from receiver.evidence.capture import Evidence
from receiver.pipeline.tracing import NoTraces, Tracer
from receiver.policy.approval import Identity
from receiver.policy.model import PolicySet
from receiver.policy.rights import Right
from receiver.store.engine import Store


class Destination(Protocol):
    """A place that people are told at."""

    name: str

    def wants(self, body: Mapping[str, object]) -> bool:
        """Whether a message is for it."""

    async def send(self, body: Mapping[str, object], *, key: str) -> None:
        """Deliver; raises TemporaryError or PermanentError."""


class Access(Protocol):
    """Says what those whom the cluster knows may do."""

    async def why_not(self, who: Identity, right: Right) -> str | None:
        """Why they may not; None where they may. Raises TemporaryError and PermanentError unanswered."""


class NoAccess:
    """Where nobody of the cluster is known, and so nobody of it may do anything."""

    async def why_not(self, who: Identity, right: Right) -> str | None:
        """See `Access.why_not`."""
        return f"{who.name} may not {right}: the cluster is not asked about people here"


@dataclass(frozen=True)
class Timing:
    """How long claims are held. The lease is short, since a frozen writer is noticed by nothing else; the
    heartbeat keeps it while the process lives, and what a frozen one had sent is fenced by recovery.
    """

    lease: timedelta = timedelta(seconds=5)
    heartbeat: timedelta = timedelta(seconds=1.5)
    # A task that hangs longer than this loses its lease although the process lives.
    step_limit: timedelta = timedelta(seconds=60)
    poll: timedelta = timedelta(seconds=1)
    reconcile: timedelta = timedelta(seconds=30)
    seal: timedelta = timedelta(milliseconds=300)
    anchor: timedelta = timedelta(minutes=10)
    prune: timedelta = timedelta(minutes=10)


@dataclass(frozen=True)
class Place:
    """Where this service acts, and whose alerts it takes for its own."""

    cluster: str | None = None
    cluster_label: str = "cluster"
    source: str = "alertmanager"
    receiver: str | None = None
    # The alert that always fires: that it comes proves the way from Prometheus' rules to us.
    watchdog: str = "Watchdog"
    base_url: str = "http://127.0.0.1:8080"


@dataclass(frozen=True)
class Refused:
    """Files that were newer and broken: their digest, every complaint, and since when."""

    files: str
    why: tuple[str, ...]
    at: datetime


@dataclass
class Loaded:
    """The policies in force; replaced as a whole when the files change.

    ``newest`` is the digest of the files that were seen last; ``refused`` says why they are not in force.
    """

    policies: PolicySet
    since: datetime | None = None
    newest: str = ""
    refused: Refused | None = None


async def no_standing() -> Standing | str:
    """Nobody gave one: each isolation is asked for."""
    return "there is no standing approval"


@dataclass(frozen=True)
class World:
    """The store, the clocks, the outside systems and the policies."""

    owner: str
    store: Store
    clock: Clock
    cluster: Cluster
    prometheus: Prometheus
    alertmanagers: Sequence[Alertmanager]
    remediations: Mapping[str, Remediation]
    catalogue: Mapping[str, Spec]
    loaded: Loaded
    destinations: Sequence[Destination]
    place: Place = field(default_factory=Place)
    timing: Timing = field(default_factory=Timing)
    databases: Databases = field(default_factory=Databases)
    endpoints: Endpoints = field(default_factory=Endpoints)
    evidence: Evidence = field(default_factory=Evidence)
    # How a security incident is isolated: what each way reads and plans, and the one door that writes it.
    isolations: Mapping[Act, Isolation] = field(default_factory=dict)
    isolator: IsolatorDoor = field(default_factory=NoIsolator)
    # The security lead's yes given in advance as it is now, or why there is none.
    standing: Callable[[], Awaitable[Standing | str]] = no_standing
    # What people of the cluster may do; those of the token file go by their groups alone.
    access: Access = field(default_factory=NoAccess)
    tracer: Tracer = field(default_factory=NoTraces)
    # Runs forward only: the age of facts is measured by it, never by a clock that may be set.
    steady: Callable[[], float] = time.monotonic
