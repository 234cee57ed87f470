"""`stanch alerts`: the alerts as they were last told."""

from __future__ import annotations

import typer

from receiver.cli.options import DEFAULT_URL, As, Limit, Output, TokenFile, Url, examples

app = typer.Typer(
    no_args_is_help=True, help="Alerts as they were last told.", epilog=examples("stanch alerts list")
)


@app.callback()
def _family() -> None:
    # With a callback a lone command stays a command of its own.
    pass


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
