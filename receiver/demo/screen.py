"""What the demo shows: the timeline as it happens, the plan with its diff, and what to do next.

Texts from alerts and objects are shown as they are, never interpreted as markup.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from receiver.demo.clock import WorldClock
from receiver.demo.scenario import Scenario
from receiver.terminal import cards, screen
from receiver.terminal.sentences import sentence

if TYPE_CHECKING:
    from receiver.demo.story import DemoOptions
    from receiver.demo.world import DemoWorld

STYLES = {
    "AlertFired": "red",
    "Classified": "bold red",
    "Planned": "bold",
    "ApprovalRequested": "bold yellow",
    "Approved": "green",
    "ExecutionStarted": "bold cyan",
    "Executed": "bold cyan",
    "Verified": "bold green",
    "Resolved": "bold green",
    "ClosedByHand": "bold yellow",
    "StillSick": "bold red",
    "Inconclusive": "bold yellow",
    "Escalated": "bold yellow",
    "EffectUnknown": "bold red",
    "Refused": "yellow",
    "Denied": "yellow",
    "Undone": "bold cyan",
    "UndoAsked": "bold yellow",
    "AlertResolved": "green",
    "TurnedSecurity": "bold red",
    "LockInForce": "bold red",
    "PlanVoided": "yellow",
    "EvidenceSealed": "bold cyan",
    "IsolationAsked": "bold yellow",
    "IsolationApproved": "green",
    "IsolationStepDone": "bold cyan",
    "IsolationHolds": "bold green",
    "IsolationLeaks": "bold red",
    "IsolationFailed": "bold red",
}


class Screen:
    """Text for people, or one JSON document a line."""

    def __init__(self, *, output: str, clock: WorldClock, console: Console | None = None) -> None:
        self._json = output == "json"
        self._clock = clock
        self._console = console or Console(highlight=False, soft_wrap=False)
        self._start: datetime | None = None

    def opening(self, scenario: Scenario, options: DemoOptions, url: str) -> None:
        """Where we are, and what is not real."""
        self._start = self._clock.now()
        if self._json:
            return self._line({"demo": scenario.name, "speed": options.speed, "url": url})
        lines = Text()
        lines.append("Stanch in its demo world. ", style="bold")
        lines.append(
            "A small cluster, Prometheus and Alertmanager, all on loopback; nothing of yours is touched.\n"
        )
        lines.append("Scenario: ", style="dim").append(f"{scenario.sentence}\n")
        lines.append("Time: ", style="dim").append(
            f"every duration is divided by {options.speed:g}; the policies are the shipped ones, unchanged\n"
        )
        lines.append("API: ", style="dim").append(url)
        self._console.print(Panel(lines, border_style="cyan", expand=False))
        return None

    def healthy(self, world: DemoWorld) -> None:
        """The patient before."""
        scenario = world.scenario
        self._say(
            "world",
            f"{scenario.namespace}/{scenario.app} serves {scenario.good.image} on {scenario.replicas} pods",
        )

    def released(self, world: DemoWorld) -> None:
        """The mistake."""
        self._say("world", f"somebody's pipeline releases {world.scenario.bad.image}", style="red")

    def pace(self, speed: float) -> None:
        """Time runs otherwise from here."""
        if not self._json:
            words = (
                "time runs at its real pace while a person is asked"
                if speed == 1
                else f"time runs {speed:g}-fold again"
            )
            self._console.print(Text(f"{'':>9}  {words}", style="dim italic"))

    def event(self, told: dict[str, Any]) -> None:
        """One event of the timeline."""
        if self._json:
            return self._line(told)
        event = told["event"]
        name = event["event"]
        at = datetime.fromtimestamp(told["at"], UTC)
        self._row(at, name, sentence(event), STYLES.get(name, ""))
        return None

    def plan(self, plan: dict[str, Any]) -> None:
        """The card that an approver sees."""
        if self._json:
            return self._line({"plan": plan})
        self._console.print(cards.plan_card(plan))
        return None

    def isolation(self, isolation: dict[str, Any]) -> None:
        """The card that a security lead sees."""
        if self._json:
            return self._line({"isolation": isolation})
        self._console.print(cards.isolation_card(isolation))
        return None

    def incident(self, incident: dict[str, Any]) -> None:
        """The incident as those with the right see it."""
        if self._json:
            return self._line({"incident_now": incident})
        self._console.print(cards.incident_card(incident))
        return None

    def mined(self, pod: str) -> None:
        """The attack."""
        self._say("world", f"a miner starts in pod {pod}", style="red")

    def told(self, text: str) -> None:
        """What the public channel reads."""
        self._say("public channel", text, style="dim")

    def look_around(self, incident: int | None, hint: str) -> None:
        """It is over, and the service still answers."""
        self._ask(
            "it is contained; what people owe is left. [q] leaves; or look around in another terminal:",
            f"{hint} security owed {incident}",
        )

    def waiting(self, plan_id: str, hint: str, reason: str) -> None:
        """How to answer."""
        self._ask(
            f"{plan_id} waits for you: press [a] to approve, [d] to deny, [q] to leave; or elsewhere:",
            f"{hint} approve {plan_id} --reason '{reason}'",
        )

    def close_asked(self, incident: int, hint: str) -> None:
        """How to close it."""
        self._ask(
            "a P0 or P1 is closed by a person with its cause: press [c]; or in another terminal:",
            f"{hint} incidents close {incident} --reason 'the release was bad'",
        )

    def undo_asked(self, plan_id: str, hint: str) -> None:
        """How to decide about the undo."""
        self._ask(
            "it did not help, and undoing it would bring the release back: that is for a person to decide:",
            f"{hint} plans undo {plan_id} --reason '...'   or   plans keep {plan_id} --reason '...'",
        )

    def refused(self, reason: str) -> None:
        """The service said no."""
        self._say("refused", reason, style="yellow")

    def closing(self, world: DemoWorld, *, well: bool) -> None:
        """What became of it."""
        writes = world.real_writes
        elapsed = self._clock.now() - self._start if self._start is not None else None
        minutes = int(elapsed.total_seconds() // 60) if elapsed is not None else 0
        if self._json:
            return self._line({"resolved": well, "writes": writes, "minutes": minutes})
        words = "cured, verified and resolved" if well else "not cured: this demo ends with an open incident"
        text = Text(words, style="bold green" if well else "bold red")
        text.append(f"; writes sent to the cluster: {writes}; it took {minutes} minutes of the demo's time")
        self._console.print(Panel(text, border_style="green" if well else "red", expand=False))
        return None

    def contained(self, world: DemoWorld, *, well: bool) -> None:
        """What became of an attack."""
        deleted = world.deletions
        if self._json:
            return self._line({"contained": well, "writes": world.real_writes, "deletions": deleted})
        words = (
            "cut off, with its evidence" if well else "not contained: this demo ends with an attack under way"
        )
        text = Text(words, style="bold green" if well else "bold red")
        text.append(
            f"; writes sent to the cluster: {world.real_writes}, of them deletions and evictions: {deleted}"
            "; what is owed is a person's"
        )
        self._console.print(Panel(text, border_style="green" if well else "red", expand=False))
        return None

    def _ask(self, words: str, command: str) -> None:
        if self._json:
            return self._line({"waiting": words, "command": command})
        body = Group(Text(words, style="bold yellow"), Text(""), Text(command, overflow="fold"))
        self._console.print(Panel(body, border_style="yellow"))
        return None

    def _say(self, name: str, words: str, *, style: str = "") -> None:
        if self._json:
            return self._line({name: words})
        self._row(self._clock.now(), name, words, style)
        return None

    def _row(self, at: datetime, name: str, words: str, style: str) -> None:
        since = at - self._start if self._start is not None else None
        seconds = max(0, int(since.total_seconds())) if since is not None else 0
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", width=9, no_wrap=True)
        table.add_column(width=18, no_wrap=True)
        table.add_column(ratio=1, overflow="fold")
        clock = f"+{seconds // 60}m{seconds % 60:02d}s"
        table.add_row(Text(clock, style="dim"), Text(name, style=style or "cyan"), screen.plain(words))
        self._console.print(table)

    def _line(self, document: dict[str, Any]) -> None:
        print(json.dumps(document, sort_keys=True, default=str), flush=True)  # noqa: T201 - it is the output
