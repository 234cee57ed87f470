"""`stanch policy`: check and test policy files before they are put where the service reads them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.failures import NOT_WELL, USAGE, Failure
from receiver.cli.options import As, Output, examples


class Evaluates(StrEnum):
    """Who evaluates PromQL in policy tests."""

    BUILTIN = "builtin"
    PROMETHEUS = "prometheus"


app = typer.Typer(
    no_args_is_help=True,
    help="Policy files.",
    epilog=examples("stanch policy check policies/", "stanch policy test policies/"),
)


@app.command(
    epilog=examples(
        "stanch policy check", "stanch policy check policies/", "stanch policy check mine.yaml --format json"
    )
)
def check(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]", help="A file or a folder. Default: the pack that comes with the package."
        ),
    ] = None,
    form: Annotated[
        Output, typer.Option("--format", "--output", "-o", help="text for people, json for programs.")
    ] = Output.TEXT,
) -> None:
    """Check policy files and their tests: every complaint with its place and what to write instead."""
    from receiver.packaged import policies
    from receiver.terminal import screen
    from receiver.trials.policy_test.folder import check_all

    try:
        folder = path if path is not None else policies()
        if not folder.exists():
            raise Failure(f"{folder}: there is no such file or folder", code=USAGE)
        checked = check_all(folder)
    except UnicodeDecodeError as error:
        raise Failure(f"{path}: a file is not UTF-8 text", code=USAGE) from error
    except OSError as error:
        raise Failure(f"{error.filename or path}: {error.strerror or error}", code=USAGE) from error
    if not checked.files:
        raise Failure(f"{folder}: there is no YAML file", code=USAGE)
    if form is Output.JSON:
        screen.print_json(
            {
                "ok": checked.ok,
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
            console.print(screen.plain(f"all is well: {found}", "green"))
    if not checked.ok:
        raise typer.Exit(NOT_WELL)


@app.command(
    epilog=examples(
        "stanch policy test",
        "stanch policy test policies/ --run 'no traffic'",
        "stanch policy test policies/ --coverage --fail-under 100",
        "stanch policy test policies/greenlang/tests/inc-001-rollback.yaml --junit junit.xml -o json",
    )
)
def test(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH",
            help="Files of tests, or folders that hold some. Default: the pack that comes with the package.",
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="Only tests whose name matches this pattern.", metavar="RE")
    ] = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Show which rules of the policies no test reaches.")
    ] = False,
    fail_under: Annotated[
        float | None,
        typer.Option(
            "--fail-under",
            help="Fail where less than so many percent of the rules are reached.",
            min=0,
            max=100,
            show_default=False,
        ),
    ] = None,
    promql: Annotated[
        Evaluates,
        typer.Option(
            "--promql",
            help="Who evaluates input_series: the builtin part of PromQL, or an installed prometheus.",
        ),
    ] = Evaluates.BUILTIN,
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write a JUnit report there.", metavar="FILE")
    ] = None,
    output: As = Output.TEXT,
) -> None:
    """Play policy tests: alerts, metrics and a cluster in, what would be done out.

    The real service plays them in a small cluster, on a clock that jumps.
    Nothing outside is reached.

    Tests stand in a folder tests below the policies, or beside them.

    Exit codes: 0 all passed; 1 a test failed or was skipped, or too little
    is covered; 2 there is nothing to play, or a file has mistakes.
    """
    from receiver.cli.logs import configure
    from receiver.cli.trying import forget_the_world
    from receiver.trials.policy_test.command import Asked, main
    from receiver.trials.policy_test.evaluating import PromQL

    # A proxy would carry loopback requests off the machine.
    forget_the_world()
    # What a test finds out stands on standard output, alone; a step that fails is logged.
    configure(level="error", form="auto")
    asked = Asked(
        paths=tuple(paths or ()),
        run=run,
        junit=junit,
        output=output.value,
        coverage=coverage,
        fail_under=fail_under,
        promql=PromQL(promql.value),
    )
    raise typer.Exit(main(asked))
