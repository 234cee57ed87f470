"""Whatever stands in a file, the loader answers with complaints or policies and never raises."""

from __future__ import annotations

import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.policy import conditions, matchers, promql
from receiver.policy.loading import load
from receiver.probes.catalogue import FACTS
from remediations.registry import catalogue

from .conftest import DATA

GOOD = (DATA / "good.yaml").read_text()
APPROVERS = (DATA / "approvers.yaml").read_text()
PIECES = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    "- ",
    "*a",
    "&a ",
    "!x ",
    "|\n",
    ">-\n",
    "'",
    '"',
    "#",
    "\t",
    "\n  ",
    "\0",
]
WORDS = [
    "err",
    "p95",
    "rollout",
    ".",
    "&&",
    "||",
    "!",
    "(",
    ")",
    "[",
    "]",
    " > ",
    "0.2",
    "all",
    "x",
    ",",
    '"',
    "has",
    "-",
]

SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _load(text: str) -> None:
    loaded = load({"p.yaml": text, "approvers.yaml": APPROVERS}, catalogue=catalogue(), probe_facts=FACTS)
    assert (loaded.policies is None) == bool(loaded.errors)
    for complaint in loaded.complaints:
        assert complaint.line >= 1 and complaint.column >= 1
        assert complaint.message and "\n" not in complaint.message
        assert str(complaint).startswith(f"{complaint.file}:{complaint.line}:{complaint.column}: ")
        assert complaint.as_json()


@SETTINGS
@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    _load(text)


@SETTINGS
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 30), st.sampled_from(PIECES) | st.text(max_size=5))
def test_the_good_policy_with_any_piece_replaced(start: int, length: int, piece: str) -> None:
    _load(GOOD[:start] + piece + GOOD[start + length :])


@SETTINGS
@given(st.data())
def test_the_good_policy_with_any_value_at_any_key(data: st.DataObject) -> None:
    lines = GOOD.splitlines()
    index = data.draw(st.integers(0, len(lines) - 1))
    value = data.draw(
        st.sampled_from(
            [
                "",
                "null",
                "true",
                "7",
                "-1",
                "1e9",
                "0.5",
                "[]",
                "{}",
                "[[]]",
                "{a: b}",
                "'x'",
                "9" * 30,
                "99999d",
            ]
        )
    )
    key, colon, _ = lines[index].partition(":")
    lines[index] = f"{key}{colon} {value}"
    _load("\n".join(lines))


@SETTINGS
@given(st.lists(st.sampled_from(WORDS) | st.text(string.printable, max_size=3), max_size=30))
def test_any_condition(words: list[str]) -> None:
    samples = {"err": 1.0, "p95": 1.0, "rollout": FACTS["rollout-history"], "labels": conditions.TEXTS}
    conditions.check("".join(words), samples, called="fact")


@SETTINGS
@given(st.lists(st.sampled_from([*WORDS, "sum", "rate", "[5m]", "{a=~", "by (le)"]), max_size=30))
def test_any_query(words: list[str]) -> None:
    query = "".join(words)
    promql.check(query)
    promql.is_ratio(query)


@SETTINGS
@given(st.text(max_size=60) | st.text('a"=~!\\{}, ()[]*+?^$|', max_size=30))
def test_any_matcher(text: str) -> None:
    matcher, problems = matchers.parse(text)
    assert matcher is not None or problems


def test_nesting_at_the_limit_of_length_is_answered() -> None:
    for hostile in (
        "(" * 250 + "err" + ")" * 250,
        "!" * 500 + "true",
        "-" * 500 + "err",
        "[" * 256 + "]" * 256,
        "err" + ".b" * 250,
        "err||" * 100 + "err",
        "err?" * 100 + "err" + ":err" * 100,
        "[1].all(x," * 50 + "true" + ")" * 50,
    ):
        assert conditions.check(hostile, {"err": 1.0}, called="query").problems


def test_a_deeply_nested_file_is_answered_at_once() -> None:
    for hostile in ("[" * 100_000, "{a: " * 50_000, "- " * 100_000, "? " * 10_000):
        _load(hostile)
