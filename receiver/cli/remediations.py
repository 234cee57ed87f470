"""`stanch remediations list` and `show`: what can be done, as each remediation declares it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from receiver.cli.failures import USAGE, Failure
from receiver.cli.options import As, Output, examples

app = typer.Typer(
    no_args_is_help=True,
    help="What can be done about an incident.",
    epilog=examples("stanch remediations list", "stanch remediations show deployment.scale"),
)


class Form(StrEnum):
    """How the list is printed."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


@app.command(
    "list", epilog=examples("stanch remediations list", "stanch remediations list --output markdown")
)
def list_all(
    output: Annotated[
        Form, typer.Option("--output", "-o", help="markdown prints every one as a page.")
    ] = Form.TEXT,
) -> None:
    """List the remediations with their risk and what they act on."""
    from receiver.terminal import screen
    from remediations.reference import page
    from remediations.registry import catalogue

    specs = catalogue().values()

    match output:
        case Form.MARKDOWN:
            print(page(specs), end="")
        case Form.JSON:
            screen.print_json({"items": [_as_json(spec.name) for spec in specs]})
        case Form.TEXT:
            rows = [
                (
                    screen.plain(spec.name, "bold"),
                    screen.plain(spec.risk.value),
                    screen.plain(", ".join(sorted(spec.target_kinds))),
                    screen.plain("yes" if spec.reversible else "no"),
                    screen.plain(spec.sentence),
                )
                for spec in specs
            ]
            screen.table(("REMEDIATION", "RISK", "ACTS ON", "UNDO", "WHAT IT DOES"), rows, none="none")


@app.command(
    epilog=examples(
        "stanch remediations show deployment.scale", "stanch remediations show pod.evict --output json"
    )
)
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as deployment.rollback.")],
    output: As = Output.TEXT,
) -> None:
    """Show one remediation: why it is done this way, its parameters, its rights, an example."""
    from receiver.policy.complaints import did_you_mean
    from receiver.terminal import screen
    from remediations.reference import section
    from remediations.registry import catalogue

    known = catalogue()
    if name not in known:
        raise Failure(f"there is no remediation {name!r}; {did_you_mean(name, known)}", code=USAGE)
    if output is Output.JSON:
        return screen.print_json(_as_json(name))
    print(section(known[name]), end="")
    return None


def _as_json(name: str) -> dict[str, Any]:
    from dataclasses import asdict

    from remediations.registry import catalogue

    spec = catalogue()[name]
    return {
        "name": spec.name,
        "version": spec.version,
        "sentence": spec.sentence,
        "risk": spec.risk.value,
        "approval_default": spec.approval_default.value,
        "target_kinds": sorted(spec.target_kinds),
        "parameters": spec.parameters.model_json_schema(),
        "reads": [asdict(right) for right in spec.reads],
        "writes": [asdict(right) for right in spec.writes],
        "reversible": spec.reversible,
        "mitigates": spec.mitigates,
        "settle_seconds": spec.settle.total_seconds(),
        "example": spec.example,
    }
