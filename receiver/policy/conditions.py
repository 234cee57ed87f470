"""CEL conditions checked when a policy is loaded: syntax, names, paths, functions and kinds.

The engine that evaluates has no syntax tree to look at, so this parses with cel-python's grammar, whose
tokens carry positions, and walks the tree over sample values of everything that will be bound. Evaluation
itself is elsewhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from receiver.policy.complaints import Problem, Severity, did_you_mean
from receiver.policy.expressions import MAX_CHARACTERS, check_syntax, evaluate

# What conditions may use, each with what it gives.
MACROS: Mapping[str, str] = {
    "all": "`list.all(x, x > 1)`: whether it holds for every entry",
    "exists": "`list.exists(x, x > 1)`: whether it holds for one entry or more",
    "exists_one": "`list.exists_one(x, x > 1)`: whether it holds for exactly one entry",
    "filter": "`list.filter(x, x > 1)`: the entries for which it holds",
}
FUNCTIONS: Mapping[str, str] = {
    "size": "`size(x)`: how many letters a text has, or entries a list or an object",
    "int": "`int(x)`: as a whole number",
    "double": "`double(x)`: as a decimal number",
    "string": "`string(x)`: as text",
    "has": "`has(a.b)`: whether there is such a field; naming one that is not there is unknown",
}
METHODS: Mapping[str, str] = {
    "startsWith": '`text.startsWith("a")`: whether it starts so',
    "endsWith": '`text.endsWith("a")`: whether it ends so',
    "contains": '`text.contains("a")`: whether it stands in it somewhere',
    "matches": '`text.matches("a.*")`: whether the pattern is found in it',
    "size": "`x.size()`: as `size(x)`",
}
MAX_BRACKETS = 20

# A condition cannot name a query, probe or fact by one of these.
# fmt: off
RESERVED = frozenset({
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
    "import", "let", "loop", "package", "namespace", "return", "var", "void", "while", "and", "or",
    "not", "labels", "target", "baseline",
})
# fmt: on


class _Marker:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


# Samples for what has no schema here: anything at all, and an object whose every field is text.
ANY = _Marker("anything")
TEXTS = _Marker("texts")

_QUOTED = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_DANGLING = re.compile(r"&&|\|\||[<>=!]=?|==|[-+*/%?:.(\[,]")
# A number with a percent sign behind it; where an operand follows, it is the remainder of a division.
_PERCENT = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)%(?!\s*[\w.(])")
_WORDS = {"and": "&&", "or": "||", "not": "!"}
_OTHER_LANGUAGE = re.compile(r"\b(?P<word>and|or|not)\b|(?<![=!<>])(?P<assign>=)(?![=~])|(?P<unequal><>)")
_FUNCTION_KINDS = {"size": 1, "int": 1, "double": 1.0, "string": ""}
# Left out by the API server where they are at their defaults, so that naming them bare is "unknown".
_OFTEN_ABSENT = frozenset(
    {
        "target.spec.paused",
        "target.status.replicas",
        "target.status.updatedReplicas",
        "target.status.readyReplicas",
        "target.status.availableReplicas",
        "target.status.unavailableReplicas",
    }
)


@dataclass(frozen=True)
class Comparison:
    """``name < number`` somewhere in an expression, with the name on the left whichever way it stood."""

    name: str
    operator: str
    number: float
    offset: int


@dataclass(frozen=True)
class Band:
    """The values of one name for which one alternative of a condition holds by itself."""

    name: str
    low: float
    low_included: bool
    high: float
    high_included: bool
    offset: int

    def covers(self, value: float) -> bool:
        """Whether it holds at this value."""
        above = value > self.low or (value == self.low and self.low_included)
        below = value < self.high or (value == self.high and self.high_included)
        return above and below

    def holds_where(self, other: Band) -> bool:
        """Whether it holds at every value at which the other does."""
        low = self.low < other.low or (
            self.low == other.low and (self.low_included or not other.low_included)
        )
        high = self.high > other.high or (
            self.high == other.high and (self.high_included or not other.high_included)
        )
        return low and high


@dataclass(frozen=True)
class Checked:
    """What was found in one condition: problems, the outermost names it uses, and its plain thresholds.

    ``against_baseline`` are alternatives such as ``err > baseline.err * 1.2``, with the factor as the number.
    """

    problems: tuple[Problem, ...]
    names: frozenset[str] = frozenset()
    comparisons: tuple[Comparison, ...] = ()
    bands: tuple[Band, ...] = ()
    against_baseline: tuple[Comparison, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing speaks against evaluating it."""
        return not any(problem.severity is Severity.ERROR for problem in self.problems)


def check(expression: str, samples: Mapping[str, Any], *, called: str) -> Checked:
    """Check one condition over these names; ``called`` says what they are ("query", "query or fact")."""
    if (early := _refused_unread(expression)) is not None:
        return Checked((early,))
    try:
        parsed = _parse(expression)
        walk = _Walk(samples, called, parsed.asked)
        kind = walk.kind(parsed.tree, {})
    except _Unparsed as unparsed:
        return Checked((unparsed.problem,))
    except RecursionError:
        return Checked((Problem("CEL: the expression is nested too deeply", "take it apart"),))
    problems = walk.problems
    if kind_name(kind) not in ("bool", "anything") and not problems:
        problems.append(
            Problem(f"CEL: the expression gives {kind_name(kind)}, not true or false", "compare it")
        )
    if not problems:
        problems += _tried(expression, samples, walk)
    return Checked(
        tuple(problems),
        frozenset(walk.roots),
        parsed.comparisons,
        parsed.bands,
        parsed.against_baseline,
    )


def _plural(word: str) -> str:
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


class _Unparsed(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def _refused_unread(expression: str) -> Problem | None:
    """What is wrong before any grammar looks at it."""
    if not expression.strip():
        return Problem("CEL: the expression is empty", 'write a condition, such as "err > 0.05"')
    if len(expression) > MAX_CHARACTERS:
        return Problem(
            f"CEL: the expression has {len(expression)} characters; {MAX_CHARACTERS} are allowed",
            "name a part of it as a query",
        )
    bare = _QUOTED.sub(lambda found: " " * len(found.group()), expression)
    depth = 0
    for offset, letter in enumerate(bare):
        depth += (letter in "([{?") - (letter in ")]}")
        if depth > MAX_BRACKETS:
            return Problem(f"CEL: brackets more than {MAX_BRACKETS} deep", "take it apart", offset)
    if (found := _OTHER_LANGUAGE.search(bare)) is not None:
        word = found.group()
        write = _WORDS.get(word) or ("==" if word == "=" else "!=")
        return Problem(f'CEL: "{word}" is no operator', f"write {write}", found.start(), len(word))
    return None


@cache
def _parser() -> Any:
    # Imported on first use: it takes a tenth of a second that only loading policies needs.
    from celpy.celparser import CELParser

    return CELParser()


@dataclass(frozen=True)
class _Parsed:
    """What an expression says by itself, whatever its names mean; ``asked`` are the paths inside a has()."""

    tree: Any
    asked: frozenset[str]
    comparisons: tuple[Comparison, ...]
    bands: tuple[Band, ...]
    against_baseline: tuple[Comparison, ...]


# Policies say the same thing often, and every reload says all of it again.
@lru_cache(maxsize=4096)
def _parse(expression: str) -> _Parsed:
    from celpy.celparser import CELParseError

    try:
        tree = _parser().parse(expression)
    except CELParseError as error:
        begin = _offset(expression, error.line, error.column)
        rest = expression[begin:].split()
        if not rest or _DANGLING.fullmatch("".join(rest)):
            end = len(expression.rstrip())
            raise _Unparsed(
                Problem("CEL: the expression ends too early", _remedy(expression), end)
            ) from error
        message = f'CEL: "{rest[0][:40]}" is not expected here'
        raise _Unparsed(Problem(message, _remedy(expression), begin)) from error
    try:
        check_syntax(expression)
    except ValueError as error:
        lines = str(error).splitlines()
        place = re.search(r"<input>:(\d+):(\d+): (.*)", str(error))
        offset = _offset(expression, int(place[1]), int(place[2])) if place else None
        message = place[3] if place else lines[0][:200]
        raise _Unparsed(Problem(f"CEL: {message}", offset=offset)) from error
    tree = _bare(tree)
    asked = {
        path
        for call in tree.find_data("ident_arg")
        if str(call.children[0]) == "has"
        for argument in _arguments(call)
        if (path := _path(argument)) is not None
    }
    return _Parsed(
        tree,
        frozenset(asked),
        tuple(_comparisons(tree)),
        tuple(_bands(tree)),
        tuple(_against_baseline(tree)),
    )


def _bare(node: Any) -> Any:
    """The tree without the nodes that only wrap one other, parentheses included, and without gaps.

    The grammar puts nine of them around every name; all that reads the tree is shorter and faster without.
    """
    children = [_bare(child) if hasattr(child, "data") else child for child in node.children]
    children = [child for child in children if child is not None]
    if node.data in _WRAPPERS and len(children) == 1 and hasattr(children[0], "data"):
        return children[0]
    return type(node)(node.data, children, node.meta)


def _remedy(expression: str) -> str:
    if (found := _PERCENT.search(expression)) is not None:
        return f"write {float(found[1]) / 100:g} for {found[0]}"
    if any(_QUOTED.sub("", expression).count(quote) % 2 for quote in "\"'"):
        return "a quote is not closed; in plain YAML, ' #' begins a comment: quote the whole expression"
    return ""


def _offset(expression: str, line: int | None, column: int | None) -> int:
    if line is None or column is None or line < 1:
        return len(expression.rstrip())
    before = sum(len(text) + 1 for text in expression.split("\n")[: line - 1])
    return min(before + max(0, column - 1), len(expression))


def _tried(expression: str, samples: Mapping[str, Any], walk: _Walk) -> list[Problem]:
    """Run it once over the samples; what the walk could not see shows here."""
    if walk.open:
        return []
    values = {
        name: dict.fromkeys(walk.texts.get(name, ()), "x")
        if samples[name] is TEXTS
        else _known(samples[name])
        for name in walk.roots
    }
    _, reason = evaluate(expression, values)
    if not reason or reason.startswith(("there is no", "division by zero", "index out of bounds")):
        return []
    return [Problem(f"CEL: it cannot be evaluated: {reason}")]


def _known(sample: Any) -> Any:
    """The sample without the parts that have no schema; those were not used."""
    if isinstance(sample, Mapping):
        return {name: _known(value) for name, value in sample.items() if not isinstance(value, _Marker)}
    return sample


class _Walk:
    """One walk over a tree: each node's kind, as a sample value, and what is wrong on the way."""

    def __init__(self, samples: Mapping[str, Any], called: str, asked: frozenset[str]) -> None:
        self.problems: list[Problem] = []
        self.roots: set[str] = set()
        self.texts: dict[str, set[str]] = {}
        self.open = False
        self._samples = samples
        self._called = called
        self._in_macro = False
        self._asked = asked

    def kind(self, node: Any, bound: Mapping[str, Any]) -> Any:
        """A sample of what this node gives."""
        handler = getattr(self, f"_{node.data}", None)
        if handler is not None:
            return handler(node, bound)
        self._complain(node, "this form is not supported")
        return ANY

    def _expr(self, node: Any, bound: Mapping[str, Any]) -> Any:
        parts = node.children
        self._need_bool(parts[0], bound, "?")
        first, second = self.kind(parts[1], bound), self.kind(parts[2], bound)
        return first if kind_name(first) == kind_name(second) else ANY

    def _conditionalor(self, node: Any, bound: Mapping[str, Any]) -> Any:
        return self._logical(node, bound, "||")

    def _conditionaland(self, node: Any, bound: Mapping[str, Any]) -> Any:
        return self._logical(node, bound, "&&")

    def _logical(self, node: Any, bound: Mapping[str, Any], operator: str) -> Any:
        parts = node.children
        for part in parts:
            self._need_bool(part, bound, operator)
        return True

    def _need_bool(self, node: Any, bound: Mapping[str, Any], operator: str) -> None:
        kind = kind_name(self.kind(node, bound))
        if kind not in ("bool", "anything"):
            self._complain(
                node, f"{operator} needs true or false, this is {kind}", "compare it with something"
            )

    def _relation(self, node: Any, bound: Mapping[str, Any]) -> Any:
        parts = node.children
        operator = _OPERATORS[str(parts[0].data)]
        left = self.kind(parts[0].children[0], bound)
        right = self.kind(parts[1], bound)
        one, other = kind_name(left), kind_name(right)
        if "anything" in (one, other):
            return True
        if operator == "in":
            if other not in ("a list", "an object"):
                self._complain(parts[1], f"in needs a list or an object, this is {other}")
            return True
        same = one == other or {one, other} <= _NUMBERS
        if not same and "null" not in (one, other):
            self._complain(parts[1], f"{one} is compared with {other}", _compare_hint(one, other))
        elif operator in ("<", "<=", ">", ">=") and not ({one, other} <= _NUMBERS or one == other == "text"):
            self._complain(parts[1], f"{one} has no order")
        return True

    def _addition(self, node: Any, bound: Mapping[str, Any]) -> Any:
        return self._arithmetic(node, bound)

    def _multiplication(self, node: Any, bound: Mapping[str, Any]) -> Any:
        return self._arithmetic(node, bound)

    def _arithmetic(self, node: Any, bound: Mapping[str, Any]) -> Any:
        parts = node.children
        operator = _OPERATORS[str(parts[0].data)]
        left = self.kind(parts[0].children[0], bound)
        right = self.kind(parts[1], bound)
        one, other = kind_name(left), kind_name(right)
        if "anything" in (one, other):
            return ANY
        if {one, other} == _NUMBERS:
            self._complain(parts[1], f"{operator} does not mix whole and decimal numbers", "write 2.0, not 2")
        elif one != other or not (one in _NUMBERS or (operator == "+" and one in ("text", "a list"))):
            self._complain(parts[1], f"{one} {operator} {other} cannot be computed")
        elif operator == "%" and one != "a whole number":
            self._complain(parts[1], "% needs whole numbers")
        return left

    def _unary(self, node: Any, bound: Mapping[str, Any]) -> Any:
        parts = node.children
        if parts[0].data == "unary_not":
            self._need_bool(parts[1], bound, "!")
            return True
        kind = self.kind(parts[1], bound)
        if kind_name(kind) not in (*_NUMBERS, "anything"):
            self._complain(parts[1], f"- needs a number, this is {kind_name(kind)}")
        return kind

    def _literal(self, node: Any, bound: Mapping[str, Any]) -> Any:
        token = node.children[0]
        match token.type:
            case "INT_LIT" | "UINT_LIT":
                return 1
            case "FLOAT_LIT":
                return 1.0
            case "BOOL_LIT":
                return True
            case "NULL_LIT":
                return None
            case "BYTES_LIT":
                self._complain(node, "bytes are not supported")
                return ANY
            case _:
                return ""

    def _ident(self, node: Any, bound: Mapping[str, Any]) -> Any:
        name = str(node.children[0])
        if name in bound:
            return bound[name]
        self.roots.add(name)
        if name in self._samples:
            if self._samples[name] is ANY:
                self.open = True
            return self._samples[name]
        if name == "baseline":
            self._complain(node, "baseline is known in verify only", "compare with a number here")
        else:
            known = [known for known in self._samples if known not in ("baseline",)]
            plural = " and ".join(_plural(one) for one in self._called.split(" or "))
            listed = ", ".join(sorted(known)) or "none"
            self._complain(
                node,
                f'"{name}" is not a {self._called} of this policy ({plural}: {listed})',
                did_you_mean(name, known) if known else "",
            )
        return ANY

    def _member_dot(self, node: Any, bound: Mapping[str, Any]) -> Any:
        owner, field = node.children[0], node.children[1]
        found = self.kind(owner, bound)
        name = str(field)
        path = _path(node)
        if path in _OFTEN_ABSENT and path not in self._asked:
            self._complain_at(
                _start(node),
                f"{path} is left out by the API server where it has its default: then this is unknown",
                f"write has({path}) && ... ",
                severity=Severity.WARNING,
                length=len(path),
            )
        if found is TEXTS:
            self.texts.setdefault(_path(owner) or "", set()).add(name)
            return ""
        if isinstance(found, Mapping):
            if name in found:
                if found[name] is ANY:
                    self.open = True
                return found[name]
            where = _path(owner) or "the object"
            message = f'"{where}" has no "{name}"'
            self._complain_at(
                field.start_pos, message, did_you_mean(name, map(str, found), of="it has"), length=len(name)
            )
            return ANY
        if kind_name(found) != "anything":
            self._complain_at(field.start_pos, f"{kind_name(found)} has no field {name!r}", length=len(name))
        return ANY

    def _member_index(self, node: Any, bound: Mapping[str, Any]) -> Any:
        found = self.kind(node.children[0], bound)
        index = node.children[1]
        kind = self.kind(index, bound)
        literal = _single(index)
        if literal is not None and literal.type == "STRING_LIT":
            name = str(literal).strip("\"'")
            if found is TEXTS:
                self.texts.setdefault(_path(node.children[0]) or "", set()).add(name)
            elif isinstance(found, Mapping) and name not in found:
                self._complain(
                    index, f'there is no "{name}"', did_you_mean(name, map(str, found), of="it has")
                )
            elif isinstance(found, Mapping):
                return found[name]
        if found is TEXTS:
            return ""
        if isinstance(found, list | tuple):
            if kind_name(kind) not in ("a whole number", "anything"):
                self._complain(index, f"a list is indexed by a whole number, this is {kind_name(kind)}")
            return found[0] if found else ANY
        if not isinstance(found, Mapping) and kind_name(found) != "anything":
            self._complain(index, f"{kind_name(found)} cannot be indexed")
        return ANY

    def _member_dot_arg(self, node: Any, bound: Mapping[str, Any]) -> Any:
        owner, method = node.children[0], str(node.children[1])
        arguments = _arguments(node)
        place = node.children[1].start_pos
        if method in MACROS:
            return self._macro(node, bound)
        if method == "map":
            self._complain_at(
                place, "the macro map is not allowed", f"there are {', '.join(MACROS)}", length=3
            )
            return ANY
        found = self.kind(owner, bound)
        for argument in arguments:
            self.kind(argument, bound)
        if method not in METHODS:
            known = (*METHODS, *MACROS)
            self._complain_at(
                place, f'there is no function "{method}"', did_you_mean(method, known), length=len(method)
            )
            return ANY
        if method != "size" and kind_name(found) not in ("text", "anything"):
            self._complain_at(place, f"{method} needs text, this is {kind_name(found)}", length=len(method))
        if len(arguments) != (0 if method == "size" else 1):
            self._complain_at(place, f"{method} takes {0 if method == 'size' else 1} arguments")
        return 1 if method == "size" else True

    def _macro(self, node: Any, bound: Mapping[str, Any]) -> Any:
        name = str(node.children[1])
        place = node.children[1].start_pos
        arguments = _arguments(node)
        variable = _path(arguments[0]) if len(arguments) == 2 else None
        if variable is None or "." in variable:
            self._complain_at(
                place, f"{name} takes a name and a condition", f"write list.{name}(x, x == ...)"
            )
            return ANY
        if self._in_macro:
            # 60 items nested four deep are 13 million steps: the engine has no limit of its own.
            self._complain_at(
                place, f"{name} inside another macro is not allowed", "take it apart", length=len(name)
            )
            return ANY
        found = self.kind(node.children[0], bound)
        if kind_name(found) not in ("a list", "an object", "anything"):
            self._complain_at(place, f"{name} needs a list, this is {kind_name(found)}", length=len(name))
        item = found[0] if isinstance(found, list | tuple) and found else ANY
        self._in_macro = True
        self._need_bool(arguments[1], {**bound, variable: item}, name)
        self._in_macro = False
        return (
            list(found)
            if name == "filter" and isinstance(found, list | tuple)
            else ANY
            if name == "filter"
            else True
        )

    def _ident_arg(self, node: Any, bound: Mapping[str, Any]) -> Any:
        name = str(node.children[0])
        arguments = _arguments(node)
        place = node.children[0].start_pos
        if name == "has":
            path = _path(arguments[0]) if len(arguments) == 1 else None
            if path is None or "." not in path:
                self._complain_at(place, "has takes one path", "write has(rollout.current)", length=3)
            else:
                self.kind(arguments[0], bound)
            return True
        kinds = [self.kind(argument, bound) for argument in arguments]
        if name not in _FUNCTION_KINDS:
            self._complain_at(
                place, f'there is no function "{name}"', did_you_mean(name, FUNCTIONS), length=len(name)
            )
            return ANY
        if len(kinds) != 1:
            self._complain_at(place, f"{name} takes one argument", length=len(name))
        return _FUNCTION_KINDS[name]

    def _list_lit(self, node: Any, bound: Mapping[str, Any]) -> Any:
        return [self.kind(item, bound) for item in _arguments(node)] or [ANY]

    def _map_lit(self, node: Any, bound: Mapping[str, Any]) -> Any:
        self._complain(node, "objects cannot be written in a condition")
        return ANY

    def _complain(self, node: Any, message: str, hint: str = "") -> None:
        start, end = _start(node), _end(node)
        self._complain_at(start, message, hint, length=max(1, end - start))

    def _complain_at(
        self,
        offset: int,
        message: str,
        hint: str = "",
        *,
        length: int = 1,
        severity: Severity = Severity.ERROR,
    ) -> None:
        self.problems.append(Problem(f"CEL: {message}", hint, offset, length, severity))


_OPERATORS = {
    "relation_lt": "<",
    "relation_le": "<=",
    "relation_gt": ">",
    "relation_ge": ">=",
    "relation_eq": "==",
    "relation_ne": "!=",
    "relation_in": "in",
    "addition_add": "+",
    "addition_sub": "-",
    "multiplication_mul": "*",
    "multiplication_div": "/",
    "multiplication_mod": "%",
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NUMBERS = {"a whole number", "a number"}


def kind_name(sample: Any) -> str:
    """The kind of a sample in words, as complaints and the reference name it."""
    if sample is ANY:
        return "anything"
    if sample is TEXTS or isinstance(sample, Mapping):
        return "an object"
    if sample is None:
        return "null"
    if isinstance(sample, bool):
        return "bool"
    if isinstance(sample, int):
        return "a whole number"
    if isinstance(sample, float):
        return "a number"
    if isinstance(sample, str):
        return "text"
    if isinstance(sample, list | tuple):
        return "a list"
    return "anything"


def _compare_hint(one: str, other: str) -> str:
    if "text" in (one, other) and {one, other} & _NUMBERS:
        return "write the number without quotes"
    return ""


def _tokens(node: Any) -> list[Any]:
    return list(node.scan_values(lambda _: True))


def _start(node: Any) -> int:
    tokens = _tokens(node)
    return tokens[0].start_pos if tokens else 0


def _end(node: Any) -> int:
    tokens = _tokens(node)
    return tokens[-1].end_pos if tokens else 1


def _arguments(node: Any) -> list[Any]:
    return (
        []
        if not node.children or getattr(node.children[-1], "data", "") != "exprlist"
        else list(node.children[-1].children)
    )


# fmt: off
_WRAPPERS = frozenset({
    "expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary",
    "member", "primary", "paren_expr",
})
# fmt: on


def _path(node: Any) -> str | None:
    """``a.b.c`` where the node is such a path and nothing else."""
    if node.data == "ident":
        return str(node.children[0])
    if node.data == "member_dot":
        owner = _path(node.children[0])
        return None if owner is None else f"{owner}.{node.children[1]}"
    return None


def _single(node: Any) -> Any:
    return node.children[0] if node.data == "literal" else None


def _number(node: Any) -> float | None:
    children = node.children
    if node.data == "unary" and len(children) == 2 and children[0].data == "unary_neg":
        number = _number(children[1])
        return None if number is None else -number
    if node.data == "literal" and children[0].type in ("INT_LIT", "FLOAT_LIT"):
        text = str(children[0])
        return float(int(text, 16)) if "x" in text.lower() else float(text)
    return None


def _comparison(node: Any) -> Comparison | None:
    """``name < number`` or ``number > name``, if the node is that."""
    children = node.children
    if node.data != "relation" or len(children) != 2:
        return None
    operator = _OPERATORS[str(children[0].data)]
    if operator not in _MIRRORED:
        return None
    left, right = children[0].children[0], children[1]
    if (name := _path(left)) is not None and (number := _number(right)) is not None:
        return Comparison(name, operator, number, _start(left))
    if (name := _path(right)) is not None and (number := _number(left)) is not None:
        return Comparison(name, _MIRRORED[operator], number, _start(right))
    return None


def _against_baseline(tree: Any) -> Iterator[Comparison]:
    """Each alternative that does nothing but compare a name with its own baseline."""
    for alternative in _split(tree, "conditionalor"):
        children = alternative.children
        operator = _OPERATORS.get(str(getattr(children[0], "data", "")), "")
        if operator not in _MIRRORED or len(children) != 2:
            continue
        left, right = children[0].children[0], children[1]
        for one, sign, other in ((left, operator, right), (right, _MIRRORED[operator], left)):
            name, times = _path(one), _times(other)
            if times is not None and times[0] == f"baseline.{name}":
                yield Comparison(times[0].removeprefix("baseline."), sign, times[1], _start(one))


def _times(node: Any) -> tuple[str, float] | None:
    """``a.b * 1.2`` or ``a.b`` alone, as the path and the factor."""
    if (path := _path(node)) is not None:
        return path, 1.0
    children = node.children
    if len(children) != 2 or getattr(children[0], "data", "") != "multiplication_mul":
        return None
    left, right = children[0].children[0], children[1]
    for one, other in ((left, right), (right, left)):
        if (path := _path(one)) is not None and (factor := _number(other)) is not None:
            return path, factor
    return None


def _comparisons(tree: Any) -> Iterator[Comparison]:
    relations = sorted(tree.find_data("relation"), key=_start)
    seen: set[int] = set()
    for relation in relations:
        found = _comparison(relation)
        if found is not None and found.offset not in seen:
            seen.add(found.offset)
            yield found


def _split(node: Any, data: str) -> list[Any]:
    """The operands of a chain of ``||`` or ``&&``."""
    children = node.children
    if node.data == data and len(children) == 2:
        return _split(children[0], data) + _split(children[1], data)
    return [node]


def _bands(tree: Any) -> Iterator[Band]:
    """Each alternative that speaks of one name only; others say nothing about a name by itself."""
    for alternative in _split(tree, "conditionalor"):
        parts = [_comparison(part) for part in _split(alternative, "conditionaland")]
        known = [part for part in parts if part is not None]
        if len(known) != len(parts) or len({part.name for part in known}) != 1:
            continue
        low, low_included, high, high_included = -math.inf, False, math.inf, False
        for part in known:
            if part.operator in (">", ">=") and part.number >= low:
                low, low_included = part.number, part.operator == ">="
            elif part.operator in ("<", "<=") and part.number <= high:
                high, high_included = part.number, part.operator == "<="
        yield Band(known[0].name, low, low_included, high, high_included, known[0].offset)
