"""Cards: one plan, incident, object or timeline laid out for somebody who was just woken up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from receiver.domain.durations import in_words
from receiver.terminal.screen import clean, moment, plain, severity, state
from receiver.terminal.sentences import evidence_words, handover_lines, sentence

Document = Mapping[str, Any]

_RISKS = {"read-only": "green", "reversible": "green", "disruptive": "bold yellow"}
_EVENTS = {
    "AlertFired": "red",
    "AlertResolved": "green",
    "ApprovalRequested": "bold yellow",
    "UndoAsked": "bold yellow",
    "MitigationExpired": "bold yellow",
    "Approved": "green",
    "ExecutionStarted": "bold cyan",
    "Executed": "bold cyan",
    "Verified": "bold green",
    "Resolved": "bold green",
    "StillSick": "bold red",
    "EffectUnknown": "bold red",
    "Escalated": "bold magenta",
    "HandedOver": "magenta",
    "TurnedSecurity": "bold red",
    "EvidenceSealed": "bold cyan",
    "SecurityReleased": "bold green",
}


def plan_card(plan: Document) -> RenderableType:
    """Everything that an approver must see: what, why, the exact diff, what it can break, who may say yes."""
    grid = _grid()
    _row(grid, "what", plain(plan.get("what"), "bold"))
    _row(grid, "target", plain(plan.get("target")))
    _row(grid, "why", plain(plan.get("why"), lines=True))
    _row(grid, "change", diff(plan.get("diff")))
    _row(grid, "blast radius", plain(plan.get("blast_radius"), lines=True))
    risk = plan.get("risk")
    _row(grid, "risk", plain(risk, _RISKS.get(str(risk), "bold red")))
    _row(grid, "undo", plain(plan.get("undo"), lines=True))
    if plan.get("expires_seconds"):
        lasts = in_words(timedelta(seconds=float(plan["expires_seconds"])))
        ends = f", or once {plan['ends']}" if plan.get("ends") else ""
        _row(grid, "expires", plain(f"{lasts} after it is done{ends}, you are asked to put it back"))
    for note in _list(plan.get("notes")):
        _row(grid, "note", plain(note, lines=True))
    _row(grid, "verification", _verification(_map(plan.get("verification"))))
    _approval(grid, _map(plan.get("approval")))
    for objection in _list(plan.get("objections")):
        _row(grid, "objection", plain(objection, "red"))
    _row(grid, "policy", plain(f"{plan.get('policy')} ({plan.get('mode')})"))
    _row(grid, "digest", plain(plan.get("digest"), "dim"))
    title = Text.assemble(
        (clean(plan.get("id", "?")), "bold"),
        f" · {clean(plan.get('remediation', '?'))} · incident {clean(plan.get('incident', '?'))} · ",
        state(plan.get("state")),
    )
    return _panel(grid, title)


def isolation_card(isolation: Document) -> RenderableType:
    """Everything that a security lead must see before the yes."""
    grid = _grid()
    _row(grid, "what", plain(isolation.get("what"), "bold"))
    _row(grid, "target", plain(isolation.get("target")))
    _row(grid, "why", plain(isolation.get("why"), lines=True))
    _row(grid, "change", diff("\n".join(str(line) for line in _list(isolation.get("change")))))
    for note in _list(isolation.get("notes")):
        _row(grid, "note", plain(note, "yellow", lines=True))
    _row(grid, "undo", plain(isolation.get("undo"), lines=True))
    _row(grid, "asked by", plain(isolation.get("asked_by")))
    if isolation.get("approved_by"):
        _row(grid, "approved by", plain(isolation.get("approved_by")))
    if isolation.get("sentence"):
        _row(grid, "seen", plain(isolation.get("sentence"), lines=True))
    _row(grid, "digest", plain(isolation.get("digest"), "dim"))
    title = Text.assemble(
        (clean(isolation.get("id", "?")), "bold"),
        f" · {clean(isolation.get('act', '?'))} · incident {clean(isolation.get('incident', '?'))} · ",
        state(isolation.get("state")),
    )
    return _panel(grid, title)


def owed_card(incident: int, owed: Document) -> RenderableType:
    """What people owe after an attack: what is done with its proof, and what is left."""
    grid = _grid()
    if not owed:
        _row(grid, "owed", plain("nothing: it is no security incident"))
        return _panel(grid, plain(f"incident {incident}"))
    _row(grid, "known since", plain(moment(owed.get("aware_at"))))
    authority = _map(owed.get("authority"))
    if authority:
        words = "told" if owed.get("filed") else "need not be told"
        _row(grid, "authority", plain(f"{words}, says {authority.get('by')}: {authority.get('text')}"))
    else:
        _row(grid, "authority", plain(f"until {moment(owed.get('authority_until'))}", "yellow"))
    for question, said in sorted(_map(owed.get("answers")).items()):
        _row(grid, question, plain(f"{_map(said).get('text')} ({_map(said).get('by')})"))
    for one in map(_map, _list(owed.get("credentials"))):
        said = _map(one.get("renewed"))
        words = f"{one.get('name')}: " + (f"{said.get('text')} ({said.get('by')})" if said else "not new yet")
        _row(grid, "credential", plain(words, "" if said else "yellow"))
    for what, said in sorted(_map(owed.get("attested")).items()):
        _row(grid, what, plain(f"{_map(said).get('text')} ({_map(said).get('by')})"))
    _rows(grid, "left", [plain(one, "magenta") for one in _list(owed.get("missing"))])
    return _panel(grid, plain(f"incident {incident}"))


def _isolation(one: Document) -> Text:
    told = Text.assemble(
        (clean(one.get("id")), "bold"), f" {clean(one.get('act'))} {clean(one.get('target'))}: "
    )
    told.append_text(state(one.get("state")))
    return told.append(f" · {clean(one['sentence'])}") if one.get("sentence") else told


def diff(text: object) -> Text:
    """A diff with what comes in green and what goes in red; the signs say it without colour."""
    shown = Text()
    for number, line in enumerate(clean(text or "", lines=True).splitlines()):
        style = ""
        if line.startswith("+"):
            style = "green"
        elif line.startswith("-"):
            style = "red"
        elif line.startswith("@@"):
            style = "cyan"
        shown.append(("\n" if number else "") + line, style)
    return shown


def incident_card(incident: Document) -> RenderableType:
    """One incident as it stands."""
    grid = _grid()
    _row(grid, "severity", severity(incident.get("severity")))
    _row(grid, "opened", plain(moment(incident.get("opened_at"))))
    _row(grid, "acknowledged", plain(incident.get("acknowledged_by") or "by nobody yet"))
    labels = _map(incident.get("labels"))
    _row(grid, "labels", plain(", ".join(f"{name}={value}" for name, value in sorted(labels.items()))))
    for alert in _list(incident.get("alerts")):
        _row(grid, "alert", _alert(_map(alert)))
    progress = _map(incident.get("plan"))
    if progress:
        told = Text.assemble(
            (clean(progress.get("plan_id")), "bold"),
            f" {clean(progress.get('remediation'))}: ",
            state(progress.get("state")),
        )
        _row(grid, "plan", told)
        for objection in _list(progress.get("objections")):
            _row(grid, "objection", plain(objection, "red"))
    lockdown = _map(incident.get("lockdown"))
    if lockdown:
        scopes = ", ".join(str(one) for one in _list(lockdown.get("scopes")))
        state_of = "in force" if lockdown.get("in_force_at") else "asked for, waiting for what is under way"
        _row(grid, "security lock", plain(f"{scopes} ({state_of})", "bold red"))
        _row(grid, "sign", plain(lockdown.get("reason"), lines=True))
        for said in _list(lockdown.get("releases")):
            _row(grid, "would release it", plain(said))
    for sealed in _list(incident.get("evidence")):
        _row(grid, "evidence", plain(evidence_words(_map(sealed)), "bold"))
        _rows(grid, "not there", [plain(one, "yellow") for one in _list(_map(sealed).get("gaps"))])
    for one in _list(incident.get("isolations")):
        _row(grid, "isolation", _isolation(_map(one)))
    owed = _map(incident.get("security"))
    if owed and not owed.get("authority"):
        until = moment(owed.get("authority_until"))
        _row(grid, "72 hours", plain(f"until {until}: tell the authority, or say why not", "yellow"))
    if owed.get("missing"):
        left = len(_list(owed.get("missing")))
        words = f"{left} things before it can be closed: stanch security owed {incident.get('id')}"
        _row(grid, "owed", plain(words))
    for reason in _list(incident.get("escalated")):
        _row(grid, "a person is needed", plain(reason, "magenta"))
    for number, item in enumerate(_list(incident.get("handover")), start=1):
        _row(grid, "to do by hand" if number == 1 else "", _handed_over(number, _map(item)))
    if incident.get("monitoring_until"):
        _row(grid, "monitoring until", plain(moment(incident["monitoring_until"])))
    if incident.get("ready_to_resolve") and incident.get("status") != "resolved":
        _row(grid, "ready", plain(f"close it with its cause: stanch incidents close {incident.get('id')}"))
    if incident.get("resolved_at"):
        _row(grid, "resolved", plain(moment(incident["resolved_at"])))
    if incident.get("cause"):
        _row(grid, "cause", plain(incident["cause"], lines=True))
    title = Text.assemble(
        (f"incident {clean(incident.get('id', '?'))}", "bold"),
        f" · {clean(incident.get('title', ''))} · ",
        state(incident.get("status")),
    )
    return _panel(grid, title)


def why_card(answer: Document) -> RenderableType:
    """What spoke for a plan, what was passed over for it, and what every guard saw."""
    grid = _grid()
    _row(grid, "why", plain(answer.get("why"), "bold", lines=True))
    _row(grid, "target", plain(answer.get("target")))
    _row(grid, "policy", plain(f"{answer.get('policy')} ({answer.get('mode')})"))
    _rows(grid, "passed over", [plain(one) for one in _list(answer.get("instead_of"))])
    seen = [_map(one) for one in _list(answer.get("guards"))]
    _rows(
        grid,
        "guards",
        [plain(one.get("guard"), "green").append(f" {clean(one.get('observed'))}") for one in seen],
    )
    _rows(grid, "objections", [plain(one, "red") for one in _list(answer.get("objections"))])
    _rows(grid, "since then", [_told(_map(one)) for one in _list(answer.get("history"))])
    title = Text.assemble(
        "why ",
        (clean(answer.get("plan", "?")), "bold"),
        f" · {clean(answer.get('remediation', '?'))} · incident {clean(answer.get('incident', '?'))} · ",
        state(answer.get("state")),
    )
    return _panel(grid, title)


def why_not_card(answer: Document) -> RenderableType:
    """What keeps or kept anything from being done in an incident."""
    grid = _grid()
    _row(grid, "answer", plain(answer.get("answer"), "bold"))
    _row(grid, "severity", severity(answer.get("severity")))
    _rows(grid, "objections", [plain(one, "red") for one in _list(answer.get("objections"))])
    _rows(grid, "reasons", [_told(_map(one)) for one in _list(answer.get("reasons"))])
    title = Text.assemble(
        "why not · ",
        (f"incident {clean(answer.get('incident', '?'))}", "bold"),
        " · ",
        state(answer.get("status")),
    )
    return _panel(grid, title)


def _told(line: Document) -> Text:
    """One line of a history: when, what, and each of several reasons below."""
    told = plain(moment(line.get("at")), "dim").append("  ").append(clean(line.get("event")), "bold")
    several = _list(line.get("reasons"))
    if len(several) < 2:
        return told.append(f"  {clean(line.get('said'))}")
    for reason in several:
        told.append(f"\n   - {clean(reason)}")
    return told


def target_card(target: Document) -> RenderableType:
    """The live object of a plan, for whoever settles what is not known."""
    grid = _grid()
    if not target.get("exists"):
        _row(grid, "state", plain("it does not exist", "bold red"))
    else:
        for name in ("uid", "generation", "revision"):
            _row(grid, name, plain(target.get(name) if target.get(name) is not None else "-"))
        marker = target.get("marker")
        _row(grid, "marker", plain(marker if marker else "none: no write of ours is on it", "bold"))
    return _panel(grid, plain(f"{target.get('target', '?')} as it is now", "bold"))


def event_line(console: Console, recorded: Document, *, incident: object = None) -> None:
    """One event of a timeline: when, what, who."""
    event = _map(recorded.get("event"))
    kind = str(event.get("event", "?"))
    line = Text(f"{moment(recorded.get('at'))}  ", style="dim")
    shown = Text.assemble(line)
    if incident is not None:
        shown.append(f"#{clean(incident)}  ", "bold")
    shown.append(f"{clean(kind):<22}", _EVENTS.get(kind, "bold"))
    shown.append(sentence(event))
    if actor := recorded.get("actor"):
        shown.append(f"  [{clean(actor)}]", "dim")
    console.print(shown, soft_wrap=True)


def _verification(verification: Document) -> Text:
    told = plain(verification.get("success"))
    held = f" for {_seconds(verification.get('for_seconds'))}"
    told.append(f"{held}, within {_seconds(verification.get('within_seconds'))}", "dim")
    if verification.get("regression"):
        told.append(f"\nworse if {clean(verification['regression'])}")
    return told


def _approval(grid: Table, approval: Document) -> None:
    groups = " or ".join(str(group) for group in _list(approval.get("from"))) or "nobody"
    given = [_map(one) for one in _list(approval.get("given"))]
    needed = f"{groups} ({len(given)} of {approval.get('needed', '?')} so far)"
    _row(grid, "may approve", plain(needed + ("; a reason is required" if _needs_reason(approval) else "")))
    for one in given:
        reason = f": {one.get('reason')}" if one.get("reason") else ""
        _row(grid, "approved", plain(f"{one.get('by')} at {moment(one.get('at'))}{reason}"))
    _row(grid, "expires", plain(moment(approval.get("expires_at"))))


def _needs_reason(approval: Document) -> bool:
    return approval.get("reason_required") is True


def _alert(alert: Document) -> Text:
    labels = _map(alert.get("labels"))
    ended = alert.get("ends_at")
    told = plain(labels.get("alertname", alert.get("identity")), "dim" if ended else "red")
    told.append(f" since {moment(alert.get('starts_at'))}" + (f", ended {moment(ended)}" if ended else ""))
    return told


def _handed_over(number: int, item: Document) -> Text:
    """One point of the checklist: what to do, what was found, how, and why not by itself."""
    told = plain(f"{number}. {item.get('item')}", "bold")
    for words in handover_lines(item):
        told.append(f"\n   {clean(words)}")
    return told


def _seconds(value: object) -> str:
    if not isinstance(value, int | float):
        return clean(value)
    minutes, seconds = divmod(int(value), 60)
    return (
        " ".join(part for part in (f"{minutes} min" * bool(minutes), f"{seconds} s" * bool(seconds)) if part)
        or "0 s"
    )


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _row(grid: Table, name: str, value: Text) -> None:
    if value.plain.strip():
        grid.add_row(name, value)


def _rows(grid: Table, name: str, values: list[Text]) -> None:
    """Several values below each other under one name."""
    for number, value in enumerate(values):
        _row(grid, "" if number else name, value)


def _panel(grid: Table, title: Text) -> RenderableType:
    return Panel(Group(grid), title=title, title_align="left", box=ROUNDED, expand=False, padding=(1, 2))


def _map(value: object) -> Document:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
