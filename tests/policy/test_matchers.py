"""Matchers mean what they mean to Alertmanager; the real amtool says so where it is installed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from real_process import find_binary

from receiver.policy import matchers
from receiver.policy.model import Matcher

# text: (label, operator, value), or None where it must be refused
READ: dict[str, tuple[str, tuple[str, str, str] | None]] = {
    "equal": ('app="api"', ("app", "=", "api")),
    "unequal": ('app!="api"', ("app", "!=", "api")),
    "pattern": ('app=~"a|b"', ("app", "=~", "a|b")),
    "not the pattern": ('app!~"a.*"', ("app", "!~", "a.*")),
    "without quotes": ("app=api", ("app", "=", "api")),
    "spaces around": (' app = "a b" ', ("app", "=", "a b")),
    "empty value": ('app=""', ("app", "=", "")),
    "empty value without quotes": ("app=", ("app", "=", "")),
    "escaped quote": (r'app="a\"b"', ("app", "=", 'a"b')),
    "escaped newline": (r'app="a\nb"', ("app", "=", "a\nb")),
    "escaped backslash": (r'app="a\\b"', ("app", "=", r"a\b")),
    "spurious escape is kept": (r'app=~"a\d"', ("app", "=~", r"a\d")),
    "colon in a label": ('job:x="y"', ("job:x", "=", "y")),
    "equals sign in the value": ("a=b=c", ("a", "=", "b=c")),
    "two equals signs": ('a=="b"', None),
    "quote in the middle": ('a=b"c', None),
    "quote that is not closed": ('a="b', None),
    "no operator": ("a", None),
    "no label": ('="b"', None),
    "several": ('{a="b",c="d"}', None),
    "a bracket that is open": ('a=~"("', None),
}
# What only the UTF-8 rules of 0.27 and later read; the amtool of Debian is older.
UTF8: dict[str, tuple[str, tuple[str, str, str] | None]] = {
    "quoted label": ('"foo bar"="x"', ("foo bar", "=", "x")),
    "label beyond ASCII": ('größe="x"', ("größe", "=", "x")),
    "dotted label": ('"k8s.namespace.name"=~"a|b"', ("k8s.namespace.name", "=~", "a|b")),
    "unicode escape": (r'"\u00e9"="\u00e9"', ("é", "=", "é")),
    "empty label": ('""="x"', None),
    "unknown escape": (r'"\q"="x"', None),
}


def _read(text: str) -> tuple[str, str, str] | None:
    matcher, _ = matchers.parse(text)
    return None if matcher is None else (matcher.label, matcher.operator, matcher.value)


@pytest.mark.parametrize(("text", "wanted"), [*READ.values(), *UTF8.values()], ids=[*READ, *UTF8])
def test_a_matcher_reads_as_alertmanager_reads_it(text: str, wanted: tuple[str, str, str] | None) -> None:
    assert _read(text) == wanted


@pytest.mark.parametrize(
    ("matcher", "labels", "holds"),
    [
        (Matcher("app", "=", ""), {}, True),
        (Matcher("app", "=", ""), {"app": ""}, True),
        (Matcher("app", "!=", "x"), {}, True),
        (Matcher("app", "=~", ".*"), {}, True),
        (Matcher("app", "=~", ".+"), {}, False),
        (Matcher("app", "!~", ".+"), {}, True),
        (Matcher("app", "=~", "ap"), {"app": "api"}, False),
        (Matcher("app", "=~", "pi"), {"app": "api"}, False),
        (Matcher("app", "=~", "a|api"), {"app": "api"}, True),
        (Matcher("app", "=~", "api"), {"app": "api\n"}, False),
        (Matcher("app", "=~", r"\d"), {"app": "٣"}, False),
        (Matcher("app", "=~", "(?i)API"), {"app": "api"}, True),
    ],
    ids=[
        "no label equals the empty text",
        "an empty label equals it too",
        "no label is unequal to a text",
        "no label matches anything",
        "no label does not match something",
        "no label is something else",
        "a pattern is anchored at the end",
        "a pattern is anchored at the start",
        "every alternative is anchored",
        "a newline at the end counts",
        "digits are those of ASCII",
        "case can be left out",
    ],
)
def test_a_matcher_holds_as_alertmanager_says(matcher: Matcher, labels: dict[str, str], holds: bool) -> None:
    assert matcher.holds(labels) is holds


@pytest.fixture(scope="module")
def amtool() -> Path:
    binary = find_binary("amtool")
    if binary is None:
        pytest.skip("amtool is not installed: run `make deps`")
    return binary


def _config(path: Path, texts: list[str]) -> Path:
    routes = [{"receiver": f"r{i}", "matchers": [text], "continue": True} for i, text in enumerate(texts)]
    receivers = [{"name": "none"}, *({"name": f"r{i}"} for i in range(len(texts)))]
    # JSON is YAML, and quotes as the matchers need it.
    path.write_text(json.dumps({"route": {"receiver": "none", "routes": routes}, "receivers": receivers}))
    return path


# amtool takes several matchers in one entry; here one entry is one matcher.
@pytest.mark.parametrize("name", [name for name in READ if name != "several"])
def test_amtool_accepts_and_refuses_the_same(amtool: Path, tmp_path: Path, name: str) -> None:
    config = _config(tmp_path / "config.yml", [READ[name][0]])
    done = subprocess.run([amtool, "check-config", config], capture_output=True, text=True, timeout=30)
    assert (done.returncode == 0) is (_read(READ[name][0]) is not None), done.stdout + done.stderr


LABEL_SETS: list[dict[str, str]] = [
    {"x": "y"},
    {"app": "api"},
    {"app": "a"},
    {"app": "b"},
    {"app": "a b"},
    {"app": "ab"},
    {"app": "a1"},
    {"app": r"a\b"},
    {"app": 'a"b'},
    {"a": "b=c"},
    {"app": "api2"},
]


@pytest.mark.parametrize("labels", LABEL_SETS, ids=str)
def test_amtool_routes_the_same_alerts(amtool: Path, tmp_path: Path, labels: dict[str, str]) -> None:
    read = [(text, matchers.parse(text)[0]) for text, wanted in READ.values() if wanted is not None]
    config = _config(tmp_path / "config.yml", [text for text, _ in read])
    # amtool takes labels as matchers of its own: quoted, with escapes.
    asked = [f"{name}={json.dumps(value)}" for name, value in labels.items()]
    done = subprocess.run(
        [amtool, "config", "routes", "test", f"--config.file={config}", *asked],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ours = {f"r{i}" for i, (_, matcher) in enumerate(read) if matcher is not None and matcher.holds(labels)}
    assert set(done.stdout.strip().split(",")) - {"none"} == ours
