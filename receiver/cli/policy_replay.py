"""`stanch policy replay`: what other policies would have made of past alerts."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.failures import NOT_WELL
from receiver.cli.journal import Since, Until, asked_lines, file_lines
from receiver.cli.options import DEFAULT_URL, TokenFile, Url, examples
from receiver.cli.policy_files import Folder, Shown, loaded_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from receiver.domain.journal import Kept
    from receiver.trials.replay.differing import Kind
    from receiver.trials.replay.progress import Reading

EXAMPLES = examples(
    "stanch policy replay --against new/ --from 2026-02-01 --to 2026-03-01",
    "stanch policy replay policies/ --against new/ --journal journal.jsonl",
    "stanch policy replay --against new/ --journal - --fail-on auto-added,page-removed",
    "stanch policy replay --against new/ --prometheus http://127.0.0.1:9090 -o markdown",
)


def _kinds(text: str | None) -> frozenset[Kind]:
    from receiver.trials.replay.differing import Kind

    try:
        return frozenset(Kind(word.strip()) for word in (text or "").split(",") if word.strip())
    except ValueError:
        known = ", ".join(Kind)
        raise typer.BadParameter(
            f"{text!r} is not a list of these: {known}", param_hint="--fail-on"
        ) from None


def replay(
    against: Annotated[
        Path, typer.Option("--against", metavar="PATH", help="The other policies, a file or a folder.")
    ],
    path: Folder = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            "--journal",
            metavar="FILE",
            help="What `stanch alerts journal` wrote, - for standard input. Default: ask the service.",
            show_default=False,
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    prometheus: Annotated[
        str | None,
        typer.Option(
            "--prometheus",
            metavar="URL",
            help="Ask this Prometheus what the named queries said at the time.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show incidents that are the same, too.")] = False,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="KINDS",
            help="End with 1 on auto-added, page-removed, severity-lowered, proposal-removed, "
            "comma-separated, or another kind that is shown.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Shown, typer.Option("--output", "--format", "-o", help="markdown is for a pull request.")
    ] = Shown.TEXT,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Replay past alerts through two sets of policies and show what differs.

    Nothing is written and nothing is done. The service keeps deliveries for
    STANCH_RETENTION only: what is older cannot be asked for. What people said
    and what probes found is not in the journal: a decision that needs it is
    shown as unknown (no history), and counted.

    Exit codes: 0 well; 1 a difference of --fail-on, or a policy has mistakes;
    2 wrong usage, or a broken line in the journal.
    """
    from receiver.domain.journal import moment_of
    from receiver.trials.replay.command import Asked, main
    from receiver.trials.replay.progress import Reading
    from remediations.registry import catalogue

    asked = Asked(output.value, every, _kinds(fail_on), prometheus)
    old, new = loaded_from(path), loaded_from(against)
    first = None if since is None else moment_of(since)
    last = None if until is None else moment_of(until)
    with Reading(_size(journal)) as reading, _lines(journal, url, token_file, since, until, reading) as kept:
        # A file may hold more than is asked for.
        wanted = (
            one
            for one in kept
            if (first is None or one.received_at >= first) and (last is None or one.received_at < last)
        )
        well = main(asked, wanted, old, new, catalogue=catalogue(), told=reading.replayed)
    if not well:
        raise typer.Exit(NOT_WELL)


def _lines(
    journal: Path | None,
    url: str,
    token_file: Path | None,
    since: str | None,
    until: str | None,
    reading: Reading,
) -> AbstractContextManager[Iterator[Kept]]:
    if journal is None:
        return asked_lines(url, token_file, since, until)
    return file_lines(journal, told=reading.read)


def _size(journal: Path | None) -> int | None:
    return journal.stat().st_size if journal is not None and journal.is_file() else None
