"""Which files are tests, and which policies they are about."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.packaged import read_files
from receiver.trials.policy_test.folder import check_all, is_test, kind_of, open_file, policy_texts, strays
from receiver.trials.policy_test.folder import test_files as files_below

TEST = "apiVersion: stanch/v1\nkind: PolicyTest\ndefaults: {cluster: cluster/objects.yaml}\ntests: []\n"
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
    assert [kind_of(text) for text in ("{kind: PolicyTest}", "a: [", "")] == ["PolicyTest", "", ""]


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


# id in words: (what stands below tests/, and a part of what is said about it)
STRAYS = {
    "a kind that is misspelt": (TEST.replace("PolicyTest", "PolicyTests"), 'did you mean "PolicyTest"?'),
    "a policy": ("apiVersion: stanch/v1\nkind: Policy\n", "kind Policy is left out in a folder of tests"),
    "nothing": ("", "the file is empty"),
    "nothing but a comment": ("# later\n", "the file is empty"),
    "no kind": ("apiVersion: stanch/v1\ntests: []\n", 'field "kind" is missing'),
    "no YAML": ("kind: [", "this is no YAML"),
    "objects that no test names": ("apiVersion: v1\nkind: List\nitems: []\n", "no test names this file"),
}


@pytest.mark.parametrize(("text", "said"), STRAYS.values(), ids=STRAYS)
def test_nothing_among_the_tests_is_left_out_in_silence(pack: Path, text: str, said: str) -> None:
    path = pack / "tests" / "more" / "stray.yaml"
    path.parent.mkdir()
    path.write_text(text)
    checked = check_all(pack)
    assert checked is not None
    found = [one for one in checked.complaints if one.file == str(path)]
    assert [said in f"{one.message} {one.hint}" for one in found] == [True], [str(one) for one in found]
    assert found[0].severity == "error"


def test_a_file_that_a_test_names_is_no_stray(pack: Path) -> None:
    tests = [open_file(path) for path in files_below([pack])]
    assert strays([pack], tests) == ()
    assert strays([pack / "tests"], tests) == ()
    assert [Path(one.file).name for one in strays([pack], [])] == ["objects.yaml"]


def test_where_a_test_cannot_be_read_its_objects_are_no_strays(pack: Path) -> None:
    for path in files_below([pack]):
        path.write_text("kind: PolicyTest\ntests: [")
    assert strays([pack], [open_file(path) for path in files_below([pack])]) == ()


POLICY = "apiVersion: stanch/v1\nkind: Policy\nmetadata: {name: NAME}\nspec: {}\n"
APPROVERS = "apiVersion: stanch/v1\nkind: Approvers\nspec: {}\n"


@pytest.fixture
def two(pack: Path) -> Path:
    """Two policies, with approvers and limits beside them, and a file that is no text."""
    for name in ("one", "other"):
        (pack / f"{name}.yaml").write_text(POLICY.replace("NAME", name))
    (pack / "approvers.yaml").write_text(APPROVERS)
    (pack / "binary.yaml").write_bytes(b"\xff\xfe")
    return pack


def test_one_policy_is_read_with_what_it_leans_on(two: Path) -> None:
    assert [Path(file).name for file in policy_texts(two / "one.yaml")] == [
        "one.yaml",
        "approvers.yaml",
        "limits.yaml",
    ]


def test_a_test_that_names_a_policy_gets_what_that_leans_on_unless_it_names_its_own(two: Path) -> None:
    path = two / "tests" / "below.yaml"
    path.write_text(f"{TEST}policies: [../one.yaml, limits.yaml]\n")
    (two / "tests" / "limits.yaml").write_text(LIMITS)
    assert [Path(file).relative_to(two / "tests") for file in open_file(path).texts] == [
        Path("../one.yaml"),
        Path("limits.yaml"),
        Path("../approvers.yaml"),
    ]
