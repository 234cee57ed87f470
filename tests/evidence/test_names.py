"""Names that others chose become file names that lead nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.evidence.names import inside, joined, part

HOSTILE = ["../../etc/passwd", "..", ".", "", "a/b", "a\0b", "x" * 300, ".hidden", "%2E", "~", "ü", "\ud800"]
ANY = st.one_of(st.text(), st.sampled_from(HOSTILE), st.text(alphabet="./%~2E\0a", max_size=200))


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_is_one_step_of_a_path(name: str) -> None:
    assert inside(part(name)) and "/" not in part(name)


@given(st.lists(ANY, min_size=1, max_size=5))
def test_no_name_leads_out_of_the_folder(texts: list[str]) -> None:
    path = joined(*texts)
    assert inside(path)
    assert path.count("/") == len(texts) - 1
    root = Path("/vault/incident-1/capture")
    assert (root / path).parts[: len(root.parts)] == root.parts
    assert not {"", ".", ".."} & set(path.split("/"))
    assert all(len(step.encode()) <= 200 for step in path.split("/"))


@given(ANY, ANY)
def test_different_names_never_share_a_file(one: str, other: str) -> None:
    assert (part(one) == part(other)) is (one == other)


@pytest.mark.parametrize("path", ["/etc/passwd", "a/../b", "a//b", "", ".x", "a\0", "a b", "a/" + "x" * 300])
def test_what_part_never_makes_is_not_inside(path: str) -> None:
    assert not inside(path)


def test_what_kubernetes_calls_things_stays_readable() -> None:
    assert joined("pods", "shop", "api-7d9f.x", "api.log") == "pods/shop/api-7d9f.x/api.log"
