"""Stored series are evaluated by the small evaluator or by a real Prometheus, and it is said by which."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from real_process import find_binary

from receiver.trials.policy_test.evaluating import PromQL
from receiver.trials.policy_test.running import Result, chosen, run

from .conftest import SHIPPED, Write, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

QUERIES = SHIPPED / "tests" / "inc-001-queries.yaml"


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A real Prometheus along PATH."""
    found = [find_binary(name) for name in ("prometheus", "promtool")]
    if not all(found):
        pytest.skip("prometheus or promtool is not installed: run `make deps`")
    folders = os.pathsep.join(str(path.parent) for path in found if path is not None)
    monkeypatch.setenv("PATH", f"{folders}{os.pathsep}{os.environ['PATH']}")
    yield


def played(path: Path, promql: PromQL) -> list[Result]:
    return asyncio.run(run(chosen([opened(path)], None), promql=promql))


def test_a_real_prometheus_gives_the_same_answers_as_the_small_one(programs: None) -> None:
    for result in played(QUERIES, PromQL.PROMETHEUS):
        assert result.played.mismatches == [], result.test.name


def test_without_a_prometheus_those_tests_are_skipped_with_the_reason_and_the_others_played(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setenv("PATH", "")
    path = write("""
        - name: with series
          input_series: [{series: 'probe_success{job="a"}', values: "1x100"}]
          expect: [{at: 55m, severity: P1}]
        - name: without
          expect: [{at: 55m, severity: P1}]
    """)
    skipped, other = (result.played for result in played(path, PromQL.PROMETHEUS))
    assert skipped.skipped == "prometheus and promtool cannot be found on PATH"
    assert (skipped.passed, skipped.failed) == (False, False)
    assert other.passed


def test_a_query_that_the_small_one_cannot_evaluate_fails_the_test(tmp_path: Path, write: Write) -> None:
    """In production it would be no data, and a test that goes on without would prove nothing."""
    path = write("""
        - name: too clever a query
          queries: {}
          input_series: [{series: 'gl_requests_total{app="greenlang-api"}', values: "0+1x100"}]
          expect: [{at: 55m, incidents: 1}]
    """)
    shipped = SHIPPED / "inc-001-high-error-rate.yaml"
    clever = shipped.read_text().replace(
        'traffic: sum(rate(gl_requests_total{app="greenlang-api"}[5m]))',
        'traffic: stddev(rate(gl_requests_total{app="greenlang-api"}[5m]))',
    )
    (tmp_path / "policy.yaml").write_text(clever)
    text = path.read_text().replace(str(shipped), str(tmp_path / "policy.yaml"))
    queries = 'queries: {traffic: "20x300", err: "0.002x51 0.35x250", p95: "0.3x300", probes_down: "0x300"}'
    assert queries in text
    path.write_text(text.replace(f"  {queries}\n", ""))
    (result,) = played(path, PromQL.BUILTIN)
    (mismatch,) = result.played.mismatches
    assert mismatch.key == "input_series"
    assert "the aggregation stddev" in mismatch.got
