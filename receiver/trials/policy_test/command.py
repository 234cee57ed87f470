"""What the command line asks for: find the tests, play them, show what came of them, and how it ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from receiver.domain.errors import PermanentError
from receiver.packaged import policies as packaged_policies
from receiver.packaged import unreadable
from receiver.policy.complaints import Complaint
from receiver.policy.document import read
from receiver.policy.model import Policy
from receiver.terminal import screen
from receiver.trials.policy_test.coverage import Covered, covered, percent
from receiver.trials.policy_test.evaluating import PromQL
from receiver.trials.policy_test.folder import Opened, open_file, strays, test_files
from receiver.trials.policy_test.progress import Progress
from receiver.trials.policy_test.reporting import (
    as_json,
    as_junit,
    as_text,
    coverage_json,
    coverage_text,
    summary,
)
from receiver.trials.policy_test.running import Result, chosen, run
from remediations import registry

PASSED, FAILED, USAGE = 0, 1, 2
EVALUATED_BY = {
    PromQL.BUILTIN: "input_series: evaluated by the built-in evaluator, a part of PromQL (see --promql)",
    PromQL.PROMETHEUS: "input_series: evaluated by a real Prometheus",
}

COUNTS_ALL = "coverage counts every rule of these policies, also what only tests left out by --run reach"


@dataclass(frozen=True)
class Asked:
    """What the command line was given."""

    paths: tuple[Path, ...] = ()
    run: str | None = None
    junit: Path | None = None
    output: str = "text"
    coverage: bool = False
    fail_under: float | None = None
    promql: PromQL = PromQL.BUILTIN


def main(asked: Asked) -> int:
    """Play what was asked for; the exit code. Raises PermanentError where there is nothing to play."""
    opened, left_over = _open(asked)
    complaints = list(dict.fromkeys([*(one for file in opened for one in file.complaints), *left_over]))
    for complaint in complaints if asked.output == "text" else ():
        screen.out().print(screen.plain(str(complaint), lines=True), soft_wrap=True)
    if left_over or not all(file.sound for file in opened):
        if asked.output == "json":
            screen.print_json({"ok": False, "complaints": _as_json(complaints)})
        return USAGE
    tests = chosen(opened, asked.run)
    if not tests:
        raise PermanentError("there is no such test")
    with Progress(len(tests)) as progress:
        results = asyncio.run(run(tests, promql=asked.promql, told=progress.played))
    coverage = _coverage(opened, results) if asked.coverage or asked.fail_under is not None else None
    _show(asked, results, coverage, complaints)
    if asked.junit is not None:
        _write(asked.junit, as_junit(results))
    return PASSED if _all_passed(results) and not _below(asked, coverage) else FAILED


def _write(path: Path, report: bytes) -> None:
    try:
        path.write_bytes(report)
    except OSError as error:
        raise PermanentError(f"{path} cannot be written: {error.strerror}") from error


def _coverage(opened: Sequence[Opened], results: Sequence[Result]) -> list[Covered]:
    """Every policy that the files are about, once for each text of it."""
    found: dict[tuple[str, str], Covered] = {}
    for file in opened:
        for policy in file.policies.policies if file.policies is not None else ():
            seen = [result.played.seen for result in results if _holds(result, policy)]
            document = read(policy.file, file.texts[policy.file])
            found[policy.name, policy.hash] = covered(policy, document, registry.catalogue(), seen)
    return list(found.values())


def _holds(result: Result, policy: Policy) -> bool:
    other = result.policies.named(policy.name)
    return other is not None and other.hash == policy.hash


def _below(asked: Asked, coverage: Sequence[Covered] | None) -> bool:
    return asked.fail_under is not None and percent(coverage or ()) < asked.fail_under


def _open(asked: Asked) -> tuple[list[Opened], tuple[Complaint, ...]]:
    """The files of tests, and complaints about what stands among them and is none."""
    try:
        re.compile(asked.run or "")
    except re.error as error:
        raise PermanentError(f"--run {asked.run!r} is no pattern: {error}") from error
    try:
        paths = asked.paths or (packaged_policies(),)
        opened = [open_file(file) for file in test_files(paths)]
        left_over = strays(paths, opened)
    except OSError as error:
        raise PermanentError(unreadable(error)) from error
    if not opened and not left_over:
        raise PermanentError(f"there is no file of tests in {', '.join(str(path) for path in paths)}")
    return opened, left_over


def _as_json(complaints: Sequence[Complaint]) -> list[dict[str, str | int]]:
    return [complaint.as_json() for complaint in complaints]


def _show(
    asked: Asked,
    results: Sequence[Result],
    coverage: Sequence[Covered] | None,
    warnings: Sequence[Complaint],
) -> None:
    if asked.output == "json":
        told = {
            "ok": _all_passed(results) and not _below(asked, coverage),
            "complaints": _as_json(warnings),
            "promql": asked.promql.value,
            "tests": as_json(results),
        }
        screen.print_json(told if coverage is None else {**told, "coverage": coverage_json(coverage)})
        return
    console = screen.out()
    for line in as_text(results):
        style = "red" if line.startswith("  FAILED") else "yellow" if line.startswith("  SKIPPED") else ""
        console.print(screen.plain(line, style), soft_wrap=True)
    for line in coverage_text(coverage or ()):
        console.print(screen.plain(line), soft_wrap=True)
    if coverage is not None and asked.run is not None:
        console.print(screen.plain(COUNTS_ALL, "dim"), soft_wrap=True)
    if any(result.test.input_series and not result.played.skipped for result in results):
        console.print(screen.plain(EVALUATED_BY[asked.promql], "dim"), soft_wrap=True)
    console.print(screen.plain(summary(results), "bold green" if _all_passed(results) else "bold red"))
    if coverage is not None and _below(asked, coverage):
        below = f"coverage is {percent(coverage):.0f} %; {asked.fail_under:g} % are asked for"
        console.print(screen.plain(below, "bold red"))


def _all_passed(results: Sequence[Result]) -> bool:
    return all(result.played.passed for result in results)
