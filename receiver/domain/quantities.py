"""Amounts as Kubernetes writes them: 250m, 2, 512Mi, 4G, 12E3.

The rules are those of https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ and of
`k8s.io/apimachinery/pkg/api/resource`. Signs are left out: nothing here is less than nothing.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_UP, Decimal

_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = {-3: "n", -2: "u", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P", 6: "E"}
# An `E` with digits behind it is an exponent, and one without is exa. Longer numbers are none that anybody
# means, and what they cost to work with has to be bounded.
_QUANTITY = re.compile(
    r"(?P<number>[0-9]{1,19}(\.[0-9]{0,9})?|\.[0-9]{1,9})"
    r"([eE](?P<exponent>[+-]?[0-9]{1,2})|(?P<unit>[numkKMGTPE]?i?))"
)
# The server rounds up to the one, and takes for the other whatever is more.
_LEAST, _MOST = Decimal("1e-9"), Decimal(2**63 - 1)
_UNITS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}


def quantity(text: str | int | float) -> Decimal:
    """The amount in its own unit: cores, bytes, pieces. Raises nothing but ValueError, for what is none."""
    found = _QUANTITY.fullmatch(str(text))
    if found is None or (found["unit"] or "") not in _UNITS:
        raise ValueError(f"{str(text)[:40]!r} is no quantity; write 250m, 2, 512Mi or 4Gi")
    exponent = found["exponent"]
    unit = _UNITS[found["unit"]] if exponent is None else Decimal(10) ** int(exponent)
    return min(Decimal(found["number"]) * unit, _MOST).quantize(_LEAST, ROUND_UP)


def in_gibibytes(amount: Decimal) -> str:
    """At least so many bytes in whole Gi, spelled as an API server spells it back: 13Gi, 2Ti for 2048Gi."""
    return as_served(f"{int((amount / _UNITS['Gi']).to_integral_value(ROUND_CEILING))}Gi")


def as_served(text: str | int | float) -> str:
    """The same amount as an API server spells it back: 1Ti for 1024Gi, 500m for 0.5, 12e3 for 12000e0.

    Raises ValueError for what is no quantity. A dry run answers in that spelling, so whoever writes another
    finds the answer different. The form follows the one that was given, as `CanonicalizeBytes` has it:
    https://github.com/kubernetes/apimachinery/blob/master/pkg/api/resource/quantity.go
    """
    amount = quantity(text)
    if not amount:
        return "0"
    found = _QUANTITY.fullmatch(str(text))
    assert found is not None
    if (found["unit"] or "").endswith("i") and amount >= 1024 and amount == amount.to_integral_value():
        count, power = int(amount), 0
        while count % 1024 == 0 and power < 6:
            count, power = count // 1024, power + 1
        return f"{count}{_BINARY[power]}"
    # In thousands: the greatest power of them that leaves a whole number, nano at the least.
    count, power = int(amount / _LEAST), -3
    while count % 1000 == 0 and power < 6:
        count, power = count // 1000, power + 1
    if found["exponent"] is not None:
        return f"{count}e{power * 3}" if power else str(count)
    return f"{count}{_DECIMAL[power]}"


def written(amount: Decimal) -> str:
    """Bytes as people read them."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if amount >= _UNITS[unit]:
            return f"{(amount / _UNITS[unit]).quantize(Decimal('0.1')).normalize():f}{unit}"
    return f"{amount.normalize():f}"
