"""`stanch pause` and `stanch resume`: the kill switch. From the answer on nothing new is sent."""

from __future__ import annotations

from typing import Annotated

import typer

from receiver.cli.options import (
    DEFAULT_URL,
    As,
    Call,
    OptionalReason,
    Output,
    Reason,
    TokenFile,
    Url,
    examples,
)

Policy = Annotated[
    str | None,
    typer.Option("--policy", "-p", help="Only this policy; without it, everything.", show_default=False),
]

PAUSE_EXAMPLES = examples(
    'stanch pause --reason "the cluster is being moved"',
    'stanch pause --policy rollback-bad-release --reason "it aims wrong"',
)
RESUME_EXAMPLES = examples("stanch resume", "stanch resume --policy rollback-bad-release")


def pause(
    reason: Reason,
    policy: Policy = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Stop acting, at once and everywhere; watching and paging go on."""
    _switch("pause", policy, reason, Call(url, token_file, output))


def resume(
    policy: Policy = None,
    reason: OptionalReason = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Let it act again."""
    _switch("resume", policy, reason or "", Call(url, token_file, output))


def _switch(what: str, policy: str | None, reason: str, call: Call) -> None:
    from receiver.cli.client import connect
    from receiver.terminal import screen

    answered = connect(call.url, call.token_file).post(f"/{what}", {"policy": policy, "reason": reason})
    if call.output is Output.JSON:
        return screen.print_json(answered)
    left = answered.get("paused") or []
    console = screen.out()
    console.print(
        screen.plain("paused:" if left else "nothing is paused", "bold yellow" if left else "green")
    )
    for switch in left:
        console.print(screen.plain(f"  {switch}"))
    return None
