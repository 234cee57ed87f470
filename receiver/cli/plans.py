"""`stanch plans`: what is proposed, exactly what it would change, and what to do when it went wrong."""

from __future__ import annotations

from typing import Annotated

import typer

from receiver.cli.options import (
    DEFAULT_URL,
    As,
    Limit,
    Output,
    PlanId,
    Reason,
    TokenFile,
    Url,
    examples,
)

app = typer.Typer(
    no_args_is_help=True,
    help="Plans: what is proposed and what became of it.",
    epilog=examples("stanch plans list", "stanch plans show P-17"),
)


@app.command("list", epilog=examples("stanch plans list", "stanch plans list --limit 5 --output json"))
def list_(
    limit: Limit = 20,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """List plans, newest first."""
    from receiver.cli.client import connect
    from receiver.terminal import screen

    found = connect(url, token_file).items("/plans", limit=limit)
    if output is Output.JSON:
        return screen.print_json({"items": found})
    screen.table(
        ("PLAN", "STATE", "RISK", "INCIDENT", "REMEDIATION", "WHAT"),
        [
            (
                screen.plain(one.get("id"), "bold"),
                screen.state(one.get("state")),
                screen.plain(one.get("risk")),
                screen.plain(one.get("incident")),
                screen.plain(one.get("remediation")),
                screen.plain(one.get("what")),
            )
            for one in found
        ],
        none="no plan",
    )
    return None


@app.command(epilog=examples("stanch plans show P-17"))
def show(
    plan: PlanId, url: Url = DEFAULT_URL, token_file: TokenFile = None, output: As = Output.TEXT
) -> None:
    """Show one plan as its approver must see it."""
    from receiver.cli.client import connect
    from receiver.terminal import cards, screen

    found = connect(url, token_file).get(f"/plans/{plan}")
    if output is Output.JSON:
        return screen.print_json(found)
    screen.out().print(cards.plan_card(found))
    return None


@app.command(
    epilog=examples(
        'stanch plans settle P-17 --done --reason "revision 7 is live"',
        'stanch plans settle P-17 --not-done --reason "still on revision 8" --yes-i-looked',
    )
)
def settle(
    plan: PlanId,
    done: Annotated[bool, typer.Option("--done/--not-done", help="Whether the write happened.")],
    reason: Reason,
    looked: Annotated[
        bool, typer.Option("--yes-i-looked", help="Do not ask; needed where no terminal is.")
    ] = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Say whether an unknown write happened; shows the live object first."""
    from receiver.cli.client import connect
    from receiver.cli.failures import NOT_WELL, USAGE, Failure
    from receiver.terminal import cards, screen

    service = connect(url, token_file)
    target = service.get(f"/plans/{plan}/target")
    (screen.err() if output is Output.JSON else screen.out()).print(cards.target_card(target))
    if not looked:
        if not screen.on_terminal():
            raise Failure("settling needs somebody who looked: give --yes-i-looked", code=USAGE)
        happened = "happened" if done else "did not happen"
        if not screen.confirmed(f"You looked, and the write of {plan} {happened}?"):
            raise Failure(f"{plan} stays unknown; nothing was sent", code=NOT_WELL)
    found = service.post(f"/plans/{plan}/settle", {"done": done, "reason": reason})
    _told(found, f"{plan} is settled: {'done' if done else 'not done'}", output)


@app.command(epilog=examples('stanch plans undo P-17 --reason "the old release is worse"'))
def undo(
    plan: PlanId,
    reason: Reason,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Put back what a plan changed."""
    from receiver.cli.client import connect

    found = connect(url, token_file).post(f"/plans/{plan}/undo", {"reason": reason})
    _told(found, f"{plan} will be undone", output)


@app.command(epilog=examples('stanch plans keep P-17 --reason "it is another fault; looking further"'))
def keep(
    plan: PlanId,
    reason: Reason,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Leave what a plan changed as it is, and look further."""
    from receiver.cli.client import connect

    found = connect(url, token_file).post(f"/plans/{plan}/keep", {"reason": reason})
    _told(found, f"{plan} stays as it is", output)


def _told(incident: dict[str, object], sentence: str, output: Output) -> None:
    from receiver.terminal import screen

    if output is Output.JSON:
        return screen.print_json(incident)
    screen.out().print(screen.plain(sentence))
    return None
