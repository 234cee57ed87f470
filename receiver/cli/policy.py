"""`stanch policy`: check and test policy files before they are put where the service reads them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli import policy_files, policy_replay, policy_stats, policy_tests
from receiver.cli.failures import NOT_WELL, UNREACHABLE, USAGE, Failure
from receiver.cli.options import As, Output, examples

if TYPE_CHECKING:
    from receiver.trials.policy_test.folder import Checked

PARSER = "promql-parser"


class Form(StrEnum):
    """How complaints are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


app = typer.Typer(
    no_args_is_help=True,
    help="Policy files.",
    epilog=examples("stanch policy check policies/", "stanch policy test policies/"),
)


@app.command(
    epilog=examples(
        "stanch policy check",
        "stanch policy check policies/ --format github",
        "stanch policy check policies/mine.yaml --live --prometheus http://prometheus:9090",
    )
)
def check(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[PATH]", help=policy_files.PATH_HELP),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Ask Prometheus as well whether it knows the queries.")
    ] = False,
    prometheus: Annotated[
        str | None,
        typer.Option(
            "--prometheus",
            envvar="STANCH_PROMETHEUS_URL",
            metavar="URL",
            help="The Prometheus that --live asks.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        Form,
        typer.Option(
            "--format", "--output", "-o", help="text for people, json for programs, github for its checks."
        ),
    ] = Form.TEXT,
) -> None:
    """Check policy files and their tests: every complaint with its place and what to write instead.

    PromQL is read by a parser of our own packages; with --live a Prometheus answers each query as well, over
    the last hour.

    Exit codes: 0 well, warnings or not; 1 an error in a file; 2 wrong usage, or a
    file cannot be read; 3 the Prometheus of --live cannot be reached.
    """
    from receiver.packaged import policies
    from receiver.terminal import screen
    from receiver.trials.policy_test.folder import check_all

    checked = policy_files.read_from(path, check_all)
    read_by = [PARSER]
    if live:
        checked = _asked(checked, path or policies(), prometheus)
        read_by.append(str(prometheus))
    if form is Form.GITHUB:
        for complaint in checked.complaints:
            print(screen.clean(complaint.as_github()))
    elif form is Form.JSON:
        screen.print_json(
            {
                "ok": checked.ok,
                "promql_read_by": read_by,
                "files": list(checked.files),
                "complaints": [complaint.as_json() for complaint in checked.complaints],
            }
        )
    else:
        console = screen.out()
        for complaint in checked.complaints:
            console.print(screen.plain(str(complaint), lines=True), soft_wrap=True)
        if checked.ok:
            found = f"policies {checked.policies}, tests {checked.tests}, files {len(checked.files)}"
            # Only warnings are left where it is ok.
            doubts = len(checked.complaints)
            but = f", but for {doubts} warning{'s' if doubts > 1 else ''}" if doubts else ""
            told = f"all is well{but}: {found}; PromQL read by {' and '.join(read_by)}"
            console.print(screen.plain(told, "yellow" if doubts else "green"))
    if not checked.ok:
        raise typer.Exit(NOT_WELL)


def _asked(checked: Checked, folder: Path, url: str | None) -> Checked:
    """The same with what a live Prometheus says of the queries."""
    import asyncio
    from dataclasses import replace
    from datetime import UTC, datetime

    from receiver.domain.errors import TemporaryError
    from receiver.trials.live_check import live_complaints

    if url is None:
        raise Failure("--live needs a Prometheus: --prometheus URL or STANCH_PROMETHEUS_URL", code=USAGE)
    try:
        found = asyncio.run(live_complaints(folder, url, now=datetime.now(UTC)))
    except TemporaryError as error:
        raise Failure(f"{url}: {error}", code=UNREACHABLE) from error
    return replace(checked, complaints=(*checked.complaints, *found))


@app.command(
    epilog=examples(
        "stanch policy explain --alert body.json", "stanch policy explain --alert body.json -o json"
    )
)
def explain(
    alert: Annotated[
        Path, typer.Option("--alert", metavar="FILE", help="An Alertmanager webhook body, as JSON.")
    ],
    output: As = Output.TEXT,
) -> None:
    """Why, and why not: what the policies in force would make of an alert, with no way to act.

    The same as `stanch explain FILE`: every rule and guard is asked of the real Prometheus and cluster.
    """
    from receiver.cli.trying import explain as explain_body

    explain_body(alert, output)


app.command("test", epilog=policy_tests.EXAMPLES)(policy_tests.play)
app.command(epilog=policy_replay.EXAMPLES)(policy_replay.replay)
app.command("list", epilog=policy_files.LIST_EXAMPLES)(policy_files.list_policies)
app.command(epilog=policy_files.DIFF_EXAMPLES)(policy_files.diff)
app.command(epilog=policy_files.SCHEMA_EXAMPLES)(policy_files.schema)
app.command(epilog=policy_stats.STATS_EXAMPLES)(policy_stats.stats)
