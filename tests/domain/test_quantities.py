"""Amounts: what Kubernetes takes for one is one, and whatever else is refused with a ValueError."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.domain.capacity import free_on
from receiver.domain.plans import NotApplicable
from receiver.domain.quantities import as_served, quantity, written


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("250m", "0.25"),
        ("2", "2"),
        ("0.5", "0.5"),
        (".5", "0.5"),
        ("2.", "2"),
        ("512Mi", "536870912"),
        ("4G", "4e9"),
        ("4e0", "4"),
        ("1e9", "1e9"),
        ("12E3", "12000"),
        ("12E", "12e18"),
        ("5e-1", "0.5"),
        ("1e+3", "1000"),
        (3, "3"),
        (0.25, "0.25"),
        ("1n", "1e-9"),
    ],
)
def test_what_kubernetes_takes_for_an_amount_is_one(text: str, amount: str) -> None:
    assert quantity(text) == min(Decimal(amount), Decimal(2**63 - 1))


def test_less_than_the_least_is_rounded_up_and_more_than_the_most_is_the_most_as_the_server_has_it() -> None:
    assert quantity("0.1n") == quantity("1e-99") == Decimal("1e-9")
    assert quantity("9e99") == quantity("9000E") == 2**63 - 1


@pytest.mark.parametrize(
    "text",
    ["", "much", "1 Gi", "1mi", "1i", "-1", "1e", "1e+", "1e999", "1e3Mi", "1Ee3", "\u0663", "nan", "1" * 20],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        quantity(text)


@pytest.mark.parametrize(
    ("text", "served"),
    [
        ("1024Gi", "1Ti"),
        ("1.5Gi", "1536Mi"),
        ("4Gi", "4Gi"),
        ("1000Mi", "1000Mi"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("2.", "2"),
        ("2000", "2k"),
        ("2000k", "2M"),
        ("4e0", "4"),
        ("1e9", "1e9"),
        ("1e4", "10e3"),
        ("12E3", "12e3"),
        ("0.5Ki", "512"),
        ("0", "0"),
        ("0Gi", "0"),
        # Not exact to the byte: it is shown in thousandths.
        ("1.0001Ki", "1024102400u"),
    ],
)
def test_an_amount_is_spelled_as_an_api_server_spells_it_back(text: str, served: str) -> None:
    assert as_served(text) == served


@given(st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,6})?([eE][+-]?[0-9]|[mkKMGTP]|[KMGTP]i)?", fullmatch=True))
def test_spelling_it_so_changes_no_amount_and_is_done_once(text: str) -> None:
    with suppress(ValueError):
        served = as_served(text)
        assert quantity(served) == quantity(text)
        assert as_served(served) == served


LIKE_ONE = st.from_regex(r"[+-]?[0-9]*\.?[0-9]*([eE][+-]?[0-9]*)?[numkKMGTPEi]*", fullmatch=True)
ANY = st.one_of(st.text(max_size=40), LIKE_ONE, st.integers(), st.floats(), st.none())


@given(ANY)
@example("9e99")
@example("1e999999999")
@example("1" * 5000)
def test_any_text_is_an_amount_or_a_value_error(text: Any) -> None:
    with suppress(ValueError):
        amount = quantity(text)
        assert 0 <= amount <= 2**63 - 1
        assert written(amount)


def node(**allocatable: Any) -> dict[str, Any]:
    ready = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": {"name": "n"},
        "spec": {},
        "status": {"allocatable": allocatable, "conditions": ready},
    }


@given(ANY, ANY)
@example("much", "1Gi")
@example("1", None)
def test_whatever_a_node_says_of_its_size_is_room_or_cannot_be_told(cpu: Any, memory: Any) -> None:
    found = free_on([node(cpu=cpu, memory=memory)], [])
    if isinstance(found, NotApplicable):
        assert found.reason.startswith("whether the nodes have room cannot be told: ")
        assert found.reason.endswith("is no quantity; write 250m, 2, 512Mi or 4Gi")
    else:
        assert found["n"].cpu == quantity(cpu)


def test_a_pod_that_asks_for_nonsense_leaves_no_node_known() -> None:
    asks = {"containers": [{"resources": {"requests": {"cpu": "lots"}}}]}
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n", **asks}}
    found = free_on([node(cpu="4", memory="8Gi")], [pod])
    assert isinstance(found, NotApplicable)
    assert "'lots' is no quantity" in found.reason
