"""Reading typed values out of a document's tree; what does not fit becomes a complaint at its place.

Every reader answers None for a value that it complained about, so that a file is read to its end and all
complaints come at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from receiver.domain.durations import read_duration
from receiver.policy.complaints import Problem, Severity, did_you_mean, nearest
from receiver.policy.document import QUOTE_IT, Document, ListNode, MapNode, Node, ScalarNode, value_of

Word = TypeVar("Word", bound=StrEnum)

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


class Fields:
    """The keys of one mapping, each handed out once; ``what`` names the mapping in complaints."""

    def __init__(self, document: Document, node: MapNode | None, what: str, at: Node) -> None:
        self.document = document
        self.what = what
        self.at = at
        self._entries = {} if node is None else {key.text: (key, value) for key, value in node.entries}
        self._shared: Fields | None = None
        self.readable = node is not None

    def sharing(self, shared: Fields | None) -> Fields:
        """The same, where a key that is missing may be taken whole from a mapping of another file."""
        self._shared = shared
        return self

    def having(self, name: str) -> Fields:
        """The mapping that says this key: this one, or the shared one where only that does."""
        shared = self._shared
        return shared if name not in self and shared is not None and name in shared else self

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def entries(self) -> Iterator[tuple[ScalarNode, Node]]:
        """Every key with its value, in the file's order."""
        return iter(self._entries.values())

    def known(self, names: Collection[str], *, instead: Mapping[str, str] | None = None) -> Fields:
        """Complain about every key that is not among these; ``instead`` explains words of other releases."""
        for key, value in self._entries.values():
            if key.text in names:
                continue
            explained = (instead or {}).get(key.text)
            if explained is not None:
                self.document.complain(key, f'field "{key.text}" in {self.what}: {explained}')
                continue
            hint = did_you_mean(key.text, names)
            if isinstance(value, ScalarNode) and value.is_null and nearest(key.text, names) is None:
                hint = f"in {{...}} a comma ends a value: {QUOTE_IT}"
            self.document.complain(key, f'unknown field "{key.text}" in {self.what}', hint)
        return self

    def node(self, name: str, *, needed: bool = False, add: str = "") -> Node | None:
        """The value of a key; a needed one that is missing is complained about at the mapping.

        ``add`` is what should be written there.
        """
        found = self._entries.get(name)
        if found is None or (isinstance(found[1], ScalarNode) and found[1].is_null and not found[1].broken):
            if found is not None:
                self.document.complain(found[0], f'field "{name}" in {self.what} has no value')
            elif needed and self.readable:
                self.document.complain(
                    self.at, f'field "{name}" is missing in {self.what}', f"add {add or f'{name}: ...'}"
                )
            return None
        return found[1]

    def key(self, name: str) -> Node:
        """The key itself, to complain at; the mapping where it is missing."""
        return self._entries[name][0] if name in self._entries else self.at

    def table(self, name: str, *, needed: bool = False, what: str | None = None) -> Fields:
        """A mapping below; an empty one where it is missing."""
        node = self.node(name, needed=needed)
        called = what or f"{self.what}.{name}"
        if node is None:
            return Fields(self.document, None, called, self.key(name))
        return table(self.document, node, called, at=self.key(name))

    def items(self, name: str, *, needed: bool = False, empty: str | None = None) -> list[Node]:
        """The entries of a list; ``empty`` says why it must hold one."""
        node = self.node(name, needed=needed)
        if node is None:
            return []
        if not isinstance(node, ListNode):
            hint = f"write [{node.text}]" if isinstance(node, ScalarNode) and node.style == "plain" else ""
            self.wrong(node, name, "a list", hint)
            return []
        if not node.items and empty is not None:
            self.document.complain(node, f"{self.what}.{name} is empty: {empty}")
        return list(node.items)

    def text(self, name: str, *, needed: bool = False) -> str | None:
        """One text."""
        node = self.node(name, needed=needed)
        return None if node is None else text(self.document, node, f"{self.what}.{name}")

    def texts(
        self, name: str, *, needed: bool = False, empty: str | None = None
    ) -> list[tuple[ScalarNode, str]]:
        """A list of texts, each with its node."""
        found: list[tuple[ScalarNode, str]] = []
        for item in self.items(name, needed=needed, empty=empty):
            said = text(self.document, item, f"{self.what}.{name}")
            if said is not None and isinstance(item, ScalarNode):
                found.append((item, said))
        return found

    def duration(
        self, name: str, default: timedelta, *, needed: bool = False, least: timedelta | None = None
    ) -> timedelta:
        """A duration with its unit; the default where it is missing or wrong."""
        node = self.node(name, needed=needed)
        if node is None:
            return default
        found = duration(self.document, node, f"{self.what}.{name}")
        if found is None:
            return default
        if least is not None and found < least:
            self.document.complain(
                node, f"{self.what}.{name} is {as_written(found)}; at least {as_written(least)} makes sense"
            )
            return default
        return found

    def whole(
        self, name: str, default: int, *, least: int = 1, most: int = 1_000_000, needed: bool = False
    ) -> int:
        """A whole number."""
        node = self.node(name, needed=needed)
        if node is None:
            return default
        value = value_of(node)
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(node, name, "a whole number")
            return default
        if not least <= value <= most:
            self.document.complain(node, f"{self.what}.{name} is {value}; it must be {least} to {most}")
            return default
        return value

    def yes(self, name: str, default: bool) -> bool:
        """true or false."""
        node = self.node(name)
        if node is None:
            return default
        value = value_of(node)
        if not isinstance(value, bool):
            self.wrong(node, name, "true or false")
            return default
        return value

    def share(self, name: str, default: float) -> float:
        """``75%`` or 0.75."""
        node = self.node(name)
        if node is None:
            return default
        value = value_of(node)
        if isinstance(value, str) and re.fullmatch(r"\d{1,3}(\.\d{1,6})?%", value):
            value = float(value[:-1]) / 100
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.wrong(node, name, "a share, such as 75% or 0.75")
            return default
        if not 0 <= value <= 1:
            hint = f"did you mean {value:g}%?" if 1 < value <= 100 and "%" not in str(value_of(node)) else ""
            self.document.complain(node, f"{self.what}.{name} must lie between 0% and 100%", hint)
            return default
        return float(value)

    def word(
        self, name: str, kind: type[Word], default: Word, *, instead: Mapping[str, str] | None = None
    ) -> Word:
        """One of an enumeration's words."""
        node = self.node(name)
        if node is None:
            return default
        return word(self.document, node, f"{self.what}.{name}", kind, instead=instead) or default

    def wrong(self, node: Node, name: str, wanted: str, hint: str = "") -> None:
        """Complain that a value is of another kind."""
        self.document.complain(node, f"{self.what}.{name} must be {wanted}, this is {_kind(node)}", hint)


def table(document: Document, node: Node, what: str, *, at: Node | None = None) -> Fields:
    """The fields of a node that must be a mapping."""
    if isinstance(node, MapNode):
        return Fields(document, node, what, at or node)
    document.complain(node, f"{what} must be a mapping, this is {_kind(node)}")
    return Fields(document, None, what, at or node)


def text(document: Document, node: Node, what: str) -> str | None:
    """The text of a node; numbers and booleans must be quoted to be text."""
    value = value_of(node)
    if isinstance(value, str) and isinstance(node, ScalarNode):
        return None if node.broken else value
    hint = f'quote it: "{node.text}"' if isinstance(node, ScalarNode) else ""
    document.complain(node, f"{what} must be text, this is {_kind(node)}", hint)
    return None


def name(document: Document, node: Node, what: str) -> str | None:
    """A name as Kubernetes has them: lower case, digits, dashes."""
    said = text(document, node, what)
    if said is not None and not _NAME.fullmatch(said):
        document.complain(node, f"{what} {said[:60]!r} is not a name", "small letters, digits and - only")
        return None
    return said


def identifier(document: Document, key: ScalarNode, what: str, reserved: Collection[str]) -> str | None:
    """A key that conditions will use as a name."""
    if not _IDENTIFIER.fullmatch(key.text):
        document.complain(
            key, f"{what} {key.text[:60]!r} cannot be named in a condition", "letters, digits and _"
        )
        return None
    if key.text in reserved:
        document.complain(
            key, f'{what} "{key.text}" is a word of the condition language', "take another name"
        )
        return None
    return key.text


def duration(document: Document, node: Node, what: str) -> timedelta | None:
    """``90s``, ``5m``, ``1h30m``, ``7d``."""
    said = value_of(node)
    shown = node.text if isinstance(node, ScalarNode) else None
    if shown is None or said is None or isinstance(said, bool):
        document.complain(
            node, f"{what} must be a duration, this is {_kind(node)}", "write 90s, 5m, 2h or 7d"
        )
        return None
    found = read_duration(shown)
    if found is None:
        if re.fullmatch(r"\d+", shown):
            document.complain(node, f"{what} has no unit", f"write {shown[:9]}s or {shown[:9]}m")
        else:
            document.complain(node, f"{what} {shown[:40]!r} is no duration", "write 90s, 5m, 1h30m or 7d")
        return None
    return found


def word(
    document: Document,
    node: Node,
    what: str,
    kind: type[Word],
    *,
    instead: Mapping[str, str] | None = None,
) -> Word | None:
    """One of an enumeration's words."""
    said = node.text if isinstance(node, ScalarNode) else None
    words = [member.value for member in kind]
    if said in words:
        return kind(said)
    if said is None:
        document.complain(node, f"{what} must be one of {', '.join(words)}, this is {_kind(node)}")
    elif instead and said in instead:
        document.complain(node, f"{what} {said!r}: {instead[said]}")
    else:
        document.complain(node, f"{what} {said[:40]!r} is not known", did_you_mean(said, words))
    return None


def report(document: Document, node: ScalarNode, problems: Collection[Problem]) -> bool:
    """Turn an expression's problems into complaints at their places; whether there was no error."""
    for problem in problems:
        at: Node | int = node if problem.offset is None else document.inside(node, problem.offset)
        document.complain(at, problem.message, problem.hint, severity=problem.severity, length=problem.length)
    return not any(problem.severity is Severity.ERROR for problem in problems)


def each(document: Document, nodes: list[Node], what: str, read: Callable[[Fields], None]) -> None:
    """Read a list of mappings."""
    for index, node in enumerate(nodes):
        fields = table(document, node, f"{what}[{index}]")
        if fields.readable:
            read(fields)


def as_written(length: timedelta) -> str:
    """As the file would say it."""
    seconds = int(length.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _kind(node: Node) -> str:
    if isinstance(node, MapNode):
        return "a mapping"
    if isinstance(node, ListNode):
        return "a list"
    if node.is_null:
        return "nothing"
    return f"{node.text[:40]!r}"
