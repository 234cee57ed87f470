"""Cancel the statements that run too long, those first that others wait for.

The playbook's list of slow queries begins with replication, which runs for ever, and it ends whole sessions
(playbook INC-002; rows 002.1a and 002.1b). A cancel ends one statement and leaves the client its session.
Ending that is another plan with another approval, for a statement that a cancel would have ended by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

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

# A cancelled statement is over at once, or it does not listen; then it still runs after this.
CANCEL_TAKES = timedelta(seconds=30)
_QUERY_SHOWN = 100


class Parameters(plans.Parameters):
    """What a policy may say below ``with``."""

    connection: str = Field(description="Which database, by its name in the databases file.")
    slow_after: Duration = Field(
        timedelta(seconds=60),
        ge=timedelta(seconds=10),
        description="Statements that run for so long; 30 s more where the session is to end.",
    )
    limit: int = Field(3, ge=1, le=3, description="How many at most.")
    signal: Literal["cancel", "terminate"] = Field(
        "cancel", description="terminate ends the session too; for what a cancel did not end."
    )
    spare: Names = Field(SPARED, description="Applications left alone, by how the names they give begin.")

    @property
    def seen_for(self) -> timedelta:
        """How long a statement must have been running."""
        return self.slow_after + (CANCEL_TAKES if self.signal == "terminate" else timedelta(0))


SPEC = Spec(
    name="postgres.cancel-query",
    version=1,
    sentence="Cancels statements of the application that run too long, those first that others wait for.",
    risk=Risk.BOUNDED_LOSS,
    approval_default=ApprovalDefault.A1,
    # The workload whose database it is: the connection says which.
    target_kinds=frozenset({"Deployment"}),
    parameters=Parameters,
    needs_labels=frozenset(),
    reads=(Permission(BACKEND, "backends", "list"), Permission(BACKEND, "backends", "get")),
    writes=(Permission(BACKEND, "backends", "cancel"), Permission(BACKEND, "backends", "terminate")),
    settle=timedelta(seconds=30),
    about=__doc__,
    example="""\
- remediation: postgres.cancel-query
  why: Statements that run for minutes hold what others wait for
  when: slow.blocking > 0
  with: {connection: shop, slow_after: 2m}
""",
    reversible=False,
)


class CancelQuery:
    """`postgres.cancel-query`."""

    spec = SPEC

    def __init__(self, databases: DatabaseReader) -> None:
        self._databases = databases

    async def observe(self, target: ObjectRef, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The application's statements that run so long, with the server's time."""
        asked = Parameters.model_validate(dict(parameters))
        found = await self._databases.statements(asked.connection, running_for=asked.seen_for)
        return {**found, "namespace": target.namespace}

    def plan(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any], evidence: Evidence, *, now: datetime
    ) -> Draft | NotApplicable:
        """One signal for each statement that is in the way."""
        asked = Parameters.model_validate(dict(parameters))
        at = datetime.fromisoformat(state["at"])
        found = {one["metadata"]["name"]: one for one in state["backends"]}
        running = [read_backend(one) for one in found.values()]
        running = [backend for backend in running if _since(backend, at) >= asked.seen_for]
        mine = [backend for backend in running if not spared(backend, asked.spare)]
        # Who waits for another one is not the cause, and goes on once that is out of the way.
        chosen = [backend for backend in mine if not backend.blocked_by]
        if not chosen:
            waiting = f"; {len(mine)} wait for others" if mine else ""
            spare = f"; {len(running) - len(mine)} are spared" if len(running) > len(mine) else ""
            return NotApplicable(
                f"no statement of {', '.join(state['users'])} runs for {in_words(asked.seen_for)}"
                f" by itself{waiting}{spare}"
            )
        chosen.sort(key=lambda backend: (-backend.blocks, -_since(backend, at), backend.ref.name))
        chosen = chosen[: asked.limit]
        rule = _rule(asked, state["database"])
        steps = tuple(
            BackendStep(
                target=backend.ref,
                signal=Signal(asked.signal),
                database=state["database"],
                users=tuple(state["users"]),
                version=backend.version,
                rule=rule,
                seen=f"{backend.described(at)}: {_query(found[backend.ref.name])}",
            )
            for backend in chosen
        )
        return _draft(state, asked, chosen, steps, at, rule)

    def undo_plan(
        self, receipts: tuple[Receipt, ...], state: Mapping[str, Any]
    ) -> tuple[Step, ...] | NotApplicable:
        """There is no way back; the client may ask again."""
        return NotApplicable(
            "a statement that was cancelled cannot be brought back; its client may ask again"
        )

    async def verify(self, receipt: Receipt) -> tuple[Placement, str]:
        """The statement that was told no longer runs."""
        found = await self._databases.backend(receipt.target)
        if found is None or found["metadata"]["uid"] != receipt.target.uid:
            return Placement.IN_PLACE, f"{receipt.target} is gone"
        if found["metadata"]["resourceVersion"] != receipt.version:
            return Placement.IN_PLACE, f"the statement of {receipt.target} is over"
        return Placement.NOT_YET, f"the statement of {receipt.target} still runs"


def _since(backend: Backend, at: datetime) -> timedelta:
    return at - (backend.query_since or at)


def _query(found: Mapping[str, Any]) -> str:
    """The statement as the door shows it, its values left out."""
    return str(found["spec"]["query"])[:_QUERY_SHOWN]


def _rule(asked: Parameters, database: str) -> str:
    """What a yes covers: by which rule statements are chosen, how many, and what they are told."""
    told = "cancel the statement" if asked.signal == "cancel" else "end the session"
    spare = f", never {', '.join(asked.spare)}" if asked.spare else ""
    return (
        f"{told} of who runs one for {in_words(asked.seen_for)} in {database} on {asked.connection} and waits"
        f" for nobody: whom most wait for first, then the oldest, {asked.limit} at most{spare}"
    )


def _draft(
    state: Mapping[str, Any],
    asked: Parameters,
    chosen: list[Backend],
    steps: tuple[Step, ...],
    at: datetime,
    rule: str,
) -> Draft:
    count, waiting = len(chosen), sum(backend.blocks for backend in chosen)
    longest = in_words(max(_since(backend, at) for backend in chosen))
    statements = "1 statement" if count == 1 else f"{count} statements"
    doing = "cancel" if asked.signal == "cancel" else "end the sessions of"
    ending = "and its session ends" if asked.signal == "terminate" else "its session stays"
    return Draft(
        target=ObjectRef(BACKEND, "Database", state["namespace"], asked.connection),
        steps=steps,
        summary=f"{doing} {statements} of {state['database']} on {asked.connection}",
        why=f"the longest runs for {longest}" + (f"; {waiting} wait for them" if waiting else ""),
        blast_radius=(
            f"{statements} at most: the client gets an error, its transaction is rolled back, {ending}"
        ),
        notes=(
            rule,
            "a statement that ended before its own turn is left alone; the microseconds between PostgreSQL's"
            " look and its signal are PostgreSQL's",
        ),
        undo_sentence="cannot be undone: what the statement's transaction did is lost",
    )
