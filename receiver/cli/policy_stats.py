"""`stanch policy stats`: what became of what policies proposed, asked of the running service."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from receiver.cli.options import DEFAULT_URL, As, Output, TokenFile, Url, examples

STATS_EXAMPLES = examples("stanch policy stats", "stanch policy stats --days 30 --output json")
COLUMNS = (
    "proposed",
    "shadowed",
    "approved",
    "denied",
    "executed",
    "helped",
    "no_effect",
    "harmed",
    "needless",
)


def stats(
    days: Annotated[
        int | None,
        typer.Option(
            "--days", help="Only plans of the last so many days.", min=1, max=3650, show_default=False
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """What became of what policies proposed: wanted, helped, useless, harmful, needless.

    Needless was not carried out, and the incident became quiet without it. Wrongful is the share of what was
    carried out and judged that made things worse, with the bounds that so few cases allow (Wilson, 95 %).
    """
    from receiver.cli.client import connect
    from receiver.terminal import screen

    path = "/policies/stats" if days is None else f"/policies/stats?days={days}"
    found = connect(url, token_file).get(path)
    if output is Output.JSON:
        return screen.print_json(found)
    screen.table(
        ("POLICY", "REMEDIATION", *(name.upper().replace("_", " ") for name in COLUMNS), "WRONGFUL"),
        [
            (
                screen.plain(one.get("policy"), "bold"),
                screen.plain(one.get("remediation")),
                *(screen.plain(one.get(name)) for name in COLUMNS),
                screen.plain(_wrongful(one.get("wrongful"))),
            )
            for one in found["items"]
        ],
        none="no policy has proposed anything yet",
    )
    return None


def _wrongful(share: Any) -> str:
    if not share:
        return "-"
    return f"{share['share']:.0%} ({share['low']:.0%} to {share['high']:.0%} of {share['of']})"
