"""The speed table: its form, and that what is missing is said. How fast anything is, is no claim of these."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.trials.bench import intake
from receiver.trials.bench.service import Bench
from receiver.trials.bench.table import Row, as_json

FIELDS = {"name", "measured", "unit", "target", "better", "verdict", "note", "lost", "raw"}


def test_a_quick_pass_prints_its_rows_as_json() -> None:
    """Exit code 0, whatever the speed; progress goes elsewhere."""
    command = [sys.executable, "-m", "receiver.trials.bench", "--quick", "--only", "decision"]
    done = subprocess.run([*command, "--output", "json"], check=False, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    document = json.loads(done.stdout)
    (row,) = document["rows"]
    assert set(row) == FIELDS
    assert row["measured"] > 0
    assert row["verdict"] in ("met", "missed")
    assert len(row["raw"]["median_ms"]) == document["about"]["runs"] == 1


@pytest.mark.parametrize("measure", [intake.single, intake.hundreds], ids=["single alerts", "hundreds"])
def test_without_wrk_its_rows_are_left_out_with_a_sentence(
    measure: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is started, and the sentence says what to do."""
    monkeypatch.setattr(intake, "find_wrk", lambda: None)
    assert callable(measure)
    rows = asyncio.run(measure(Bench(tmp_path, runs=1, quick=True, say=print)))
    assert {row.verdict for row in rows} == {"left out"}
    assert all("make deps" in row.note for row in rows)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("a", 2.0, "", 1.0), "met"),
        (Row("a", 2.0, "", 1.0, "lower"), "missed"),
        (Row("a", 2.0, ""), "stated"),
        (Row("a", 2.0, "", 1.0, lost=1), "lost"),
        (Row("a", None, "", 1.0), "left out"),
    ],
    ids=["above", "above where less is better", "no target", "something was lost", "not measured"],
)
def test_a_verdict_is_stated(row: Row, verdict: str) -> None:
    """In the table and in JSON alike."""
    assert row.verdict == verdict
    assert json.loads(as_json([row], {}))["rows"][0]["verdict"] == verdict
