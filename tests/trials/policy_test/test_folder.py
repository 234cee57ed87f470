"""Which files are tests, and which policies they are about."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.packaged import read_files
from receiver.trials.policy_test.folder import is_test, open_file
from receiver.trials.policy_test.folder import test_files as files_below

TEST = "apiVersion: stanch/v1\nkind: PolicyTest\ntests: []\n"
LIMITS = "apiVersion: stanch/v1\nkind: Limits\nmetadata: {name: a}\nspec: {}\n"


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Limits with tests below and beside them, and a cluster file."""
    for name, text in {
        "limits.yaml": LIMITS,
        "beside.test.yaml": TEST,
        "tests/below.yaml": TEST,
        "tests/cluster/objects.yaml": "kind: List\nitems: []\n",
        ".git/hidden.yaml": TEST,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_they_are_known_by_their_kind(pack: Path) -> None:
    assert [path.name for path in files_below([pack])] == ["beside.test.yaml", "below.yaml"]
    assert is_test("kind: 'PolicyTest' # mine")
    assert not is_test("kind: Policy\nnote: kind PolicyTest")


def test_a_file_that_is_named_is_taken_as_it_is(pack: Path) -> None:
    path = pack / "tests" / "below.yaml"
    assert files_below([path, path, pack / "limits.yaml"]) == [path, pack / "limits.yaml"]


def test_the_policies_are_those_of_the_folder_above_or_beside(pack: Path) -> None:
    for path in files_below([pack]):
        assert list(open_file(path).texts) == [str(pack / "limits.yaml")]


def test_the_service_reads_no_tests(pack: Path) -> None:
    assert str(pack / "tests" / "below.yaml") not in read_files(pack)


def test_from_within_the_folder_of_tests_the_policies_are_found_too(
    pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pack / "tests")
    assert list(open_file(Path("below.yaml")).texts) == [str(pack / "limits.yaml")]
