"""`stanch security`: what people owe after an attack. Nothing of it is done by a machine."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from receiver.cli.options import DEFAULT_URL, As, Call, IncidentId, Output, Reason, TokenFile, Url, examples
from receiver.cli.telling import tell
from receiver.domain.security import Attestation

app = typer.Typer(
    no_args_is_help=True,
    help="What people owe after an attack: the 72 hours, the assessment, new credentials, attestations.",
    epilog=examples("stanch security owed 17", 'stanch security assess 17 --entry "a stolen token"'),
)

Proof = Annotated[str, typer.Option("--proof", help="What shows it: a ticket, a commit, a time.")]


@app.command(epilog=examples("stanch security owed 17", "stanch security owed 17 --output json"))
def owed(
    incident: IncidentId,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Tell what is left to do before it can be closed, and until when; exits 1 while something is."""
    from receiver.cli.client import connect
    from receiver.cli.failures import NOT_WELL, REFUSED, Failure
    from receiver.terminal import cards, screen

    shown = connect(url, token_file).get(f"/incidents/{incident}")
    if shown.get("restricted"):
        raise Failure(f"incident {incident} is restricted: it takes the right to read it", code=REFUSED)
    found = shown.get("security") or {}
    if output is Output.JSON:
        screen.print_json(found)
    else:
        screen.out().print(cards.owed_card(incident, found))
    if found.get("missing"):
        raise typer.Exit(NOT_WELL)


@app.command(
    epilog=examples('stanch security aware 17 --since 2026-03-01T02:10:00Z --reason "the first mail"')
)
def aware(
    incident: IncidentId,
    since: Annotated[str, typer.Option("--since", help="Since when somebody knew; with a zone, or UTC.")],
    reason: Reason,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Say since when somebody knew of it: the 72 hours count from there."""
    try:
        moment = datetime.fromisoformat(since)
    except ValueError as error:
        raise typer.BadParameter(f"{since!r} is no time like 2026-03-01T02:10:00Z") from error
    at = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).isoformat()
    body = {"since": at, "reason": reason}
    tell(incident, "awareness", body, f"the 72 hours count from {at}", Call(url, token_file, output))


@app.command(
    epilog=examples(
        'stanch security authority 17 --filed --reason "case 4711"',
        'stanch security authority 17 --not-required --reason "no personal data: legal, mail of today"',
    )
)
def authority(
    incident: IncidentId,
    reason: Reason,
    filed: Annotated[bool, typer.Option("--filed/--not-required", help="Which of both.")],
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Say that the authority was told, or that it need not be; the clock ends."""
    told = "the authority was told" if filed else "the authority need not be told"
    tell(incident, "authority", {"filed": filed, "reason": reason}, told, Call(url, token_file, output))


@app.command(
    epilog=examples(
        'stanch security assess 17 --data "none" --systems "one pod" --entry "an old image" --inside "no"',
        'stanch security assess 17 --inside "no more: token revoked"',
    )
)
def assess(
    incident: IncidentId,
    data: Annotated[str | None, typer.Option("--data", help="Which data was reached.")] = None,
    systems: Annotated[str | None, typer.Option("--systems", help="Which systems were reached.")] = None,
    entry: Annotated[str | None, typer.Option("--entry", help="How did they get in.")] = None,
    inside: Annotated[str | None, typer.Option("--inside", help="Are they still inside.")] = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Answer some of the four questions of the assessment."""
    given = {"data": data, "systems": systems, "entry": entry, "inside": inside}
    answers = {question: answer for question, answer in given.items() if answer is not None}
    if not answers:
        raise typer.BadParameter("answer at least one of --data, --systems, --entry and --inside")
    told = f"answered: {', '.join(answers)}"
    tell(incident, "assess", {"answers": answers}, told, Call(url, token_file, output))


@app.command(
    epilog=examples(
        'stanch security renewed 17 secret/shop/db --owner "data team" --proof "rotated in TICKET-9"',
        'stanch security renewed 17 --owner sre --proof "a false alarm"',
    )
)
def renewed(
    incident: IncidentId,
    owner: Annotated[str, typer.Option("--owner", help="Whose they are.")],
    proof: Proof,
    credentials: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CREDENTIAL]...", help="Which; without any, all."),
    ] = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Show that credentials are new; nothing is rotated by itself."""
    body = {"credentials": credentials or [], "owner": owner, "proof": proof}
    told = f"new: {', '.join(credentials) if credentials else 'all that were left'}"
    tell(incident, "renewed", body, told, Call(url, token_file, output))


@app.command(
    epilog=examples(
        'stanch security attest 17 patched --proof "base image 3.19.2 everywhere"',
        'stanch security attest 17 access-revoked patched rebuilt rotated --proof "a false alarm"',
    )
)
def attest(
    incident: IncidentId,
    what: Annotated[list[Attestation], typer.Argument(help="For what you stand up.", show_default=False)],
    proof: Proof,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Stand up by name for what must be so before it is closed."""
    told = f"you stand up for: {', '.join(what)}"
    body = {"what": [one.value for one in what], "proof": proof}
    tell(incident, "attest", body, told, Call(url, token_file, output))
