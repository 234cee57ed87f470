"""Whether the store can take what comes: there, of this release's schema, with room."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from receiver.store.looking import Looked, Sessions
from receiver.trials.doctor.findings import Area, Finding, doubt, well, wrong

MIB = 1024 * 1024
# Below this a storm of alerts fills the disk before anybody looks.
LEAST_FREE = 256 * MIB
# What one capture of evidence may hold; a second incident needs as much again.
CAPTURE = 64 * MIB
MANY_CAPTURES = 16 * CAPTURE


@dataclass(frozen=True)
class Disk:
    """A folder that is written to: whether that can be, and how many bytes are free."""

    folder: str
    writable: bool
    free: int


@dataclass(frozen=True)
class StoreFacts:
    """What is known of the store; ``told`` is None where there is none yet, a sentence where it is away."""

    called: str
    told: Looked | str | None
    disk: Disk | None = None


def judge(facts: StoreFacts, *, head: str, sessions: int, kept_bytes: int) -> list[Finding]:
    """``head`` is this release's schema, ``sessions`` what one process may take of a PostgreSQL,
    ``kept_bytes`` how much webhook bodies may come to.
    """
    return [*_there(facts, head, sessions), *_room(facts.disk, kept_bytes)]


def _there(facts: StoreFacts, head: str, sessions: int) -> Iterator[Finding]:
    told = facts.told
    if isinstance(told, str):
        fix = "start it, or correct STANCH_STORE; until then alerts are answered with 503"
        yield wrong(Area.STORE, f"{facts.called}: {told}", fix)
        return
    if told is None or told.revision is None:
        yield well(Area.STORE, f"{facts.called} is empty; `stanch serve` makes its tables")
    elif told.revision > head:
        yield wrong(
            Area.STORE,
            f"{facts.called} has the schema of a newer release ({told.revision}; this one knows {head})",
            "run that release, or restore what was saved before it was started",
        )
    elif told.revision < head:
        yield doubt(
            Area.STORE,
            f"{facts.called} has an older schema ({told.revision}; this release's is {head})",
            "save it, then: stanch migrate (`stanch serve` does so as well; there is no way back)",
        )
    else:
        yield well(Area.STORE, f"{facts.called} is there, with this release's schema ({head})")
    if told is None:
        return
    if not told.writable:
        yield wrong(
            Area.STORE,
            f"{facts.called} is a standby: nothing can be written to it",
            "name the primary in STANCH_STORE",
        )
    if told.sessions is not None:
        yield from _sessions(facts.called, told.sessions, sessions)


def _sessions(called: str, told: Sessions, needed: int) -> Iterator[Finding]:
    most, others = told.most, told.taken - told.ours
    if most < needed:
        yield wrong(
            Area.STORE,
            f"{called} has {most} sessions for us, and each process may take {needed}",
            "ALTER SYSTEM SET max_connections, and restart it; or raise the limit of its role or database",
        )
    elif most - others < needed:
        yield doubt(
            Area.STORE,
            f"{called} has {most - others} sessions left by others, and each process may take {needed}",
            "give others fewer, or it more: ALTER SYSTEM SET max_connections, and restart it",
        )


def _room(disk: Disk | None, kept_bytes: int) -> Iterator[Finding]:
    if disk is None:
        return
    if not disk.writable:
        yield wrong(Area.STORE, f"{disk.folder} is not writable", f"chown it: chown USER {disk.folder}")
    if disk.free < LEAST_FREE:
        yield wrong(
            Area.STORE,
            f"{disk.folder} has {disk.free // MIB} MiB left; a full disk answers alerts with 503",
            "make room; `stanch prune --older-than 1d` drops what is old, for later rows to take its place",
        )
    elif disk.free < kept_bytes:
        yield doubt(
            Area.STORE,
            f"{disk.folder} has {disk.free // MIB} MiB left; bodies may come to {kept_bytes // MIB} MiB",
            "make room, or lower STANCH_RETENTION_BYTES",
        )
    else:
        yield well(Area.STORE, f"{disk.folder} has {disk.free // MIB} MiB left")


def judge_evidence(disk: Disk | None, *, wanted: bool) -> list[Finding]:
    """Where evidence goes; ``wanted`` is whether a policy may find an attack."""
    if disk is None:
        if not wanted:
            return []
        return [
            doubt(
                Area.EVIDENCE,
                "policies may find an attack, and no evidence of it would be kept",
                "set STANCH_EVIDENCE_DIR to a folder on a disk of its own",
            )
        ]
    if not disk.writable:
        return [wrong(Area.EVIDENCE, f"{disk.folder} cannot be written to", f"mkdir -m 700 {disk.folder}")]
    if disk.free < CAPTURE:
        left = f"{disk.folder} has {disk.free // MIB} MiB left, less than one capture may hold"
        return [wrong(Area.EVIDENCE, left, "make room on its disk; evidence itself is never removed by us")]
    if disk.free < MANY_CAPTURES:
        left = f"{disk.folder} has {disk.free // MIB} MiB left, room for {disk.free // CAPTURE} captures"
        return [doubt(Area.EVIDENCE, left, "make room on its disk")]
    return [well(Area.EVIDENCE, f"{disk.folder} has {disk.free // MIB} MiB left")]
