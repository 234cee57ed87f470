"""`stanch incidents`: read them, say that you have one, write into it, close it, follow what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.options import (
    DEFAULT_URL,
    As,
    Call,
    IncidentId,
    Limit,
    Output,
    Reason,
    TokenFile,
    Url,
    examples,
)
from receiver.cli.telling import tell
from receiver.domain.severity import Severity

if TYPE_CHECKING:
    from rich.text import Text

app = typer.Typer(
    no_args_is_help=True,
    help="Incidents and their timelines.",
    epilog=examples("stanch incidents list --open", "stanch incidents show 17 --timeline"),
)


@app.command(
    "list",
    epilog=examples(
        "stanch incidents list --open",
        "stanch incidents list --severity P1 --limit 5",
        "stanch incidents list --output json | jq '.items[].id'",
    ),
)
def list_(
    only_open: Annotated[bool, typer.Option("--open", help="Only those that are not resolved.")] = False,
    severity: Annotated[
        str | None, typer.Option("--severity", "-s", help="P0, P1, P2 or P3.", show_default=False)
    ] = None,
    limit: Limit = 20,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """List incidents, newest first."""
    from receiver.cli.client import connect
    from receiver.terminal import screen

    if severity is not None and severity.upper() not in ("P0", "P1", "P2", "P3"):
        raise typer.BadParameter(f"{severity!r} is no severity: P0, P1, P2 or P3", param_hint="--severity")
    found = connect(url, token_file).items(
        "/incidents",
        limit=limit,
        open="true" if only_open else None,
        severity=severity.upper() if severity is not None else None,
    )
    if output is Output.JSON:
        return screen.print_json({"items": found})
    screen.table(
        ("ID", "SEVERITY", "STATUS", "OPENED", "PLAN", "TITLE"),
        [
            (
                screen.plain(one.get("id"), "bold"),
                screen.severity(one.get("severity")),
                screen.state(one.get("status")),
                screen.plain(screen.moment(one.get("opened_at"))),
                _plan(one.get("plan")),
                screen.plain(one.get("title")),
            )
            for one in found
        ],
        none="no open incident" if only_open else "no incident",
    )
    return None


@app.command(epilog=examples("stanch incidents show 17", "stanch incidents show 17 --timeline"))
def show(
    incident: IncidentId,
    timeline: Annotated[bool, typer.Option("--timeline", "-t", help="Everything that happened.")] = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Show one incident, and what happened to it."""
    from receiver.cli.client import connect
    from receiver.terminal import cards, screen

    service = connect(url, token_file)
    found = service.get(f"/incidents/{incident}")
    events = service.timeline(incident) if timeline else []
    if output is Output.JSON:
        return screen.print_json({**found, "timeline": events} if timeline else found)
    console = screen.out()
    console.print(cards.incident_card(found))
    for recorded in events:
        cards.event_line(console, recorded)
    return None


@app.command(epilog=examples("stanch incidents ack 17"))
def ack(
    incident: IncidentId,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Say that you have it; the pages stop."""
    _tell(incident, "ack", None, f"incident {incident} is yours", Call(url, token_file, output))


@app.command(epilog=examples('stanch incidents note 17 "the database team is looking"'))
def note(
    incident: IncidentId,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to write into the timeline.")],
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Write something into the timeline."""
    told = f"noted in incident {incident}"
    _tell(incident, "note", text, told, Call(url, token_file, output))


@app.command(epilog=examples('stanch incidents close 17 --reason "bad release 1.8.2, rolled back"'))
def close(
    incident: IncidentId,
    reason: Reason,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Close it with its cause; what still fires is held until it ends."""
    told = f"incident {incident} is closed"
    _tell(incident, "close", reason, told, Call(url, token_file, output))


Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        help="What is locked: namespace/NAME, node/NAME, Deployment/NAMESPACE/NAME or cluster. Repeatable.",
        show_default=False,
    ),
]


@app.command(
    epilog=examples(
        'stanch incidents create --security "strange logins" --scope namespace/shop --reason "audit log"'
    )
)
def create(
    title: Annotated[str, typer.Argument(metavar="TITLE", help="What it is about; only responders read it.")],
    reason: Reason,
    scope: Scopes = None,
    security: Annotated[
        bool, typer.Option("--security", help="Needed: alerts open all other incidents.")
    ] = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Open a security incident by hand; nothing is healed any more where it locks."""
    from receiver.cli.client import connect
    from receiver.terminal import screen

    if not security:
        raise typer.BadParameter("only security incidents are opened by hand", param_hint="--security")
    body = {"title": title, "reason": reason, "scopes": scope or []}
    found = connect(url, token_file).post("/incidents", body)
    if output is Output.JSON:
        return screen.print_json(found)
    screen.out().print(screen.plain(f"security incident {found.get('id')} is open, and its lock is set"))
    return None


@app.command(epilog=examples('stanch incidents secure 17 --reason "a miner runs in it"'))
def secure(
    incident: IncidentId,
    reason: Reason,
    scope: Scopes = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Turn an incident into a security incident: nothing is healed any more where it locks."""
    told = f"incident {incident} is a security incident now, and its lock is set"
    _tell(incident, "secure", reason, told, Call(url, token_file, output), scopes=scope or [])


@app.command(
    epilog=examples(
        'stanch incidents isolate 17 --pod shop/api-7c9d-x2x --reason "a miner runs in it"',
        'stanch incidents isolate 17 --node node-3 --reason "its kubelet was used"',
        'stanch incidents isolate 17 --node-of shop/api-7c9d-x2x --reason "it escaped to its node"',
        "stanch incidents isolate 17 --block 203.0.113.0/24 --deployment shop/api --expires 24h "
        '--reason "logins from there"',
    )
)
def isolate(
    incident: IncidentId,
    reason: Reason,
    pod: Annotated[
        str | None,
        typer.Option(
            "--pod", help="Cut this pod off: NAMESPACE/NAME. It goes on running.", show_default=False
        ),
    ] = None,
    node: Annotated[
        str | None, typer.Option("--node", help="Let no new pod onto this node.", show_default=False)
    ] = None,
    node_of: Annotated[
        str | None,
        typer.Option(
            "--node-of", help="The same for the node of this pod: NAMESPACE/NAME.", show_default=False
        ),
    ] = None,
    block: Annotated[
        list[str] | None,
        typer.Option(
            "--block",
            help="Shut this network out of --deployment: an address, or CIDR up to /24 (IPv6: /64). "
            "Repeatable.",
            show_default=False,
        ),
    ] = None,
    deployment: Annotated[
        str | None,
        typer.Option("--deployment", help="What --block shuts out of: NAMESPACE/NAME.", show_default=False),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires", help="How long --block is meant to stand, such as 24h.", show_default=False
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Ask for a pod, a node or a workload to be isolated; a security lead says yes with `stanch approve`."""
    from receiver.cli.client import connect
    from receiver.terminal import screen

    if sum(one is not None for one in (pod, node, node_of, block)) != 1:
        raise typer.BadParameter("name one of --pod, --node, --node-of and --block")
    if len({one is None for one in (block, deployment, expires)}) != 1:
        raise typer.BadParameter("--block, --deployment and --expires go together")
    body: dict[str, object] = {"reason": reason, "act": "node.isolate"}
    if node is not None:
        body["node"] = node
    elif block is not None:
        namespace, name = _named(deployment, "--deployment")
        body |= {"act": "ip.block", "namespace": namespace, "deployment": name}
        body |= {"block": block, "expires": expires}
    elif pod is not None:
        namespace, name = _named(pod, "--pod")
        body |= {"act": "pod.quarantine", "namespace": namespace, "pod": name}
    else:
        namespace, name = _named(node_of, "--node-of")
        body |= {"namespace": namespace, "pod": name}
    found = connect(url, token_file).post(f"/incidents/{incident}/isolate", body)
    if output is Output.JSON:
        return screen.print_json(found)
    asked = [one for one in found.get("isolations") or [] if one.get("state") == "awaiting-approval"]
    # Whoever may not read it is not told its number.
    told = "it waits for a security lead"
    if asked:
        told = f"{asked[-1].get('id')} waits for a security lead: stanch approve {asked[-1].get('id')}"
    screen.out().print(screen.plain(told))
    return None


@app.command(
    epilog=examples(
        'stanch incidents release 17 --reason "rebuilt from clean images"',
        'stanch incidents release 17 --undo-isolation --reason "a false alarm"',
    )
)
def release(
    incident: IncidentId,
    reason: Reason,
    undo_isolation: Annotated[
        bool,
        typer.Option(
            "--undo-isolation", help="Take back what was isolated, if the other person says so as well."
        ),
    ] = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Say that a security lock may be lifted; it takes two people, one of them a security lead."""
    told = f"you would release incident {incident}; it takes two, one of them a security lead"
    call = Call(url, token_file, output)
    _tell(incident, "release", reason, told, call, undo_isolation=undo_isolation)


@app.command(epilog=examples('stanch incidents severity 17 P2 --reason "one region only"'))
def severity(
    incident: IncidentId,
    level: Annotated[Severity, typer.Argument(help="How bad it is.", show_default=False)],
    reason: Reason,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Say how bad it is; thresholds that hold may raise it again."""
    told = f"incident {incident} is {level.value}"
    call = Call(url, token_file, output)
    _tell(incident, "severity", reason, told, call, severity=level.value)


@app.command(epilog=examples("stanch incidents watch", "stanch incidents watch --incident 17 --output json"))
def watch(
    incident: Annotated[
        int | None,
        typer.Option(
            "--incident", "-i", help="Only this one; ends when it is resolved.", min=1, show_default=False
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Follow everything that happens, live; Ctrl-C ends it."""
    from receiver.cli.client import connect
    from receiver.cli.following import follow
    from receiver.terminal import cards, screen

    console = screen.out()
    for told in follow(connect(url, token_file), say=screen.complain):
        if incident is not None and told.get("incident") != incident:
            continue
        if output is Output.JSON:
            screen.print_json(told, indent=None)
        else:
            cards.event_line(console, told, incident=told.get("incident"))
        event = told.get("event")
        kind = event.get("event") if isinstance(event, dict) else None
        if incident is not None and kind in ("Resolved", "ClosedByHand"):
            return


def _tell(incident: int, what: str, reason: str | None, told: str, call: Call, **more: object) -> None:
    tell(incident, what, {**more} if reason is None else {"reason": reason, **more}, told, call)


def _named(given: str | None, option: str) -> tuple[str, str]:
    """The namespace and the name in it."""
    namespace, _, name = (given or "").partition("/")
    if not namespace or not name:
        raise typer.BadParameter("write NAMESPACE/NAME", param_hint=option)
    return namespace, name


def _plan(progress: object) -> Text:
    from receiver.terminal import screen

    if not isinstance(progress, dict):
        return screen.plain("-")
    return screen.plain(progress.get("plan_id")).append(" ").append_text(screen.state(progress.get("state")))
