"""What "before" was: the worst of it, and where it was heading."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from receiver.pipeline.measuring import before_acting

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SETTLE = timedelta(minutes=5)


def points(*values: float | None) -> list[tuple[datetime, dict[str, float | None]]]:
    return [(NOON + timedelta(seconds=15 * number), {"err": value}) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([0.4] * 10, 0.4, id="steady"),
        pytest.param([0.6, 0.5, 0.4, 0.4, 0.4, 0.4], 0.6, id="it was worse"),
        pytest.param([None] * 6, None, id="no data"),
        pytest.param([0.1, 0.12, 0.14, 0.16, 0.18], 0.18 + 0.08 / 60 * 300, id="still rising"),
        pytest.param([0.2, None, None, None, None, 0.2], 0.2, id="gaps"),
        pytest.param([0.3], 0.3, id="one sample tells no trend"),
    ],
)
def test_the_baseline(values: list[float | None], expected: float | None) -> None:
    found = before_acting(points(*values), settle=SETTLE)["err"]
    assert found == (None if expected is None else pytest.approx(expected))
