"""PromQL checked when a policy is loaded: syntax, and that a query gives the one series that is taken.

promql-parser gives no positions, so the place is found by the name or bracket that its message is about.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import promql_parser

from receiver.policy.complaints import Problem, Severity, did_you_mean

MAX_CHARACTERS = 4096
MAX_BRACKETS = 50

# fmt: off
FUNCTIONS = (
    "abs", "absent", "absent_over_time", "ceil", "changes", "clamp", "clamp_max", "clamp_min",
    "day_of_month", "day_of_week", "day_of_year", "days_in_month", "delta", "deriv", "exp", "floor",
    "histogram_count", "histogram_fraction", "histogram_quantile", "histogram_sum", "holt_winters",
    "hour", "idelta", "increase", "irate", "label_replace", "label_join", "ln", "log2", "log10",
    "minute", "month", "predict_linear", "rate", "resets", "round", "scalar", "sgn", "sort",
    "sort_desc", "sqrt", "time", "timestamp", "vector", "year", "avg_over_time", "min_over_time",
    "max_over_time", "sum_over_time", "count_over_time", "quantile_over_time", "stddev_over_time",
    "stdvar_over_time", "last_over_time", "present_over_time", "acos", "asin", "atan", "cos", "sin",
    "tan", "deg", "rad", "pi",
)
# fmt: on
_MANY_KEPT = frozenset({"topk", "bottomk", "count_values", "limitk", "limit_ratio"})
_PAIRS = {")": "(", "]": "[", "}": "{"}
_EQUAL = promql_parser.MatchOp.Equal
_QUOTED = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`")


def check(query: str) -> list[Problem]:
    """What is wrong with one query; empty where nothing is."""
    if not query.strip():
        return [Problem("PromQL: the query is empty")]
    if len(query) > MAX_CHARACTERS:
        return [
            Problem(
                f"PromQL: the query has {len(query)} characters; {MAX_CHARACTERS} are allowed",
                "use a recording rule",
            )
        ]
    if (problem := _brackets(query)) is not None:
        return [problem]
    try:
        tree = _parse(query)
    except ValueError as error:
        return [_explained(query, str(error))]
    if isinstance(tree, promql_parser.MatrixSelector | promql_parser.StringLiteral):
        given = "a range" if isinstance(tree, promql_parser.MatrixSelector) else "text"
        return [
            Problem(f"PromQL: the query gives {given}, not numbers", "wrap it in rate(...) or sum(...)", 0)
        ]
    if (why := _many(tree)) is not None:
        return [
            Problem(
                f"PromQL: the query may give several series, and one number is taken: {why}",
                "aggregate it: sum(...), max(...)",
                severity=Severity.WARNING,
            )
        ]
    return []


def metrics_of(query: str) -> frozenset[str] | None:
    """The names of the metrics that it reads; None where a selector leaves the name open."""
    found: set[str] = set()
    waiting = [_tree(query)]
    while waiting:
        tree = waiting.pop()
        match tree:
            case promql_parser.VectorSelector():
                exact = {one.name: one.value for one in tree.matchers.matchers if one.op == _EQUAL}
                name = tree.name or exact.get("__name__")
                if not name:
                    return None
                found.add(name)
            case promql_parser.BinaryExpr():
                waiting += [tree.lhs, tree.rhs]
            case promql_parser.AggregateExpr():
                waiting += [tree.expr, *([] if tree.param is None else [tree.param])]
            case promql_parser.Call():
                waiting += list(tree.args)
            case promql_parser.MatrixSelector():
                waiting.append(tree.vector_selector)
            case promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
                waiting.append(tree.expr)
            case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
                pass
            case _:
                return None
    return frozenset(found)


def is_ratio(query: str) -> bool:
    """Whether its value lies between 0 and 1 as far as its form tells: one thing divided by its whole."""
    tree = _tree(query)
    if isinstance(tree, promql_parser.BinaryExpr) and str(tree.op) == "-" and _number(tree.lhs) == 1:
        tree = _bare(tree.rhs)
    if not isinstance(tree, promql_parser.BinaryExpr) or str(tree.op) != "/":
        return False
    # x_sum / x_count is an average in x's own unit.
    return not re.search(r"_sum\b", tree.lhs.prettify()) and _number(tree.rhs) is None


def is_percentage(query: str) -> bool:
    """Whether it multiplies a ratio by a hundred."""
    tree = _tree(query)
    if not isinstance(tree, promql_parser.BinaryExpr) or str(tree.op) != "*":
        return False
    return 100 in (_number(tree.lhs), _number(tree.rhs))


# Asked several times for each query of a policy, and again by every reload.
@lru_cache(maxsize=4096)
def _parse(query: str) -> Any:
    return promql_parser.parse(query)


def _tree(query: str) -> Any:
    try:
        return _bare(_parse(query))
    except ValueError:
        return None


def _bare(tree: Any) -> Any:
    while isinstance(tree, promql_parser.ParenExpr):
        tree = tree.expr
    return tree


def _number(tree: Any) -> float | None:
    tree = _bare(tree)
    return float(tree.val) if isinstance(tree, promql_parser.NumberLiteral) else None


def _many(tree: Any) -> str | None:
    """Which part may give more than one series; None where there is one at most."""
    match tree:
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            return _many(tree.expr)
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            return None
        case promql_parser.AggregateExpr():
            kept = tree.modifier is not None and (
                bool(tree.modifier.labels) or tree.modifier.type == promql_parser.AggModifierType.Without
            )
            operator = str(tree.op)
            return f"{operator} keeps labels apart" if kept or operator in _MANY_KEPT else None
        case promql_parser.BinaryExpr():
            return _many(tree.lhs) or _many(tree.rhs)
        case promql_parser.Call():
            return _many_of_call(tree)
        case promql_parser.VectorSelector():
            return f"{tree.name or 'a selector'} is not aggregated"
        case promql_parser.MatrixSelector() | promql_parser.SubqueryExpr():
            inner = tree.expr if isinstance(tree, promql_parser.SubqueryExpr) else tree.vector_selector
            return _many(inner)
        case _:
            return None


def _many_of_call(call: Any) -> str | None:
    name, arguments = str(call.func.name), list(call.args)
    if name in ("scalar", "vector", "absent", "absent_over_time", "time", "pi"):
        return None
    if name == "histogram_quantile" and len(arguments) == 2:
        inner = _bare(arguments[1])
        if isinstance(inner, promql_parser.AggregateExpr) and inner.modifier is not None:
            by = inner.modifier.type == promql_parser.AggModifierType.By
            return None if by and list(inner.modifier.labels) == ["le"] else "it keeps more labels than le"
        return "without sum by (le) there is one quantile per series"
    return next((why for argument in arguments if (why := _many(argument)) is not None), None)


def _brackets(query: str) -> Problem | None:
    bare = _QUOTED.sub(lambda found: " " * len(found.group()), query)
    opened: list[tuple[str, int]] = []
    for offset, letter in enumerate(bare):
        if letter in "([{":
            opened.append((letter, offset))
            if len(opened) > MAX_BRACKETS:
                return Problem(f"PromQL: brackets more than {MAX_BRACKETS} deep", offset=offset)
        elif letter in _PAIRS and (not opened or opened.pop()[0] != _PAIRS[letter]):
            return Problem(f'PromQL: "{letter}" closes nothing', offset=offset)
    if re.search(r"[-+!]{20}", "".join(bare.split())):
        return Problem("PromQL: too many signs in a row")
    if opened:
        letter, offset = opened[-1]
        return Problem(f'PromQL: "{letter}" is not closed', offset=offset)
    return None


def _explained(query: str, message: str) -> Problem:
    message = message.strip().splitlines()[0][:200] if message.strip() else "it cannot be parsed"
    if (found := re.search(r"unknown function with name '(\w+)'", message)) is not None:
        name = found[1]
        place = re.search(rf"\b{re.escape(name)}\b", query)
        return Problem(
            f'PromQL: unknown function "{name}"',
            did_you_mean(name, FUNCTIONS) if place else "",
            place.start() if place else None,
            len(name),
        )
    if (found := re.search(r"in call to function '(\w+)'", message)) is not None:
        place = re.search(rf"\b{re.escape(found[1])}\b", query)
        hint = "add a range: metric[5m]" if "expected type matrix" in message else ""
        return Problem(f"PromQL: {message}", hint, place.start() if place else None, len(found[1]))
    if (found := re.search(r"illegal regex for (.*)$", message)) is not None:
        place_of = query.find(found[1])
        return Problem(
            f"PromQL: {message}", offset=place_of if place_of >= 0 else None, length=len(found[1]) or 1
        )
    return Problem(f"PromQL: {message}")
