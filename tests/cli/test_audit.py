"""The sealed chain: taken out whole, and every tampering found offline."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import FakeService, Stanch

Chain = list[dict[str, Any]]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Chain], str]:
    """Writes an export to a file."""

    def write(chain: Chain) -> str:
        (tmp_path / "audit.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chain))
        return str(tmp_path / "audit.jsonl")

    return write


def anchor(chain: Chain, seal: int) -> str:
    return f"{seal}:{chain[seal]['hash']}"


def test_an_export_is_verified_as_it_came(stanch: Stanch, tmp_path: Path, chain: Chain) -> None:
    exported = stanch("audit", "export")
    assert exported.exit_code == 0
    assert exported.stdout.isascii()
    (tmp_path / "a").write_text(exported.stdout)
    result = stanch("audit", "verify", str(tmp_path / "a"))
    assert result.exit_code == 0
    assert anchor(chain, 4) in result.stdout
    assert "end not proven: no anchor was given" in result.stdout


def test_with_an_anchor_the_end_is_proven(
    nowhere: Stanch, written: Callable[[Chain], str], chain: Chain
) -> None:
    result = nowhere("audit", "verify", written(chain), "--anchor", anchor(chain, 3), "-o", "json")
    told = json.loads(result.stdout)
    assert told == {
        "ok": True,
        "head": {"seal": 4, "hash": chain[4]["hash"]},
        "broken": None,
        "end_proven": True,
    }


def edited(chain: Chain) -> Chain:
    chain[2]["actor"] = "eve"
    return chain


def edited_body(chain: Chain) -> Chain:
    chain[2]["body"] = chain[2]["body"].replace("ada", "eve")
    return chain


def edited_with_its_hash(chain: Chain) -> Chain:
    edited_body(chain)[2]["body_hash"] = hashlib.sha256(chain[2]["body"].encode()).hexdigest()
    return chain


def removed(chain: Chain) -> Chain:
    return chain[:2] + chain[3:]


def swapped(chain: Chain) -> Chain:
    return [chain[0], chain[2], chain[1], *chain[3:]]


def cut(chain: Chain) -> Chain:
    return chain[:-1]


def no_row(chain: Chain) -> Chain:
    return [*chain[:2], {"seal": "2"}, *chain[3:]]


def endless(chain: Chain) -> Chain:
    chain[2]["at"] = None
    return chain


@pytest.mark.parametrize(
    ("tamper", "row"),
    [
        (edited, 2),
        (edited_body, 2),
        (edited_with_its_hash, 2),
        (removed, 2),
        (swapped, 1),
        (cut, 3),
        (no_row, 2),
        (endless, 2),
    ],
)
def test_tampering_is_found_at_its_row(
    nowhere: Stanch,
    written: Callable[[Chain], str],
    chain: Chain,
    tamper: Callable[[Chain], Chain],
    row: int,
) -> None:
    result = nowhere("audit", "verify", written(tamper(copy.deepcopy(chain))))
    assert result.exit_code == 1
    assert f"broken at row {row}" in result.stderr


def test_a_missing_tail_under_a_fitting_header_is_found_against_an_anchor(
    nowhere: Stanch, written: Callable[[Chain], str], chain: Chain
) -> None:
    short = chain[:3]
    short[0] = {**chain[0], "head": {"seal": 2, "hash": chain[2]["hash"]}}
    assert nowhere("audit", "verify", written(short)).exit_code == 0
    result = nowhere("audit", "verify", written(short), "--anchor", anchor(chain, 4))
    assert (result.exit_code, "rows are missing" in result.stderr) == (1, True)


def test_a_chain_written_anew_is_found_against_an_anchor(
    nowhere: Stanch, written: Callable[[Chain], str], chain: Chain
) -> None:
    result = nowhere("audit", "verify", written(chain), "--anchor", f"3:{'0' * 64}")
    assert (result.exit_code, "written anew" in result.stderr) == (1, True)


@pytest.mark.parametrize("wrong", ["4", "0:" + "a" * 64, "4:zz", "x:" + "a" * 64])
def test_what_is_no_anchor_is_wrong_usage(
    nowhere: Stanch, written: Callable[[Chain], str], chain: Chain, wrong: str
) -> None:
    assert nowhere("audit", "verify", written(chain), "--anchor", wrong).exit_code == 2


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xfe", b'{"format": "other"}\n', b"[" * 100_000])
def test_what_is_no_export_is_wrong_usage(nowhere: Stanch, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    result = nowhere("audit", "verify", str(tmp_path / "x"))
    assert (result.exit_code, "no audit export" in result.stderr) == (2, True)
    assert nowhere("audit", "verify", str(tmp_path)).exit_code == 2


def test_an_export_that_breaks_off_is_not_taken_for_whole(stanch: Stanch, service: FakeService) -> None:
    service.cut_audit = True
    assert stanch("audit", "export").exit_code == 3
