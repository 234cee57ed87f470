"""Everything of the demo's Prometheus except HTTP: scrapes, evaluates rules, answers queries, in memory.

The server drives it by the clock; a test may drive it by hand, moment by moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from receiver.demo.prometheus.alerting import Alert, AlertingRule, AlertState, RuleState
from receiver.demo.prometheus.errors import BadDataError, QueryError
from receiver.demo.prometheus.evaluator import evaluate
from receiver.demo.prometheus.scraping import Scraper, Target
from receiver.demo.prometheus.series import Labels, SeriesStore, labels_of, milliseconds
from receiver.demo.prometheus.syntax import Expression, parse
from receiver.demo.prometheus.values import Element, Value, Vector

INTERVAL = timedelta(seconds=15)
# Long enough for the policies' longest window of the past, short enough for a demo left running overnight.
RETENTION = timedelta(hours=6)

AlertListener = Callable[[tuple[Alert, ...]], None]


class Engine:
    """The state of one demo Prometheus. Its methods take the moment; none asks for the time."""

    def __init__(
        self,
        *,
        targets: Iterable[Target] = (),
        rules: Iterable[AlertingRule] = (),
        external_labels: Mapping[str, str] | None = None,
        retention: timedelta = RETENTION,
    ) -> None:
        self.store = SeriesStore()
        self.scraper = Scraper(self.store, targets)
        self.rules: list[RuleState] = []
        self._parsed: dict[str, Expression] = {}
        self._external = dict(external_labels or {})
        self._retention = retention
        self._listeners: list[AlertListener] = []
        self._recorded: set[Labels] = set()
        for rule in rules:
            self.add_rule(rule)

    def add_rule(self, rule: AlertingRule) -> None:
        """Evaluate this rule from now on; an expression that does not parse is refused here."""
        parse(rule.expr)
        self.rules.append(RuleState(rule))

    def on_alerts(self, listener: AlertListener) -> None:
        """Call ``listener`` after each evaluation with the firing and the recently resolved alerts.

        They carry the external labels, as what Prometheus sends to Alertmanager does.
        """
        self._listeners.append(listener)

    def scrape(self, at: datetime) -> None:
        """Ask every target, and forget what is too old."""
        self.scraper.scrape(at)
        self.store.forget_before(milliseconds(at - self._retention))

    def evaluate_rules(self, at: datetime) -> None:
        """Evaluate every rule, record `ALERTS`, tell the listeners."""
        recorded: dict[Labels, float] = {}
        for state in self.rules:
            self._evaluate_rule(state, at)
            recorded |= state.series()
        at_ms = milliseconds(at)
        for labels, value in recorded.items():
            self.store.append(labels, at_ms, value)
        for ended in self._recorded - recorded.keys():
            self.store.append(ended, at_ms, None)
        self._recorded = set(recorded)
        outgoing = tuple(self._outgoing())
        for listener in self._listeners:
            listener(outgoing)

    def tick(self, at: datetime) -> None:
        """One scrape and one evaluation, as happens every interval."""
        self.scrape(at)
        self.evaluate_rules(at)

    def backfill(self, start: datetime, end: datetime, step: timedelta, target: Target) -> None:
        """Give ``target`` a past: scrape it at every step from ``start`` until before ``end``."""
        at = start
        while at < end:
            self.scraper.scrape_one(target, at)
            at += step

    def query(self, expression: str, at: datetime) -> Value:
        """The value of an expression at one moment; raises ``QueryError``."""
        return evaluate(self.parsed(expression), self.store, milliseconds(at))

    def parsed(self, expression: str) -> Expression:
        """Parse once; the same few expressions come again and again."""
        if expression not in self._parsed:
            if len(self._parsed) > 1000:
                self._parsed.clear()
            self._parsed[expression] = parse(expression)
        return self._parsed[expression]

    def query_range(
        self, expression: str, start: datetime, end: datetime, step: timedelta
    ) -> dict[Labels, list[tuple[int, float]]]:
        """One line of points per series, a value at each step from ``start`` to ``end``."""
        parsed = self.parsed(expression)
        if parsed.kind in ("matrix", "string"):
            kind = {"matrix": "range vector"}.get(parsed.kind, parsed.kind)
            raise BadDataError(
                f'invalid parameter "query": invalid expression type "{kind}" for range query, '
                "must be Scalar or instant Vector"
            )
        lines: dict[Labels, list[tuple[int, float]]] = {}
        for at_ms in range(milliseconds(start), milliseconds(end) + 1, round(step.total_seconds() * 1000)):
            for element in as_vector(evaluate(parsed, self.store, at_ms)):
                lines.setdefault(element.labels, []).append((at_ms, element.value))
        return lines

    def _evaluate_rule(self, state: RuleState, at: datetime) -> None:
        started = time.perf_counter()
        try:
            state.update(as_vector(self.query(state.rule.expr, at)), at)
            state.error = ""
        except QueryError as error:  # its alerts stay as they were, as in Prometheus
            state.error = str(error)
        state.evaluation_s = time.perf_counter() - started
        state.last_evaluation = at

    def _outgoing(self) -> Iterable[Alert]:
        for state in self.rules:
            for alert in state.active.values():
                if alert.state is not AlertState.PENDING:
                    yield replace(alert, labels=dict(labels_of({**self._external, **alert.labels})))


def as_vector(value: Value) -> Vector:
    """An instant vector, or a scalar as one member without labels."""
    if isinstance(value, float):
        return [Element((), value)]
    return [member for member in value if isinstance(member, Element)]
