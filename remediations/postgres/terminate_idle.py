"""End sessions that hold connections and do nothing, when connections run out.

The playbook ends every session that is idle for five minutes: the application's healthy pools, those of other
databases, and the monitor itself. What helps is to end those that sit in a transaction, and then the longest
idle ones of the application, a few and only while it is full (playbook INC-005, cause 1; row 005.1c).

In use must be more than 85 % of the connections that everybody can have. Only sessions of the connection's
`users` in its database come into question, never a superuser's or replication's, nobody's who works. Those
in a transaction go first, then the idle ones, the oldest first.

An approval covers this rule: connection, users, ages, limit. That one more session falls asleep voids
nothing, and it is not ended; the plan names its sessions. Each statement compares pid, beginning, state and
since when: a session that woke up before its statement is left alone, and the others go on. Between
PostgreSQL's look and its signal are microseconds that are PostgreSQL's; the card says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from receiver.domain import plans
from receiver.domain.backends import BACKEND, SPARED, Backend, Names, read_backend, spared
from receiver.domain.durations import Duration, in_words
from receiver.domain.plans import (
    ApprovalDefault,
    BackendStep,
    Draft,
    NotApplicable,
    ObjectRef,
    Permission,
    Receipt,
    Risk,
    Signal,
    Spec,
    Step,
)
from receiver.domain.remediation import DatabaseReader, Evidence, Placement

# Below that there are connections left, and ending sessions only makes them come back.
FULL_ABOVE = 0.85
CANNOT_UNDO = "cannot be undone: the transaction of an idle-in-transaction session is lost"


class Parameters(plans.Parameters):
    """What a policy may say below ``with``."""

    connection: str = Field(description="Which database, by its name in the databases file.")
    idle_in_transaction: Duration = Field(
        timedelta(seconds=60),
        ge=timedelta(seconds=10),
        description="Sessions that did nothing in a transaction for so long; they go first.",
    )
    idle: Duration = Field(
        timedelta(minutes=5),
        ge=timedelta(seconds=30),
        description="Sessions that did nothing for so long; they go when those are not enough.",
    )
    limit: int = Field(20, ge=1, le=20, description="How many at most; the oldest.")
    spare: Names = Field(SPARED, description="Applications left alone, by how the names they give begin.")


SPEC = Spec(
    name="postgres.terminate-idle",
    version=1,
    sentence="Ends sessions of the application that hold connections and do nothing, the oldest first.",
    risk=Risk.BOUNDED_LOSS,
    approval_default=ApprovalDefault.A1,
    # The workload whose database it is: the connection says which.
    target_kinds=frozenset({"Deployment"}),
    parameters=Parameters,
    needs_labels=frozenset(),
    reads=(Permission(BACKEND, "backends", "list"), Permission(BACKEND, "backends", "get")),
    writes=(Permission(BACKEND, "backends", "terminate"),),
    settle=timedelta(seconds=30),
    about=__doc__,
    example="""\
- remediation: postgres.terminate-idle
  why: Sessions that do nothing hold the connections that others need
  when: db.utilisation > 0.85
  with: {connection: shop, limit: 10}
""",
    reversible=False,
)


class TerminateIdle:
    """`postgres.terminate-idle`."""

    spec = SPEC

    def __init__(self, databases: DatabaseReader) -> None:
        self._databases = databases

    async def observe(self, target: ObjectRef, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """How full the server is, and the application's sessions with the server's time."""
        asked = Parameters.model_validate(dict(parameters))
        usage = await self._databases.usage(asked.connection)
        sessions = await self._databases.backends(asked.connection)
        return {**sessions, "namespace": target.namespace, "used": usage["used"], "usable": usage["usable"]}

    def plan(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any], evidence: Evidence, *, now: datetime
    ) -> Draft | NotApplicable:
        """One signal for each session that does nothing for long enough; none while there is room."""
        asked = Parameters.model_validate(dict(parameters))
        used, usable = int(state["used"]), int(state["usable"])
        filled = f"{used} of {usable} connections are in use"
        if usable <= 0 or used / usable <= FULL_ABOVE:
            return NotApplicable(f"{filled}; sessions are ended above {FULL_ABOVE:.0%}")
        # Ages by the server's clock; ours may differ by more than they are long.
        at = datetime.fromisoformat(state["at"])
        chosen = _chosen([read_backend(found) for found in state["backends"]], asked, at)
        if not chosen:
            return NotApplicable(
                f"{filled}, and no session of {', '.join(state['users'])} does nothing for long enough"
                f" ({in_words(asked.idle_in_transaction)} in a transaction, {in_words(asked.idle)} outside)"
            )
        rule = _rule(asked, state["database"])
        steps = tuple(
            BackendStep(
                target=backend.ref,
                signal=Signal.TERMINATE,
                database=state["database"],
                users=tuple(state["users"]),
                version=backend.version,
                rule=rule,
                seen=backend.described(at),
            )
            for backend in chosen
        )
        return _draft(state, asked, chosen, steps, f"{filled} ({used / usable:.0%})", rule)

    def undo_plan(
        self, receipts: tuple[Receipt, ...], state: Mapping[str, Any]
    ) -> tuple[Step, ...] | NotApplicable:
        """There is no way back; clients connect again by themselves."""
        return NotApplicable("a session that was ended cannot be brought back; clients connect again")

    async def verify(self, receipt: Receipt) -> tuple[Placement, str]:
        """The backend is gone."""
        found = await self._databases.backend(receipt.target)
        if found is None or found["metadata"]["uid"] != receipt.target.uid:
            return Placement.IN_PLACE, f"{receipt.target} is gone"
        return Placement.NOT_YET, f"{receipt.target} is still there"


def _chosen(backends: list[Backend], asked: Parameters, at: datetime) -> list[Backend]:
    """Those that may go, in the order in which they do: in a transaction before idle, oldest first."""
    found = [
        backend
        for backend in backends
        if not spared(backend, asked.spare)
        and (
            (backend.in_transaction and at - backend.since >= asked.idle_in_transaction)
            or (backend.state == "idle" and at - backend.since >= asked.idle)
        )
    ]
    found.sort(key=lambda backend: (not backend.in_transaction, backend.since, backend.ref.name))
    return found[: asked.limit]


def _rule(asked: Parameters, database: str) -> str:
    """What a yes covers: by which rule sessions are chosen, and how many."""
    spare = f", never {', '.join(asked.spare)}" if asked.spare else ""
    return (
        f"sessions in {database} on {asked.connection}: idle in transaction for"
        f" {in_words(asked.idle_in_transaction)}, then idle for {in_words(asked.idle)}, the oldest first,"
        f" {asked.limit} at most{spare}"
    )


def _draft(
    state: Mapping[str, Any],
    asked: Parameters,
    chosen: list[Backend],
    steps: tuple[Step, ...],
    filled: str,
    rule: str,
) -> Draft:
    inside = sum(backend.in_transaction for backend in chosen)
    count = len(chosen)
    return Draft(
        target=ObjectRef(BACKEND, "Database", state["namespace"], asked.connection),
        steps=steps,
        summary=f"end {_sessions(count)} of {state['database']} on {asked.connection} that do nothing",
        why=filled,
        blast_radius=(
            f"{_sessions(count)} at most: {inside} in a transaction, which is rolled back,"
            f" and {count - inside} idle; their clients get an error and connect again"
        ),
        notes=(
            rule,
            "a session that woke up before its own statement is left alone; the microseconds between"
            " PostgreSQL's look and its signal are PostgreSQL's",
        ),
        undo_sentence=CANNOT_UNDO,
    )


def _sessions(count: int) -> str:
    return "1 session" if count == 1 else f"{count} sessions"
