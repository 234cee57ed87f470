"""The notation of values is promtool's, and a slip in it has a place."""

from __future__ import annotations

import math

import pytest

from receiver.trials.policy_test.notation import NoSample, labelled, samples

GAP, STALE = NoSample.MISSING, NoSample.STALE


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1 2.5 -3", [1, 2.5, -3]),
        ("0.35x2", [0.35, 0.35, 0.35]),
        ("0+5x3", [0, 5, 10, 15]),
        ("10-2x2", [10, 8, 6]),
        ("-2+4x1", [-2, 2]),
        ("1e3x0", [1000]),
        ("_ _x2 1", [GAP, GAP, GAP, 1]),
        ("1 stale", [1, STALE]),
        ("Inf -Inf", [math.inf, -math.inf]),
    ],
)
def test_values_over_time_are_written_as_for_promtool(text: str, wanted: list[object]) -> None:
    found, problems = samples(text)
    assert (list(found), problems) == (wanted, [])


def test_not_a_number_is_a_value() -> None:
    (found,), _ = samples("NaN")
    assert isinstance(found, float) and math.isnan(found)


@pytest.mark.parametrize(
    ("text", "offset", "said"),
    [
        ("0.2x3 nix 1", 6, "'nix' is no series"),
        ("1 1+2", 2, "'1+2' is no series"),
        ("", None, "there is no value"),
        ("1x100000", 0, "more than 86400 samples"),
    ],
)
def test_a_slip_is_told_with_its_place(text: str, offset: int | None, said: str) -> None:
    _, (problem,) = samples(text)
    assert said in problem.message
    assert problem.offset == offset


def test_a_stored_series_has_a_name_and_labels() -> None:
    name, labels, problems = labelled('gl_requests_total{app="api", pod="a,b"}')
    assert (name, labels, problems) == ("gl_requests_total", {"app": "api", "pod": "a,b"}, [])


@pytest.mark.parametrize("text", ["", 'a{b=~"c"}', "sum(a)", "a[5m]", "a offset 5m", "a{" * 900, "(" * 9000])
def test_anything_else_is_no_series(text: str) -> None:
    assert labelled(text)[2]
