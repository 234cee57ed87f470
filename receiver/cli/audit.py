"""`stanch audit`: take the sealed chain out of a service, and check such a file anywhere, offline."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.failures import NOT_WELL, UNREACHABLE, USAGE, Failure
from receiver.cli.options import DEFAULT_URL, As, Output, TokenFile, Url, examples

if TYPE_CHECKING:
    from receiver.store.audit import Broken, Head

app = typer.Typer(
    no_args_is_help=True,
    help="The sealed audit chain.",
    epilog=examples("stanch audit export > audit.jsonl", "stanch audit verify audit.jsonl"),
)

NOT_PROVEN = "end not proven: no anchor was given"


@app.command(epilog=examples("stanch audit export > audit.jsonl"))
def export(
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="Both are the same: JSON lines, a header first.")
    ] = Output.JSON,
) -> None:
    """Write the chain to standard output, as JSON lines."""
    from receiver.cli.client import connect

    head = last = 0
    with connect(url, token_file).lines("/audit", headers={"Accept": "application/x-ndjson"}) as lines:
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            row = _row(line)
            if row is None:
                raise Failure("the service does not answer with an audit chain", code=UNREACHABLE)
            if number == 0:
                head = _number(_map(row.get("head")).get("seal"))
            else:
                last = _number(row.get("seal"))
            # ASCII: texts of strangers are in it, and this may be a terminal.
            sys.stdout.write(json.dumps(row, ensure_ascii=True) + "\n")
    sys.stdout.flush()
    if last < head:
        raise Failure(f"the export ends at row {last}, before the chain's row {head}", code=UNREACHABLE)


@app.command(
    epilog=examples(
        "stanch audit verify audit.jsonl",
        "stanch audit verify audit.jsonl --anchor 4711:5e88...d8",
    )
)
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `stanch audit export` wrote.")],
    anchor: Annotated[
        str | None,
        typer.Option(
            "--anchor",
            metavar="SEAL:HASH",
            help="A row that must be in it, kept elsewhere: the log (audit_anchor) and the webhook say one.",
            show_default=False,
        ),
    ] = None,
    output: As = Output.TEXT,
) -> None:
    """Check an exported chain, offline: nothing changed, removed or moved."""
    from receiver.store.audit import Broken
    from receiver.terminal import screen

    named = None if anchor is None else _anchor(anchor)
    try:
        with file.open("rb") as opened:
            found = _verified(opened, named)
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}", code=USAGE) from error
    broken = isinstance(found, Broken)
    if output is Output.JSON:
        at = {"seal": found.seal, "reason": found.reason} if isinstance(found, Broken) else None
        head = None if isinstance(found, Broken) else {"seal": found.seal, "hash": found.hash}
        screen.print_json(
            {"ok": not broken, "head": head, "broken": at, "end_proven": not broken and named is not None}
        )
    if isinstance(found, Broken):
        raise Failure(f"the chain is broken at row {found.seal}: {found.reason}", code=NOT_WELL)
    if output is Output.TEXT:
        console = screen.out()
        console.print(screen.plain(f"every row fits; head {found.seal}:{found.hash}", "green"))
        console.print(screen.plain("the anchor's row is in it" if named is not None else NOT_PROVEN))


def _verified(opened: IO[bytes], anchor: Head | None) -> Head | Broken:
    from receiver.store import audit

    header = _row(opened.readline())
    if header is None or header.get("format") != audit.FORMAT:
        raise Failure(
            f"this is no audit export: its first line does not say {audit.FORMAT}; see `stanch audit export`",
            code=USAGE,
        )
    told = _map(header.get("head"))
    promised = audit.Head(_number(told.get("seal")), str(told.get("hash")))
    rows = _Rows(opened)
    try:
        found = audit.verify(rows, anchor=anchor or promised)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return audit.Broken(rows.number, "it is no row of a chain")
    if isinstance(found, audit.Head) and found.seal < promised.seal:
        return audit.Broken(
            found.seal,
            f"the chain ends at row {found.seal}, before the header's row {promised.seal}: rows are missing",
        )
    return found


class _Rows:
    """The rows of an open export, one at a time; ``number`` is the one being read."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened
        self.number = 0

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for line in self._opened:
            self.number += 1
            row = _row(line)
            if row is None:
                raise ValueError("not a row")
            yield row


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _anchor(text: str) -> Head:
    from receiver.store.audit import Head

    if not re.fullmatch(r"[1-9][0-9]{0,17}:[0-9a-f]{64}", text):
        raise typer.BadParameter("an anchor is SEAL:HASH, as `audit verify` prints it", param_hint="--anchor")
    seal, _, name = text.partition(":")
    return Head(int(seal), name)


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
