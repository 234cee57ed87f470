"""`stanch demo` and `stanch explain`: see what it would do, where nothing can break."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.options import As, Output, examples

DEMO_EXAMPLES = examples(
    "stanch demo", "stanch demo --yes", "stanch demo --list", "stanch demo --scenario inc-001-not-helping"
)
EXPLAIN_EXAMPLES = examples("stanch explain body.json", "stanch explain body.json --output json")


def demo(
    yes: Annotated[bool, typer.Option("--yes", help="Approve by itself.")] = False,
    scenario: Annotated[str, typer.Option("--scenario", "-s", help="What goes wrong.")] = "inc-001",
    speed: Annotated[
        float | None,
        typer.Option(
            "--speed", help="So many times as fast as the clock on the wall.", min=1, show_default=False
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the scenarios.")] = False,
    output: As = Output.TEXT,
) -> None:
    """An incident from alert to resolved in a world of its own.

    It reaches loopback only: every STANCH_*, KUBECONFIG, KUBERNETES_* and proxy variable is ignored.
    """
    forget_the_world()
    if list_:
        return _list(output)
    from receiver.cli.logs import configure
    from receiver.demo.run import DEFAULT_SPEED, DemoOptions, main

    configure(level="error", form="auto")
    options = DemoOptions(
        yes=yes,
        scenario=scenario,
        speed=DEFAULT_SPEED if speed is None else speed,
        output=output.value,
    )
    raise typer.Exit(main(options))


def explain(
    body: Annotated[Path, typer.Argument(metavar="BODY", help="An Alertmanager webhook body, as JSON.")],
    output: As = Output.TEXT,
) -> None:
    """What the policies would make of an alert, step by step, with no way to act."""
    from receiver.cli.logs import configure
    from receiver.trials.explain import main

    # What is explained stands on standard output, alone.
    configure(level="warning", form="auto")
    raise typer.Exit(main(body, output.value))


def forget_the_world() -> None:
    """Remove every address and credential from this process: the demo reaches loopback only.

    A setting for a real cluster must neither be used nor complained about, and a proxy would carry loopback
    requests off the machine.
    """
    for name in list(os.environ):
        if (
            name.startswith(("STANCH_", "KUBERNETES_"))
            or name == "KUBECONFIG"
            or name.lower().endswith("_proxy")
        ):
            del os.environ[name]


def _list(output: Output) -> None:
    from receiver.demo import scenario
    from receiver.terminal import screen

    found = [scenario.scenario(path.stem) for path in sorted(scenario.FOLDER.glob("*.yaml"))]
    if output is Output.JSON:
        return screen.print_json({"items": [{"name": one.name, "sentence": one.sentence} for one in found]})
    screen.table(
        ("SCENARIO", "WHAT GOES WRONG"),
        [(screen.plain(one.name, "bold"), screen.plain(one.sentence)) for one in found],
        none="no scenario",
    )
    return None
