"""What a failed test looks like: to people as promtool prints it, to programs, and to CI."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from receiver.trials.policy_test.playing import Played
from receiver.trials.policy_test.reporting import as_json, as_junit, as_text, summary
from receiver.trials.policy_test.running import Result

from .conftest import HEAD, line_of, played

TESTS = """\
  - name: right
    expect: [{at: 55m, severity: P1}]
  - name: "wrong\\e[31m"
    expect: [{at: 55m, severity: P3, proposed: nothing}]
  - name: nothing fires
    alerts: []
    expect: [{at: 5m, incidents: 1}]
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("story") / "story.yaml"
    path.write_text(HEAD + TESTS)
    return path


@pytest.fixture(scope="module")
def results(path: Path) -> list[Result]:
    return played(path)


def test_a_failure_shows_its_line_what_was_expected_what_is_and_how_it_came(
    path: Path, results: list[Result]
) -> None:
    lines = list(as_text(results))
    line = line_of(path, "severity: P3")
    assert lines[0] == f"{path}: 3 tests, 2 failed"
    assert lines[1] == "  FAILED: wrong�[31m"
    assert lines[2:8] == [
        f"    {path}:{line}:24: severity",
        "      expected: P3",
        "      got:      P1",
        f"    {path}:{line}:38: proposed",
        "      expected: nothing",
        "      got:      deployment.rollback",
    ]
    assert lines[8] == "    timeline of incident 1:"
    assert lines[9].startswith("           55m  Opened")
    assert lines[-1] == "    no incident was opened"


def test_programs_get_every_test_with_its_timeline(results: list[Result]) -> None:
    right, wrong, _ = as_json(results)
    assert (right["passed"], right["mismatches"]) == (True, [])
    assert [mismatch["key"] for mismatch in wrong["mismatches"]] == ["severity", "proposed"]
    assert wrong["incidents"][0]["timeline"][0]["event"]["event"] == "Opened"


def test_ci_gets_a_case_a_test(results: list[Result]) -> None:
    root = ElementTree.fromstring(as_junit(results))
    cases = root.findall("testsuite/testcase")
    assert (root.get("tests"), root.get("failures")) == ("3", "2")
    assert [case.get("name") for case in cases] == ["right", "wrong�[31m", "nothing fires"]
    assert [len(case.findall("failure")) for case in cases] == [0, 1, 1]


def test_a_skipped_test_is_counted_and_said_and_is_no_success(results: list[Result]) -> None:
    right = results[0]
    played = Played(right.test, skipped="promtool cannot be found on PATH")
    skipped = Result(right.file, right.policies, played, 0.0)
    lines = list(as_text([right, skipped]))
    assert lines[0].endswith(": 2 tests, 0 failed, 1 skipped")
    assert lines[1] == "  SKIPPED: right: promtool cannot be found on PATH"
    assert summary([right, skipped]).startswith("1 passed, 0 failed, 1 skipped in ")
    assert as_json([skipped])[0]["passed"] is False
    root = ElementTree.fromstring(as_junit([skipped]))
    assert (root.get("skipped"), root.get("failures")) == ("1", "0")
    assert len(root.findall("testsuite/testcase/skipped")) == 1
