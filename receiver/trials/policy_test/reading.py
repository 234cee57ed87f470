"""One `kind: PolicyTest` read and checked: from a document's tree to the frozen tests, or to complaints.

Strict as the policies' own reader: an unknown key is a slip, and a test that is half understood would pass
for the wrong reason. Pure; the files that a test names are fetched by whoever calls.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from receiver.domain.alerts import parse_time
from receiver.policy.complaints import did_you_mean
from receiver.policy.document import Document, ListNode, MapNode, Node, ScalarNode
from receiver.policy.fields import Fields, report, table, text
from receiver.policy.loading import API_VERSION, TEST_KIND
from receiver.trials.policy_test.expecting import expectation
from receiver.trials.policy_test.happening import alert, answer, change, database, outside
from receiver.trials.policy_test.model import (
    Delivery,
    InputSeries,
    JsonObject,
    PolicyTest,
    PolicyTestFile,
    Saying,
    Series,
    Spot,
)
from receiver.trials.policy_test.notation import labelled, samples

Entry = TypeVar("Entry")

DEFAULT_CLOCK = datetime(2026, 3, 2, 2, tzinfo=UTC)
# promtool's own default: one value a minute.
DEFAULT_INTERVAL = timedelta(minutes=1)

SETTING = (
    "clock",
    "interval",
    "cluster",
    "databases",
    "endpoints",
    "queries",
    "input_series",
    "afterWrite",
    "alerts",
    "deliver",
)
KEYS = ("name", *SETTING, "patch", *(saying.value for saying in Saying), "expect")


@dataclass(frozen=True)
class Known:
    """What a test may refer to; ``queries`` None where the policies themselves cannot be read.

    ``metrics`` are those that the queries read; None where that is not known of each.
    ``objects`` fetches a cluster file by its path as written: its objects, or why there are none.
    """

    remediations: Collection[str]
    queries: Collection[str] | None
    metrics: Collection[str] | None
    objects: Callable[[str], tuple[JsonObject, ...] | str]


def policies_of(document: Document) -> list[tuple[ScalarNode, str]]:
    """The policy files that a test file names; none means those of its folder."""
    if not isinstance(document.root, MapNode):
        return []
    fields = Fields(document, document.root, "the file", document.root)
    return fields.texts("policies", empty="leave it out to mean the whole folder")


def read_tests(document: Document, known: Known) -> PolicyTestFile:
    """The tests of one file. What is wrong is complained about in the document."""
    if document.root is None:
        return PolicyTestFile(document.file, ())
    outer = table(document, document.root, "the file")
    outer.known(("apiVersion", "kind", "metadata", "policies", "defaults", "tests"))
    kind = outer.node("kind", needed=True)
    if kind is not None and outer.text("kind") not in (None, TEST_KIND):
        document.complain(kind, "this is no file of tests", f'did you mean "{TEST_KIND}"?')
    version, node = outer.text("apiVersion", needed=True), outer.node("apiVersion")
    if version not in (None, API_VERSION) and node is not None:
        document.complain(node, f"apiVersion {version!r} is not known", f"write {API_VERSION}")
    defaults = outer.table("defaults", what="defaults").known(SETTING)
    tests: list[PolicyTest] = []
    lines: dict[str, int] = {}
    for index, entry in enumerate(outer.items("tests", needed=True, empty="a file of tests holds some")):
        fields = table(document, entry, f"tests[{index}]")
        if not fields.readable:
            continue
        test = _Reader(document, known, fields, defaults).test()
        if test.name in lines:
            place = fields.node("name") or fields.at
            document.complain(place, f"a test of that name stands on line {lines[test.name]}")
        lines[test.name] = test.spot.line
        tests.append(test)
    return PolicyTestFile(document.file, tuple(tests))


class _Reader:
    """One test over the defaults of its file."""

    def __init__(self, document: Document, known: Known, own: Fields, defaults: Fields) -> None:
        self._document = document
        self._known = known
        self._own = own
        self._defaults = defaults

    def test(self) -> PolicyTest:
        self._own.known(KEYS)
        least = timedelta(milliseconds=1)
        interval = self._where("interval").duration("interval", DEFAULT_INTERVAL, least=least)
        read_expectation = partial(expectation, remediations=self._known.remediations)
        return PolicyTest(
            name=self._own.text("name", needed=True) or "",
            spot=self._spot(self._own.at),
            clock=self._clock(),
            objects=self._objects(),
            databases=self._by_name("databases", database),
            endpoints=self._by_name("endpoints", outside),
            queries={**self._series(self._defaults, interval), **self._series(self._own, interval)},
            input_series=tuple(self._each("input_series", partial(self._input_series, interval=interval))),
            after_writes=self._after_writes(interval),
            alerts=tuple(self._each("alerts", alert)),
            delivery=self._delivery(),
            changes=tuple(self._each("patch", change)),
            answers=tuple(
                found
                for saying in Saying
                for found in self._each(saying.value, partial(answer, saying=saying))
            ),
            expectations=tuple(self._each("expect", read_expectation, needed=True)),
        )

    def _where(self, key: str) -> Fields:
        """The mapping whose entry counts: the test's own before the file's defaults."""
        return self._defaults if key not in self._own and key in self._defaults else self._own

    def _spot(self, at: Node) -> Spot:
        return Spot(self._document.file, *self._document.place(at))

    def _each(self, key: str, read: Callable[[Fields], Entry], *, needed: bool = False) -> list[Entry]:
        found: list[Entry] = []
        for index, node in enumerate(self._where(key).items(key, needed=needed)):
            entry = table(self._document, node, f"{key}[{index}]")
            if entry.readable:
                found.append(read(entry))
        return found

    def _clock(self) -> datetime:
        fields = self._where("clock")
        said, node = fields.text("clock"), fields.node("clock")
        if said is None or node is None:
            return DEFAULT_CLOCK
        try:
            return parse_time(said)
        except ValueError:
            hint = 'write "2026-03-02T02:00:00Z"'
            self._document.complain(node, f"clock {said[:40]!r} is no time with its zone", hint)
            return DEFAULT_CLOCK

    def _objects(self) -> tuple[JsonObject, ...]:
        """One cluster file or a list of them."""
        node = self._where("cluster").node("cluster")
        if node is None:
            return ()
        found: list[JsonObject] = []
        for item in node.items if isinstance(node, ListNode) else (node,):
            if isinstance(item, MapNode):
                hint = "put the objects into a file, and write its name"
                self._document.complain(item, "cluster names a file, these are objects", hint)
                continue
            said = text(self._document, item, "cluster")
            objects = () if said is None else self._known.objects(said)
            if isinstance(objects, str):
                self._document.complain(item, objects)
            else:
                found += objects
        return tuple(found)

    def _by_name(self, what: str, read: Callable[[Fields], Entry]) -> dict[str, Entry]:
        """Databases and endpoints, by the names that their files give them."""
        found: dict[str, Entry] = {}
        for key, node in self._where(what).table(what).entries():
            found[key.text] = read(table(self._document, node, f"{what}.{key.text}", at=key))
        return found

    def _series(self, fields: Fields, interval: timedelta) -> dict[str, Series]:
        """``queries``: the values of each named query."""
        found: dict[str, Series] = {}
        for key, node in fields.table("queries").entries():
            known = self._known.queries
            if known is not None and key.text not in known:
                hint = did_you_mean(key.text, known, of="queries")
                self._document.complain(key, f'no policy has a query "{key.text}"', hint)
            found[key.text] = self._values(node, f"queries.{key.text}", interval)
        return found

    def _values(self, node: Node, what: str, interval: timedelta) -> Series:
        said = text(self._document, node, what)
        if said is None or not isinstance(node, ScalarNode):
            return Series((), interval)
        found, problems = samples(said)
        report(self._document, node, problems)
        return Series(found, interval)

    def _input_series(self, fields: Fields, interval: timedelta) -> InputSeries:
        fields.known(("series", "values"))
        said, node = fields.text("series", needed=True), fields.node("series")
        name, labels, problems = labelled(said) if said is not None else ("", {}, [])
        if isinstance(node, ScalarNode):
            report(self._document, node, problems)
            known = self._known.metrics
            if name and known is not None and name not in known:
                hint = did_you_mean(name, known, of="they read")
                self._document.complain(node, f"no query of the policies reads {name}", hint)
        values = fields.node("values", needed=True)
        series = Series((), interval) if values is None else self._values(values, "values", interval)
        return InputSeries(name, labels, series)

    def _after_writes(self, interval: timedelta) -> tuple[dict[str, Series], ...]:
        """What the queries say from the moment a write landed; a list tells of one write after the other."""
        node = self._where("afterWrite").node("afterWrite")
        if node is None:
            return ()
        found: list[dict[str, Series]] = []
        for item in node.items if isinstance(node, ListNode) else (node,):
            fields = table(self._document, item, "afterWrite").known(("queries",))
            fields.node("queries", needed=True)
            found.append(self._series(fields, interval))
        return tuple(found)

    def _delivery(self) -> Delivery:
        fields = self._where("deliver").table("deliver").known(("copies", "peers"))
        return Delivery(fields.whole("copies", 1, most=1000), fields.whole("peers", 1, most=20))
