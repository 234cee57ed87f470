"""The options and arguments that commands share, and the examples below each command's help."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """For people or for programs."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True)
class Call:
    """How one command reaches the service, and for whom it prints."""

    url: str
    token_file: Path | None
    output: Output


def _plan(text: str) -> str:
    if not re.fullmatch(r"[Pp]-[0-9]{1,15}", text):
        raise typer.BadParameter(f"{text!r} is no plan; plans are named like P-17")
    return text.upper()


def _plan_or_isolation(text: str) -> str:
    if not re.fullmatch(r"[PpSs]-[0-9]{1,15}", text):
        raise typer.BadParameter(f"{text!r} is neither a plan, like P-17, nor an isolation, like S-17")
    return text.upper()


def _reason(text: str | None) -> str | None:
    if text is not None and not text.strip():
        raise typer.BadParameter("it is empty")
    return text


As = Annotated[
    Output, typer.Option("--output", "-o", help="text for people, json for programs.", show_default=True)
]
Url = Annotated[
    str, typer.Option("--url", envvar="STANCH_URL", help="Where the service listens.", show_default=True)
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help="File with your API token. Default: STANCH_TOKEN, else the file that STANCH_TOKEN_FILE names.",
        show_default=False,
    ),
]
PlanId = Annotated[str, typer.Argument(metavar="PLAN", help="A plan, like P-17.", callback=_plan)]
Answerable = Annotated[
    str,
    typer.Argument(
        metavar="PLAN", help="A plan, like P-17, or an isolation, like S-3.", callback=_plan_or_isolation
    ),
]
IncidentId = Annotated[int, typer.Argument(metavar="ID", help="An incident's number.", min=1)]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it is recorded.", callback=_reason)]
OptionalReason = Annotated[
    str | None,
    typer.Option("--reason", "-r", help="Why; it is recorded.", callback=_reason, show_default=False),
]
Limit = Annotated[
    int, typer.Option("--limit", "-n", help="At most so many, newest first.", min=1, max=10_000)
]

DEFAULT_URL = "http://127.0.0.1:8080"


def examples(*lines: str) -> str:
    """The epilog of a command: what one would really type."""
    # A bracket would be read as markup.
    escaped = [line.replace("[", "\\[") for line in lines]
    return "\n".join(["[bold]Examples[/bold]", *(f"$ {line}" for line in escaped)])
