"""Promises about the code itself that no linter keeps."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = [*(ROOT / "receiver").rglob("*.py"), *(ROOT / "remediations").rglob("*.py")]


def calls(name: str) -> set[str]:
    """The files in which something of that name is called."""
    found: set[str] = set()
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func
                last = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                if last == name:
                    found.add(path.relative_to(ROOT).as_posix())
    return found


def test_only_the_approval_rules_make_an_approved_plan() -> None:
    assert calls("ApprovedPlan") == {"receiver/policy/approval.py"}


def test_only_one_step_of_the_pipeline_writes_and_one_more_tries_out() -> None:
    """Through the doors of `pipeline/doors.py`, and nowhere else."""
    for write in ("patch", "evict", "signal"):
        found = {path for path in calls(write) if path.startswith(("receiver/pipeline", "receiver/probes"))}
        assert found == {"receiver/pipeline/doors.py"}
    senders = {path for path in OURS if re.search(r"\bdoors\.(send|fence)\(", path.read_text("utf-8"))}
    assert {path.relative_to(ROOT).as_posix() for path in senders} == {"receiver/pipeline/execution.py"}
    trying = {path for path in OURS if "doors.try_out(" in path.read_text("utf-8")}
    assert {path.relative_to(ROOT).as_posix() for path in trying} == {"receiver/pipeline/facts.py"}


def test_every_module_says_what_it_is_for() -> None:
    for path in OURS:
        text = path.read_text(encoding="utf-8")
        assert not text.strip() or ast.get_docstring(ast.parse(text)), path


def test_nothing_is_left_to_do_later_without_a_name() -> None:
    for path in OURS:
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text(encoding="utf-8")), path


def test_locks_have_hashes_and_no_addresses() -> None:
    small = ("uv.lock", "helm.lock", "tools.lock")
    for path in (*ROOT.glob("*.lock"), *(ROOT / "tests" / "parts" / "chart").glob("*.lock")):
        text = path.read_text(encoding="utf-8")
        assert "://" not in text
        for pinned in re.findall(r"^[a-z0-9].*==.*$", text, re.M):
            assert pinned.rstrip().endswith("\\"), pinned
        assert text.count("--hash=sha256:") > (1 if path.name in small else 100)


def test_the_wheel_carries_the_policies_and_no_tests(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "installed")
    assert "receiver/_policies/greenlang/inc-001-high-error-rate.yaml" in names
    assert "receiver/_policies/greenlang/tests/inc-001-severity.yaml" in names
    assert "receiver/store/migrations/versions/0001_first.py" in names
    assert "receiver/demo/scenarios/inc-001.yaml" in names
    assert not [name for name in names if name.startswith("tests")]
    # From a place that is no checkout: the installed package finds its own policies.
    script = f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r})\n"
    script += "from receiver import packaged; print(packaged.policies())"
    found = [sys.executable, "-P", "-c", script]
    done = subprocess.run(found, cwd="/", check=True, capture_output=True, text=True)
    assert done.stdout.strip().startswith(str(tmp_path))
