"""Checking policy files: complaints with their place, and an exit code for scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

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


def test_nothing_to_check_is_wrong_usage(nowhere: Stanch, tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none", tmp_path / "binary.yaml"):
        assert nowhere("policy", "check", str(path)).exit_code == 2
    (tmp_path / "binary.yaml").unlink()
    assert nowhere("policy", "check", str(tmp_path)).exit_code == 2
