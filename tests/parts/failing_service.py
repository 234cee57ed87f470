"""`stanch serve` that kills itself at a chosen place: before or after any commit or request through a door.

A place is known by how often it was passed, by whom, and what it is: ``2 care before Cluster.get`` is the
second look of the patient's own care; others are named by their task (``1 duty-joining after ...``).
Places count from the moment on at which an alert of ``FAILPOINT_OF`` arrives, without what the care of others
passes. ``FAILPOINT_AT`` is the place to die at, ``FAILPOINT_LOG`` a file that every place is appended to.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from forked_process import ForkedProcess, begin_with
from kubernetes_asyncio.config import kube_config

from receiver.cli.running import serve
from receiver.clients.alertmanager import Alertmanager
from receiver.clients.cluster import Cluster
from receiver.clients.database import Databases
from receiver.clients.endpoints import Endpoints
from receiver.clients.prometheus import Prometheus
from receiver.pipeline.claim import Claim
from receiver.pipeline.worker import Worker
from receiver.store.engine import Delivery
from receiver.store.postgres import PostgresStore
from receiver.store.sqlite import SqliteStore

PLACES: tuple[tuple[type, str], ...] = (
    (SqliteStore, "write"),
    (SqliteStore, "keep"),
    (PostgresStore, "write"),
    (PostgresStore, "keep"),
    (Cluster, "get"),
    (Cluster, "list_objects"),
    (Cluster, "may"),
    (Cluster, "patch"),
    (Cluster, "evict"),
    (Databases, "backend"),
    (Databases, "backends"),
    (Databases, "statements"),
    (Databases, "usage"),
    (Databases, "may_signal"),
    (Databases, "signal"),
    (Endpoints, "ask"),
    (Endpoints, "warm"),
    (Prometheus, "values"),
    (Alertmanager, "listing"),
)
CARE, OTHERS = "care", "others"
_NUMBER = re.compile(r"[-\d]+$")
_passing: ContextVar[str] = ContextVar("passing", default="")


class Failpoint:
    """Counts the places passed, and ends the process at the chosen one."""

    def __init__(self) -> None:
        self.of = os.environ["FAILPOINT_OF"]
        self._at = os.environ.get("FAILPOINT_AT", "")
        self._log = Path(os.environ["FAILPOINT_LOG"]) if "FAILPOINT_LOG" in os.environ else None
        self._counting = False
        self._passed: Counter[str] = Counter()

    def begin(self, delivery: Delivery) -> None:
        """Count from now on, if this is about the patient."""
        self._counting |= f'"{self.of}"'.encode() in delivery.body

    def pass_by(self, what: str) -> None:
        """One place."""
        who = _passing.get() or _task()
        if not self._counting or who == OTHERS:
            return
        self._passed[f"{who} {what}"] += 1
        place = f"{self._passed[f'{who} {what}']} {who} {what}"
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as stream:
                stream.write(f"{place}\n")
        if place == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def _task() -> str:
    task = asyncio.current_task()
    return "" if task is None else _NUMBER.sub("", task.get_name())


def watched(
    failpoint: Failpoint, what: str, real: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    """The same call with a place before and one after it."""

    @functools.wraps(real)
    async def call(*args: Any, **known: Any) -> Any:
        if isinstance(args[-1], Delivery):
            failpoint.begin(args[-1])
        failpoint.pass_by(f"before {what}")
        answer = await real(*args, **known)
        failpoint.pass_by(f"after {what}")
        return answer

    return call


def caring(
    failpoint: Failpoint, real: Callable[..., Awaitable[None]]
) -> Callable[..., Coroutine[Any, Any, None]]:
    """The same care of one incident, known for the patient's or another's."""

    @functools.wraps(real)
    async def carry(self: Worker, claim: Claim, failures: int) -> None:
        patients = {alert.labels.get("app") for alert in claim.incident.alerts.values()}
        _passing.set(CARE if failpoint.of in patients else OTHERS)
        await real(self, claim, failures)

    return carry


def run() -> None:
    """Watch every place, and serve."""
    if "FAILPOINT_OF" in os.environ:
        failpoint = Failpoint()
        Worker._carry = caring(failpoint, Worker._carry)  # type: ignore[method-assign]
        for kind, method in PLACES:
            what = f"{kind.__name__}.{method}"
            setattr(kind, method, watched(failpoint, what, getattr(kind, method)))
    # Read once, when it was imported.
    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = os.environ["KUBECONFIG"]
    serve()


def failing_serve(log: Path, environment: Mapping[str, str]) -> ForkedProcess:
    """Start it."""
    begin_with("warm_service")
    return ForkedProcess(run, log=log, environment=environment)
