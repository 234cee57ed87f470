"""One PostgreSQL session as it was seen, and the words for it; read from the door's plain JSON.

Ages are measured against the server's own clock, which comes with every look: ours may differ by more than a
minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator

from receiver.domain.durations import in_words
from receiver.domain.plans import ObjectRef

BACKEND = "postgresql"
# What works for hours and must not be cut off; programs tell their names themselves, so names only spare.
SPARED = ("pg_dump", "pg_dumpall", "pg_restore", "pg_basebackup", "alembic", "flyway", "liquibase")
_SHOWN = 60

# A parameter's list of names, as YAML gives it.
Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda given: tuple(given) if isinstance(given, list) else given)
]


@dataclass(frozen=True)
class Backend:
    """A session: who, what it does, and since when (``state_change``, ``query_start``)."""

    ref: ObjectRef
    version: str
    user: str
    application: str
    state: str
    since: datetime
    query_since: datetime | None
    blocks: int = 0
    blocked_by: int = 0

    @property
    def in_transaction(self) -> bool:
        """Whether it holds a transaction open and does nothing in it, an aborted one included."""
        return self.state.startswith("idle in transaction")

    def described(self, now: datetime) -> str:
        """For the card: user, application, what it does and since when; never what it said."""
        runs = self.state == "active" and self.query_since is not None
        since = self.query_since if runs and self.query_since is not None else self.since
        others = f", {self.blocks} wait for it" if self.blocks else ""
        application = f" ({words(self.application)})" if self.application else ""
        return (
            f"{words(self.user)}{application}: {self.state} since {since:%H:%M:%S} UTC,"
            f" {in_words(now - since)}{others}"
        )


def read_backend(found: Mapping[str, Any]) -> Backend:
    """From the shape of an object."""
    metadata, spec = found["metadata"], found["spec"]
    query_start = spec.get("query_start")
    return Backend(
        ref=ObjectRef(BACKEND, "Backend", metadata["namespace"], metadata["name"], metadata["uid"]),
        version=metadata["resourceVersion"],
        user=spec["usename"],
        application=spec["application_name"],
        state=spec["state"],
        since=datetime.fromisoformat(spec["state_change"]),
        query_since=None if query_start is None else datetime.fromisoformat(query_start),
        blocks=int(spec.get("blocks", 0)),
        blocked_by=int(spec.get("blocked_by", 0)),
    )


def spared(backend: Backend, applications: tuple[str, ...]) -> bool:
    """Whether it says that it is one of these programs, or part of one."""
    name = backend.application.lower()
    return any(name.startswith(each.lower()) for each in applications)


def words(name: str, most: int = _SHOWN) -> str:
    """What somebody else wrote, printable, on one line and no longer than that."""
    text = "".join(letter if letter.isprintable() else " " for letter in name)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
