"""Where commands read the journal of deliveries: from a file, from standard input, or from a service."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from receiver.cli.failures import UNREACHABLE, USAGE, Failure

if TYPE_CHECKING:
    from receiver.domain.journal import Kept

# Far above every body that a service takes; a file without line ends must not fill the memory.
MAX_LINE_BYTES = 64 * 1024 * 1024


def _checked(text: str | None) -> str | None:
    from receiver.domain.journal import moment_of

    try:
        return None if text is None else moment_of(text).isoformat()
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is neither a date nor an RFC 3339 time") from None


Since = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="TIME",
        help="Received since then: 2026-02-01, or an RFC 3339 time.",
        callback=_checked,
        show_default=False,
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--to", metavar="TIME", help="Received before then.", callback=_checked, show_default=False),
]


@contextmanager
def asked_lines(
    url: str, token_file: Path | None, since: str | None, until: str | None
) -> Iterator[Iterator[Kept]]:
    """The deliveries that a service keeps. Raises Failure where it cannot answer, or with something else."""
    from receiver.cli.client import connect

    headers = {"Accept": "application/x-ndjson"}
    query = {"from": since, "to": until}
    with connect(url, token_file).lines("/journal", headers=headers, query=query) as lines:
        yield _deliveries(lines, "the service's answer", code=UNREACHABLE)


@contextmanager
def file_lines(path: Path, *, told: Callable[[int], None]) -> Iterator[Iterator[Kept]]:
    """The deliveries of a file, `-` for standard input; ``told`` hears how many bytes each line had.

    Raises Failure, with the number of the line that is none.
    """
    name = "standard input" if str(path) == "-" else str(path)
    with _opened(path, name) as opened:
        yield _deliveries(_bounded(opened, name, told), name, code=USAGE)


def _opened(path: Path, name: str) -> AbstractContextManager[IO[bytes]]:
    try:
        return nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb")
    except OSError as error:
        raise _unreadable(name, error) from error


def _bounded(opened: IO[bytes], name: str, told: Callable[[int], None]) -> Iterator[bytes]:
    number = 0
    while line := _next(opened, name):
        number += 1
        if len(line) >= MAX_LINE_BYTES:
            raise Failure(f"{name}, line {number}: it is longer than any delivery", code=USAGE)
        told(len(line))
        yield line


def _next(opened: IO[bytes], name: str) -> bytes:
    try:
        return opened.readline(MAX_LINE_BYTES)
    except OSError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError) -> Failure:
    return Failure(f"{name} cannot be read: {error.strerror}", code=USAGE)


def _deliveries(lines: Iterable[bytes], name: str, *, code: int) -> Iterator[Kept]:
    from receiver.domain.journal import read_line

    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield read_line(line)
        except ValueError as error:
            raise Failure(f"{name}, line {number}: {error}", code=code) from error
