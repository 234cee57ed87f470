"""Checking policy files: complaints with their place, and an exit code for scripts."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from receiver.demo.kubernetes import RealClock
from receiver.demo.prometheus import PrometheusServer, Sample, Target
from receiver.packaged import policies

if TYPE_CHECKING:
    from tests.cli.conftest import Stanch


def test_the_packaged_policies_are_well(nowhere: Stanch) -> None:
    result = nowhere("policy", "check")
    assert (result.exit_code, "all is well" in result.stdout) == (0, True), result.output
    assert json.loads(nowhere("policy", "check", "--format", "json").stdout)["ok"] is True


def test_a_mistake_is_shown_with_its_place(nowhere: Stanch, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("apiVersion: stanch/v9\nkind: Policy\x1b[2J\n")
    result = nowhere("policy", "check", str(tmp_path))
    assert result.exit_code == 1
    assert f"{tmp_path}/p.yaml:2:13: error" in result.stdout
    assert "\x1b" not in result.stdout


def test_programs_get_the_same_as_json(nowhere: Stanch, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("a: [")
    result = nowhere("policy", "check", str(tmp_path / "p.yaml"), "--format", "json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["ok"]) == (1, False)
    assert {"file", "line", "column", "severity", "message"} <= set(told["complaints"][0])


UNREADABLE = {
    "no such folder": ("none", "none: there is no such file or folder"),
    "no text": (".", "binary.yaml: it is not UTF-8 text"),
}
COMMANDS = {
    "check": ("check", "PATH"),
    "list": ("list", "PATH"),
    "diff": ("diff", "PATH", "PATH"),
    "test": ("test", "PATH"),
    "replay": ("replay", "PATH", "--against", "PATH", "--journal", "-"),
}


@pytest.mark.parametrize(("path", "said"), UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_says_the_same_of_a_file_that_cannot_be_read(
    nowhere: Stanch, tmp_path: Path, command: tuple[str, ...], path: str, said: str
) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    asked = [str(tmp_path / path) if word == "PATH" else word for word in command]
    result = nowhere("policy", *asked)
    assert (result.exit_code, f"{tmp_path}/{said}" in result.stderr.replace("\n", "")) == (2, True), (
        result.stderr
    )


def test_nothing_to_check_is_wrong_usage(nowhere: Stanch, tmp_path: Path) -> None:
    for command in ("check", "list"):
        result = nowhere("policy", command, str(tmp_path))
        assert (result.exit_code, "there is no YAML file" in result.stderr) == (2, True)


def test_one_policy_of_a_folder_is_checked_and_listed_with_its_approvers(nowhere: Stanch, pack: Path) -> None:
    one = str(pack / "inc-001-high-error-rate.yaml")
    for command in ("check", "list"):
        result = nowhere("policy", command, one)
        assert result.exit_code == 0, result.output


def test_warnings_are_counted_beside_well_and_told_before_a_test_is_played(
    nowhere: Stanch, pack: Path
) -> None:
    policy = pack / "inc-001-high-error-rate.yaml"
    policy.write_text(policy.read_text().replace("expr: err < 0.01,", "expr: err < 2,"))
    said = "err is a ratio between 0 and 1 and is compared with 2"
    checked = nowhere("policy", "check", str(pack))
    assert (checked.exit_code, said in checked.stdout) == (0, True)
    assert "all is well, but for 1 warning: policies 1" in checked.stdout
    assert said in nowhere("policy", "test", str(pack), "--run", "is bad").stdout
    told = json.loads(nowhere("policy", "test", str(pack), "--run", "is bad", "-o", "json").stdout)
    assert (told["ok"], [one["severity"] for one in told["complaints"]]) == (True, ["warning"])


def test_a_test_of_a_misspelt_kind_is_neither_checked_nor_played_in_silence(
    nowhere: Stanch, pack: Path
) -> None:
    story = pack / "tests" / "story.yaml"
    story.write_text(TESTS.replace("kind: PolicyTest", "kind: PolicyTests"))
    for command, code in (("check", 1), ("test", 2)):
        result = nowhere("policy", command, str(pack))
        assert result.exit_code == code, result.output
        assert f'{story}:2:7: error: kind "PolicyTests" is not known' in result.stdout
        assert 'did you mean "PolicyTest"?' in result.stdout


TESTS = """\
apiVersion: stanch/v1
kind: PolicyTest
defaults:
  queries: {err: "0.35x10"}
  alerts: [{at: 5m, labels: {alertname: HighErrorRate, app: greenlang-api, namespace: greenlang}}]
tests:
  - name: it is bad
    expect: [{at: 5m, severity: P1}]
  - name: it is worse
    expect: [{at: 5m, severity: P0}]
"""


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """One of the shipped policies with a file of tests of which one fails."""
    shutil.copytree(policies(), tmp_path / "pack", ignore=shutil.ignore_patterns("tests", "inc-00[2-7]*"))
    (tmp_path / "pack" / "tests").mkdir()
    (tmp_path / "pack" / "tests" / "story.yaml").write_text(TESTS)
    return tmp_path / "pack"


def test_a_failing_policy_test_ends_with_one_and_its_line(nowhere: Stanch, pack: Path) -> None:
    result = nowhere("policy", "test", str(pack))
    assert result.exit_code == 1, result.output
    assert f"{pack}/tests/story.yaml:10:23: severity" in result.stdout
    assert "1 passed, 1 failed" in result.stdout


def test_only_some_tests_are_played(nowhere: Stanch, pack: Path) -> None:
    result = nowhere("policy", "test", str(pack), "--run", "is bad$", "--junit", str(pack / "j.xml"))
    assert result.exit_code == 0, result.output
    assert "1 passed, 0 failed" in result.stdout
    assert 'tests="1" failures="0"' in (pack / "j.xml").read_text()


def test_programs_get_the_results_as_json(nowhere: Stanch, pack: Path) -> None:
    result = nowhere("policy", "test", str(pack), "--run", "is bad", "--output", "json")
    told = json.loads(result.stdout)
    assert (told["ok"], [test["name"] for test in told["tests"]]) == (True, ["it is bad"])


def test_a_file_with_a_mistake_is_not_played(nowhere: Stanch, pack: Path) -> None:
    story = pack / "tests" / "story.yaml"
    story.write_text(TESTS.replace("severity: P0", "severty: P0"))
    result = nowhere("policy", "test", str(story))
    assert result.exit_code == 2
    assert f'{story}:10:23: error: unknown field "severty"' in result.stdout
    told = json.loads(nowhere("policy", "test", str(story), "-o", "json").stdout)
    assert (told["ok"], told["complaints"][0]["line"]) == (False, 10)


@pytest.mark.parametrize("arguments", [["--run", "("], ["--run", "no such"], ["nowhere.yaml"]], ids=" ".join)
def test_nothing_to_play_is_wrong_usage(nowhere: Stanch, pack: Path, arguments: list[str]) -> None:
    where = [] if arguments[0].endswith("yaml") else [str(pack)]
    result = nowhere("policy", "test", *where, *arguments)
    assert result.exit_code == 2, result.output


def test_checking_a_folder_checks_its_tests_too(nowhere: Stanch, pack: Path) -> None:
    assert "policies 1, tests 2, files 6" in nowhere("policy", "check", str(pack)).stdout
    story = pack / "tests" / "story.yaml"
    story.write_text(TESTS.replace("severity: P0", "severty: P0"))
    result = nowhere("policy", "check", str(pack))
    assert result.exit_code == 1
    assert f"{story}:10:23: error" in result.stdout


def test_tests_beside_the_policies_are_no_policies(nowhere: Stanch, pack: Path) -> None:
    (pack / "tests" / "story.yaml").rename(pack / "story.yaml")
    assert "policies 1, tests 2, files 6" in nowhere("policy", "check", str(pack)).stdout
    result = nowhere("policy", "test", str(pack), "--run", "is bad")
    assert result.exit_code == 0, result.output


def test_too_little_coverage_ends_with_one_and_says_where(nowhere: Stanch, pack: Path) -> None:
    below = nowhere("policy", "test", str(pack), "--run", "is bad", "--fail-under", "50")
    assert below.exit_code == 1
    assert "coverage is 10 %; 50 % are asked for" in below.stdout
    assert "coverage counts every rule of these policies" in below.stdout
    enough = nowhere("policy", "test", str(pack), "--run", "is bad", "--coverage", "--fail-under", "5")
    assert enough.exit_code == 0, enough.output
    policy = pack / "inc-001-high-error-rate.yaml"
    line = policy.read_text().split("undo: {")[0].count("\n") + 1
    assert f"{policy}:{line}:30: never reached: undo.ask failure" in enough.stdout
    told = json.loads(nowhere("policy", "test", str(pack), "--run", "bad", "--coverage", "-o", "json").stdout)
    assert told["coverage"][0]["reached"] == 3


async def a_prometheus() -> PrometheusServer:
    """One that knows a single metric, for an hour."""
    now = datetime.now(UTC)
    target = Target(job="j", instance="i:80", collect=lambda _at: [Sample("known", {}, 1.0)])
    server = PrometheusServer(clock=RealClock(), targets=[target])
    server.backfill(now - timedelta(hours=1), now, timedelta(minutes=1), target)
    return server


async def test_a_live_prometheus_says_which_queries_mean_nothing_to_it(
    nowhere: Stanch, tmp_path: Path
) -> None:
    (shipped,) = policies().rglob("inc-001-high-error-rate.yaml")
    for name in ("approvers", "limits"):
        (source,) = policies().rglob(f"{name}.yaml")
        (tmp_path / source.name).write_text(source.read_text())
    text = shipped.read_text().replace("  queries:\n", "  queries:\n    here: max(known)\n", 1)
    (tmp_path / "p.yaml").write_text(text)
    async with await a_prometheus() as server:
        asked = ("policy", "check", str(tmp_path), "--live", "--prometheus", server.url, "-o", "json")
        result = await asyncio.to_thread(nowhere, *asked)
    told = json.loads(result.stdout)
    assert (result.exit_code, told["promql_read_by"]) == (0, ["promql-parser", server.url])
    silent = [one["message"].split('"')[1] for one in told["complaints"] if "no series" in one["message"]]
    assert {"traffic", "err", "p95", "probes_down"} <= set(silent) and "here" not in silent


def test_live_without_a_prometheus_says_what_to_set(nowhere: Stanch) -> None:
    result = nowhere("policy", "check", "--live")
    assert (result.exit_code, "STANCH_PROMETHEUS_URL" in result.stderr) == (2, True)
    away = nowhere("policy", "check", "--live", "--prometheus", "http://127.0.0.1:9")
    assert away.exit_code == 3


def test_github_gets_workflow_commands_that_no_text_breaks_out_of(nowhere: Stanch, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("apiVersion: 'x\\n::error::gotcha'\nkind: Policy\n")
    result = nowhere("policy", "check", str(tmp_path), "--format", "github")
    lines = result.stdout.splitlines()
    assert any(line.startswith(f"::error file={tmp_path}/p.yaml,line=1,col=13::apiVersion") for line in lines)
    assert not [line for line in lines if line.startswith("::error::")]
