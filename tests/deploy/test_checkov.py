"""A second opinion on what is rendered: checkov, which finds nothing but what is explained."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from chart_rendering import rendered, run

SKIPS = Path(__file__).parent / "checkov-skips.yaml"


def test_checkov_finds_what_is_explained_and_nothing_else(tmp_path: Path) -> None:
    # Once, over two cases: starting it takes longer than all it does.
    documents = [*rendered("default"), *rendered("everything", name="other", namespace="elsewhere")]
    (tmp_path / "rendered.yaml").write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    done = run(
        "checkov",
        *("--file", tmp_path / "rendered.yaml", "--framework", "kubernetes"),
        *("--output", "json", "--compact", "--quiet", "--skip-download"),
    )
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 200
    assert report["summary"]["parsing_errors"] == 0
    found = {one["check_id"] for one in report["results"]["failed_checks"]}
    explained = yaml.safe_load(SKIPS.read_text(encoding="utf-8"))
    assert found == set(explained), found ^ set(explained)
    assert all(len(reason) > 40 for reason in explained.values())
