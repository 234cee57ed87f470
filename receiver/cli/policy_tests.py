"""`stanch policy test`: play the tests of policies."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.options import As, Output, examples

EXAMPLES = examples(
    "stanch policy test",
    "stanch policy test policies/ --run 'no traffic'",
    "stanch policy test policies/ --coverage --fail-under 100",
    "stanch policy test policies/greenlang/tests/inc-001-rollback.yaml --junit junit.xml -o json",
)


class Evaluates(StrEnum):
    """Who evaluates PromQL in policy tests."""

    BUILTIN = "builtin"
    PROMETHEUS = "prometheus"


def play(
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
