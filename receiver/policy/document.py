"""YAML 1.2 read into a small tree that knows where each key and value stands.

Built on the event stream of a parser rather than on constructors: events carry every position, the style of
each scalar, tags and anchors, and show all duplicate keys at once instead of the first. What a policy file
must not hold (tags, anchors, duplicate keys, directives, several documents, words that YAML 1.1 reads
otherwise) is complained about here; what the keys mean is left to others.

Two parsers: libyaml, fifteen times as fast, for files in which nothing is out of the ordinary; ruamel.yaml,
which says what is wrong and where, for the others. That both see the same tree is a property of the tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

import yaml as libyaml
from ruamel.yaml import YAML
from ruamel.yaml import events as ruamel_events
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from receiver.policy.complaints import Complaint, Severity

MAX_BYTES = 256 * 1024
MAX_DEPTH = 24
# Files whose trees are kept, some fifty kilobytes each.
KEPT = 600

QUOTE_IT = "quote it, or use block style: a line that ends in >- and the expression indented below it"

# What YAML itself does not take, and lone surrogates, which no file can hold.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\ufeff")
# Read as text or decimals by YAML 1.2, as booleans, octals, times or dates by YAML 1.1 (PyYAML, Helm).
_OTHERWISE_IN_1_1 = re.compile(
    r"(?:y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF)"
    r"|[-+]?0[0-9_]+|[-+]?0o[0-7]+|[-+]?0b[01_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?[0-9][0-9]*_[0-9_]*"
    r"|[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?"
)
# Where YAML 1.1 and 1.2 differ in what separates words and lines.
_READ_OTHERWISE = re.compile("[\t\r\x85\u2028\u2029]")
_OPENS_WITH_INDICATOR = re.compile(r"(?:^|[\s{,])[\w.]+:\s+(?P<sign>[!&*\[|>@`%\"'?])")


@dataclass(frozen=True)
class ScalarNode:
    """One piece of text. ``start`` and ``end`` are offsets into the file, quotes included.

    ``broken`` stands for something already complained about; readers stay silent about it.
    """

    text: str
    style: Literal["plain", "quoted", "block"]
    start: int
    end: int
    broken: bool = False

    @property
    def is_null(self) -> bool:
        """Whether nothing is written, or YAML's word for nothing."""
        return self.style == "plain" and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True)
class ListNode:
    """A sequence, in its order."""

    items: tuple[Node, ...]
    start: int
    end: int


@dataclass(frozen=True)
class MapNode:
    """A mapping, in its order; keys are unique."""

    entries: tuple[tuple[ScalarNode, Node], ...]
    start: int
    end: int


Node = ScalarNode | ListNode | MapNode


def find(node: Node | None, path: Sequence[str | int]) -> tuple[Node, Node] | None:
    """What stands at a path of keys and places: where a reader should look (the key of the last step, where
    that is one), and the value. None where nothing stands there.
    """
    place = node
    for step in path:
        if isinstance(node, MapNode):
            entry = next(((key, value) for key, value in node.entries if key.text == step), None)
            if entry is None:
                return None
            place, node = entry
        elif isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
            place = node = node.items[step]
        else:
            return None
    return None if place is None or node is None else (place, node)


@dataclass
class Document:
    """One file: its text, its tree (None where it cannot be read), and what was complained about."""

    file: str
    text: str
    root: Node | None = None
    complaints: list[Complaint] = field(default_factory=list)

    def complain(
        self,
        at: Node | int,
        message: str,
        hint: str = "",
        *,
        severity: Severity = Severity.ERROR,
        length: int = 1,
    ) -> None:
        """Note a finding at a node or at an offset of the text; a broken node is noted already."""
        if isinstance(at, ScalarNode):
            if at.broken:
                return
            length = max(length, at.end - at.start if "\n" not in self.text[at.start : at.end] else 1)
        start = at if isinstance(at, int) else at.start
        line, column = self.place(start)
        line_start = start - column + 1
        line_end = self.text.find("\n", start)
        excerpt = self.text[line_start : len(self.text) if line_end < 0 else line_end].rstrip("\r")
        self.complaints.append(
            Complaint(
                file=self.file,
                line=line,
                column=column,
                severity=severity,
                message=message,
                hint=hint,
                excerpt=excerpt if len(excerpt) < 4096 else "",
                length=length,
            )
        )

    def place(self, at: Node | int) -> tuple[int, int]:
        """Line and column of a node or of an offset, counted from 1."""
        start = at if isinstance(at, int) else at.start
        return self.text.count("\n", 0, start) + 1, start - self.text.rfind("\n", 0, start)

    def inside(self, node: ScalarNode, offset: int | None) -> int:
        """Where the character at this offset of a scalar's value stands in the file.

        Folding, indentation and quotes are seen through by counting what is no white space; where escapes
        make that impossible, the start of the scalar.
        """
        if offset is None or not 0 <= offset <= len(node.text):
            return node.start
        begin = node.start
        if node.style == "block":
            begin = self.text.find("\n", node.start) + 1
        elif node.style == "quoted":
            begin += 1
        source = self.text[begin : node.end]
        wanted = len("".join(node.text[:offset].split()))
        seen = [index for index, letter in enumerate(source) if not letter.isspace()]
        letters = "".join(source[index] for index in seen)
        if not letters.startswith("".join(node.text.split())) or not seen:
            return node.start
        if wanted < len(seen) and offset < len(node.text):
            return begin + seen[wanted]
        return begin + seen[min(wanted, len(seen)) - 1] + 1 if wanted else begin + seen[0]


def read(file: str, text: str) -> Document:
    """The tree of one file with its complaints; never raises."""
    found = _read(text)
    complaints = [replace(complaint, file=file) for complaint in found.complaints]
    return Document(file, found.text, found.root, complaints)


# Of many files one is edited: scanning YAML takes most of a reload. Trees are frozen, and complaints copied.
@lru_cache(maxsize=KEPT)
def _read(text: str) -> Document:
    document = Document("", text.removeprefix("\ufeff"))
    size = len(document.text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        document.text = document.text[:4096]
        document.complain(
            0, f"the file has {size} bytes; {MAX_BYTES} are allowed", "split it: one policy, one file"
        )
        return document
    if (found := _FORBIDDEN.search(document.text)) is not None:
        code = f"U+{ord(found.group()):04X}"
        document.complain(found.start(), f"character {code} is not allowed in YAML", "remove it")
        return document
    if (root := quickly(document.text)) is not None:
        document.root = root
        return document
    return slowly(document)


def quickly(text: str) -> Node | None:
    """The tree by libyaml; None where there is anything that wants a sentence, or no libyaml."""
    if not hasattr(libyaml, "CLoader") or _READ_OTHERWISE.search(text):
        return None
    try:
        document = Document("", text)
        events = libyaml.parse(text, Loader=libyaml.CLoader)
        root = _Builder(document, iter(events), libyaml.events).build()
    except (libyaml.YAMLError, _Unusual):
        return None
    return None if document.complaints else root


def slowly(document: Document) -> Document:
    """The tree by ruamel.yaml, with its complaints."""
    try:
        parser = YAML(typ="safe", pure=True)
        document.root = _Builder(document, iter(parser.parse(document.text)), ruamel_events).build()
    except MarkedYAMLError as error:
        _complain_about_syntax(document, error)
    except (YAMLError, ValueError, RecursionError, IndexError, AttributeError, TypeError) as error:
        # ruamel.yaml's scanner raises plain errors on some malformed escapes and directives.
        document.complain(0, f"this is no YAML: {_first_line(error)}")
    if document.root is None and not document.complaints:
        document.complain(0, "the file is empty", "a file starts with apiVersion: stanch/v1")
    return document


# The core schema's numbers, as far as anybody writes them.
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,2})?")


def value_of(node: Node) -> Any:
    """The plain JSON value, scalars by YAML 1.2's core schema."""
    match node:
        case ListNode(items=items):
            return [value_of(item) for item in items]
        case MapNode(entries=entries):
            return {key.text: value_of(value) for key, value in entries}
        case ScalarNode():
            return _scalar(node)


def _scalar(node: ScalarNode) -> Any:
    text = node.text
    if node.style != "plain":
        return text
    if node.is_null:
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text


class _TooDeep(Exception):
    pass


class _Unusual(Exception):
    """Something that only ruamel.yaml's events tell enough about."""


class _Builder:
    """From events to nodes; refuses on the way what policy files must not hold."""

    def __init__(self, document: Document, events: Iterator[Any], kinds: Any) -> None:
        """``kinds`` holds the classes of the events; both parsers name them alike."""
        self._document = document
        self._events = events
        self._kinds = kinds
        self._begins = (
            kinds.ScalarEvent,
            kinds.MappingStartEvent,
            kinds.SequenceStartEvent,
            kinds.AliasEvent,
        )

    def build(self) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, self._kinds.DocumentStartEvent):
                documents += 1
                if event.version is not None or event.tags:
                    self._refuse(
                        event, "YAML directives are not allowed", "remove the line that starts with %"
                    )
                if documents > 1:
                    self._refuse(event, "a file holds one document", "put what follows --- into its own file")
                    return root
            elif isinstance(event, self._begins):
                try:
                    node = self._node(event, 0)
                except _TooDeep:
                    return None
                if not (isinstance(node, ScalarNode) and node.is_null):
                    root = node
        return root

    def _node(self, event: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self._refuse(event, f"nested more than {MAX_DEPTH} levels deep")
            raise _TooDeep
        start = event.start_mark.index
        if isinstance(event, self._kinds.AliasEvent):
            self._refuse(event, "YAML aliases are not allowed", f"if an expression begins with *: {QUOTE_IT}")
            return ScalarNode("", "plain", start, event.end_mark.index, broken=True)
        broken = self._marked(event)
        if isinstance(event, self._kinds.ScalarEvent):
            return self._scalar(event, broken)
        if isinstance(event, self._kinds.SequenceStartEvent):
            return self._list(event, depth)
        return self._map(event, depth)

    def _marked(self, event: Any) -> bool:
        if self._kinds is libyaml.events:
            if event.tag or event.anchor or getattr(event, "value", None) == "":
                raise _Unusual
            return False
        tag = getattr(event.ctag, "handle", None) or getattr(event.ctag, "suffix", None)
        if tag:
            # With a tag before an anchor (`!paused && x`), the event's mark is the anchor's.
            written = f"{event.ctag.handle or ''}{event.ctag.suffix or ''}"
            index = self._document.text.rfind(written, 0, event.end_mark.index)
            hint = f"if an expression begins with !: {QUOTE_IT}"
            self._document.complain(max(index, 0), "YAML tags are not allowed", hint)
            return True
        if event.anchor:
            self._refuse(event, "YAML anchors are not allowed", "write the value where it is used")
        return False

    def _scalar(self, event: Any, broken: bool) -> ScalarNode:
        style: Literal["plain", "quoted", "block"] = (
            "plain" if not event.style else "block" if event.style in "|>" else "quoted"
        )
        node = ScalarNode(event.value, style, event.start_mark.index, event.end_mark.index, broken)
        if style == "plain" and _OTHERWISE_IN_1_1.fullmatch(event.value):
            self._document.complain(
                node,
                f"{event.value} is read otherwise by YAML 1.1 (Helm, PyYAML)",
                f'quote it: "{event.value}"'
                if not event.value.isdigit()
                else f"write {event.value.lstrip('0')}",
            )
        return node

    def _list(self, event: Any, depth: int) -> ListNode:
        items: list[Node] = []
        for inner in self._events:
            if isinstance(inner, self._kinds.SequenceEndEvent):
                return ListNode(tuple(items), event.start_mark.index, inner.end_mark.index)
            items.append(self._node(inner, depth + 1))
        raise AssertionError("the parser ends every sequence")

    def _map(self, event: Any, depth: int) -> MapNode:
        entries: list[tuple[ScalarNode, Node]] = []
        first: dict[str, ScalarNode] = {}
        for inner in self._events:
            if isinstance(inner, self._kinds.MappingEndEvent):
                return MapNode(tuple(entries), event.start_mark.index, inner.end_mark.index)
            key = self._node(inner, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if not isinstance(key, ScalarNode):
                self._document.complain(key, "a key must be text", QUOTE_IT)
            elif key.text in first:
                line = self._document.text.count("\n", 0, first[key.text].start) + 1
                self._document.complain(
                    key, f'key "{key.text}" stands here twice; first on line {line}', "keep one of the two"
                )
            else:
                first[key.text] = key
                entries.append((key, value))
        raise AssertionError("the parser ends every mapping")

    def _refuse(self, event: Any, message: str, hint: str = "") -> None:
        self._document.complain(event.start_mark.index, message, hint)


def _complain_about_syntax(document: Document, error: MarkedYAMLError) -> None:
    mark = error.problem_mark or error.context_mark
    index = min(mark.index, len(document.text)) if mark is not None else 0
    problem = (error.problem or error.context or "this is no YAML").replace("\n", " ")
    line_start = document.text.rfind("\n", 0, index) + 1
    line = document.text[line_start:].split("\n", 1)[0].rstrip("\r")
    hint = ""
    opened = error.context_mark if "quoted scalar" in (error.context or "") else None
    if opened is not None and "unexpected end" in problem:
        # What ends too early is where the text ends; what to mend is where it began.
        quote = document.text[opened.index]
        document.complain(
            opened.index, f"this is no YAML: the quote {quote} is not closed", f"end it with {quote}"
        )
        return
    if document.complaints and document.complaints[-1].line == document.text.count("\n", 0, index) + 1:
        # A tag or an alias on this line is said already, and is why the rest of it cannot be read.
        return
    before = line[: index - line_start + 1] if index >= line_start else line
    if found := list(_OPENS_WITH_INDICATOR.finditer(before)):
        sign = found[-1].group("sign")
        hint = f"a value that begins with {sign} means something else to YAML: {QUOTE_IT}"
        index = line_start + found[-1].start("sign")
    elif "expected ',' or" in problem:
        hint = f"inside {{...}} and [...] a comma or a bracket ends a value: {QUOTE_IT}"
    elif "mapping values are not allowed" in problem:
        hint = f'": " ends a key: {QUOTE_IT}'
    elif "\\t" in problem:
        hint = "indent with spaces, not with tabs"
    document.complain(index, f"this is no YAML: {problem}", hint)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
