"""Reads the parser's tree: what an expression gives, what a selector demands, how two vectors match.

The evaluator walks with it, the HTTP side asks it for kinds and selectors. The parser's nodes are untyped to
us, hence `Any`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import promql_parser as promql

from receiver.demo.prometheus import operators
from receiver.demo.prometheus.errors import BadDataError, UnsupportedError
from receiver.demo.prometheus.series import NAME, Matcher, labels_of
from receiver.demo.prometheus.values import Element


@dataclass(frozen=True)
class Expression:
    """An expression that was parsed; ``kind`` is what it gives, in the API's words."""

    text: str
    tree: Any

    @property
    def kind(self) -> str:
        """``vector``, ``scalar``, ``matrix`` or ``string``."""
        return _kind(self.tree)


def parse(text: str) -> Expression:
    """Parse PromQL; a mistake in it is bad data."""
    try:
        return Expression(text, promql.parse(text))
    except ValueError as error:
        raise BadDataError(f'invalid parameter "query": parse error: {error}') from error


def matchers_of(selector: Any) -> list[Matcher]:
    """The conditions of a vector selector."""
    if selector.matchers.or_matchers:
        raise UnsupportedError("alternative matchers (or) in a selector")
    found = [] if selector.name is None else [Matcher.equal(NAME, selector.name)]
    for matcher in selector.matchers.matchers:
        if matcher.op == promql.MatchOp.Equal:
            found.append(Matcher.equal(matcher.name, matcher.value))
        elif matcher.op == promql.MatchOp.NotEqual:
            found.append(Matcher.not_equal(matcher.name, matcher.value))
        else:
            negated = matcher.op == promql.MatchOp.NotRe
            try:
                found.append(Matcher.matching(matcher.name, matcher.value, negated=negated))
            except re.error as error:  # Go's and Python's patterns differ at the edges
                raise UnsupportedError(f"the pattern {matcher.value!r}: {error}") from error
    return found


def matching_of(modifier: Any) -> operators.Matching:
    """How the members of a binary expression's two vectors meet."""
    if modifier is None:
        return operators.Matching()
    fill = getattr(modifier, "fill_values", None)
    if fill is not None and (fill.lhs is not None or fill.rhs is not None):
        raise UnsupportedError("fill values in vector matching")
    cardinality = operators.Cardinality.ONE_TO_ONE
    if modifier.card == promql.VectorMatchCardinality.ManyToOne:
        cardinality = operators.Cardinality.MANY_TO_ONE
    elif modifier.card == promql.VectorMatchCardinality.OneToMany:
        cardinality = operators.Cardinality.ONE_TO_MANY
    return operators.Matching(
        labels=() if modifier.matching is None else tuple(modifier.matching.labels),
        on=modifier.matching is not None and modifier.matching.type == promql.LabelModifierType.Include,
        include=tuple(modifier.group_labels or ()),
        cardinality=cardinality,
    )


def absent_element(node: Any) -> Element:
    """What `absent` answers: the labels that the selector demanded, each once."""
    while isinstance(node, promql.ParenExpr):
        node = node.expr
    selector = node.vector_selector if isinstance(node, promql.MatrixSelector) else node
    if not isinstance(selector, promql.VectorSelector):
        return Element((), 1.0)
    demanded: dict[str, str] = {}
    ambiguous: set[str] = {NAME}
    for matcher in matchers_of(selector):
        if matcher.equal_to is not None and matcher.name not in demanded:
            demanded[matcher.name] = matcher.equal_to
        else:
            ambiguous.add(matcher.name)
    return Element(labels_of({k: v for k, v in demanded.items() if k not in ambiguous}), 1.0)


def _kind(node: Any) -> str:
    match node:
        case promql.NumberLiteral():
            return "scalar"
        case promql.StringLiteral():
            return "string"
        case promql.MatrixSelector() | promql.SubqueryExpr():
            return "matrix"
        case promql.ParenExpr() | promql.UnaryExpr():
            return _kind(node.expr)
        case promql.BinaryExpr():
            kinds = {_kind(node.lhs), _kind(node.rhs)}
            return "scalar" if kinds == {"scalar"} else "vector"
        case promql.Call():
            return "scalar" if node.func.name in ("time", "scalar", "pi") else "vector"
        case _:
            return "vector"


def to_ms(duration: timedelta) -> int:
    """A duration in the store's unit."""
    return round(duration.total_seconds() * 1000)
