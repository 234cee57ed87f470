"""Do the numbers of a policy make sense together? Order of the levels, gaps between bands, units, and whether
`verify` can tell well from ill.

Looks at the plain comparisons of conditions already checked; anything cleverer is left to its author.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from receiver.domain.severity import Severity as Level
from receiver.policy import promql
from receiver.policy.complaints import Problem, Severity
from receiver.policy.conditions import Band, Checked


@dataclass(frozen=True)
class Rule:
    """One alternative of a level, checked, and where it stands among all rules."""

    level: Level
    index: int
    checked: Checked


def out_of_order(rules: Iterable[Rule]) -> list[tuple[int, Problem]]:
    """Where a worse level begins earlier than a milder one: the milder one could never be reached."""
    found: list[tuple[int, Problem]] = []
    by_name: dict[str, list[tuple[Rule, Band]]] = {}
    for rule in rules:
        for band in rule.checked.bands:
            by_name.setdefault(band.name, []).append((rule, band))
    for name, uses in by_name.items():
        for upwards in (True, False):
            levels = _begins(uses, upwards)
            for (worse, (rule, band, begin)), (milder, (_, _, later)) in itertools.pairwise(levels):
                if (begin < later) if upwards else (begin > later):
                    sign = "above" if upwards else "below"
                    problem = Problem(
                        f"{worse} holds {sign} {name} = {begin:g}, but {milder} only {sign} {later:g}",
                        "a worse level needs the stricter number",
                        band.offset,
                        len(name),
                    )
                    found.append((rule.index, problem))
    return found


def _begins(uses: list[tuple[Rule, Band]], upwards: bool) -> list[tuple[Level, tuple[Rule, Band, float]]]:
    """For each level, worst first, the number at which it begins to hold for this name."""
    first: dict[Level, tuple[Rule, Band, float]] = {}
    for rule, band in uses:
        has_low, has_high = not math.isinf(band.low), not math.isinf(band.high)
        if (upwards and not has_low) or (not upwards and (has_low or not has_high)):
            continue
        begin = band.low if upwards else band.high
        known = first.get(rule.level)
        if known is None or (begin < known[2] if upwards else begin > known[2]):
            first[rule.level] = (rule, band, begin)
    return sorted(first.items(), key=lambda item: item[0].rank)


def gaps(rules: Iterable[Rule]) -> list[tuple[int, Problem]]:
    """Values between two bands that reach no level."""
    found: list[tuple[int, Problem]] = []
    by_name: dict[str, list[tuple[Rule, Band]]] = {}
    for rule in rules:
        for band in rule.checked.bands:
            by_name.setdefault(band.name, []).append((rule, band))
    for name, uses in by_name.items():
        bands = [band for _, band in uses]
        if any(math.isinf(band.low) for band in bands) and any(math.isinf(band.high) for band in bands):
            continue
        ends = sorted({end for band in bands for end in (band.low, band.high) if not math.isinf(end)})
        between = [(one + other) / 2 for one, other in itertools.pairwise(ends)]
        inner = sorted([*ends[1:-1], *between])
        hole = next((value for value in inner if not any(band.covers(value) for band in bands)), None)
        if hole is None:
            continue
        above = [use for use in uses if use[1].low >= hole] or uses
        rule, band = min(above, key=lambda use: use[1].low)
        problem = Problem(
            f"{name} = {hole:g} reaches no level, though less and more do",
            "close the gap, or say in a comment why it is meant",
            band.offset,
            len(name),
            Severity.WARNING,
        )
        found.append((rule.index, problem))
    return found


def wrong_units(checked: Checked, queries: Mapping[str, str]) -> list[Problem]:
    """Ratios compared with percentages, and the other way round."""
    found: list[Problem] = []
    for comparison in checked.comparisons:
        name = comparison.name.removeprefix("baseline.")
        query = queries.get(name)
        number = comparison.number
        if query is None:
            continue
        if 1 < number <= 100 and promql.is_ratio(query):
            message = f"{name} is a ratio between 0 and 1 and is compared with {number:g}"
            hint = f"did you mean {number / 100:.2f}?"
        elif 0 < number < 1 and promql.is_percentage(query):
            message = f"{name} is multiplied by 100 and is compared with {number:g}"
            hint = f"did you mean {number * 100:g}?"
        else:
            continue
        found.append(Problem(message, hint, comparison.offset, len(comparison.name), Severity.WARNING))
    return found


def well_when_ill(success: Checked, rules: Iterable[Rule]) -> list[Problem]:
    """Where success holds at every value that makes a level: it points the wrong way."""
    for rule in rules:
        for ill in rule.checked.bands:
            for well in success.bands:
                if well.name == ill.name and well.holds_where(ill):
                    message = f"success holds wherever {rule.level} does: both point the same way"
                    hint = f"say at which {well.name} it is well again"
                    return [Problem(message, hint, well.offset, len(well.name), Severity.WARNING)]
    return []


def no_bound(checked: Checked, rules: Iterable[Rule], queries: Mapping[str, str]) -> list[Problem]:
    """Bounds of a ratio at which it always is, or never.

    A quotient is taken for one where `classify` does: load by the number of processors is well below 1.
    """
    shares = {one.name for rule in rules for one in rule.checked.comparisons if 0 < one.number < 1}
    found: list[Problem] = []
    for one in checked.comparisons:
        # More than 1 and up to 100 is taken for a percentage already.
        beyond = one.number > 100 or (one.number == 1 and one.operator in ("<", "<=", ">"))
        if beyond and one.name in shares and promql.is_ratio(queries.get(one.name, "")):
            so = "nearly always" if one.operator.startswith("<") else "never"
            message = f"{one.name} is a ratio between 0 and 1: {one.operator} {one.number:g} is {so} so"
            hint = "write a bound below 1, such as 0.01"
            found.append(Problem(message, hint, one.offset, len(one.name), Severity.WARNING))
    return found


def better_taken_for_worse(regression: Checked) -> list[Problem]:
    """Where what is better than before counts as worse than before."""
    found: list[Problem] = []
    for one in regression.against_baseline:
        upwards = one.operator.startswith(">")
        if one.number < 1 if upwards else one.number > 1:
            message = (
                f"{one.name} {one.operator} {one.number:g} times its baseline holds where it got better too"
            )
            hint = f"write baseline.{one.name} * {1.2 if upwards else 0.8:g}"
            found.append(Problem(message, hint, one.offset, len(one.name), Severity.WARNING))
    return found
