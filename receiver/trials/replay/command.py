"""Play deliveries through two sets of policies, show what differs, and say how it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from receiver.domain.journal import Kept
from receiver.domain.plans import Spec
from receiver.policy.model import PolicySet
from receiver.terminal import screen
from receiver.trials.replay.course import Replay
from receiver.trials.replay.differing import Kind, Pair, pairs
from receiver.trials.replay.history import History, NoHistory, Recorded, prometheus_history
from receiver.trials.replay.news import Reader
from receiver.trials.replay.reporting import Summary, as_json, as_markdown, as_table


@dataclass(frozen=True)
class Replayed:
    """Every incident of either set, and the numbers."""

    pairs: tuple[Pair, ...]
    summary: Summary

    @property
    def differing(self) -> tuple[Pair, ...]:
        """The incidents that would have been different."""
        return tuple(pair for pair in self.pairs if pair.kinds)


@dataclass(frozen=True)
class Asked:
    """How it is to be shown, and on which differences it fails."""

    output: str = "text"
    every: bool = False
    fail_on: frozenset[Kind] = frozenset()
    prometheus: str | None = None


def replay(
    deliveries: Iterable[Kept],
    old: PolicySet,
    new: PolicySet,
    *,
    catalogue: Mapping[str, Spec],
    history: History,
    told: Callable[[int], None] = lambda count: None,
) -> Replayed:
    """The deliveries, in the order of their receipt, through both sets; ``told`` hears how many so far."""
    reader = Reader()
    sets = (Replay(old, catalogue, history), Replay(new, catalogue, history))
    for kept in deliveries:
        news = reader.read(kept)
        for one in sets if news else ():
            one.take(news)
        told(reader.deliveries)
    for one in sets:
        one.finish(reader.now)
    found = tuple(pairs(sets[0].courses, sets[1].courses))
    summary = Summary(
        deliveries=reader.deliveries,
        skipped=reader.skipped,
        alerts=reader.alerts,
        incidents=len(found),
        differing=sum(bool(pair.kinds) for pair in found),
        unknown_old=sum(pair.old.unknown for pair in found if pair.old is not None),
        unknown_new=sum(pair.new.unknown for pair in found if pair.new is not None),
        unanswered=history.failed if isinstance(history, Recorded) else 0,
    )
    return Replayed(found, summary)


def main(
    asked: Asked,
    deliveries: Iterable[Kept],
    old: PolicySet,
    new: PolicySet,
    *,
    catalogue: Mapping[str, Spec],
    told: Callable[[int], None],
) -> bool:
    """Replay and show it; whether nothing happened that it is to fail on."""
    opened = nullcontext(NoHistory()) if asked.prometheus is None else prometheus_history(asked.prometheus)
    with opened as history:
        found = replay(deliveries, old, new, catalogue=catalogue, history=history, told=told)
    failed = [kind for kind in Kind if kind in asked.fail_on and _holds(kind, found.pairs)]
    _show(asked, found, failed)
    return not failed


def _holds(kind: Kind, found: Sequence[Pair]) -> bool:
    return any(kind in pair.kinds for pair in found)


def _show(asked: Asked, found: Replayed, failed: Sequence[Kind]) -> None:
    shown = found.pairs if asked.every else found.differing
    if asked.output == "json":
        return screen.print_json(as_json(shown, found.summary, failed))
    if asked.output == "markdown":
        return screen.print_page(as_markdown(shown, found.summary))
    as_table(shown)
    console = screen.out()
    console.print(screen.plain(found.summary), soft_wrap=True)
    if failed:
        console.print(screen.plain(f"fails on: {', '.join(failed)}", "bold red"), soft_wrap=True)
    return None
