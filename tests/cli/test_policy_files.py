"""Listing policies, comparing two sets of them, and the schema for editors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from jsonschema import Draft202012Validator

from receiver.packaged import policies

if TYPE_CHECKING:
    from tests.cli.conftest import Stanch

FILE = "inc-001-high-error-rate.yaml"


def two_folders(tmp_path: Path, old: str, new: str) -> tuple[str, str]:
    """The packaged policies, and the same with one edit."""
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        shutil.copytree(policies(), folder)
    (edited,) = after.rglob(FILE)
    text = edited.read_text(encoding="utf-8")
    assert old in text
    edited.write_text(text.replace(old, new), encoding="utf-8")
    return str(before), str(after)


def test_policies_are_listed_for_people_and_for_programs(nowhere: Stanch) -> None:
    assert "inc-001-bad-release" in nowhere("policy", "list").stdout
    items = json.loads(nowhere("policy", "list", "--output", "json").stdout)["items"]
    assert items[0]["remediations"][0] == "deployment.rollback"


def test_a_folder_that_is_broken_is_not_listed_but_complained_about(nowhere: Stanch, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("apiVersion: stanch/v9\nkind: Policy\n")
    result = nowhere("policy", "list", str(tmp_path))
    assert (result.exit_code, f"{tmp_path}/p.yaml:1:13: error" in result.stderr) == (1, True)
    assert nowhere("policy", "list", str(tmp_path / "none")).exit_code == 2


def test_the_same_policies_do_not_differ(nowhere: Stanch) -> None:
    folder = str(policies())
    result = nowhere("policy", "diff", folder, folder, "--fail-on", "any")
    assert (result.exit_code, "the policies say the same" in result.stdout) == (0, True)


def test_what_got_looser_can_fail_a_pull_request(nowhere: Stanch, tmp_path: Path) -> None:
    before, after = two_folders(tmp_path, "minAvailable: 75%", "minAvailable: 50%")
    result = nowhere("policy", "diff", before, after, "--format", "markdown", "--fail-on", "looser")
    assert result.exit_code == 1
    assert "| inc-001-bad-release | `guard.minAvailable` | `0.75` | `0.5` | **looser** |" in result.stdout
    back = nowhere("policy", "diff", after, before, "--format", "json", "--fail-on", "looser")
    assert back.exit_code == 0
    assert json.loads(back.stdout)["items"][0]["weight"] == "stricter"


def test_the_schema_is_written_with_the_line_that_an_editor_needs(nowhere: Stanch, tmp_path: Path) -> None:
    result = nowhere("policy", "schema", "--write", str(tmp_path / ".stanch"))
    path = tmp_path / ".stanch" / "policy.v1.schema.json"
    # The language server resolves it from the file that it stands in.
    of_policies, of_tests = (
        line.removeprefix("# yaml-language-server: $schema=")
        for line in result.stdout.splitlines()
        if line.startswith("#")
    )
    assert (tmp_path / of_policies).resolve() == (tmp_path / "tests" / of_tests).resolve() == path
    assert (of_policies, of_tests) == (f".stanch/{path.name}", f"../.stanch/{path.name}")
    Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))
    assert json.loads(nowhere("policy", "schema").stdout)["title"] == "Stanch policy file"


def test_the_reference_is_the_page_that_the_docs_hold(nowhere: Stanch) -> None:
    page = Path(__file__).parents[2] / "docs" / "policy-reference.md"
    assert nowhere("policy", "schema", "--format", "markdown").stdout == page.read_text(encoding="utf-8")
