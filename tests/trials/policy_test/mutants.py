"""A policy file with one thing wrong in it, every way that somebody might get it wrong.

Made from the file's text by the places of its nodes, so that a mutant is a file that could be committed. The
operators: each number a hundredth up and down and to its neighbour's, < to <= and back, a limit dropped or
loosened, an approver dropped, a duration halved, candidates swapped, a word of undo dropped, a label's level
lowered.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from receiver.policy.conditions import check
from receiver.policy.document import Document, ListNode, MapNode, Node, ScalarNode, read
from receiver.policy.fields import duration

# Not the 5 of [5m], nor a part of a name.
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
OPERATOR = re.compile(r"<=|>=|<|>")
OTHER = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
LEVELS = ("P0", "P1", "P2", "P3")


@dataclass(frozen=True)
class Mutant:
    """One changed text; ``section`` is where in the policy it was changed."""

    name: str
    section: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.name}"


@dataclass(frozen=True)
class _Place:
    section: str
    key: str
    node: Node


class _Mutator:
    def __init__(self, file: str, text: str) -> None:
        self.document = read(file, text)
        assert self.document.root is not None
        self.places = list(_places(self.document.root, ()))

    def replaced(self, start: int, end: int, by: str, name: str, section: str) -> Mutant:
        text = self.document.text
        line, _ = self.document.place(start)
        return Mutant(name, section, line, text[:start] + by + text[end:])

    def expressions(self) -> Iterator[tuple[_Place, ScalarNode]]:
        for place in self.places:
            condition = place.key in ("expr", "requires", "when", "cel") or place.section == "queries"
            if condition and isinstance(place.node, ScalarNode):
                yield place, place.node

    def thresholds(self) -> Iterator[Mutant]:
        for place, node in self.expressions():
            for found in NUMBER.finditer(node.text):
                for factor in (1.01, 0.99):
                    yield self.number(place, node, found, f"{float(found[0]) * factor:.10g}")

    def number(self, place: _Place, node: ScalarNode, found: re.Match[str], by: str) -> Mutant:
        start = self.document.inside(node, found.start())
        by = by if "." in by else f"{by}.0"
        name = f"{place.section}: {found[0]} is {by} in {node.text[:80]}"
        return self.replaced(start, start + len(found[0]), by, name, place.section)

    def neighbours(self) -> Iterator[Mutant]:
        """The number that the next level has for the same name."""
        levels = [place for place, _ in self.expressions() if place.section.startswith("classify")]
        said: dict[str, list[tuple[str, _Place, str, str]]] = {}
        for place in levels:
            assert isinstance(place.node, ScalarNode)
            for compared in check(place.node.text, {}, called="query").comparisons:
                level = place.section.split(".")[1]
                said.setdefault(compared.name, []).append((level, place, compared.name, str(compared.number)))
        for uses in said.values():
            for one, other in itertools.permutations(uses, 2):
                if abs(LEVELS.index(one[0]) - LEVELS.index(other[0])) != 1:
                    continue
                node = one[1].node
                assert isinstance(node, ScalarNode)
                for found in NUMBER.finditer(node.text):
                    before = node.text[: found.start()]
                    if float(found[0]) == float(one[3]) and re.search(rf"\b{one[2]}\W+$", before):
                        yield self.number(one[1], node, found, other[3])

    def operators(self) -> Iterator[Mutant]:
        for place, node in self.expressions():
            for found in OPERATOR.finditer(node.text):
                start = self.document.inside(node, found.start())
                other = OTHER[found[0]]
                name = f"{place.section}: {found[0]} is {other} in {node.text[:80]}"
                yield self.replaced(start, start + len(found[0]), other, name, place.section)

    def durations(self) -> Iterator[Mutant]:
        for place in self.places:
            node = place.node
            if place.key in DURATIONS and isinstance(node, ScalarNode):
                said = duration(Document("", ""), node, "")
                assert said is not None
                if said / 2 % timedelta(seconds=1):
                    continue
                name = f"{place.section}.{place.key}: {node.text} is half as long"
                by = f"{int((said / 2).total_seconds())}s"
                yield self.replaced(node.start, node.end, by, name, place.section)

    def limits(self) -> Iterator[Mutant]:
        for place in self.places:
            node = place.node
            if place.key in ("count", "minSamples") and isinstance(node, ScalarNode):
                for by in (int(node.text) + 1, int(node.text) - 1):
                    name = f"{place.section}.{place.key}: {node.text} is {by}"
                    yield self.replaced(node.start, node.end, str(by), name, place.section)
            elif place.key == "minAvailable" and isinstance(node, ScalarNode):
                for factor in (1.01, 0.99):
                    by_share = f"{float(node.text.rstrip('%')) * factor:g}%"
                    name = f"{place.section}.{place.key}: {node.text} is {by_share}"
                    yield self.replaced(node.start, node.end, by_share, name, place.section)

    def dropped_limits(self) -> Iterator[Mutant]:
        """Each line of ``guard``, and each of its rules."""
        text = self.document.text
        for place in self.places:
            inside = place.section == "guard" and place.key != "rules"
            rule = place.section == "guard.rules" and isinstance(place.node, MapNode)
            if not (inside or rule):
                continue
            start = text.rfind("\n", 0, place.node.start) + 1
            end = text.find("\n", place.node.end) + 1
            name = f"{place.section}: without {text[start:end].strip()}"
            yield self.replaced(start, end, "", name, place.section)

    def dropped_words(self) -> Iterator[Mutant]:
        """Each approver, and each verdict of ``undo``."""
        for place in self.places:
            if not isinstance(place.node, ListNode) or place.key not in ("from", "ask", "when"):
                continue
            words = [item.text for item in place.node.items if isinstance(item, ScalarNode)]
            for word in words:
                rest = ", ".join(one for one in words if one != word)
                name = f"{place.section}.{place.key}: without {word}"
                start, end = place.node.start, place.node.end
                yield self.replaced(start, end, f"[{rest}]", name, place.section)

    def labels(self) -> Iterator[Mutant]:
        """What each severity label says, one level milder."""
        for place in self.places:
            node = place.node
            if place.section == "classify.severityLabel" and isinstance(node, ScalarNode):
                milder = LEVELS[LEVELS.index(node.text) + 1] if node.text != "P3" else "P2"
                name = f"{place.section}: {place.key} is {milder}"
                yield self.replaced(node.start, node.end, milder, name, place.section)

    def swapped(self) -> Iterator[Mutant]:
        """Two candidates in the other order."""
        text = self.document.text
        for place in self.places:
            if place.key == "propose" and isinstance(place.node, ListNode):
                for one, other in itertools.pairwise(place.node.items):
                    first, second = text[one.start : one.end], text[other.start : other.end]
                    by = second + text[one.end : other.start] + first
                    yield self.replaced(one.start, other.end, by, "propose: swapped", "propose")


DURATIONS = (
    "for",
    "per",
    "expires",
    "executeWithin",
    "baseline",
    "settle",
    "within",
    "monitor",
)


def mutants(file: str, text: str) -> list[Mutant]:
    """Every mutant of this policy file, in the order of its lines."""
    made = _Mutator(file, text)
    found = itertools.chain(
        made.thresholds(),
        made.neighbours(),
        made.operators(),
        made.durations(),
        made.limits(),
        made.dropped_limits(),
        made.dropped_words(),
        made.labels(),
        made.swapped(),
    )
    unique = {mutant.text: mutant for mutant in found}
    return sorted(unique.values(), key=lambda mutant: (mutant.line, mutant.name))


def _places(node: Node, path: tuple[str, ...]) -> Iterator[_Place]:
    if isinstance(node, MapNode):
        for key, value in node.entries:
            section = ".".join(part for part in path[1:] if part)
            yield _Place(section, key.text, value)
            yield from _places(value, (*path, key.text))
    elif isinstance(node, ListNode):
        for item in node.items:
            yield _Place(".".join(path[1:]), "", item)
            yield from _places(item, path)
