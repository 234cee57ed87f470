"""`stanch alerts`: the alerts as they were last told, and the deliveries that told them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from receiver.cli.journal import Since, Until, asked_lines
from receiver.cli.options import DEFAULT_URL, As, Limit, Output, TokenFile, Url, examples

app = typer.Typer(
    no_args_is_help=True,
    help="Alerts as they were last told.",
    epilog=examples("stanch alerts list", "stanch alerts journal --from 2026-02-01 > journal.jsonl"),
)


@app.command("list", epilog=examples("stanch alerts list", "stanch alerts list --limit 5 --output json"))
def list_(
    limit: Limit = 20,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """List alerts, newest first."""
    from receiver.cli.client import connect
    from receiver.terminal import screen

    found = connect(url, token_file).items("/alerts", limit=limit)
    if output is Output.JSON:
        return screen.print_json({"items": found})
    screen.table(
        ("ID", "STATE", "SINCE", "INCIDENT", "ALERT", "LABELS"),
        [
            (
                screen.plain(one.get("id"), "bold"),
                screen.plain(*_state(one.get("occurrences"))),
                screen.plain(screen.moment(_since(one.get("occurrences")))),
                screen.plain(one.get("incident") or "-"),
                screen.plain(_labels(one).get("alertname", "?")),
                screen.plain(
                    ", ".join(
                        f"{name}={value}"
                        for name, value in sorted(_labels(one).items())
                        if name != "alertname"
                    )
                ),
            )
            for one in found
        ],
        none="no alert",
    )
    return None


@app.command(
    epilog=examples(
        "stanch alerts journal > journal.jsonl",
        "stanch alerts journal --from 2026-02-01 --to 2026-03-01 > february.jsonl",
    )
)
def journal(
    since: Since = None,
    until: Until = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="Both are the same: JSON lines.")
    ] = Output.JSON,
) -> None:
    """Write every delivery that is kept to standard output, as JSON lines.

    `stanch policy replay --journal FILE` plays them again. The service keeps
    deliveries for STANCH_RETENTION only: what is older is not in it.
    """
    from receiver.domain.journal import line_of

    with asked_lines(url, token_file, since, until) as lines:
        for kept in lines:
            # Written anew: in ASCII, and nothing but a delivery.
            sys.stdout.write(line_of(kept).decode())
    sys.stdout.flush()


def _labels(alert: dict[str, object]) -> dict[str, object]:
    labels = alert.get("labels")
    return labels if isinstance(labels, dict) else {}


def _last(occurrences: object) -> dict[str, object]:
    last = occurrences[-1] if isinstance(occurrences, list) and occurrences else {}
    return last if isinstance(last, dict) else {}


def _since(occurrences: object) -> object:
    return _last(occurrences).get("starts_at")


def _state(occurrences: object) -> tuple[str, str]:
    return ("resolved", "green") if _last(occurrences).get("ends_at") else ("firing", "bold red")
