"""Amounts as Kubernetes writes them: 250m, 2, 512Mi, 4G, 12E3.

The rules are those of https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ and of
`k8s.io/apimachinery/pkg/api/resource`. Signs are left out: nothing here is less than nothing.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_UP, Decimal

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
    count = int((amount / _UNITS["Gi"]).to_integral_value(ROUND_CEILING))
    units = ["Gi", "Ti", "Pi", "Ei"]
    while count and count % 1024 == 0 and len(units) > 1:
        count //= 1024
        del units[0]
    return f"{count}{units[0]}"


def written(amount: Decimal) -> str:
    """Bytes as people read them."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if amount >= _UNITS[unit]:
            return f"{(amount / _UNITS[unit]).quantize(Decimal('0.1')).normalize():f}{unit}"
    return f"{amount.normalize():f}"
