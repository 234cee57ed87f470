"""What came of the tests, for people, for programs and for CI: text as promtool prints it, JSON, JUnit.

Pure over the results. Names, labels and reasons are other people's text and are made harmless.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

from receiver.domain.events import event_text
from receiver.terminal.screen import clean
from receiver.terminal.sentences import sentence
from receiver.trials.policy_test.checking import Mismatch
from receiver.trials.policy_test.coverage import Covered, percent
from receiver.trials.policy_test.model import PolicyTest
from receiver.trials.policy_test.running import Result
from receiver.trials.policy_test.seen import SeenIncident

# Enough to see what led there; the whole timeline is in the JSON.
TAIL = 8


def as_text(results: Sequence[Result]) -> Iterator[str]:
    """File by file, the failures with expected, got and the end of the timeline; one line for the rest."""
    for file in dict.fromkeys(result.file for result in results):
        of_file = [result for result in results if result.file == file]
        failed = [result for result in of_file if result.played.failed]
        skipped = [result for result in of_file if result.played.skipped]
        more = f", {len(skipped)} skipped" if skipped else ""
        yield f"{clean(file)}: {len(of_file)} tests, {len(failed)} failed{more}"
        for result in skipped:
            yield f"  SKIPPED: {clean(result.test.name)}: {clean(result.played.skipped)}"
        for result in failed:
            yield from _failure(result)


def summary(results: Sequence[Result]) -> str:
    """One line for all of them."""
    counted = {
        "passed": sum(result.played.passed for result in results),
        "failed": sum(result.played.failed for result in results),
        "skipped": sum(bool(result.played.skipped) for result in results),
    }
    told = [f"{number} {word}" for word, number in counted.items() if number or word != "skipped"]
    return f"{', '.join(told)} in {sum(result.seconds for result in results):.1f} s"


def _failure(result: Result) -> Iterator[str]:
    yield f"  FAILED: {clean(result.test.name)}"
    for mismatch in result.played.mismatches:
        yield f"    {clean(mismatch.spot)}: {mismatch.key}"
        yield from _indented("expected", mismatch.expected)
        yield from _indented("got", mismatch.got)
    for seen in result.played.seen.incidents:
        events = list(timeline_of(result.test, seen))
        more = f", the last {TAIL} of {len(events)} events" if len(events) > TAIL else ""
        yield f"    timeline of incident {seen.incident.id}{more}:"
        yield from (f"      {line}" for line in events[-TAIL:])
    if not result.played.seen.incidents:
        yield "    no incident was opened"


def _indented(word: str, told: str) -> Iterator[str]:
    lines = clean(told, lines=True).splitlines() or [""]
    yield f"      {word + ':':<10}{lines[0]}"
    yield from (f"      {'':<10}{line}" for line in lines[1:])


def timeline_of(test: PolicyTest, seen: SeenIncident) -> Iterator[str]:
    """One line an event: when by the test's clock, what, and in words."""
    for recorded in seen.timeline:
        event: dict[str, Any] = json.loads(event_text(recorded.event))
        yield f"{since(recorded.at - test.clock):>8}  {event['event']:<18} {sentence(event)}"


def since(duration: timedelta) -> str:
    """As a test file writes it: ``1h5m``, ``58m45s``."""
    seconds = int(duration.total_seconds())
    parts = ((seconds // 3600, "h"), (seconds % 3600 // 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0m"


def as_json(results: Iterable[Result]) -> list[dict[str, Any]]:
    """Every test with its outcome, its mismatches and its timelines."""
    return [
        {
            "file": result.file,
            "name": result.test.name,
            "line": result.test.spot.line,
            "passed": result.played.passed,
            "skipped": clean(result.played.skipped),
            "seconds": round(result.seconds, 3),
            "mismatches": [_mismatch(mismatch) for mismatch in result.played.mismatches],
            "incidents": [
                {
                    "id": seen.incident.id,
                    "timeline": [
                        {"at": since(one.at - result.test.clock), "event": json.loads(event_text(one.event))}
                        for one in seen.timeline
                    ],
                }
                for seen in result.played.seen.incidents
            ],
        }
        for result in results
    ]


def _mismatch(mismatch: Mismatch) -> dict[str, Any]:
    return {
        "file": mismatch.spot.file,
        "line": mismatch.spot.line,
        "column": mismatch.spot.column,
        "key": mismatch.key,
        "expected": mismatch.expected,
        "got": mismatch.got,
    }


def as_junit(results: Sequence[Result]) -> bytes:
    """A JUnit report: a suite a file, a case a test."""
    root = ElementTree.Element("testsuites", _sums(results))
    for file in dict.fromkeys(result.file for result in results):
        of_file = [result for result in results if result.file == file]
        suite = ElementTree.SubElement(root, "testsuite", {"name": clean(file), **_sums(of_file)})
        for result in of_file:
            attributes = {
                "classname": clean(file),
                "name": clean(result.test.name),
                "file": clean(file),
                "line": str(result.test.spot.line),
                "time": f"{result.seconds:.3f}",
            }
            case = ElementTree.SubElement(suite, "testcase", attributes)
            if result.played.skipped:
                ElementTree.SubElement(case, "skipped", {"message": clean(result.played.skipped)})
            elif result.played.failed:
                said = list(_failure(result))
                failure = ElementTree.SubElement(case, "failure", {"message": said[1].strip()})
                failure.text = "\n".join(said)
    found: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return found


def _sums(results: Sequence[Result]) -> dict[str, str]:
    return {
        "tests": str(len(results)),
        "failures": str(sum(result.played.failed for result in results)),
        "errors": "0",
        "skipped": str(sum(bool(result.played.skipped) for result in results)),
        "time": f"{sum(result.seconds for result in results):.3f}",
    }


def coverage_text(coverage: Iterable[Covered]) -> Iterator[str]:
    """How much of each policy was reached, and the place of every rule that never was."""
    for one in coverage:
        share = percent([one])
        yield f"coverage of {clean(one.policy)}: {one.reached} of {one.rules} rules reached ({share:.0f} %)"
        yield from (f"  {clean(spot)}: never reached: {clean(name)}" for spot, name in one.never)


def coverage_json(coverage: Iterable[Covered]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "policy": one.policy,
            "rules": one.rules,
            "reached": one.reached,
            "percent": round(percent([one]), 1),
            "never": [
                {"file": spot.file, "line": spot.line, "column": spot.column, "rule": name}
                for spot, name in one.never
            ],
        }
        for one in coverage
    ]
