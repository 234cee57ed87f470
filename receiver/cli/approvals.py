"""`stanch approve` and `stanch deny`: a person's answer to exactly what was shown, a plan or an isolation."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from receiver.cli.options import (
    DEFAULT_URL,
    Answerable,
    As,
    OptionalReason,
    Output,
    Reason,
    TokenFile,
    Url,
    examples,
)

# A shorter beginning of a digest could fit another plan by chance or by design.
MIN_DIGEST = 12

APPROVE_EXAMPLES = examples(
    "stanch approve P-17",
    'stanch approve P-17 --reason "the diff is right"',
    "stanch approve P-17 --no-prompt --digest 4f1c0a9be277",
    'stanch approve S-3 --reason "cut it off"',
)
BREAKGLASS_EXAMPLES = examples(
    'stanch breakglass P-17 --reason "both leads are on a plane, checkout is down"'
)
DENY_EXAMPLES = examples('stanch deny P-17 --reason "the old release has the leak"')


def approve(
    plan: Answerable,
    reason: OptionalReason = None,
    digest: Annotated[
        str | None,
        typer.Option(
            "--digest",
            help=f"Only if the plan has this digest (or begins with it, from {MIN_DIGEST} characters on).",
            show_default=False,
        ),
    ] = None,
    no_prompt: Annotated[
        bool, typer.Option("--no-prompt", help="Do not ask; the plan is shown all the same.")
    ] = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Show a plan, ask, and say yes to exactly that plan.

    The digest that was shown is always sent: if the plan changes meanwhile, the yes does not hold.
    """
    from receiver.cli.client import connect
    from receiver.cli.failures import NOT_WELL, Failure
    from receiver.terminal import screen

    service = connect(url, token_file)
    where = _where(plan)
    found = service.get(where)
    shown = _digest(found, plan, digest)
    _show(found, plan, output)
    if not no_prompt:
        _must_be_asked("approve")
        if reason is None and _wants_reason(found):
            reason = screen.ask("Reason: ") or None
        if not screen.confirmed(f"Approve {plan}?"):
            raise Failure(f"{plan} is not approved; nothing was sent", code=NOT_WELL)
    answered = service.post(f"{where}/approve", {"digest": shown, "reason": reason or ""})
    if output is Output.JSON:
        return screen.print_json(answered)
    if _isolates(plan):
        screen.out().print(screen.plain(f"{plan} is approved; it is carried out at once"))
        return None
    given, needed = answered.get("approvals"), answered.get("needed")
    told = screen.plain(f"{plan}: {given} of {needed} said yes; it is ").append_text(
        screen.state(answered.get("state"))
    )
    screen.out().print(told)
    if waived := answered.get("waived"):
        listed = ", ".join(str(one) for one in waived)
        screen.out().print(screen.plain(f"You could not do it by hand: {listed}; the policy lets that pass"))
    return None


def breakglass(
    plan: Answerable,
    reason: Reason,
    digest: Annotated[
        str | None,
        typer.Option("--digest", help="Only if the plan has this digest.", show_default=False),
    ] = None,
    no_prompt: Annotated[
        bool, typer.Option("--no-prompt", help="Do not ask; the plan is shown all the same.")
    ] = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Have one plan of a P0 or P1 carried out on your own word, when those who should approve cannot.

    It takes a right of its own and a reason of at least 20 characters, and pages people at once. The kill
    switch, security locks and guards hold as ever.
    """
    from receiver.cli.client import connect
    from receiver.cli.failures import NOT_WELL, USAGE, Failure
    from receiver.terminal import screen

    if _isolates(plan):
        raise Failure("isolations are a security lead's; there is no glass to break", code=USAGE)
    service = connect(url, token_file)
    found = service.get(_where(plan))
    shown = _digest(found, plan, digest)
    _show(found, plan, output)
    if not no_prompt:
        _must_be_asked("go on with")
    if not no_prompt and not screen.confirmed(f"Break the glass for {plan}? Everybody is told."):
        raise Failure("the glass is whole; nothing was sent", code=NOT_WELL)
    answered = service.post(f"{_where(plan)}/breakglass", {"digest": shown, "reason": reason})
    if output is Output.JSON:
        return screen.print_json(answered)
    screen.out().print(screen.plain(f"{plan} is carried out on your word; people are being paged"))
    return None


def deny(
    plan: Answerable,
    reason: Reason,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Say no to a plan; a no wins until it has begun."""
    from receiver.cli.client import connect
    from receiver.terminal import screen

    answered = connect(url, token_file).post(f"{_where(plan)}/deny", {"reason": reason})
    if output is Output.JSON:
        return screen.print_json(answered)
    screen.out().print(screen.plain(f"{plan} is denied"))
    return None


def _show(found: dict[str, Any], name: str, output: Output) -> None:
    """What is answered to, whatever the answer; a program reads the answer alone."""
    from receiver.terminal import cards, screen

    console = screen.err() if output is Output.JSON else screen.out()
    console.print(cards.isolation_card(found) if _isolates(name) else cards.plan_card(found))


def _must_be_asked(doing: str) -> None:
    """Raises Failure where there is nobody to ask."""
    from receiver.cli.failures import USAGE, Failure
    from receiver.terminal import screen

    if not screen.on_terminal():
        raise Failure(f"nobody can be asked here: add --no-prompt to {doing} what is shown", code=USAGE)


def _isolates(name: str) -> bool:
    return name.startswith("S-")


def _where(name: str) -> str:
    return f"/isolations/{name}" if _isolates(name) else f"/plans/{name}"


def _digest(plan: dict[str, Any], name: str, wanted: str | None) -> str:
    """The digest of what is shown. Raises Failure where it is not the one that was asked for."""
    from receiver.cli.failures import REFUSED, UNREACHABLE, Failure

    shown = plan.get("digest")
    if not isinstance(shown, str) or not shown:
        raise Failure(f"the service gives no digest for {name}; it cannot be approved", code=UNREACHABLE)
    if wanted is None:
        return shown
    if len(wanted) < MIN_DIGEST:
        raise typer.BadParameter(f"give at least {MIN_DIGEST} characters of it", param_hint="--digest")
    if not shown.startswith(wanted.lower()):
        raise Failure(
            f"{name} is another plan now ({shown[:MIN_DIGEST]}); look at it and approve that one",
            code=REFUSED,
        )
    return shown


def _wants_reason(plan: dict[str, Any]) -> bool:
    approval = plan.get("approval")
    return isinstance(approval, dict) and approval.get("reason_required") is True
