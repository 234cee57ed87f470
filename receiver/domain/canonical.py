"""One byte string for one value, for everything that is hashed: digests, identities, the audit chain."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

# Made once: `json.dumps` makes one for each call, and every alert that arrives is written this way.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces; equal values give equal text."""
    return _ENCODER.encode(value)


def finite(value: Any) -> Any:
    """The same where JSON has no word for it: ``"Infinity"`` for a number without end."""
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {name: finite(entry) for name, entry in value.items()}
    return [finite(entry) for entry in value] if isinstance(value, list | tuple) else value


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical text, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
