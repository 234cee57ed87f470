"""`stanch doctor`: whether this installation would take alerts and could do what it offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from receiver.cli.failures import NOT_WELL
from receiver.cli.options import As, Output, examples
from receiver.cli.running import Config, read

if TYPE_CHECKING:
    from receiver.trials.doctor.findings import Finding

DOCTOR_EXAMPLES = examples(
    "stanch doctor --config /etc/stanch/stanch.yaml",
    "kubectl -n stanch exec deploy/stanch -- stanch doctor",
    "stanch doctor --output json > findings.json",
)
STYLES = {"ok": "green", "warning": "yellow", "wrong": "bold red", "cannot tell": "magenta"}


def doctor(config: Config = None, output: As = Output.TEXT) -> None:
    """Look whether everything around the service is as it needs it, and say what to mend.

    It takes the settings of `stanch serve`, and best runs where that runs. It asks Alertmanager,
    Prometheus, the cluster, the store, databases and endpoints; it writes nothing and tells nobody.

    Exit codes: 0 nothing is wrong; 1 something is; 2 settings that cannot be read.
    """
    import asyncio

    from receiver.app import WallClock
    from receiver.cli.logs import configure
    from receiver.terminal.progress import Bar
    from receiver.trials.doctor.findings import all_well
    from receiver.trials.doctor.gathering import examine

    settings = read(config)
    configure(level="error", form="auto")
    with Bar("looking", None) as bar:
        found = asyncio.run(
            examine(settings, clock=WallClock(), say=lambda what: bar.say(f"looking at {what}"))
        )
    _show(found, output)
    if not all_well(found):
        raise typer.Exit(NOT_WELL)


def _show(found: list[Finding], output: Output) -> None:
    from receiver.cli.logs import hide
    from receiver.terminal import screen
    from receiver.trials.doctor.findings import Verdict, all_well

    counts = {verdict.value: sum(one.verdict is verdict for one in found) for verdict in Verdict}
    if output is Output.JSON:
        listed = [{name: hide(text) for name, text in one.as_json().items()} for one in found]
        return screen.print_json({"ok": all_well(found), "counts": counts, "findings": listed})
    console = screen.out()
    for one in found:
        line = screen.plain(f"{one.verdict.value:<11}  ", STYLES[one.verdict.value])
        line.append_text(screen.plain(f"{one.area.value:<12}  {hide(one.sentence)}"))
        if one.fix:
            line.append_text(screen.plain(f" -> {hide(one.fix)}", "cyan"))
        console.print(line, soft_wrap=True)
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    console.print(screen.plain(told, "bold"))
    return None
