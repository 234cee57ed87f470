"""A statement is shown without anything that somebody wrote into it as a value."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.domain.redaction import SHOWN, redacted


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("SELECT * FROM t1 WHERE id = 42", "SELECT * FROM t1 WHERE id = ?"),
        ("SELECT $1, $2", "SELECT $1, $2"),
        ("ALTER ROLE a PASSWORD 'hunter2'", "ALTER ROLE a PASSWORD ?"),
        ("SELECT 'it''s hunter2', 1.5e-3", "SELECT ?, ?-?"),
        (r"SELECT E'it\'s hunter2' FROM t", "SELECT ? FROM t"),
        (r"SELECT 'C:\', 'hunter2' FROM t", "SELECT …"),
        ("SELECT \"it's\", 'hunter2'", 'SELECT "it\'s", ?'),
        ("DO $x$ SELECT 'hunter2' $x$", "DO ?"),
        ("DO $$ hunter2", "DO …"),
        ("SELECT 'hunter2 that was cut o", "SELECT …"),
        ("SELECT 1 -- don't say hunter2\n, 2", "SELECT ? , ?"),
        ("SELECT /* a /* hunter2 */ ' */ x, 'hunter2'", "SELECT x, ?"),
        ("SELECT /* hunter2", "SELECT"),
        ("SELECT\n\t a,\r\n b", "SELECT a, b"),
        ("SELECT U&'hunter2', x'1F', b'01'", "SELECT ?, ?, ?"),
        ("SELECT a$b$c, 'hunter2'", "SELECT a$b$c, ?"),
        ("", ""),
    ],
)
def test_literals_go_and_the_shape_stays(statement: str, shown: str) -> None:
    assert redacted(statement) == shown


def test_it_is_cut() -> None:
    assert len(redacted("SELECT " + "a, " * 500)) == SHOWN


_LITERALS = st.sampled_from(
    ["'{}'", "E'{}'", "$t${}$t$", "$${}$$", "N'{}'", "'o''{}'", "-- {}\n", "/* {} */"]
)
# Without dollars: two of them would begin a literal, which ends where another one is meant to begin.
_NOISE = st.text(alphabet='ab1_ ,()=\n"', max_size=12).filter(lambda text: text.count('"') % 2 == 0)


@settings(max_examples=300)
@given(st.lists(st.tuples(_NOISE, _LITERALS), max_size=6), _NOISE)
def test_no_secret_in_a_literal_is_ever_shown(parts: list[tuple[str, str]], end: str) -> None:
    # A space keeps what stands before from changing what the literal is.
    statement = "".join(f"{noise} {literal.format('hunter2')} " for noise, literal in parts) + end
    assert "hunter2" not in redacted(statement)
