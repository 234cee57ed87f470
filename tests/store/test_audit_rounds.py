"""A round over the stored chain finds what was changed in it, and nothing where nothing was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from chains import Row, chain
from hypothesis import given
from hypothesis import strategies as st

from receiver.store.audit import START, Head
from receiver.store.audit_rounds import REST, Round, Sight, read_round, round_state, went_on

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def sight(rows: list[Row], known: Round, *, limit: int) -> Sight:
    """A part of these rows, as a store with them gives it."""
    last = rows[-1] if rows else None
    at = [row["hash"] for row in rows if row["seal"] == known.newest.seal]
    return Sight(
        rows=[row for row in rows if row["seal"] > known.at.seal][:limit],
        head=START if last is None else Head(last["seal"], last["hash"]),
        newest=at[0] if at else (None if known.newest.seal else START.hash),
    )


def walked(rows: list[Row], known: Round, *, limit: int = 3, steps: int = 10) -> Round:
    """So many parts further, or to the end of the round."""
    for _ in range(steps):
        known = went_on(known, sight(rows, known, limit=limit), now=NOON, limit=limit)
        if known.rests(NOON):
            break
    return known


@given(st.integers(0, 20), st.integers(1, 7))
def test_a_sound_chain_is_walked_to_its_end_in_parts_of_any_size(length: int, limit: int) -> None:
    rows = chain(length)
    found = walked(rows, Round(), limit=limit, steps=length + 1)
    assert found.verified_at == NOON.timestamp()
    assert (found.broken, found.at, found.newest.seal) == (None, START, length)


def test_a_round_rests_an_hour_and_then_begins_anew() -> None:
    found = walked(chain(4), Round())
    assert found.rests(NOON + REST - timedelta(seconds=1))
    assert not found.rests(NOON + REST)
    assert found.at == START


def test_what_is_sealed_during_a_round_is_part_of_it() -> None:
    rows = chain(20)
    known = walked(rows[:5], Round(), steps=1)
    assert walked(rows, known, steps=20).newest.seal == 20


@given(st.integers(0, 9), st.sampled_from(["prev", "hash", "actor", "kind", "body", "body_hash", "at"]))
def test_whatever_is_changed_is_named_by_its_row(index: int, field: str) -> None:
    rows = chain(10)
    known = walked(rows, Round())
    value = rows[index][field]
    rows[index][field] = f"{value}x"
    broken = walked(rows, replace(known, newest=START, rests_until=0)).broken
    assert broken == index + 1


@given(st.integers(0, 8))
def test_a_row_that_is_gone_is_named_by_its_place(index: int) -> None:
    rows = chain(10)
    del rows[index]
    assert walked(rows, Round()).broken == index + 1


@given(st.integers(0, 9))
def test_a_tail_that_is_gone_is_found_even_while_a_round_rests(kept: int) -> None:
    rows = chain(10)
    known = walked(rows, Round())
    known = went_on(known, sight(rows[:kept], known, limit=0), now=NOON, limit=0)
    assert known.broken == kept + 1


def test_a_tail_that_was_written_anew_is_not_the_one_that_was_seen() -> None:
    rows = chain(10)
    known = walked(rows, Round())
    forged = [*chain(9), {**rows[9], "hash": "0" * 64}]
    assert walked(forged, known).broken == 10


def test_what_another_process_saw_must_stay_too() -> None:
    rows = chain(10)
    seen = walked(rows, Round()).newest
    assert walked(rows[:7], Round()).broken is None
    assert walked(rows[:7], Round().also(seen)).broken == 8


def test_a_break_is_told_until_a_whole_round_finds_none() -> None:
    rows = chain(8)
    rows[2]["actor"] = "mallory"
    known = replace(walked(rows, Round()), rests_until=0.0)
    part = walked(chain(8), known, steps=1)
    assert (known.broken, part.broken) == (3, 3)
    whole = walked(chain(8), part)
    assert (whole.broken, whole.verified_at) == (None, NOON.timestamp())


def test_a_broken_chain_is_not_called_verified() -> None:
    rows = chain(8)
    sound = walked(rows, Round())
    rows[2]["actor"] = "mallory"
    later = went_on(replace(sound, rests_until=0.0), sight(rows, sound, limit=9), now=NOON + REST, limit=9)
    assert (later.broken, later.verified_at) == (3, NOON.timestamp())


def test_a_round_comes_back_from_its_store_and_anything_else_begins_anew() -> None:
    found = walked(chain(8), Round(), steps=2)
    assert read_round(round_state(found)) == found
    assert read_round({}) == read_round({"at": "nonsense"}) == Round()
